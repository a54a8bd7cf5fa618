// Editing an object's outline as a polygon: move, add and remove corners, or simplify it.

import { post } from "./api.js";
import { current, finalMask, hasObject, onCurrent } from "./current.js";
import { unlocked } from "./marks.js";
import { versions } from "./masktools.js";
import { change } from "./objects.js";
import { inOrder } from "./queue.js";
import { selectedObjects } from "./selection.js";
import { request } from "./stage.js";
import { on, set, state } from "./state.js";
import { toast } from "./ui.js";
import { toScreen, view } from "./view.js";

const NEAR = 9; // screen pixels
const FINEST = 1, COARSER = 1.6;
let shown = null; // {rings, tolerance}
let held = null; // {ring, corner} that is being dragged
let asked = ""; // identifies the mask whose corners were requested last
let loading = Promise.resolve();

export function startPolygon() {
  on("tool selected objects", refresh);
  onCurrent(refresh);
}

/** Switch the polygon tool on or off. */
export function togglePolygon() {
  if (state.tool === "polygon") {
    set({ tool: "click" });
    return;
  }
  if (!hasObject() && selectedObjects().length !== 1) {
    toast("Begin an object, or select one.");
    return;
  }
  set({ tool: "polygon" });
}

/** Reduce the number of corners, as one step of undo. */
export async function simplify() {
  if (state.tool !== "polygon" || !shown) {
    toast("Show the corners of an object first.");
    return;
  }
  const before = shown.rings.flat().length;
  for (let tolerance = shown.tolerance * COARSER; tolerance < 200; tolerance *= COARSER) {
    const rings = await ringsOf(tolerance);
    if (rings.flat().length >= before) continue;
    await send(rings, tolerance);
    return;
  }
  toast("No corner can be removed.");
}

/** Begin to drag the corner there, or a new one on an edge; with `takesAway`, remove the corner. */
export function grab(x, y, takesAway) {
  if (!shown) return;
  held = nearest(x, y, 0);
  if (held && takesAway) {
    const ring = shown.rings[held.ring];
    if (ring.length > 3) {
      ring.splice(held.corner, 1);
      inOrder(() => send(shown.rings, shown.tolerance));
    }
    held = null;
    return;
  }
  if (held || takesAway) return;
  const line = nearest(x, y, 1);
  if (!line) return;
  held = { ring: line.ring, corner: line.corner + 1 };
  shown.rings[held.ring].splice(held.corner, 0, line.at);
}

export function dragTo(x, y) {
  if (!held) return;
  const clip = (value, most) => Math.min(Math.max(value, 0), most);
  shown.rings[held.ring][held.corner] = [clip(x, view.imageWidth), clip(y, view.imageHeight)];
}

/** End the drag, and send the changed outline. */
export function release() {
  if (held) inOrder(() => send(shown.rings, shown.tolerance));
  held = null;
}

export function drawPolygon(pen) {
  if (state.tool !== "polygon" || !shown) return;
  for (const ring of shown.rings) {
    const corners = ring.map(([x, y]) => toScreen(x, y));
    pen.beginPath();
    corners.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    for (const [width, colour] of [[3.5, "rgb(0 0 0 / 55%)"], [1.5, "#fff"]]) {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke();
    }
    pen.fillStyle = "#fff";
    pen.strokeStyle = "#000";
    pen.lineWidth = 1;
    for (const [x, y] of corners) {
      pen.fillRect(x - 3.5, y - 3.5, 7, 7);
      pen.strokeRect(x - 3.5, y - 3.5, 7, 7);
    }
  }
}

/** Return the corners on the screen, for tests. */
export function corners() {
  return shown?.rings ?? [];
}

function targets() {
  return hasObject() ? [] : selectedObjects().slice(0, 1);
}

function keyOfTarget() {
  if (hasObject()) return finalMask() ? `current ${current.image} ${current.digest}` : "";
  const [object] = targets();
  return object ? `${object.id} ${object.revision}` : "";
}

/** Fetch the corners of the present mask, unless they are known or already requested. */
function refresh() {
  const key = state.tool === "polygon" ? keyOfTarget() : "";
  if (key !== asked) {
    asked = key;
    held = null;
    loading = load(key);
  }
  return loading;
}

async function load(key) {
  const tolerance = shown?.tolerance ?? FINEST;
  const rings = key ? await ringsOf(tolerance).catch(() => null) : null;
  if (asked !== key) return;
  shown = rings && { rings, tolerance };
  request("overlay");
}

async function ringsOf(tolerance) {
  const answer = await post(`/api/images/${current.image}/objects/outline`, { objects: versions(targets()), tolerance });
  return answer.rings;
}

async function send(rings, tolerance) {
  const objects = targets();
  if (!hasObject() && !unlocked(objects).length) return;
  if (shown) shown.tolerance = tolerance;
  const answer = await change(`/api/images/${current.image}/objects/polygon`, { objects: versions(objects), rings });
  if (!answer) asked = ""; // fetch the corners again, as before the change
  await refresh();
}

/** Return the nearest corner (kind 0) or place on an edge (kind 1); null if none is near. */
function nearest(x, y, kind) {
  let best = null, least = NEAR;
  shown.rings.forEach((ring, r) => ring.forEach(([cx, cy], c) => {
    const [ax, ay] = toScreen(cx, cy);
    let [px, py] = [ax, ay];
    if (kind) {
      const [bx, by] = toScreen(...ring[(c + 1) % ring.length]);
      const length = (bx - ax) ** 2 + (by - ay) ** 2;
      const t = length ? Math.min(Math.max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0), 1) : 0;
      [px, py] = [ax + t * (bx - ax), ay + t * (by - ay)];
    }
    const far = Math.hypot(px - x, py - y);
    if (far < least) {
      least = far;
      best = { ring: r, corner: c, at: [(px - view.x) / view.scale, (py - view.y) / view.scale] };
    }
  }));
  return best;
}
