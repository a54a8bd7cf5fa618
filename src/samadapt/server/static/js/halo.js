// Outlines of objects that touch or contain each other: each is drawn in its own colour along the
// inner side of its border, with a halo between neighbours.

import { area } from "./mask.js";

const HALO = 1; // pixels of the screen, on each side of the border

/** Return objects in drawing order: large ones first, so that objects inside them stay visible. */
export function drawingOrder(objects) {
  const all = [...objects];
  for (const object of all) object.area ??= object.mask ? area(object.mask) : 0;
  return all.sort((one, other) => other.area - one.area || one.id - other.id);
}

/** Draw an object's outline `width` screen pixels wide; `pen` is in image pixels, `scale` of the view. */
export function strokeObject(pen, object, colour, width, scale) {
  object.sides ??= sides(object.mask);
  pen.lineCap = "square";
  pen.strokeStyle = isDark(colour) ? "rgb(255 255 255 / 75%)" : "rgb(0 0 0 / 70%)";
  pen.lineWidth = (2 * HALO) / scale;
  for (const { path } of object.sides) pen.stroke(path);
  pen.strokeStyle = colour;
  pen.lineWidth = width / scale;
  const inwards = (HALO + width / 2) / scale;
  for (const { path, dx, dy } of object.sides) {
    pen.translate(dx * inwards, dy * inwards);
    pen.stroke(path);
    pen.translate(-dx * inwards, -dy * inwards);
  }
}

/** Return the border along pixel edges in four parts, each with the direction to the object. */
function sides({ x: left, y: top, w, h, bits, step }) {
  const at = (x, y) => (x >= 0 && y >= 0 && x < w && y < h && bits[y * w + x] ? 1 : 0);
  const [down, up, right, before] = Array.from({ length: 4 }, () => new Path2D());
  const runs = (length, side, path, draw) => {
    let start = -1;
    for (let k = 0; k <= length; k++) {
      if (k < length && side(k)) {
        if (start < 0) start = k;
      } else if (start >= 0) {
        draw(path, start, k);
        start = -1;
      }
    }
  };
  for (let y = 0; y <= h; y++) {
    const draw = (path, from, to) => { path.moveTo(left + from * step, top + y * step); path.lineTo(left + to * step, top + y * step); };
    runs(w, (x) => at(x, y) && !at(x, y - 1), down, draw);
    runs(w, (x) => !at(x, y) && at(x, y - 1), up, draw);
  }
  for (let x = 0; x <= w; x++) {
    const draw = (path, from, to) => { path.moveTo(left + x * step, top + from * step); path.lineTo(left + x * step, top + to * step); };
    runs(h, (y) => at(x, y) && !at(x - 1, y), right, draw);
    runs(h, (y) => !at(x, y) && at(x - 1, y), before, draw);
  }
  return [
    { path: down, dx: 0, dy: 1 }, { path: up, dx: 0, dy: -1 },
    { path: right, dx: 1, dy: 0 }, { path: before, dx: -1, dy: 0 },
  ];
}

/** Return true if a colour "#rrggbb" is dark and needs a bright halo. */
function isDark(colour) {
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
  return 0.3 * r + 0.59 * g + 0.11 * b < 80;
}
