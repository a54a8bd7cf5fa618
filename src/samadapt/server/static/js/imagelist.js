// The list of images, filtered; elements are made only for the rows in sight.

import { leaveTo, shownImage } from "./images.js";
import { entryOf, items } from "./stacks.js";
import { on, state } from "./state.js";
import { thumbnail } from "./thumbnails.js";
import { $, h } from "./ui.js";

const ROW = 60;
/** Texts of the states of a review. */
export const STATES = { review: "for review", approved: "approved", returned: "sent back" };
// Rows have the form that the server's `Gallery.rows` describes.
const MARKS = {
  todo: ([, , kind]) => kind === "new" || kind === "started", open: ([, , , , , holds]) => holds,
  ...Object.fromEntries(["started", "done", "skipped", "problem"].map((name) => [name, ([, , kind]) => kind === name])),
};
const REVIEWS = {
  ...Object.fromEntries(Object.keys(STATES).map((name) => [name, (row) => row[6] === name])),
  comments: (row) => row[8] > 0, proposals: (row) => row[9] > 0,
};
let shown = []; // items of the list after filtering: images, and stacks with their slices

export function startImageList() {
  on("taken image", renderList);
  on("images settings", filter);
  on("image", () => revealInList());
  $("image-list").addEventListener("scroll", renderList, { passive: true });
  new ResizeObserver(renderList).observe($("image-list"));
  $("image-filter").addEventListener("input", filter);
  for (const id of ["image-state", "image-review", "image-person"]) $(id).addEventListener("change", filter);
}

function filter() {
  const text = $("image-filter").value.trim().toLowerCase();
  const fits = [MARKS[$("image-state").value], REVIEWS[$("image-review").value]].filter(Boolean);
  const whose = $("image-person").value;
  fillPeople();
  const isWanted = (row) => fits.every((fit) => fit(row)) && isTaskOf(whose, row[7]);
  shown = items().filter(({ name, rows }, index) =>
    (!text || name.toLowerCase().includes(text) || String(index + 1) === text) && rows.some(isWanted));
  renderList();
  const finished = state.images.filter(([, , kind]) => kind === "done" || kind === "skipped").length;
  $("progress").firstElementChild.style.width = `${(100 * finished) / Math.max(1, state.images.length)}%`;
  $("progress").title = `${finished} of ${state.images.length} finished`;
}

/** Draw the rows in sight only, so that ten thousand images take no longer than ten. */
function renderList() {
  const list = $("image-list");
  if (list.closest("[hidden]")) return;
  const spacer = list.firstElementChild;
  spacer.style.height = `${shown.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  const rows = [];
  for (let k = first; k < last; k++) rows.push(shown[k].stack ? stackRow(shown[k], k) : imageRow(shown[k].rows[0], k));
  const focused = spacer.contains(document.activeElement) ? document.activeElement.dataset.image : null;
  spacer.replaceChildren(...rows);
  if (focused) spacer.querySelector(`[data-image="${focused}"]`)?.focus({ preventScroll: true });
}

export function revealInList() {
  filter();
  if ($("image-list").closest("[hidden]")) return;
  const index = shown.findIndex(({ rows }) => rows.some(([id]) => id === shownImage()?.id));
  if (index >= 0) $("image-list").scrollTop = Math.max(0, index * ROW - $("image-list").clientHeight / 2);
  renderList();
}

/** Return true if an image's assignee fits the filter: "mine", "nobody", or "of NAME". */
function isTaskOf(whose, assignee) {
  if (!whose) return true;
  if (whose === "nobody") return !assignee;
  return assignee === (whose === "mine" ? state.settings.person : whose.slice(3)) && assignee !== "";
}

/** List all assignees in the filter, without changing the selected one. */
function fillPeople() {
  const names = [...new Set(state.images.map((row) => row[7]).filter(Boolean))].sort();
  const select = $("image-person"), now = select.value, key = JSON.stringify([names, state.settings.person]);
  if (select.dataset.names === key) return;
  select.dataset.names = key;
  const options = [["", "anybody's"], ["mine", "mine"], ["nobody", "nobody's"], ...names.map((name) => [`of ${name}`, name])];
  select.replaceChildren(...options.map(([value, text]) => h("option", { value, selected: value === now }, text)));
}

/** Return the numbers of the images in the filtered list. */
export function listed() {
  return shown.flatMap(({ rows }) => rows.map(([id]) => id));
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Return one row for a stack: number of slices, and of those with objects, done, or with problems. */
function stackRow(item, index) {
  const { name, rows, stack } = item;
  const many = (test) => rows.filter(test).length;
  const sum = (place) => rows.reduce((total, row) => total + row[place], 0);
  const finished = many(([, , kind]) => kind === "done" || kind === "skipped"), broken = many(([, , kind]) => kind === "problem");
  const holding = many((row) => row[3] > 0), held = many((row) => row[5]), proposals = sum(9), comments = sum(8);
  const people = [...new Set(rows.map(([id]) => state.taken[id]).filter(Boolean))];
  const kind = finished === rows.length ? "done" : holding || finished ? "started" : broken === rows.length ? "problem" : "new";
  const text = [
    count(rows.length, "slice"), holding && `${holding} with objects`, finished && `${finished} done`, broken && count(broken, "problem"),
    held && `${held} not accepted`, comments && count(comments, "comment"), proposals && count(proposals, "proposal"), people.length && `${people.join(", ")} here`,
  ].filter(Boolean).join(" · ");
  const why = rows.filter((row) => row[4]).map((row) => row[4]);
  return h("button.image-row", {
    "data-image": item.id, "data-stack": "true", "aria-current": String(rows.some(([id]) => id === shownImage()?.id)),
    title: [name, text, ...stack.remarks, ...why.slice(0, 5)].join("\n"), style: { top: `${index * ROW}px` }, onclick: () => leaveTo(entryOf(item)),
  },
  thumbnail((rows.find((row) => row[2] !== "problem") ?? rows[0])[0]),
  h("div", {}, h("div.name", {}, name), h("span.state", { "data-state": kind, "data-holds": held ? "true" : null }, text)));
}

function imageRow([id, name, kind, objects, why, holds, review, assignee, comments, proposals], index) {
  const person = state.taken[id];
  const words = { new: "to do", started: "started", done: "done", skipped: "skipped", problem: `problem: ${why}` };
  const text = [
    STATES[review] || words[kind], objects && count(objects, "object"), holds && "1 not accepted", comments && count(comments, "comment"),
    proposals && count(proposals, "proposal"), assignee && `for ${assignee}`, person && `${person} is here`,
  ].filter(Boolean).join(" · ");
  return h("button.image-row", {
    "data-image": id, "aria-current": String(id === shownImage()?.id), title: why ? `${name}: ${why}` : `${name}\n${text}`,
    style: { top: `${index * ROW}px` }, onclick: () => leaveTo(id),
  },
  why ? h("span.swatch") : thumbnail(id),
  h("div", {}, h("div.name", {}, name), h("span.state", { "data-state": kind, "data-review": review || null, "data-holds": holds ? "true" : null }, text)));
}
