// The list of objects, sorted and filtered; elements are made only for the rows in sight.

import { area, extent } from "./mask.js";
import { keyOf } from "./keys.js";
import { link, onLink } from "./link.js";
import { colourFor, hide, isHidden, isLocked, lock } from "./marks.js";
import { deleteSelected, editSelected } from "./objects.js";
import { inOrder } from "./queue.js";
import { hover, select, selectAlso, selectedIds } from "./selection.js";
import { labelName, on, set, state } from "./state.js";
import { inWords, tracksOf } from "./tracks.js";
import { $, h, icon } from "./ui.js";
import { reveal } from "./view.js";

const ROW = matchMedia("(pointer: coarse)").matches ? 42 : 32;
const SPARE = 6;
const SORTS = {
  newest: ["newest", (a, b) => b.id - a.id],
  oldest: ["oldest", (a, b) => a.id - b.id],
  label: ["label", (a, b) => nameOf(a).localeCompare(nameOf(b)) || a.id - b.id],
  largest: ["largest", (a, b) => areaOf(b) - areaOf(a)],
  smallest: ["smallest", (a, b) => areaOf(a) - areaOf(b)],
};
const SHOWS = { all: () => true, hidden: isHidden, locked: isLocked };

let wanted = { text: "", sort: "newest", show: "all" };
let entries = []; // objects that are accepted but not saved yet, then saved ones
let from = null; // the row that a range begins with

export function startObjectList() {
  head();
  on("objects labels image marks settings tracks", rebuild);
  on("selected", () => { follow(); draw(); });
  on("hovered", point);
  onLink(rebuild);
  $("object-list").addEventListener("scroll", draw, { passive: true });
  $("object-list").addEventListener("pointerleave", () => hover(null));
  new ResizeObserver(draw).observe($("object-list"));
}

/** Select all objects in the filtered list. */
export function selectListed() {
  select(entries.filter((entry) => entry.id).map((entry) => entry.id).reverse());
}

function head() {
  const change = (name) => (event) => { wanted[name] = event.target.value; rebuild(); };
  const choice = (name, title, texts) => h("select", { id: `object-${name}`, "aria-label": title, onchange: change(name) },
    texts.map((text) => h("option", { value: text }, text)));
  $("object-head").replaceChildren(
    h("input", { type: "search", id: "object-filter", placeholder: "Filter", title: "Label, number or person", "aria-label": "Filter objects", spellcheck: false, oninput: change("text") }),
    choice("sort", "Sort objects", Object.keys(SORTS)), choice("show", "Which objects", Object.keys(SHOWS)));
}

function rebuild() {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (object) => {
    const text = `${nameOf(object)} #${object.id} ${object.person ?? ""} ${object.track ? `track ${object.track}` : ""}`.toLowerCase();
    return SHOWS[wanted.show](object) && words.every((word) => text.includes(word));
  };
  const waiting = [...state.unsaved.values()].filter(({ image }) => image === state.image?.id).reverse();
  const all = [...state.objects.values()];
  const listed = all.filter(matches).sort(SORTS[wanted.sort][1]);
  entries = [...waiting, ...listed];
  $("object-count").textContent = !all.length ? "" : listed.length < all.length ? `${listed.length}/${all.length}` : String(all.length);
  draw();
}

function draw() {
  const box = $("object-list");
  if (!entries.length) {
    const text = state.objects.size ? "No object matches the filter." : "No objects yet. Click on one in the image, or drag a box around it.";
    box.replaceChildren(h("div.empty", {}, text));
    return;
  }
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
  const last = Math.min(entries.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
  const chosen = selectedIds();
  const rows = entries.slice(first, last).map((entry, k) => (entry.id ? row(entry, first + k, chosen.has(entry.id)) : waitingRow(entry)));
  const space = (count) => h("div", { style: { height: `${count * ROW}px` } });
  box.replaceChildren(space(first), ...rows, space(entries.length - last));
}

/** Scroll to the leading selected object. */
function follow() {
  const box = $("object-list"), at = entries.findIndex((entry) => entry.id === state.selected && entry.id);
  if (at < 0) return;
  if (at * ROW < box.scrollTop) box.scrollTop = at * ROW;
  else if ((at + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (at + 1) * ROW - box.clientHeight;
}

function point() {
  for (const element of $("object-list").querySelectorAll(".row[data-object]")) {
    element.classList.toggle("hovered", Number(element.dataset.object) === state.hovered);
  }
}

function waitingRow(entry) {
  const text = link.kind === "up" ? "saving…" : "not saved yet";
  return h("div.row.unsaved", { title: "Accepted, but not confirmed by the server yet", style: { height: `${ROW}px` } },
    swatch(entry), h("span.name", {}, nameOf(entry)), h("span.muted", {}, text));
}

function row(object, at, isChosen) {
  const pick = (event) => inOrder(() => choose(object, at, event));
  const tool = (name, title, action) => h("button.icon-button", {
    title, "aria-label": title, onclick: (event) => { event.stopPropagation(); action(); },
  }, icon(name));
  const alone = (action) => inOrder(() => { select([object.id]); return action(); });
  const hidden = isHidden(object), locked = isLocked(object), said = tracksOf(object.id);
  return h(`div.row${object.id === state.hovered ? ".hovered" : ""}${hidden ? ".is-hidden" : ""}`, {
    title: said ? `${nameOf(object)} #${object.id}: ${inWords(said)}` : nameOf(object), "aria-current": String(isChosen), "data-object": String(object.id), style: { height: `${ROW}px` },
    onclick: pick, ondblclick: () => alone(editSelected), onpointerenter: () => hover(object.id),
  },
  swatch(object), h("span.name", {}, nameOf(object), said && h("span.muted", {}, ` track ${said.track}${said.ends ? ", ends" : ""}`)), h("span.muted", {}, `#${object.id}`), 
  h("span.muted", {}, [locked && "locked", hidden && "hidden"].filter(Boolean).join(", ") || `${areaOf(object).toLocaleString()} px`),
  h("span.row-tools", {},
    tool(hidden ? "eyeoff" : "eye", `${hidden ? "Show" : "Hide"} (${keyOf("hide")})`, () => hide([object])),
    tool(locked ? "lock" : "unlock", `${locked ? "Unlock" : "Lock"} (${keyOf("lock")})`, () => lock([object])),
    tool("edit", `Improve with clicks (${keyOf("edit")})`, () => alone(editSelected)),
    tool("trash", `Delete (${keyOf("remove")})`, () => alone(deleteSelected))));
}

/** Handle a click on a row: select it alone; with Ctrl in addition; with Shift a range of rows. */
function choose(object, at, event) {
  if (event.shiftKey && from !== null) {
    const [first, last] = [Math.min(from, at), Math.max(from, at)];
    const range = entries.slice(first, last + 1).filter((entry) => entry.id && entry.id !== object.id);
    select([...range.map((entry) => entry.id), object.id]);
    return;
  }
  from = at;
  if (event.ctrlKey || event.metaKey) {
    selectAlso([object.id]);
    return;
  }
  const isAlone = state.selected === object.id && selectedIds().size === 1;
  if (isAlone) set({ selected: null });
  else select([object.id]);
  if (!isAlone && object.mask) reveal(extent(object.mask));
}

function swatch(object) {
  return h("span.swatch", { style: { background: colourFor(object) } });
}

function nameOf({ label }) {
  return labelName(label);
}

function areaOf(object) {
  object.area ??= object.mask ? area(object.mask) : 0;
  return object.area;
}
