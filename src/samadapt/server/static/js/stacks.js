// Stacks: which images are slices of which stack, the slider below the image, and changing the slice.

import { hasObject } from "./current.js";
import { openImage, shownImage } from "./images.js";
import { mayLeave } from "./leaving.js";
import { leaveInOrder } from "./queue.js";
import { on, state } from "./state.js";
import { tracksOf } from "./tracks.js";
import { $, toast } from "./ui.js";

let places = new Map(); // image -> {stack, index}
let grouped = null; // cached result of `items`
const seenLast = new Map(); // name of a stack -> the slice that was open last
let wanted = null; // index of the slice to open

export function startStacks() {
  on("stacks", () => {
    places = new Map(state.stacks.flatMap((stack) => stack.slices.map((id, index) => [id, { stack, index }])));
  });
  on("stacks images", () => { grouped = null; });
  $("slice-range").addEventListener("input", (event) => goTo(Number(event.target.value)));
  on("stacks image images image-mark", render);
  on("objects selected tracks proposals images", drawMarks);
  new ResizeObserver(drawMarks).observe($("slice-marks"));
}

/** Return the place {stack, index} of an image; undefined if it is no slice. */
export const placeOf = (id) => places.get(id);

/** Return the place of the open slice, or of one that cannot be shown. */
export const openPlace = () => places.get(shownImage()?.id);

/** Return true if two images are slices of one stack, between which the view does not change. */
export const isSameStack = (one, other) => places.has(one) && places.get(one).stack === places.get(other)?.stack;

/** Return the items of the list of images, {id, name, stack, rows}; a stack is one item. */
export function items() {
  if (grouped) return grouped;
  const stacks = new Map();
  grouped = [];
  for (const row of state.images) {
    const { stack } = places.get(row[0]) ?? {};
    const known = stack && stacks.get(stack);
    if (known) {
      known.rows.push(row);
      continue;
    }
    const item = { id: row[0], name: stack?.name ?? row[1], stack: stack ?? null, rows: [row] };
    grouped.push(item);
    if (stack) stacks.set(stack, item);
  }
  return grouped;
}

/** Return the image to open for an item of the list. */
export const entryOf = ({ id, stack }) => (stack && seenLast.get(stack.name)) ?? id;

/** Return the name to show for an image; for a slice, the stack and its place there. */
export function nameOf(image) {
  const place = places.get(image.id);
  return place ? `${place.stack.name}, ${where(place)}` : image.name;
}

/** Return the place of a slice as text. */
export const where = ({ stack, index }) => `${stack.axis} = ${index}`;

/** Return the images next to a slice that are prefetched, the nearest first. */
export function neighbours(id) {
  const place = places.get(id);
  return place ? [1, -1, 2].map((step) => place.stack.slices[place.index + step]).filter(Boolean) : [];
}

/** Move by some slices; false if the image is no slice. */
export function stepSlice(by) {
  const place = openPlace();
  if (!place) return false;
  const from = wanted ?? place.index, last = place.stack.slices.length - 1;
  const to = Math.min(last, Math.max(0, from + by));
  if (to === from) toast(by > 0 ? "This is the last slice." : "This is the first slice.");
  else goTo(to);
  return true;
}

/** Open a slice of this stack; of several requests in quick succession, only the last is carried out. */
export function goTo(index) {
  const place = openPlace();
  if (!place) return;
  const isAsked = wanted !== null;
  wanted = index;
  show(place.stack, index);
  if (isAsked) return;
  leaveInOrder(async () => {
    if (hasObject() && !(await mayLeave())) {
      wanted = null;
      render();
      return;
    }
    while (wanted !== null && wanted !== openPlace()?.index) {
      const to = wanted;
      await openImage(place.stack.slices[to]);
      if (wanted === to) break;
    }
    wanted = null;
    render();
  });
}

// -- the slider ---------------------------------------------------------------------------------

function render() {
  const place = openPlace();
  $("slices").hidden = !place;
  if (!place) return;
  seenLast.set(place.stack.name, shownImage().id);
  if (wanted === null) show(place.stack, place.index);
  drawMarks();
}

function show(stack, index) {
  const range = $("slice-range"), last = stack.slices.length - 1;
  range.max = last;
  range.value = index;
  $("slice-value").textContent = `${stack.axis} ${index} / ${last}`;
  $("slice-value").title = `Slice ${index}, counted from 0 to ${last}`;
}

/** Mark slices with objects, with the selected object, with proposals, and unreadable ones. */
function drawMarks() {
  const place = openPlace(), canvas = $("slice-marks");
  if (!place || !canvas.clientWidth) return;
  const ratio = devicePixelRatio || 1, { slices } = place.stack;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const mine = new Set(tracksOf(state.selected)?.slices ?? []);
  const rows = new Map(items().find(({ stack }) => stack === place.stack)?.rows.map((row) => [row[0], row]));
  // The centre of the slider's handle stays half a handle away from both ends.
  const handle = 16, wide = canvas.clientWidth - handle, size = Math.max(2, Math.min(7, wide / slices.length - 1));
  slices.forEach((id, index) => {
    const row = rows.get(id);
    const name = row?.[2] === "problem" ? "--bad" : mine.has(index) ? "--accent" : row?.[9] ? "--warn" : row?.[3] ? "--muted" : null;
    if (!name) return;
    pen.fillStyle = colour(name);
    const x = handle / 2 + (wide * index) / Math.max(1, slices.length - 1);
    pen.fillRect((x - size / 2) * ratio, 0, size * ratio, canvas.height);
  });
}

