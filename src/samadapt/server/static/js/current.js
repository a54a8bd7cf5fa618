// The object under way, as the server says; and what is on its way there.

import { post, save } from "./api.js";
import { decode, fromCrop, merged, overlaps, toCrop } from "./mask.js";
import { inOrder } from "./queue.js";
import { set, state, tell } from "./state.js";
import { complain } from "./ui.js";

const EMPTY = {
  mask: null, digest: "", clicks: [], box: null, strokes: 0, label: null, candidates: 0, scores: [], chosen: 0,
  can_undo: false, can_redo: false, edited: null,
};

/**
 * Everything about the object under way. `waiting` are clicks that are not answered yet,
 * `waitingBoxes` and `waitingStrokes` likewise; some may be for the next object.
 */
export const current = { ...blank(), image: null, waiting: [], waitingBoxes: [], waitingStrokes: [] };
const listeners = new Set();
const changedObjects = new Set();
const returned = new Set();
const first = new Set();
let composed = { of: null, mask: null };

export function onCurrent(listener) {
  listeners.add(listener);
}

/** Do something before the first prompt of an object. */
export function onFirstPrompt(listener) {
  first.add(listener);
}

/** Be told of accepted objects that an answer brings: (saved, removed, whether by undo). */
export function onObjects(listener) {
  changedObjects.add(listener);
}

/** Be told of proposals that an undo made wait again, by their numbers. */
export function onWaiting(listener) {
  returned.add(listener);
}

/** Whether an object is under way, as far as the server answered. */
export function hasObject() {
  return Boolean(current.mask || current.clicks.length || current.box || current.strokes || current.edited);
}

/** The same, with what is on its way. */
export function isUnderWay() {
  return hasObject() || current.waiting.length + current.waitingBoxes.length + current.waitingStrokes.length > 0;
}

/** The mask as it will be saved: the server's, without earlier objects if that is wanted. */
export function finalMask() {
  const parts = [current.mask, state.settings.keepEarlier && state.objects.size];
  if (composed.of && composed.of.every((part, k) => part === parts[k])) return composed.mask;
  let mask = current.mask;
  if (state.settings.keepEarlier && mask) {
    for (const object of state.objects.values()) {
      if (object.mask && object.id !== current.edited?.id && mask && overlaps(mask, object.mask)) {
        mask = merged(mask, object.mask, 0);
      }
    }
  }
  composed = { of: parts, mask };
  return mask;
}

/** The mask to be drawn: with strokes that are on their way. */
export function shownMask() {
  let mask = finalMask();
  for (const { mask: stroke, add } of current.waitingStrokes) mask = merged(mask, stroke, add ? 1 : 0);
  return mask;
}

/** Show a prompt that is on its way; returns a function that ends that. */
export function waits(kind, prompt) {
  current[kind].push(prompt);
  changed();
  return () => {
    current[kind] = current[kind].filter((one) => one !== prompt);
    changed();
  };
}

/** Begin with another image: its unfinished object, if the server knows one. */
export function begin(image, answer) {
  Object.assign(current, blank(), { image });
  if (answer) show(answer);
  else changed();
}

// -- what one does: each asks the server, and is called in order ---------------------------------

/** `seen` is what `sight` said when it was pressed. */
export async function click(x, y, positive, seen = {}) {
  await bringLabel();
  return act("click", { x, y, positive, ...seen });
}

export async function box(x0, y0, x1, y1, seen = {}) {
  await bringLabel();
  return act("box", { x0, y0, x1, y1, ...seen });
}

export async function stroke(mask, positive) {
  await bringLabel();
  return act("stroke", { mask: toCrop(mask), positive });
}

export async function choose(index) {
  if (index >= 0 && index < current.candidates && index !== current.chosen) await act("choose", { index });
}

export async function cycle(step = 1) {
  if (current.candidates > 1) await choose((current.chosen + step + current.candidates) % current.candidates);
}

