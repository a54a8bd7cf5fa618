// The objects of the image: list, selection, labels, deletion, and undo over all of it.

import { get, save } from "./api.js";
import { accept, current, decoded, drop, edit, finalMask, hasObject, undo as undoPrompt, redo as redoPrompt } from "./current.js";
import { area, contains, toCrop } from "./mask.js";
import { keyOf } from "./keys.js";
import { link, onLink } from "./link.js";
import { refreshLearning } from "./learning.js";
import { countObjects } from "./images.js";
import { colourOf, labelOf, on, set, state, tell } from "./state.js";
import { $, complain, h, icon, toast } from "./ui.js";
import { reveal } from "./view.js";

let done = []; // what can be undone: {undo, redo} functions
let undone = [];
let changes = 0; // of the objects, by this page

export function startObjects() {
  on("objects labels selected image", list);
  onLink(list);
  on("image", () => { done = []; undone = []; });
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
  const before = current.edited ? state.objects.get(current.edited.id) : null;
  const label = current.edited ? current.label : state.label;
  const saved = await accept(label);
  if (!saved || state.image?.id !== saved.image) return;
  put(saved, saved.mask);
  if (before) {
    remember(() => change(saved.id, before.mask, before.label), () => change(saved.id, saved.mask, saved.label));
  } else {
    remember(() => remove(saved.id), () => bringBack(saved.id));
  }
  refreshLearning();
}

export function dropCurrent() {
  drop();
  tell(["objects"]);
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
  const id = state.selected;
  if (!state.objects.has(id)) return;
  if (await remove(id)) remember(() => bringBack(id), () => remove(id));
}

export async function relabel(label) {
  const object = state.objects.get(state.selected);
  if (!object || object.label === label) return;
  const { id, label: before } = object;
  if (await change(id, null, label)) remember(() => change(id, null, before), () => change(id, null, label));
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
  await edit(object);
  if (object.mask) reveal(object.mask);
}

export function undo() {
  if (undoPrompt()) return;
  const last = done.pop();
  if (!last) {
    toast("Nothing to undo.");
    return;
  }
  undone.push(last);
  last.undo();
}

export function redo() {
  if (redoPrompt()) return;
  const last = undone.pop();
  if (!last) {
    toast("Nothing to redo.");
    return;
  }
  done.push(last);
  last.redo();
}

/** An object that the server saved is there now. */
export function put(object, mask) {
  const { counts, ...rest } = object;
  changes += 1;
  state.objects.set(object.id, { ...rest, mask });
  tell(["objects"]);
  countObjects();
}

/** Undo and redo of something done to the image's objects. */
export function remember(undo_, redo_) {
  done.push({ undo: undo_, redo: redo_ });
  undone = [];
}

export async function remove(id) {
  const object = state.objects.get(id);
  if (!object) return false;
  return attempt(async () => {
    const answer = await save("POST", `/api/objects/${id}/delete`, { revision: object.revision });
    trash.set(id, { ...object, revision: answer.object.revision });
    changes += 1;
    state.objects.delete(id);
    if (state.selected === id) state.selected = null;
    tell(["objects", "selected"]);
    countObjects();
  });
}

export async function bringBack(id) {
  const object = trash.get(id);
  if (!object) return false;
  return attempt(async () => {
    const answer = await save("POST", `/api/objects/${id}/restore`, { revision: object.revision });
    put(answer.object, object.mask);
  });
}

const trash = new Map();

async function change(id, mask, label) {
  const object = state.objects.get(id);
  if (!object) return false;
  return attempt(async () => {
    const body = { revision: object.revision, label };
    if (mask) body.mask = toCrop(mask);
    const answer = await save("POST", `/api/objects/${id}`, body);
    put(answer.object, mask ?? object.mask);
  });
}

/** Do something; a conflict shows what others made of it. */
async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    complain(error);
    if (error.status === 409 || error.status === 404) await refreshObjects().catch(() => {});
    return false;
  }
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
  const pick = () => {
    set({ selected: chosen ? null : object.id });
    if (!chosen && object.mask) reveal(object.mask);
  };
  const tool = (name, title, action) => h("button.icon-button", {
    title, "aria-label": title,
    onclick: (event) => { event.stopPropagation(); state.selected = object.id; action(); },
  }, icon(name));
  object.area ??= object.mask ? area(object.mask) : 0;
  return h("div.row", { title: labelOf(object.label)?.name ?? "object", "aria-current": String(chosen), onclick: pick, ondblclick: () => { state.selected = object.id; editSelected(); } },
    h("span.swatch", { style: { background: colourOf(object.label) } }),
    h("span.name", {}, labelOf(object.label)?.name ?? "object"), h("span.muted", {}, `#${object.id}`),
    h("span.muted", {}, `${object.area.toLocaleString()} px`),
    h("span.row-tools", {},
      tool("edit", `Improve with clicks (${keyOf("edit")})`, editSelected),
      tool("trash", `Delete (${keyOf("remove")})`, deleteSelected)));
}
