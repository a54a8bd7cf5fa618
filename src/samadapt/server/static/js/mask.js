// Masks as {x, y, w, h, step, bits}: the bounding box with its bits row by row; conversion from and to COCO's
// compressed run lengths. A bit stands for `step` x `step` pixels; `step` is above 1 on large images only.

/** Return the mask from run lengths of an area `height` pixels high whose corner is at (left, top). */
export function decode(counts, height, left = 0, top = 0) {
  const runs = unpack(counts);
  let x0 = Infinity, x1 = -1, y0 = Infinity, y1 = -1;
  for (let i = 1, at = runs[0]; i < runs.length; at += runs[i] + (runs[i + 1] ?? 0), i += 2) {
    if (!runs[i]) continue;
    const first = Math.floor(at / height), last = Math.floor((at + runs[i] - 1) / height);
    if (first < x0) x0 = first;
    if (last > x1) x1 = last;
    const from = first === last ? at % height : 0;
    const to = first === last ? (at + runs[i] - 1) % height : height - 1;
    if (from < y0) y0 = from;
    if (to > y1) y1 = to;
  }
  if (x1 < 0) return null;
  const w = x1 - x0 + 1, h = y1 - y0 + 1;
  const bits = new Uint8Array(w * h);
  for (let i = 1, at = runs[0]; i < runs.length; at += runs[i] + (runs[i + 1] ?? 0), i += 2) {
    for (let left_ = runs[i], p = at; left_ > 0; ) {
      const x = Math.floor(p / height), y = p - x * height;
      const count = Math.min(left_, height - y);
      let k = (y - y0) * w + x - x0;
      for (let n = 0; n < count; n++, k += w) bits[k] = 1;
      p += count;
      left_ -= count;
    }
  }
  return { x: x0 + left, y: y0 + top, w, h, bits, step: 1 };
}

/** Return the mask from the server's format `Crop`; null if there is none. */
export function fromCrop(crop) {
  const found = crop && decode(crop.counts, crop.height);
  if (!found) return null;
  const step = crop.step ?? 1;
  return { ...found, x: crop.x + found.x * step, y: crop.y + found.y * step, step };
}

/** Return the bounding box {x, y, w, h} of a mask in pixels of the image. */
export function extent({ x, y, w, h, step }) {
  return { x, y, w: w * step, h: h * step };
}

/** Return a mask in the server's format `Crop`. */
export function toCrop(mask) {
  const runs = [];
  let value = 0, count = 0;
  for (let x = 0; x < mask.w; x++) {
    for (let y = 0, k = x; y < mask.h; y++, k += mask.w) {
      if (mask.bits[k] === value) {
        count += 1;
      } else {
        runs.push(count);
        value = mask.bits[k];
        count = 1;
      }
    }
  }
  runs.push(count);
  return { x: mask.x, y: mask.y, width: mask.w, height: mask.h, counts: pack(runs), ...(mask.step > 1 ? { step: mask.step } : {}) };
}

export function area(mask) {
  let sum = 0;
  for (let i = 0; i < mask.bits.length; i++) sum += mask.bits[i];
  return sum * mask.step ** 2;
}

export function contains(mask, x, y) {
  const column = Math.floor((Math.floor(x) - mask.x) / mask.step), row = Math.floor((Math.floor(y) - mask.y) / mask.step);
  if (column < 0 || row < 0 || column >= mask.w || row >= mask.h) return false;
  return mask.bits[row * mask.w + column] === 1;
}

export function overlaps(a, b) {
  return a.x < b.x + b.w * b.step && b.x < a.x + a.w * a.step && a.y < b.y + b.h * b.step && b.y < a.y + a.h * a.step;
}

/** Return `base` with the bits of `patch` set to `value`; null if empty. Both masks may be null. */
export function merged(base, patch, value) {
  if (!patch) return base;
  if (!base) return value ? patch : null;
  if (!value && !overlaps(base, patch)) return base;
  const step = Math.max(base.step, patch.step);
  if (step > 1) [base, patch] = [onGrid(base, step, base), onGrid(patch, step, base)];
  const x = value ? Math.min(base.x, patch.x) : base.x;
  const y = value ? Math.min(base.y, patch.y) : base.y;
  const right = value ? Math.max(base.x + base.w * step, patch.x + patch.w * step) : base.x + base.w * step;
  const bottom = value ? Math.max(base.y + base.h * step, patch.y + patch.h * step) : base.y + base.h * step;
  const w = (right - x) / step, h = (bottom - y) / step;
  const out = { x, y, w, h, step, bits: new Uint8Array(w * h) };
  copy(base, out, 1);
  copy(patch, out, value);
  return tight(out);
}

