// Helpers of the user interface: elements, icons, messages, dialogs, menus.

import { isLost } from "./link.js";

const ICONS = {
  left: "M12.5 4l-6 6 6 6",
  right: "M7.5 4l6 6-6 6",
  check: "M4 10.5l4 4 8-9",
  menu: "M3.5 5.5h13M3.5 10h13M3.5 14.5h13",
  theme: "M10 3a7 7 0 1 0 7 7 5.2 5.2 0 0 1-7-7z",
  help: "M7.4 7.4a2.6 2.6 0 1 1 3.8 2.3c-.8.4-1.2 1-1.2 1.8M10 14.6v.1M10 2.5a7.5 7.5 0 1 0 .01 0z",
  click: "M5 3l10 6.5-4.6 1.1L8 15z",
  minus: "M5 10h10",
  plus: "M5 10h10M10 5v10",
  box: "M3.5 6V3.5H6M14 3.5h2.5V6M16.5 14v2.5H14M6 16.5H3.5V14M8.5 3.5h3M8.5 16.5h3M3.5 8.5v3M16.5 8.5v3",
  brush: "M16.5 3.5c-3 1-6.500 4.500-8 7l2 2c2.500-1.500 6-5 7-8zM7.500 12c-2 0-2.700 1.300-2.700 2.500S4 16.300 3 16.500c3 .8 6.300 0 6.300-2.800z",
  erase: "M8 16.500h8.500M11.800 4.200l4 4-7 7.300H6L3.700 13a1.500 1.500 0 0 1 0-2z",
  select: "M4 4h3M9 4h2M13 4h3v3M16 9v2M4 9v2M4 13v3h3M9.500 9.500l7 2.700-3 1.300-1.300 3z",
  pan: "M10 2.500v15M2.500 10h15M10 2.500L8 4.500M10 2.500l2 2M10 17.500l-2-2M10 17.500l2-2M2.500 10l2-2M2.500 10l2 2M17.500 10l-2-2M17.500 10l-2 2",
  similar: "M6.500 3.500l1 2.500 2.500 1-2.500 1-1 2.500-1-2.500L3 7l2.500-1zM13.500 9l1.200 2.800 2.800 1.200-2.800 1.200-1.200 2.800-1.200-2.800L9.500 13l2.800-1.200z",
  fit: "M3.500 7V3.500H7M13 3.500h3.500V7M16.500 13v3.500H13M7 16.500H3.500V13",
  panel: "M3.5 4.5h13v11h-13zM12 4.5v11",
  undo: "M7.500 4L4 7.500 7.500 11M4 7.500h7.500a4.500 4.500 0 0 1 0 9H8",
  redo: "M12.500 4L16 7.500 12.500 11M16 7.500H8.500a4.500 4.500 0 0 0 0 9H12",
  cross: "M5 5l10 10M15 5L5 15",
  trash: "M4 5.500h12M8 5.500V4h4v1.500M5.500 5.500l.7 11h7.600l.7-11M8.500 8.500v5M11.500 8.500v5",
  edit: "M4 16l.8-3.200L13 4.500l2.500 2.500-8.300 8.200zM11.500 6l2.500 2.500",
  lock: "M5 9h10v7.500H5zM7 9V6.500a3 3 0 0 1 6 0V9",
  unlock: "M5 9h10v7.500H5zM7 9V6.500a3 3 0 0 1 5.800-1",
  comment: "M4 4.500h12v8.500H9.500L6 16.500V13H4zM7 7.500h6M7 10h4",
  eyeoff: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM4 16L16 4",
  scissors: "M6 7.500a2 2 0 1 0-.01 0zM6 16.500a2 2 0 1 0-.01 0zM7.500 7L16 15M7.500 13L16 5",
  split: "M3 17L17 3M5 5.500h4M11 14.500h4",
  eye: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 8a2 2 0 1 0 .01 0z",
};

