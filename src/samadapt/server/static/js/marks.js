// Objects that are hidden, locked or shown alone in this tab, and the colours of objects.

import { colourOf, configure, state, tell } from "./state.js";
import { toast } from "./ui.js";

const marks = { hidden: new Set(), locked: new Set(), solo: new Set() };
const name = () => `samadapt-marks-${state.project.id}`;

/** Restore the marks from before a reload of the page. */
export function startMarks() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(name())) ?? {};
    for (const [mark, ids] of Object.entries(kept)) marks[mark] = new Set(ids);
  } catch {
    // Begin without marks.
  }
}

export const isLocked = (object) => marks.locked.has(object.id);
export const isHidden = (object) => (marks.solo.size ? !marks.solo.has(object.id) : marks.hidden.has(object.id));

/** Hide objects, or show them if all of them are hidden. */
export function hide(objects) {
  if (marks.solo.size) marks.solo.clear();
  flip(marks.hidden, objects);
}

/** Lock objects against any change, or unlock them if all of them are locked. */
export function lock(objects) {
  flip(marks.locked, objects);
}

/** Show only these objects, or all again. */
export function solo(objects) {
  if (marks.solo.size) marks.solo.clear();
  else marks.solo = new Set(objects.map((object) => object.id));
  changed();
}

export function showAll() {
  marks.hidden.clear();
  marks.solo.clear();
  changed();
}

/** Return the objects that are not locked; shows a message about the others. */
export function unlocked(objects) {
  const free = objects.filter((object) => !isLocked(object));
  const count = objects.length - free.length;
  if (count) toast(count === 1 ? "A locked object stays as it is." : `${count} locked objects stay as they are.`);
  return free;
}

export function toggleColouring() {
  configure({ colourBy: state.settings.colourBy === "instance" ? "label" : "instance" });
}

/** Return the colour of an object: its label's, or one of its own. */
export function colourFor(object) {
  return state.settings.colourBy === "instance" ? ownColour(object.track ?? object.id ?? 0) : colourOf(object.label);
}

/** Return a colour for a number: hues in steps of the golden angle, in three lightnesses. */
function ownColour(id) {
  const hue = (id * 137.508) % 360, light = [0.6, 0.72, 0.5][id % 3];
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.8 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return `#${[0, 8, 4].map((n) => part(n).toString(16).padStart(2, "0")).join("")}`;
}

function flip(set, objects) {
  const isAll = objects.every((object) => set.has(object.id));
  for (const { id } of objects) isAll ? set.delete(id) : set.add(id);
  changed();
}

function changed() {
  try {
    const kept = Object.fromEntries(Object.entries(marks).map(([name, ids]) => [name, [...ids]]));
    sessionStorage.setItem(name(), JSON.stringify(kept));
  } catch {
    // The page works without storage, too.
  }
  tell(["marks"]);
}

