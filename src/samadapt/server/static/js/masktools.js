// Mask tools, for the object under way or the selected ones. Each use is one step of undo.

import { current, hasObject, onCurrent } from "./current.js";
import { painted } from "./brush.js";
import { keyOf, run } from "./keys.js";
import { toCrop } from "./mask.js";
import { unlocked } from "./marks.js";
import { change, objectAt } from "./objects.js";
import { select, selectedObjects } from "./selection.js";
import { on, state } from "./state.js";
import { $, h, setChildren, toast } from "./ui.js";
import { view } from "./view.js";

const CUT = 0.75; // radius of a cut, in pixels of the image
const BUTTONS = {
  islands: "Islands", holes: "Holes", largest: "Largest", smooth: "Smooth", refine: "Refine", toolSplit: "Split", merge: "Merge", toolPolygon: "Corners", simplify: "Simplify",
};

export function startMaskTools() {
  on("selected objects tool settings image", render);
  onCurrent(render);
  render();
}

/** Apply a mask tool, given its name at the server. */
export async function applyTool(tool) {
  const targets = targetsOf();
  if (!targets) return;
  const before = current.digest;
  const answer = await change(path("tool"), { tool, objects: versions(targets) });
  if (answer && !answer.saved.length && before === current.digest) toast("Nothing to change.");
}

/** Merge the selected objects, into the object under way if there is one. */
export async function mergeObjects() {
  const objects = unlocked(selectedObjects());
  if (objects.length < (hasObject() ? 1 : 2)) {
    toast(hasObject() ? "Select an object to merge with this one (Shift and click)." : "Select two objects or more (Shift and click).");
    return;
  }
  const answer = await change(path("merge"), { objects: versions(objects) });
  if (answer) select(answer.saved.map((object) => object.id));
}

/** Split the object under way, the selected ones, or the one below the line's middle, along a line. */
export async function splitAlong(line) {
  const cut = painted(line, CUT);
  if (!cut) return;
  let objects = hasObject() ? [] : unlocked(selectedObjects());
  if (!hasObject() && !objects.length) {
    const below = objectAt(...line[Math.floor(line.length / 2)]);
    if (!below) {
      toast("There is no object to split.");
      return;
    }
    objects = [below];
  }
  await change(path("split"), { objects: versions(objects), cut: toCrop(cut) });
}

export function versions(objects) {
  return objects.map(({ id, revision }) => ({ id, revision }));
}

function path(what) {
  return `/api/images/${current.image}/objects/${what}`;
}

/** Return the selected objects, none for the object under way; null if there is neither. */
function targetsOf() {
  if (hasObject()) return [];
  const objects = unlocked(selectedObjects());
  if (objects.length) return objects;
  if (!selectedObjects().length) toast("Begin an object, or select one.");
  return null;
}

function render() {
  const usable = hasObject() || selectedObjects().length > 0;
  const shown = Object.entries(BUTTONS).filter(([name]) => name !== "refine" || view.tiled);
  setChildren($("mask-tools"), shown.map(([name, text]) => h("button.button.small", {
    disabled: !usable && name !== "toolSplit", "aria-pressed": name === "toolSplit" ? String(state.tool === "split") : null,
    "data-mask-tool": name, onclick: () => run(name),
  }, text, keyOf(name) && h("kbd", {}, keyOf(name)))));
}
