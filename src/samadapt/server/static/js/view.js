// The position of the image on the screen: zoom and pan.

/**
 * The view. For tiled images, which are larger than memory, `step` is the number of image pixels per
 * screen pixel as a power of two; it is 1 for all others.
 */
export const view = { scale: 1, x: 0, y: 0, width: 1, height: 1, imageWidth: 1, imageHeight: 1, tiled: false, step: 1 };

const listeners = new Set();
const MOST = 64;

export function onView(listener) {
  listeners.add(listener);
}

export function resize(width, height) {
  const wasFit = isFit();
  view.width = width;
  view.height = height;
  if (wasFit) fit();
  else changed();
}

/** Reset the view for another image, so that all of it is visible. */
export function show(width, height, tiled = false) {
  view.tiled = tiled;
  view.imageWidth = width;
  view.imageHeight = height;
  fit();
}

export function fit() {
  const margin = 16;
  const wide = (view.width - 2 * margin) / view.imageWidth;
  const high = (view.height - 2 * margin) / view.imageHeight;
  view.scale = Math.max(Math.min(wide, high, 8), 1e-3);
  centre();
  changed();
}

export function zoomAt(factor, x = view.width / 2, y = view.height / 2) {
  const least = Math.min(0.05, fitScale() / 2);
  const scale = Math.min(Math.max(view.scale * factor, least), MOST);
  const real = scale / view.scale;
  view.x = x - (x - view.x) * real;
  view.y = y - (y - view.y) * real;
  view.scale = scale;
  hold();
  changed();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  hold();
  changed();
}

/** Centre the view on a box {x, y, w, h} of the image, unless all of it is in sight. */
export function reveal(box) {
  const [left, top] = toScreen(box.x, box.y);
  const [right, bottom] = toScreen(box.x + box.w, box.y + box.h);
  if (left >= 0 && top >= 0 && right <= view.width && bottom <= view.height) return;
  view.x += view.width / 2 - (left + right) / 2;
  view.y += view.height / 2 - (top + bottom) / 2;
  changed();
}

/** Centre the view on a place of the image, at a scale. */
export function showAt(x, y, scale) {
  zoomAt(scale / view.scale);
  showPlace(x, y);
}

/** Centre the view on a place of the image. */
export function showPlace(x, y) {
  view.x = view.width / 2 - x * view.scale;
  view.y = view.height / 2 - y * view.scale;
  changed();
}

export function toImage(x, y) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

export function toScreen(x, y) {
  return [x * view.scale + view.x, y * view.scale + view.y];
}

/** Return true if any part of a box {x, y, w, h} of the image is in sight. */
export function isInSight(box) {
  const [left, top] = toScreen(box.x, box.y), [right, bottom] = toScreen(box.x + box.w, box.y + box.h);
  return right > 0 && bottom > 0 && left < view.width && top < view.height;
}

export function isInside(x, y) {
  return x >= 0 && y >= 0 && x < view.imageWidth && y < view.imageHeight;
}

function fitScale() {
  return Math.min(view.width / view.imageWidth, view.height / view.imageHeight);
}

function isFit() {
  const margin = 16;
  const wide = (view.width - 2 * margin) / view.imageWidth;
  const high = (view.height - 2 * margin) / view.imageHeight;
  return Math.abs(view.scale - Math.max(Math.min(wide, high, 8), 1e-3)) < 1e-9;
}

function centre() {
  view.x = (view.width - view.imageWidth * view.scale) / 2;
  view.y = (view.height - view.imageHeight * view.scale) / 2;
}

/** Limit the position so that a part of the image stays on the screen. */
function hold() {
  const rest = 60;
  view.x = Math.min(Math.max(view.x, rest - view.imageWidth * view.scale), view.width - rest);
  view.y = Math.min(Math.max(view.y, rest - view.imageHeight * view.scale), view.height - rest);
}

/** Return the field `view` of requests about a tiled image; empty for other images. */
export function sight() {
  if (!view.tiled) return {};
  const [x0, y0] = toImage(0, 0), [x1, y1] = toImage(view.width, view.height);
  const clip = (value, most) => Math.min(Math.max(value, 0), most);
  const { imageWidth: wide, imageHeight: high, step } = view;
  return { view: { step, box: [clip(x0, wide), clip(y0, high), clip(x1, wide), clip(y1, high)] } };
}

function changed() {
  view.step = view.tiled ? 2 ** Math.max(0, Math.floor(Math.log2(1 / view.scale))) : 1;
  for (const listener of listeners) listener();
}
