// Labels: the list at the top right, chosen by click or number key.

import { get } from "./api.js";
import { current, hasObject, label as labelCurrent } from "./current.js";
import { editLabel } from "./labeldialog.js";
import { relabel } from "./objects.js";
import { inOrder } from "./queue.js";
import { keep, load, NO_LABEL, on, set, state } from "./state.js";
import { $, h, icon, toast } from "./ui.js";

export function startLabels() {
  build();
  on("labels label selected objects", render);
  on("objects", learnLabels);
  const last = load("label", {})[state.project.folder];
  set({ label: state.labels.some((label) => label.id === last) ? last : state.labels[0]?.id ?? null });
}

/** Choose a label for new objects, and set it for the selected objects if there are any. */
export async function chooseLabel(id) {
  if (current.edited) {
    await labelCurrent(id);
    return;
  }
  if (state.selected !== null && state.objects.has(state.selected)) await relabel(id);
  if (hasObject() && current.label !== id) await labelCurrent(id);
  set({ label: id });
  keep("label", { ...load("label", {}), [state.project.folder]: id });
}

/** Choose the label of a number key: 1 to 9, and 0 for none. */
export async function chooseNumber(number) {
  if (number === 0) await chooseLabel(null);
  else if (state.labels[number - 1]) await chooseLabel(state.labels[number - 1].id);
}

/** Focus the search field for a label's name or number. */
export function searchLabel() {
  $("label-search").focus();
  $("label-search").select();
}

function build() {
  const search = h("input", {
    id: "label-search", type: "search", placeholder: "Name or number", "aria-label": "Choose a label by name or number",
    spellcheck: false, autocomplete: "off", oninput: render, onkeydown: searching,
  });
  $("labels").replaceChildren(
    h("header", {}, h("h3", {}, "Label"),
      h("button.button.small.quiet", { onclick: () => editLabel(null), title: "Add a label" }, icon("plus"), "Add")),
    search, h("div.label-list", { role: "group", "aria-label": "Labels" }));
}

function searching(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  const text = event.key === "Enter" ? event.target.value.trim() : "";
  const [first] = text ? found() : [];
  if (text && !first) {
    toast(`No label is called “${text}”: Add makes a new one.`, true);
    return;
  }
  event.target.value = "";
  event.target.blur();
  if (first) inOrder(() => chooseLabel(first.id));
  render();
}

/** Return the labels that match the search: the one with that number first, then by name. */
function found() {
  const text = $("label-search").value.trim().toLowerCase();
  const fits = state.labels.filter((label) => label.name.toLowerCase().includes(text));
  fits.sort((one, other) => rank(one, text) - rank(other, text));
  const numbered = /^[0-9]+$/.test(text) ? state.labels[Number(text) - 1] : null;
  return numbered ? [numbered, ...fits.filter((label) => label !== numbered)] : fits;
}

function rank({ name }, text) {
  const lower = name.toLowerCase();
  return lower === text ? 0 : lower.startsWith(text) ? 1 : lower.includes(`/${text}`) ? 2 : 3;
}

/** Replace the rows of the list, keeping its scroll position and focus. */
function render() {
  const list = $("labels").querySelector(".label-list");
  const top = list.scrollTop;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.of : null;
  const counts = new Map();
  for (const object of state.objects.values()) counts.set(object.label, (counts.get(object.label) ?? 0) + 1);
  const isSearched = $("label-search").value.trim() !== "";
  const rows = isSearched ? found().map((label) => row(label, label.name, 0, counts)) : treeRows(counts);
  if (!isSearched) rows.push(row(NONE, NO_LABEL, 0, counts));
  else if (!rows.length) rows.push(h("div.empty", {}, "No label matches."));
  list.replaceChildren(...rows);
  list.scrollTop = top;
  if (focused) list.querySelector(`[data-of="${focused}"]`)?.focus();
  if (shownLabel !== state.label) {
    shownLabel = state.label;
    list.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
  }
}

const NONE = { id: null, name: "", colour: "#ffd23f" };
let shownLabel;
const folded = new Set();

function row(label, text, depth, counts, fold = null) {
  const { id, name, colour } = label;
  const index = state.labels.indexOf(label);
  const key = id === null ? "0" : index < 99 ? String(index + 1) : "";
  return h("div.label-row", { style: { paddingLeft: `${depth * 14}px` } }, fold,
    h("button.row", {
      title: name, "data-of": `choose ${id}`, "aria-pressed": String(state.label === id), onclick: () => inOrder(() => chooseLabel(id)),
    },
    h("span.swatch", { style: { background: colour } }), h("span.name", {}, text),
    h("span.muted", {}, counts.get(id) ? String(counts.get(id)) : ""), key && h("kbd", {}, key)),
    id !== null && h("button.icon-button", {
      title: `Change ${name}`, "aria-label": `Change label ${name}`, "data-of": `edit ${id}`, onclick: () => editLabel(label),
    }, icon("edit")));
}

/** Return the rows as a tree: a "/" in a label's name separates its levels. */
function treeRows(counts) {
  const root = { children: new Map() };
  for (const label of state.labels) {
    let node = root, path = "";
    for (const part of label.name.split("/")) {
      path += `/${part}`;
      if (!node.children.has(part)) node.children.set(part, { part, path, children: new Map() });
      node = node.children.get(part);
    }
    node.label ??= label;
    if (node.label !== label) node.children.set(label.name, { part: label.name, path: `${path}/`, label, children: new Map() });
  }
  const rows = [];
  const walk = (node, depth) => {
    for (const child of node.children.values()) {
      const isFolded = folded.has(child.path);
      const fold = child.children.size ? h("button.fold", {
        "data-of": `fold ${child.path}`, "aria-expanded": String(!isFolded), "aria-label": `Labels below ${child.part}`,
        onclick: () => { if (!folded.delete(child.path)) folded.add(child.path); render(); },
      }, isFolded ? "▸" : "▾") : null;
      if (child.label) rows.push(row(child.label, child.part, depth, counts, fold));
      else rows.push(h("div.label-row", { style: { paddingLeft: `${depth * 14}px` } }, fold, h("span.name.muted", {}, child.part)));
      if (!isFolded) walk(child, depth + 1);
    }
  };
  walk(root, 0);
  return rows;
}

let learning = false;

/** Fetch the list of labels if an object has an unknown one, such as one that somebody else added. */
async function learnLabels() {
  const known = new Set(state.labels.map((label) => label.id));
  const isKnown = ({ label }) => (label ?? null) === null || known.has(label);
  if (learning || [...state.objects.values()].every(isKnown)) return;
  learning = true;
  try {
    takeLabels(await get("/api/project"));
  } catch {
    // The next change of the objects fetches them again.
  } finally {
    learning = false;
  }
}

export function takeLabels(answer) {
  const label = answer.labels.some((one) => one.id === state.label) ? state.label : answer.labels[0]?.id ?? null;
  set({ labels: answer.labels, labelsRevision: answer.labels_revision, label });
}
