// Drawing of the image, its objects, and an overlay with the object under way.

import { current, shownMask } from "./current.js";
import { onBusy } from "./queue.js";
import { strokeUnderWay } from "./brush.js";
import { drawingOrder, strokeObject } from "./halo.js";
import { outline, tinted } from "./mask.js";
import { drawLine } from "./line.js";
import { drawPins } from "./pins.js";
import { drawPolygon } from "./polygon.js";
import { drawPath } from "./scissors.js";
import { moveTiles } from "./tiles.js";
import { colourFor, isHidden } from "./marks.js";
import { selectedObjects } from "./selection.js";
import { colourOf, on, state } from "./state.js";
import { $ } from "./ui.js";
import { onView, resize, toScreen, view } from "./view.js";

const layers = ["base", "objects-layer", "overlay"].map((id) => $(id));
const [base, objectsLayer, overlay] = layers;
const pens = layers.map((canvas) => canvas.getContext("2d"));
const due = new Set();
const MANY_MILLISECONDS = 12;
const MANY_SELECTED = 30; // from this number on, selected objects are drawn in the layer of objects, not in the overlay
let levels = []; // the image, then half of it, a quarter, ...
let frame = 0;
let drawnView = null; // the view with which the objects were drawn last
let drawingTook = 0;
let settle = 0;

export const pointer = { x: 0, y: 0, inside: false, box: null, hover: null };

export function startStage() {
  new ResizeObserver(measure).observe($("stage"));
  measure();
  onView(() => {
    request("base");
    request("overlay");
    moveObjects();
    moveTiles();
    $("zoom").textContent = `${Math.round(view.scale * 100)}%`;
  });
  on("objects labels marks", () => request("objects"));
  on("settings", () => { filter(); request("base"); request("objects"); request("overlay"); });
  on("selected hovered marks proposals tool negative review", () => request("overlay"));
  on("selected", () => request("objects"));
  startBusySigns();
  filter();
}

/** Show another image, given as bitmaps each half as large as the one before. */
export function showBitmaps(bitmaps) {
  levels = bitmaps;
  request("base");
}

/** Return the smallest bitmap of the image. */
export function shownBitmap() {
  return levels.at(-1) ?? null;
}

export function request(layer) {
  due.add(layer);
  if (!frame) frame = requestAnimationFrame(draw);
}

