// The selected objects, one of which (`state.selected`) leads, and the object under the pointer.

import { contains, extent } from "./mask.js";
import { isHidden, isLocked } from "./marks.js";
import { set, state, tell } from "./state.js";

const SAMPLES = 64;
let rest = { leader: null, ids: new Set() }; // invalid as soon as another object leads

/** Return the numbers of the selected objects. */
export function selectedIds() {
  if (!state.objects.has(state.selected)) return new Set();
  if (rest.leader !== state.selected) return new Set([state.selected]);
  return new Set([...rest.ids].filter((id) => state.objects.has(id)));
}

export function selectedObjects() {
  return [...selectedIds()].map((id) => state.objects.get(id));
}

/** Select exactly these; the last one leads. */
export function select(ids) {
  const leader = ids.at(-1) ?? null;
  rest = { leader, ids: new Set(ids) };
  set({ selected: leader });
}

/** Add objects to the selection, or remove them if all of them were selected. */
export function selectAlso(ids) {
  const known = selectedIds();
  const isAll = ids.length > 0 && ids.every((id) => known.has(id));
  for (const id of ids) known.delete(id);
  select(isAll ? [...known] : [...known, ...ids]);
}

/** Select all objects with the labels of the selected ones, or with the label for new objects. */
export function selectAlike() {
  const chosen = selectedObjects();
  const labels = new Set(chosen.length ? chosen.map((object) => object.label ?? null) : [state.label]);
  const alike = [...state.objects.values()].filter((object) => labels.has(object.label ?? null) && !isHidden(object));
  select(alike.map((object) => object.id));
}

/** Return the numbers of objects of which more than half is inside a closed line. */
export function inside(line) {
  const pen = document.createElement("canvas").getContext("2d"), path = new Path2D();
  line.forEach(([x, y], k) => (k ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
  const isIn = (object) => {
    const places = samples(object);
    return places.filter(([x, y]) => pen.isPointInPath(path, x, y)).length * 2 > places.length;
  };
  return [...state.objects.values()].filter((object) => canBePicked(object) && isIn(object)).map((object) => object.id);
}

/** Return true if an object can be selected in the image: not hidden and not locked. */
export function canBePicked(object) {
  return Boolean(object.mask) && !isHidden(object) && !isLocked(object);
}

/** Highlight an object, in the image and in the list; null for none. */
export function hover(id) {
  if (id === state.hovered) return;
  state.hovered = id;
  tell(["hovered"]);
}

/** Return up to 64 pixels of an object, evenly spread over its bounding box. */
function samples({ mask }) {
  const box = extent(mask), step = Math.max(1, Math.sqrt((box.w * box.h) / SAMPLES));
  const found = [];
  for (let y = box.y + 0.5; y < box.y + box.h; y += step) {
    for (let x = box.x + 0.5; x < box.x + box.w; x += step) if (contains(mask, x, y)) found.push([x, y]);
  }
  return found.length ? found : [[box.x + box.w / 2, box.y + box.h / 2]];
}