/** Return a new element: h("button.small", {onclick}, "text", child, ...). */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Give an element these children; those that stay the same are left alone, so that a press on a button goes on. */
export function setChildren(element, parts) {
  const there = [...element.childNodes];
  parts.forEach((part, k) => {
    if (!there[k]) element.append(part);
    else if (!there[k].isEqualNode(part)) there[k].replaceWith(part);
  });
  for (const left of there.slice(parts.length)) left.remove();
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

/** Insert icons into elements with the attribute data-icon. */
export function placeIcons() {
  for (const element of document.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
}

export const $ = (id) => document.getElementById(id);

/** Show a message that disappears by itself. */
export function toast(text, bad = false) {
  const element = h(`div.toast${bad ? ".bad" : ""}`, {}, text);
  $("toasts").append(element);
  setTimeout(() => element.remove(), bad ? 7000 : 2600);
}

/** Show the message of an error. */
export function complain(error) {
  if (isLost(error.status)) return; // a broken connection is shown above the image
  if (error.name !== "AbortError") {
    toast(error.message || String(error), true);
  }
}

/** Open a dialog; `build` gets a function that closes it, `ended` is called when it is closed in any way. */
export function dialog(title, build, narrow = false, ended = () => {}) {
  const before = document.activeElement;
  const close = () => {
    if (!veil.isConnected) return;
    veil.remove();
    removeEventListener("keydown", escape);
    before?.focus?.();
    ended();
  };
  const escape = (event) => event.key === "Escape" && !event.defaultPrevented && veil === $("dialogs").lastElementChild && close();
  addEventListener("keydown", escape);
  const inside = h(`div.dialog${narrow ? ".narrow" : ""}`, { role: "dialog", "aria-modal": "true", "aria-label": title, tabIndex: -1 }, h("h2", {}, title));
  const veil = h("div.veil", {
    onpointerdown: (event) => event.target === veil && close(),
  }, inside);
  inside.append(...[build(close)].flat());
  $("dialogs").append(veil);
  (inside.querySelector("textarea, input, button") ?? inside).focus();
  return close;
}

/** Ask a yes-or-no question; resolves to true or false. */
export function confirmed(title, text, yes) {
  return new Promise((answer) => {
    let said = false;
    dialog(title, (close) => [
      h("p", {}, text),
      h("div.end", {},
        h("button.button", { onclick: close }, "Cancel"),
        h("button.button.main", { onclick: () => { said = true; close(); } }, yes)),
    ], true, () => answer(said));
  });
}

/** Ask for a line of text; resolves to null if cancelled. */
export function askText(title, text, value = "") {
  return new Promise((answer) => {
    let said = null;
    dialog(title, (close) => {
      const input = h("input", { type: "text", value, maxLength: 100, spellcheck: false, "aria-label": title });
      const submit = (event) => {
        event.preventDefault();
        said = input.value.trim() || null;
        close();
      };
      return h("form", { onsubmit: submit }, text && h("span.muted", {}, text), input,
        h("div.end", {},
          h("button.button", { type: "button", onclick: close }, "Cancel"),
          h("button.button.main", { type: "submit" }, "OK")));
    }, true, () => answer(said));
  });
}

/** Open a menu below a button; entries are [text, action], or null for a separator. */
export function menu(button, entries) {
  const close = () => veil.remove();
  const place = button.getBoundingClientRect();
  const list = h("div.menu", {
    role: "menu",
    style: { top: `${place.bottom + 4}px`, right: `${innerWidth - place.right}px` },
  }, entries.map((entry) => entry === null ? h("hr") : h("button.row", {
    role: "menuitem",
    onclick: () => { close(); entry[1](); },
  }, entry[0])));
  const veil = h("div.veil", {
    style: { background: "none" },
    onpointerdown: (event) => event.target === veil && close(),
    onkeydown: (event) => event.key === "Escape" && close(),
  }, list);
  $("dialogs").append(veil);
  list.querySelector("button").focus();
}
