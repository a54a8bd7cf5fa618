// The object under way: what the server says of it, and what the brush changed.

import { freshKey, post, saveObject } from "./api.js";
import { isLost, whenBack } from "./link.js";
import { decode, fromCrop, merged, overlaps, toCrop } from "./mask.js";
import { set, state, tell } from "./state.js";
import { complain } from "./ui.js";

/** Everything about the object under way; `waiting` are clicks that are not answered yet. */
export const current = blank();
const drafts = new Map(); // image -> brush strokes that were left there
let queue = Promise.resolve();
let listeners = new Set();
let composed = { of: null, mask: null };

export function onCurrent(listener) {
  listeners.add(listener);
}

export function hasObject() {
  return Boolean(current.mask || current.strokes.length || current.clicks.length || current.box || current.waiting.length);
}

/** The mask as it will be saved: the model's, then the brush, then without earlier objects. */
export function finalMask() {
  const parts = [current.mask, current.strokes.length, current.version, state.settings.keepEarlier && state.objects.size];
  if (composed.of && composed.of.every((part, k) => part === parts[k])) return composed.mask;
  let mask = current.mask;
  for (const stroke of current.strokes) mask = merged(mask, stroke.mask, stroke.add ? 1 : 0);
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

/** Show what the server answered. */
export function take(answer) {
  const { mask, clicks, box, candidates, scores, chosen, can_undo, can_redo, edited } = answer;
  if (edited && edited.id !== current.edited?.id) current.label = state.objects.get(edited.id)?.label ?? null;
  Object.assign(current, {
    mask: fromCrop(mask), clicks, box, candidates, scores, chosen, edited,
    canUndo: can_undo, canRedo: can_redo, answered: clicks.length > 0 || box !== null,
  });
  changed();
}

/** Another label for the object that is improved; false when none is. */
export function relabelEdited(label) {
  if (!current.edited) return false;
  current.label = label;
  changed();
  return true;
}

/** Begin with another image: its unfinished object, if the server knows one. */
export function begin(imageId, answer) {
  if (current.image !== null && current.strokes.length) drafts.set(current.image, current.strokes);
  Object.assign(current, blank(), { image: imageId, strokes: drafts.get(imageId) ?? [] });
  drafts.delete(imageId);
  if (answer) take(answer);
  else changed();
}

/** Click; the marker shows at once, the mask when the server answers. */
export function click(x, y, positive) {
  current.waiting.push([x, y, positive ? 1 : 0]);
  changed();
  return act("click", { x, y, positive }, "prompt", () => current.waiting.shift());
}

export function box(x0, y0, x1, y1) {
  return act("box", { x0, y0, x1, y1 }, "prompt");
}

export function choose(index) {
  if (index < 0 || index >= current.candidates || index === current.chosen) return queue;
  return act("choose", { index }, "prompt");
}

export function cycle(step = 1) {
  if (current.candidates < 2) return queue;
  return choose((current.chosen + step + current.candidates) % current.candidates);
}

/** Take the last stroke or prompt back; false when there is nothing on this object. */
export function undo() {
  const last = current.order.at(-1);
  if (last === "stroke" || (current.strokes.length && !current.canUndo)) {
    current.redone.push(current.strokes.pop());
    current.order.pop();
    touched();
    return true;
  }
  if (!current.canUndo) return false;
  current.order.pop();
  act("undo", {}, "undo");
  return true;
}

export function redo() {
  if (current.redone.length) {
    current.strokes.push(current.redone.pop());
    current.order.push("stroke");
    touched();
    return true;
  }
  if (!current.canRedo) return false;
  act("redo", {}, "redo").then(() => current.order.push("prompt"));
  return true;
}

/** Give the object up. */
export function drop() {
  const wasEdited = current.edited;
  Object.assign(current, { strokes: [], order: [], redone: [] });
  touched();
  if (!current.mask && !current.clicks.length && !current.waiting.length && !wasEdited) return queue;
  return act("skip", {}, "skip");
}

/** Take an accepted object up again. */
export function edit(object) {
  current.label = object.label;
  return act("edit", { object: object.id, revision: object.revision }, "edit").then(() => tell(["objects"]));
}

export function stroke(mask, add) {
  current.strokes.push({ mask, add });
  current.order.push("stroke");
  current.redone = [];
  touched();
}

/**
 * Save the object as it is on the screen. Resolves with it when it is on the disk; the page goes
 * on meanwhile.
 */
export function accept(label) {
  const mask = finalMask();
  if (!mask) return Promise.resolve(null);
  const image = current.image;
  const key = freshKey();
  const body = { key, label, mask: toCrop(mask), edited: editedNow() };
  const kept = { mask, strokes: current.strokes, edited: current.edited };
  // It stays on the screen, as not saved, until it is.
  state.unsaved.set(key, { key, image, mask, label });
  tell(["objects"]);
  const done = queue.then(() => saveObject(`/api/images/${image}/accept`, body));
  done.catch(() => {}).then(() => state.unsaved.delete(key));
  queue = done.catch(() => {});
  Object.assign(current, blank(), { image });
  changed();
  return done.then(({ object }) => ({ ...object, mask, image, wasEdited: kept.edited })).catch((error) => {
    complain(error);
    tell(["objects"]);
    // Nothing was saved: what was on the screen comes back.
    if (current.image === image && !hasObject()) {
      Object.assign(current, { strokes: [{ mask, add: true }], order: ["stroke"] });
      touched();
      resync();
    }
    return null;
  });
}

/** Ask the server how the object stands, after what is asked already: it was away, say. */
export function resync() {
  queue = queue.then(lookAgain);
  return queue;
}

async function lookAgain() {
  const image = current.image;
  if (image === null) return;
  const answer = await post(`/api/images/${image}/open`).catch(() => null);
  if (answer && current.image === image) take(answer.current ?? EMPTY);
}

function act(what, body, kind, after = () => {}) {
  const image = current.image;
  const run = async () => {
    try {
      const answer = await sent(image, what, body);
      after();
      if (current.image !== image) return;
      if (kind === "prompt") {
        current.order.push("prompt");
        current.redone = [];
      }
      take(answer);
    } catch (error) {
      after();
      complain(error);
      if (current.image === image) await lookAgain();
    }
  };
  queue = queue.then(run);
  return queue;
}

/**
 * Ask, and wait for a server that is away. Whether it did what it was asked for before it went shows
 * in the object as it stands now; if it did not, it is asked again.
 */
async function sent(image, what, body) {
  const before = current.clicks.length;
  for (;;) {
    try {
      return await post(`/api/images/${image}/${what}`, body);
    } catch (error) {
      if (!isLost(error.status)) throw error;
      await whenBack();
      const answer = await post(`/api/images/${image}/open`).catch((again) => {
        if (!isLost(again.status)) throw again;
      });
      if (answer && isDone(what, body, answer.current ?? EMPTY, before)) return answer.current ?? EMPTY;
    }
  }
}

function isDone(what, body, now, before) {
  if (what === "click") return now.clicks.length > before;
  if (what === "box") return now.box !== null && ["x0", "y0", "x1", "y1"].every((name, k) => Math.abs(now.box[k] - body[name]) < 1e-6);
  if (what === "choose") return now.chosen === body.index;
  if (what === "skip") return !now.clicks.length && now.box === null && now.edited === null;
  if (what === "edit") return now.edited?.id === body.object;
  return true; // undo and redo: once too few is better than once too many
}

function editedNow() {
  return current.edited ? { object: current.edited.id, revision: current.edited.revision } : null;
}

function touched() {
  current.version += 1;
  changed();
}

function changed() {
  for (const listener of listeners) listener();
}

const EMPTY = {
  mask: null, clicks: [], box: null, candidates: 0, scores: [], chosen: 0,
  can_undo: false, can_redo: false, edited: null,
};

function blank() {
  return {
    image: null, mask: null, clicks: [], box: null, candidates: 0, scores: [], chosen: 0,
    canUndo: false, canRedo: false, edited: null, label: null, waiting: [], strokes: [], order: [],
    redone: [], version: 0, answered: false,
  };
}

/** An object of the server with its mask decoded; one that did not change keeps its drawing. */
export function decoded(object, known) {
  if (known && known.revision === object.revision && known.mask) return { ...known, ...object, mask: known.mask };
  const { counts, ...rest } = object;
  return { ...rest, mask: counts ? decode(counts, object.height) : null };
}

export function select(id) {
  set({ selected: id });
}
