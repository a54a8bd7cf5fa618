// Check whether the shown mask agrees with the clicks, and a hint if it does not.

import { current, finalMask } from "./current.js";
import { keyOf } from "./keys.js";
import { contains } from "./mask.js";
import { state } from "./state.js";
import { view } from "./view.js";

/** Return a hint about the last click that the mask violates; "" if it violates none. */
export function notFollowed() {
  if (current.waiting.length || current.waitingBoxes.length) return "";
  const mask = finalMask();
  const missed = current.clicks.filter(([x, y, positive]) => holds(mask, x, y) !== Boolean(positive));
  if (!missed.length) return "";
  const [x, y, positive] = missed.at(-1);
  const isLast = missed.at(-1) === current.clicks.at(-1);
  const which = isLast ? "what you clicked" : "what you clicked before";
  if (positive && isOthers(x, y)) return "That place belongs to an earlier object, which keeps it.";
  if (positive) return `The model could not add ${which}: paint it (${keyOf("toolBrush")}), or draw a box.`;
  return `The model could not take away ${which}: erase it (${keyOf("toolErase")}), or draw a box.`;
}

function holds(mask, x, y) {
  return Boolean(mask) && contains(mask, Math.min(x, view.imageWidth - 1), Math.min(y, view.imageHeight - 1));
}

function isOthers(x, y) {
  return state.settings.keepEarlier && holds(current.mask, x, y);
}
