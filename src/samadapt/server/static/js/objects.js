// The objects of the image: list, selection, labels and deletion.

import { get } from "./api.js";
import * as under from "./current.js";
import { current, decoded, finalMask, hasObject, onObjects, request } from "./current.js";
import { area, contains } from "./mask.js";
import { keyOf } from "./keys.js";
import { link, onLink } from "./link.js";
import { refreshLearning } from "./learning.js";
import { countObjects } from "./images.js";
import { inOrder } from "./queue.js";
import { colourOf, labelOf, on, set, state, tell } from "./state.js";
import { $, complain, h, icon, toast } from "./ui.js";
import { reveal } from "./view.js";

let changes = 0; // of the objects, by this page

export function startObjects() {
  on("objects labels selected image", list);
  onLink(list);
  onObjects(take);
}

/** Take over the objects that the server sent. */
export function takeObjects(sent) {
  const objects = new Map();
  for (const object of sent) objects.set(object.id, decoded(object, state.objects.get(object.id)));
  const selected = objects.has(state.selected) ? state.selected : null;
  set({ objects, selected });
}

/** Look again: somebody else changed something. */
export async function refreshObjects() {
  const image = state.image?.id;
  if (!image) return;
  let answer, before;
  do { // what was saved while the answer was under way may be missing in it
    before = changes;
    answer = await get(`/api/images/${image}/objects`);
    if (state.image?.id !== image) return;
  } while (before !== changes);
  Object.assign(state.image, { mark: answer.mark, revision: answer.revision, change: answer.change });
  takeObjects(answer.objects);
  tell(["image-mark"]);
}

// -- actions ----------------------------------------------------------------------------------

/** Save the object under way. */
export async function acceptCurrent() {
  if (!finalMask()) {
    if (hasObject()) toast("There is no mask yet: click on the object.");
    return;
  }
  if (await under.accept()) refreshLearning();
}

export function selectAt(x, y) {
  const found = objectAt(x, y);
  set({ selected: found?.id === state.selected ? null : found?.id ?? null });
}

/** The smallest object at a point, so that what lies inside another one can be reached. */
export function objectAt(x, y) {
  let best = null;
  for (const object of state.objects.values()) {
    if (!object.mask || !contains(object.mask, x, y)) continue;
    object.area ??= area(object.mask);
    if (!best || object.area < best.area) best = object;
  }
  return best;
}

export async function deleteSelected() {
  const object = state.objects.get(state.selected);
  if (object) await change(`/api/objects/${object.id}/delete`, { revision: object.revision });
}

export async function relabel(label) {
  const object = state.objects.get(state.selected);
  if (object && object.label !== label) await change(`/api/objects/${object.id}`, { revision: object.revision, label });
}

async function change(path, body) {
  try {
    await request(path, body);
  } catch (error) {
    complain(error);
    if (error.status === 409 || error.status === 404) await refreshObjects().catch(() => {});
  }
}

/** Improve the selected object with clicks, box and brush. */
export async function editSelected() {
  const object = state.objects.get(state.selected);
  if (!object) return;
  if (hasObject()) {
    toast("Accept or drop the present object first.");
    return;
  }
  set({ selected: null });
  await under.edit(object);
  tell(["objects"]);
  if (object.mask) reveal(object.mask);
}

export async function undo() {
  if (current.canUndo) await stepBack(under.undo);
  else toast("Nothing to undo.");
}

export async function redo() {
  if (current.canRedo) await stepBack(under.redo);
  else toast("Nothing to redo.");
}

async function stepBack(step) {
  if (!(await step())) await refreshObjects().catch(() => {});
}

/** Take over what an answer of the server changed. */
function take(saved, removed) {
  changes += 1;
  for (const object of saved) state.objects.set(object.id, decoded(object, state.objects.get(object.id)));
  for (const id of removed) state.objects.delete(id);
  const selected = state.objects.has(state.selected) ? state.selected : null;
  set({ objects: state.objects, selected });
  countObjects();
}

// -- the list -----------------------------------------------------------------------------------

const MOST_ROWS = 400;

function list() {
  const box = $("object-list");
  const objects = [...state.objects.values()].reverse();
  const waiting = [...state.unsaved.values()].filter(({ image }) => image === state.image?.id).reverse();
  $("object-count").textContent = objects.length ? String(objects.length) : "";
  if (!objects.length && !waiting.length) {
    box.replaceChildren(h("div.empty", {}, "No objects yet. Click on one in the image, or drag a box around it."));
    return;
  }
  const rows = [...waiting.map(waitingRow), ...objects.slice(0, MOST_ROWS).map(row)];
  if (objects.length > MOST_ROWS) rows.push(h("div.empty", {}, `${objects.length - MOST_ROWS} more: select them in the image`));
  box.replaceChildren(...rows);
  box.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}

function waitingRow({ label }) {
  const text = link.kind === "up" ? "saving…" : "not saved yet";
  return h("div.row.unsaved", { title: "Accepted, but not confirmed by the server yet" },
    h("span.swatch", { style: { background: colourOf(label) } }), h("span.name", {}, labelOf(label)?.name ?? "object"), h("span.muted", {}, text));
}

function row(object) {
  const chosen = object.id === state.selected;
  const pick = () => inOrder(() => {
    set({ selected: chosen ? null : object.id });
    if (!chosen && object.mask) reveal(object.mask);
  });
  const tool = (name, title, action) => h("button.icon-button", {
    title, "aria-label": title,
    onclick: (event) => { event.stopPropagation(); chosenFor(action); },
  }, icon(name));
  const chosenFor = (action) => inOrder(() => { state.selected = object.id; return action(); });
  object.area ??= object.mask ? area(object.mask) : 0;
  return h("div.row", { title: labelOf(object.label)?.name ?? "object", "aria-current": String(chosen), onclick: pick, ondblclick: () => chosenFor(editSelected) },
    h("span.swatch", { style: { background: colourOf(object.label) } }),
    h("span.name", {}, labelOf(object.label)?.name ?? "object"), h("span.muted", {}, `#${object.id}`),
    h("span.muted", {}, `${object.area.toLocaleString()} px`),
    h("span.row-tools", {},
      tool("edit", `Improve with clicks (${keyOf("edit")})`, editSelected),
      tool("trash", `Delete (${keyOf("remove")})`, deleteSelected)));
}