/** Return a mask on a coarser grid through a corner; a bit is set if any of its pixels was set. */
function onGrid(mask, step, corner) {
  if (mask.step === step && (mask.x - corner.x) % step === 0 && (mask.y - corner.y) % step === 0) return mask;
  const start = (value, from) => from + Math.floor((value - from) / step) * step;
  const x = start(mask.x, corner.x), y = start(mask.y, corner.y);
  const w = Math.ceil((mask.x + mask.w * mask.step - x) / step), h = Math.ceil((mask.y + mask.h * mask.step - y) / step);
  const out = { x, y, w, h, step, bits: new Uint8Array(w * h) };
  const cells = (index, from, to) => [0, mask.step - 1].map((more) => Math.floor((from + index * mask.step + more - to) / step));
  for (let row = 0, k = 0; row < mask.h; row++) {
    const [top, bottom] = cells(row, mask.y, y);
    for (let column = 0; column < mask.w; column++, k++) {
      if (!mask.bits[k]) continue;
      const [left, right] = cells(column, mask.x, x);
      out.bits[top * w + left] = out.bits[top * w + right] = out.bits[bottom * w + left] = out.bits[bottom * w + right] = 1;
    }
  }
  return out;
}

/** Return a mask cut to the bounding box of its set bits; null if there are none. */
export function tight(mask) {
  let x0 = mask.w, x1 = -1, y0 = mask.h, y1 = -1;
  for (let y = 0, k = 0; y < mask.h; y++) {
    for (let x = 0; x < mask.w; x++, k++) {
      if (!mask.bits[k]) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      y1 = y;
    }
  }
  if (x1 < 0) return null;
  if (x0 === 0 && y0 === 0 && x1 === mask.w - 1 && y1 === mask.h - 1) return mask;
  const { step } = mask;
  const out = { x: mask.x + x0 * step, y: mask.y + y0 * step, w: x1 - x0 + 1, h: y1 - y0 + 1, step, bits: null };
  out.bits = new Uint8Array(out.w * out.h);
  copy(mask, out, 1);
  return out;
}

/** Return the outline along pixel edges as a `Path2D` in image coordinates. */
export function outline(mask) {
  const path = new Path2D();
  const { x: left, y: top, w, h, bits, step } = mask;
  for (let y = 0; y <= h; y++) {
    let start = -1;
    for (let x = 0; x <= w; x++) {
      const above = y > 0 && x < w ? bits[(y - 1) * w + x] : 0;
      const below = y < h && x < w ? bits[y * w + x] : 0;
      if (above !== below) {
        if (start < 0) start = x;
      } else if (start >= 0) {
        path.moveTo(left + start * step, top + y * step);
        path.lineTo(left + x * step, top + y * step);
        start = -1;
      }
    }
  }
  for (let x = 0; x <= w; x++) {
    let start = -1;
    for (let y = 0; y <= h; y++) {
      const before = x > 0 && y < h ? bits[y * w + x - 1] : 0;
      const after = x < w && y < h ? bits[y * w + x] : 0;
      if (before !== after) {
        if (start < 0) start = y;
      } else if (start >= 0) {
        path.moveTo(left + x * step, top + start * step);
        path.lineTo(left + x * step, top + y * step);
        start = -1;
      }
    }
  }
  return path;
}

/** Return a canvas with the mask in one colour, for display only: large masks are drawn smaller. */
export function tinted(mask, colour) {
  const step = Math.max(1, Math.ceil(Math.sqrt((mask.w * mask.h) / 3e6)));
  const w = Math.ceil(mask.w / step), h = Math.ceil(mask.h / step);
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h);
  const pixels = new Uint32Array(image.data.buffer);
  const value = packed(colour);
  for (let y = 0, k = 0; y < h; y++) {
    for (let x = 0, at = y * step * mask.w; x < w; x++, k++, at += step) {
      if (mask.bits[at]) pixels[k] = value;
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, step: step * mask.step };
}

function packed(colour) {
  const number = Number.parseInt(colour.slice(1), 16);
  const r = number >> 16, g = (number >> 8) & 255, b = number & 255;
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // little-endian RGBA
}

function copy(from, to, value) {
  const dx = (to.x - from.x) / from.step, dy = (to.y - from.y) / from.step;
  const x0 = Math.max(0, dx), x1 = Math.min(from.w, dx + to.w);
  const y0 = Math.max(0, dy), y1 = Math.min(from.h, dy + to.h);
  for (let y = y0; y < y1; y++) {
    let source = y * from.w + x0;
    let target = (y - dy) * to.w + x0 - dx;
    for (let x = x0; x < x1; x++, source++, target++) {
      if (from.bits[source]) to.bits[target] = value;
    }
  }
}

function unpack(text) {
  const runs = [];
  for (let i = 0; i < text.length; ) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const c = text.charCodeAt(i++) - 48;
      value += (c & 31) * 2 ** shift;
      shift += 5;
      more = (c & 32) !== 0;
      if (!more && c & 16) value -= 2 ** shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

function pack(runs) {
  const codes = [];
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (let more = true; more; ) {
      let c = value & 31;
      value >>= 5;
      more = c & 16 ? value !== -1 : value !== 0;
      if (more) c |= 32;
      codes.push(String.fromCharCode(c + 48));
    }
  }
  return codes.join("");
}
