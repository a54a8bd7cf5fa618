// Scissors for thin objects: a path along image edges between clicks, with the width of the brush.

import { post } from "./api.js";
import { painted } from "./brush.js";
import { current, stroke } from "./current.js";
import { pointer, request } from "./stage.js";
import { on, state } from "./state.js";
import { isInside, sight, toScreen, view } from "./view.js";

let anchors = []; // places that were clicked
let pieces = []; // the path from each anchor to the next
let image = null;

export function startScissors() {
  on("tool image", () => { if (state.tool !== "scissors" || image !== current.image) giveUpPath(); });
}

/** Return true while a path is being drawn. */
export function isCutting() {
  return anchors.length > 0;
}

/** Continue the path to a place in the image. */
export async function cutTo(x, y) {
  if (!isInside(x, y)) return;
  if (anchors.length) {
    const [x0, y0] = anchors.at(-1);
    const { path } = await post(`/api/images/${current.image}/objects/path`, { x0, y0, x1: x, y1: y, ...sight() });
    pieces.push(path);
  }
  image = current.image;
  anchors.push([x, y]);
  request("overlay");
}

/** Remove the last click of the path. */
export function cutBack() {
  anchors.pop();
  pieces.pop();
  request("overlay");
}

/** Paint the path as part of the object under way, as one step of undo. */
export async function finishPath() {
  const line = anchors.length === 1 ? anchors : pieces.flat();
  giveUpPath();
  const mask = painted(line, state.settings.brush / 2);
  if (mask) await stroke(mask, true);
}

export function giveUpPath() {
  anchors = [];
  pieces = [];
  request("overlay");
}

export function drawPath(pen) {
  if (!anchors.length) return;
  const points = [anchors[0], ...pieces.flat()].map(([x, y]) => toScreen(x, y));
  pen.lineCap = pen.lineJoin = "round";
  for (const [width, colour, alpha] of [[state.settings.brush * view.scale, "#fff", 0.4], [1.5, "#fff", 1]]) {
    pen.beginPath();
    points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.globalAlpha = alpha;
    pen.lineWidth = Math.max(1, width);
    pen.strokeStyle = colour;
    pen.stroke();
  }
  if (pointer.inside) {
    pen.beginPath();
    pen.moveTo(...toScreen(...anchors.at(-1)));
    pen.lineTo(pointer.x, pointer.y);
    pen.setLineDash([5, 4]);
    pen.stroke();
    pen.setLineDash([]);
  }
  pen.fillStyle = "#21a35b";
  for (const [x, y] of anchors.map(([ax, ay]) => toScreen(ax, ay))) {
    pen.beginPath();
    pen.arc(x, y, 4, 0, 7);
    pen.fill();
  }
}