export const undo = () => act("undo", {});
export const redo = () => act("redo", {});
export const edit = (object) => act("edit", { object: object.id, revision: object.revision });
export const label = (id) => act("label", { label: id });

/** Give the object up. */
export async function drop() {
  if (hasObject()) await act("skip", {});
}

/** Save the object; it stays on the screen, as not saved, until it is. Resolves with it, or null. */
export async function accept() {
  const mask = finalMask();
  if (!mask) return null;
  const { image, digest: shown, mask: whole } = current, pending = { image, mask, label: current.label };
  state.unsaved.set(pending, pending);
  Object.assign(current, blank(), { image, label: current.edited ? state.label : current.label, canUndo: true });
  changed();
  tell(["objects"]);
  const body = { keep_earlier: state.settings.keepEarlier };
  const answer = await act("accept", { ...body, shown }, async () => {
    // The server was started again, and the model has learned meanwhile: save what was seen.
    await lookAgain();
    const missing = merged(whole, current.mask, 0), extra = current.mask && merged(current.mask, whole, 0);
    if (missing) await act("stroke", { mask: toCrop(missing), positive: true });
    if (extra) await act("stroke", { mask: toCrop(extra), positive: false });
    return act("accept", { ...body, shown: current.digest });
  });
  state.unsaved.delete(pending);
  tell(["objects"]);
  return answer && answer.object;
}

/** Ask for a change of accepted objects, and show what comes of it. */
export async function request(path, body) {
  const { image } = current;
  const answer = await save("POST", path, body);
  if (current.image === image) show(answer, path.endsWith("/undo"));
  return answer;
}

/** Ask the server how the object stands, after what is asked already: it was away, say. */
export function resync() {
  return inOrder(lookAgain);
}

async function act(what, body, otherwise) {
  const { image } = current;
  try {
    return await request(`/api/images/${image}/${what}`, body);
  } catch (error) {
    if (otherwise && error.status === 409 && error.message.includes("was shown")) return otherwise();
    complain(error);
    if (current.image === image) await lookAgain();
    return null;
  }
}

/** The first prompt of an object brings the label that was chosen for new ones. */
async function bringLabel() {
  if (!hasObject()) for (const listener of first) await listener();
  if (!current.edited && current.label !== state.label) await label(state.label);
}

async function lookAgain() {
  const { image } = current;
  if (image === null) return;
  const answer = await post(`/api/images/${image}/open`).catch(() => null);
  if (!answer || current.image !== image) return;
  Object.assign(current, blank(), { image });
  show(standing(answer));
}

/** How the object under way stands, from the answer to `open`. */
export function standing({ current: object, label, can_undo, can_redo }) {
  return object ?? { ...EMPTY, label, can_undo, can_redo };
}

/** Show what the server answered. */
function show(answer, isUndo = false) {
  const { digest, clicks, box, strokes, label, candidates, scores, chosen, edited } = answer;
  const mask = fromCrop(answer.mask);
  Object.assign(current, {
    mask, digest, clicks, box, strokes, label, candidates, scores, chosen, edited,
    canUndo: answer.can_undo, canRedo: answer.can_redo,
  });
  if (hasObject() && !edited && label !== state.label) set({ label });
  if (answer.saved?.length || answer.removed?.length) {
    for (const listener of changedObjects) listener(answer.saved, answer.removed, isUndo);
  }
  if (answer.waiting?.length) for (const listener of returned) listener(answer.waiting);
  changed();
}

function changed() {
  for (const listener of listeners) listener();
}

function blank() {
  const { can_undo: canUndo, can_redo: canRedo, ...rest } = EMPTY;
  return { ...rest, canUndo, canRedo };
}

/** An object of the server with its mask decoded; one that did not change keeps its drawing. */
export function decoded(object, known) {
  if (known && known.revision === object.revision && known.mask) return { ...known, ...object, mask: known.mask };
  const { counts, mask, ...rest } = object;
  return { ...rest, mask: counts ? decode(counts, object.height) : fromCrop(mask ?? null) };
}