/** Return a promise that resolves after the next frame was painted. */
export function painted() {
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

function measure() {
  const { clientWidth: width, clientHeight: height } = $("stage");
  const ratio = devicePixelRatio || 1;
  for (const canvas of layers) {
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
  }
  resize(width, height);
  for (const layer of ["base", "objects", "overlay"]) request(layer);
}

function draw() {
  frame = 0;
  if (due.has("base")) drawImage(pens[0]);
  if (due.has("objects")) drawObjects(pens[1]);
  if (due.has("overlay")) drawOverlay(pens[2]);
  due.clear();
}

function start(pen) {
  const ratio = devicePixelRatio || 1;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.setTransform(view.scale * ratio, 0, 0, view.scale * ratio, view.x * ratio, view.y * ratio);
}

function drawImage(pen) {
  start(pen);
  if (!levels.length) return;
  const scale = view.scale * (devicePixelRatio || 1);
  let level = 0;
  while (level + 1 < levels.length && scale <= 0.5 ** (level + 1)) level += 1;
  pen.imageSmoothingEnabled = scale < 1 || state.settings.smooth;
  pen.imageSmoothingQuality = "medium";
  pen.drawImage(levels[level], 0, 0, view.imageWidth, view.imageHeight);
}

// -- objects --------------------------------------------------------------------------------

/** Redraw the objects after a change of the view; if that is slow, move their layer and redraw later. */
function moveObjects() {
  if (drawingTook < MANY_MILLISECONDS || !drawnView) {
    request("objects");
    return;
  }
  const scale = view.scale / drawnView.scale;
  const x = view.x - drawnView.x * scale, y = view.y - drawnView.y * scale;
  objectsLayer.style.transform = `matrix(${scale},0,0,${scale},${x},${y})`;
  clearTimeout(settle);
  settle = setTimeout(() => request("objects"), 90);
}

function drawObjects(pen) {
  const began = performance.now();
  clearTimeout(settle);
  start(pen);
  objectsLayer.style.transform = "";
  const left = -view.x / view.scale, top = -view.y / view.scale;
  const right = left + view.width / view.scale, bottom = top + view.height / view.scale;
  const { fill, outline: lines, opacity, width } = state.settings;
  pen.imageSmoothingEnabled = view.scale < 1;
  for (const object of drawingOrder(state.objects.values())) {
    const mask = object.mask;
    if (!mask || mask.x > right || mask.y > bottom || mask.x + mask.w * mask.step < left || mask.y + mask.h * mask.step < top) continue;
    if (current.edited?.id === object.id || isHidden(object)) continue;
    const colour = colourFor(object);
    if (fill) {
      pen.globalAlpha = opacity;
      const { canvas, step } = tint(object, colour);
      pen.drawImage(canvas, mask.x, mask.y, canvas.width * step, canvas.height * step);
    }
    if (lines) {
      pen.globalAlpha = 1;
      strokeObject(pen, object, colour, width, view.scale);
    }
  }
  const selected = shownSelection();
  if (selected.length >= MANY_SELECTED) drawSelected(pen, selected);
  for (const object of state.unsaved.values()) if (object.image === state.image?.id) drawUnsaved(pen, object);
  pen.globalAlpha = 1;
  drawnView = { ...view };
  drawingTook = performance.now() - began;
}

/** Draw an object that is not saved yet, with a dashed outline. */
function drawUnsaved(pen, object) {
  const { mask } = object, colour = colourOf(object.label);
  const { canvas, step } = tint(object, colour);
  object.path ??= outline(mask);
  pen.globalAlpha = state.settings.opacity;
  pen.drawImage(canvas, mask.x, mask.y, canvas.width * step, canvas.height * step);
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  pen.lineWidth = 2 / view.scale;
  pen.setLineDash([6 / view.scale, 4 / view.scale]);
  pen.stroke(object.path);
  pen.setLineDash([]);
}

function tint(object, colour) {
  if (object.tint?.colour !== colour) object.tint = { colour, ...tinted(object.mask, colour) };
  return object.tint;
}

// -- overlay ----------------------------------------------------------------------------------

function drawOverlay(pen) {
  start(pen);
  const selected = shownSelection(), hovered = state.objects.get(state.hovered);
  if (selected.length < MANY_SELECTED) drawSelected(pen, selected);
  if (hovered?.mask) drawHovered(pen, hovered);
  if (state.proposals) drawProposals(pen);
  if (pointer.hover) drawMask(pen, pointer.hover, colourOf(state.label), 0.25, 1);
  const mask = shownMask();
  if (mask) drawMask(pen, mask, colourOf(current.edited ? current.label : state.label), 0.5, 2);
  drawStroke(pen);
  screen(pen);
  drawPrompts(pen);
  drawPins(pen);
  drawLine(pen, toScreen);
  drawPolygon(pen);
  drawPath(pen);
  drawBrush(pen);
}

function screen(pen) {
  const ratio = devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
}

function drawMask(pen, mask, colour, alpha, width) {
  mask.tint ??= {};
  if (mask.tint.colour !== colour) mask.tint = { colour, ...tinted(mask, colour) };
  mask.path ??= outline(mask);
  const { canvas, step } = mask.tint;
  pen.imageSmoothingEnabled = view.scale < 1;
  pen.globalAlpha = state.settings.fill ? Math.max(alpha * 0.6, alpha * state.settings.opacity * 1.6) : 0.08;
  pen.drawImage(canvas, mask.x, mask.y, canvas.width * step, canvas.height * step);
  pen.globalAlpha = 1;
  pen.lineCap = "square";
  for (const [more, ink] of [[3, "rgb(0 0 0 / 60%)"], [1.5, "#fff"], [0, colour]]) {
    pen.lineWidth = (width + more) / view.scale;
    pen.strokeStyle = ink;
    pen.stroke(mask.path);
  }
}

/** Draw the stroke under way as a line; its exact pixels follow when it ends. */
function drawStroke(pen) {
  const stroke = strokeUnderWay();
  if (!stroke) return;
  pen.beginPath();
  stroke.points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  if (stroke.points.length === 1) pen.lineTo(stroke.points[0][0], stroke.points[0][1] + 1e-3);
  pen.lineWidth = Math.max(stroke.radius, 0.5) * 2;
  pen.lineCap = pen.lineJoin = "round";
  pen.globalAlpha = 0.5;
  pen.strokeStyle = stroke.add ? colourOf(current.edited ? current.label : state.label) : "#fff";
  pen.stroke();
  pen.globalAlpha = 1;
}

function shownSelection() {
  return selectedObjects().filter((object) => object.mask && current.edited?.id !== object.id && !isHidden(object));
}

function drawSelected(pen, objects) {
  pen.lineCap = "square";
  for (const [width, colour] of [[4.5, "rgb(0 0 0 / 60%)"], [2.5, "#fff"]]) {
    pen.lineWidth = width / view.scale;
    pen.strokeStyle = colour;
    for (const object of objects) {
      object.path ??= outline(object.mask);
      pen.stroke(object.path);
    }
  }
}

function drawHovered(pen, object) {
  object.path ??= outline(object.mask);
  pen.lineCap = "square";
  pen.lineWidth = 2 / view.scale;
  pen.strokeStyle = "#fff";
  pen.stroke(object.path);
}

function drawProposals(pen) {
  state.proposals.list.forEach((proposal, index) => {
    if (index === state.proposals.index) {
      drawMask(pen, proposal.mask, proposal.colour ?? colourOf(state.label), 0.6, 2.5);
      return;
    }
    proposal.mask.path ??= outline(proposal.mask);
    pen.lineWidth = 1.5 / view.scale;
    pen.setLineDash([5 / view.scale, 4 / view.scale]);
    pen.strokeStyle = "#fff";
    pen.stroke(proposal.mask.path);
    pen.setLineDash([]);
  });
}

function drawPrompts(pen) {
  for (const [x0, y0, x1, y1] of [current.box, ...current.waitingBoxes, pointer.box].filter(Boolean)) {
    const [left, top] = toScreen(x0, y0), [right, bottom] = toScreen(x1, y1);
    pen.lineWidth = 3.5;
    pen.strokeStyle = "rgb(0 0 0 / 50%)";
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#fff";
    pen.setLineDash([6, 4]);
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.setLineDash([]);
  }
  for (const [x, y, positive] of [...current.clicks, ...current.waiting]) {
    const [sx, sy] = toScreen(x, y);
    pen.beginPath();
    pen.arc(sx, sy, 6, 0, 7);
    pen.fillStyle = positive ? "#21a35b" : "#e0443f";
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = "#fff";
    pen.stroke();
    pen.beginPath();
    pen.moveTo(sx - 3, sy);
    pen.lineTo(sx + 3, sy);
    if (positive) {
      pen.moveTo(sx, sy - 3);
      pen.lineTo(sx, sy + 3);
    }
    pen.lineWidth = 1.5;
    pen.stroke();
  }
}

function drawBrush(pen) {
  if (!pointer.inside || !["brush", "erase", "scissors"].includes(state.tool)) return;
  const radius = Math.max((state.settings.brush / 2) * view.scale, 1);
  for (const [width, colour] of [[3, "rgb(0 0 0 / 60%)"], [1.2, "#fff"]]) {
    pen.beginPath();
    pen.arc(pointer.x, pointer.y, radius, 0, 7);
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke();
  }
}

/** Show a busy sign at the cursor and on the object while an answer is awaited. */
function startBusySigns() {
  const signs = ["busy-cursor", "busy-object"].map((id) => $(id));
  const place = () => {
    const at = [[pointer.x + 16, pointer.y + 16], busyPlace()];
    signs.forEach((sign, k) => Object.assign(sign.style, { left: `${at[k][0]}px`, top: `${at[k][1]}px` }));
  };
  onBusy((busy) => {
    $("stage").toggleAttribute("data-busy", busy);
    for (const sign of signs) sign.hidden = !busy;
    if (busy) place();
  });
  $("stage").addEventListener("pointermove", place);
  onView(place);
}

/** Return the screen position of the object that waits for an answer. */
function busyPlace() {
  const click = current.waiting.at(-1), box = current.waitingBoxes.at(-1), mask = shownMask();
  if (click) return toScreen(click[0], click[1]);
  if (box) return toScreen((box[0] + box[2]) / 2, (box[1] + box[3]) / 2);
  if (mask) return toScreen(mask.x + (mask.w * mask.step) / 2, mask.y + (mask.h * mask.step) / 2);
  return [pointer.x, pointer.y];
}

/** Apply brightness, contrast and gamma as an SVG filter to the image, not to the objects. */
function filter() {
  const { brightness, contrast, gamma, invert } = state.settings;
  const plain = !brightness && !contrast && gamma === 1 && !invert;
  if (!plain) {
    const gain = 2 ** (contrast / 25), shift = brightness / 100;
    const table = Array.from({ length: 65 }, (_, k) => {
      const value = Math.min(Math.max((k / 64 - 0.5) * gain + 0.5 + shift * gain, 0), 1) ** (1 / gamma);
      return (invert ? 1 - value : value).toFixed(4);
    }).join(" ");
    for (const part of document.querySelectorAll("#display feComponentTransfer > *")) {
      part.setAttribute("tableValues", table);
    }
  }
  for (const element of [base, $("tiles")]) element.style.filter = plain ? "" : "url(#display)";
  overlay.dataset.filter = plain ? "" : "on";
}
