// Brush and eraser: a stroke is a line with a radius, painted into a mask of its own.

import { stroke, waits } from "./current.js";
import { tight } from "./mask.js";
import { inOrder } from "./queue.js";
import { configure, state } from "./state.js";
import { view } from "./view.js";

let points = [];
let adds = true;

export function beginStroke(x, y, add) {
  adds = add;
  points = [[x, y]];
}

export function continueStroke(x, y) {
  points.push([x, y]);
}

export function endStroke() {
  if (points.length) {
    const mask = painted(points, state.settings.brush / 2);
    if (mask) paint(mask, adds);
  }
  points = [];
}

function paint(mask, add) {
  const done = waits("waitingStrokes", { mask, add });
  inOrder(() => stroke(mask, add).finally(done));
}

export function cancelStroke() {
  points = [];
}

/** Return the stroke that is being drawn as {points, radius, add}; null if there is none. */
export function strokeUnderWay() {
  return points.length ? { points, radius: state.settings.brush / 2, add: adds } : null;
}

export function resizeBrush(factor) {
  const size = state.settings.brush;
  const next = factor > 1 ? Math.max(size + 1, size * factor) : Math.min(size - 1, size * factor);
  configure({ brush: Math.round(Math.min(Math.max(next, 1), 400)) });
}

/** Return the mask of all pixels whose centre is within `radius` of a line; null if outside the image. */
export function painted(line, radius) {
  const { step } = view;
  const mask = paintedPoints(line.map(([x, y]) => [x / step, y / step]), radius / step);
  return mask && { ...mask, x: mask.x * step, y: mask.y * step, step };
}

/** Do the same as `painted` in coordinates divided by the view's step. */
function paintedPoints(line, radius) {
  const reach = Math.max(radius, 0.5);
  const xs = line.map((p) => p[0]), ys = line.map((p) => p[1]);
  const x0 = Math.max(0, Math.floor(Math.min(...xs) - reach));
  const y0 = Math.max(0, Math.floor(Math.min(...ys) - reach));
  const x1 = Math.min(Math.ceil(view.imageWidth / view.step), Math.ceil(Math.max(...xs) + reach));
  const y1 = Math.min(Math.ceil(view.imageHeight / view.step), Math.ceil(Math.max(...ys) + reach));
  if (x1 <= x0 || y1 <= y0) return null;
  const mask = { x: x0, y: y0, w: x1 - x0, h: y1 - y0, step: 1, bits: new Uint8Array((x1 - x0) * (y1 - y0)) };
  for (let i = 0; i < line.length; i++) {
    segment(mask, line[Math.max(0, i - 1)], line[i], reach);
  }
  return tight(mask);
}

function segment(mask, [ax, ay], [bx, by], reach) {
  const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
  const left = Math.max(0, Math.floor(Math.min(ax, bx) - reach) - mask.x);
  const right = Math.min(mask.w, Math.ceil(Math.max(ax, bx) + reach) - mask.x);
  const top = Math.max(0, Math.floor(Math.min(ay, by) - reach) - mask.y);
  const bottom = Math.min(mask.h, Math.ceil(Math.max(ay, by) + reach) - mask.y);
  for (let row = top; row < bottom; row++) {
    const y = row + mask.y + 0.5;
    for (let column = left; column < right; column++) {
      const x = column + mask.x + 0.5;
      const t = length ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
      const ex = x - ax - t * dx, ey = y - ay - t * dy;
      if (ex * ex + ey * ey <= reach * reach) mask.bits[row * mask.w + column] = 1;
    }
  }
}
