// The object under way: its state at the server, and the prompts that are not answered yet.

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
 * The object under way. `waiting` are clicks that are not answered yet, `waitingBoxes` and
 * `waitingStrokes` likewise; some may belong to the next object.
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

/** Call `listener` before the first prompt of an object. */
export function onFirstPrompt(listener) {
  first.add(listener);
}

/** Call `listener` with (saved, removed, isUndo): the accepted objects that an answer changed. */
export function onObjects(listener) {
  changedObjects.add(listener);
}

/** Call `listener` with the numbers of proposals that wait again after an undo. */
export function onWaiting(listener) {
  returned.add(listener);
}

/** Return true if an object is under way, according to the last answer. */
export function hasObject() {
  return Boolean(current.mask || current.clicks.length || current.box || current.strokes || current.edited);
}

/** Return true if an object is under way, or a prompt is not answered yet. */
export function isUnderWay() {
  return hasObject() || current.waiting.length + current.waitingBoxes.length + current.waitingStrokes.length > 0;
}

/** Return the mask as it will be saved: without the pixels of other objects if that is set. */
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

/** Return the mask to draw: with strokes that are not answered yet. */
export function shownMask() {
  let mask = finalMask();
  for (const { mask: stroke, add } of current.waitingStrokes) mask = merged(mask, stroke, add ? 1 : 0);
  return mask;
}

/** Show a prompt until its answer comes; returns a function that removes it. */
export function waits(kind, prompt) {
  current[kind].push(prompt);
  changed();
  return () => {
    current[kind] = current[kind].filter((one) => one !== prompt);
    changed();
  };
}

/** Begin with another image; `answer` is its object under way, if there is one. */
export function begin(image, answer) {
  Object.assign(current, blank(), { image });
  if (answer) show(answer);
  else changed();
}

// -- actions: each sends a request, and is called in order ----------------------------------------

/** Send a click; `seen` is the part in sight, from `sight()`, at the time of the click. */
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

/** Discard the object under way. */
export async function drop() {
  if (hasObject()) await act("skip", {});
}

/** Accept the object, and return it or null; until it is saved, it is drawn as unsaved. */
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
    // After a restart the adapted model may give another mask: save the one that was shown.
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

/** Send a change of accepted objects, show its result, and return the answer. */
export async function request(path, body) {
  const { image } = current;
  const answer = await save("POST", path, body);
  if (current.image === image) show(answer, path.endsWith("/undo"));
  return answer;
}

/** Fetch the state of the object under way, such as after the server was away. */
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

/** Send the label that was chosen for new objects with the first prompt of an object. */
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

/** Return the state of the object under way from the answer to `open`. */
export function standing({ current: object, label, can_undo, can_redo }) {
  return object ?? { ...EMPTY, label, can_undo, can_redo };
}

/** Take over the state in an answer, and notify the listeners. */
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

/** Return a server's object with its mask decoded; if unchanged, the `known` one with its drawing. */
export function decoded(object, known) {
  if (known && known.revision === object.revision && known.mask) return { ...known, ...object, mask: known.mask };
  const { counts, mask, ...rest } = object;
  return { ...rest, mask: counts ? decode(counts, object.height) : fromCrop(mask ?? null) };
}
