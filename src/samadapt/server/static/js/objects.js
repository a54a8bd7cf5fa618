// The accepted objects of the image, and actions on the selected ones.

import { get } from "./api.js";
import * as under from "./current.js";
import { current, decoded, finalMask, hasObject, onObjects, request } from "./current.js";
import { area, contains, extent } from "./mask.js";
import { unlocked } from "./marks.js";
import { refreshLearning } from "./learning.js";
import { countObjects } from "./images.js";
import { canBePicked, inside, select, selectAlso, selectedIds, selectedObjects } from "./selection.js";
import { set, state, tell } from "./state.js";
import { complain, toast } from "./ui.js";
import { reveal } from "./view.js";

let changes = 0; // number of changes of objects by this page

export function startObjects() {
  onObjects(take);
}

/** Replace the objects by those that the server sent. */
export function takeObjects(sent) {
  const objects = new Map();
  for (const object of sent) objects.set(object.id, decoded(object, state.objects.get(object.id)));
  const selected = objects.has(state.selected) ? state.selected : null;
  set({ objects, selected });
}

/** Fetch the objects again after a change by somebody else. */
export async function refreshObjects() {
  const image = state.image?.id;
  if (!image) return;
  let answer, before;
  do { // a change saved after the request may be missing in its answer
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

/** Select the object at a point; with `also`, add it to the selection, or remove it from there. */
export function selectAt(x, y, also = false) {
  const found = objectAt(x, y), chosen = selectedIds();
  if (also) selectAlso(found ? [found.id] : []);
  else select(!found || (chosen.size === 1 && chosen.has(found.id)) ? [] : [found.id]);
}

/** Select the objects inside a closed line. */
export function selectInside(line, also) {
  const found = inside(line);
  const known = also ? [...selectedIds()].filter((id) => !found.includes(id)) : [];
  select([...known, ...found]);
}

/** Return the smallest object at a point, so that one inside another can be selected. */
export function objectAt(x, y) {
  let best = null;
  for (const object of state.objects.values()) {
    if (!canBePicked(object) || !contains(object.mask, x, y)) continue;
    object.area ??= area(object.mask);
    if (!best || object.area < best.area) best = object;
  }
  return best;
}

export async function deleteSelected() {
  const objects = unlocked(selectedObjects());
  if (objects.length) await changeAll("delete", objects);
}

export async function relabel(label) {
  const objects = unlocked(selectedObjects().filter((object) => object.label !== label));
  if (objects.length) await changeAll("label", objects, { label });
}

function changeAll(what, objects, more = {}) {
  const versions = objects.map(({ id, revision }) => ({ id, revision }));
  return change(`/api/images/${current.image}/objects/${what}`, { objects: versions, ...more });
}

/** Send a change of accepted objects; null, with a message to the person, if it was refused. */
export async function change(path, body) {
  try {
    return await request(path, body);
  } catch (error) {
    complain(error);
    if (error.status === 409 || error.status === 404) await refreshObjects().catch(() => {});
    return null;
  }
}

/** Improve the selected object with clicks, box and brush. */
export async function editSelected() {
  const object = state.objects.get(state.selected);
  if (!object || !unlocked([object]).length) return;
  if (hasObject()) {
    toast("Accept or drop the current object first.");
    return;
  }
  set({ selected: null });
  await under.edit(object);
  tell(["objects"]);
  if (object.mask) reveal(extent(object.mask));
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

/** Apply the changes in an answer of the server. */
function take(saved, removed) {
  changes += 1;
  for (const object of saved) state.objects.set(object.id, decoded(object, state.objects.get(object.id)));
  for (const id of removed) state.objects.delete(id);
  const selected = state.objects.has(state.selected) ? state.selected : null;
  set({ objects: state.objects, selected });
  countObjects();
}
