// Input with mouse, pen and fingers: presses, drags and pinches on the image.

import { beginStroke, cancelStroke, continueStroke, endStroke } from "./brush.js";
import { post } from "./api.js";
import { box, click, current, hasObject, isUnderWay, waits } from "./current.js";
import { fromCrop } from "./mask.js";
import { beginLine, continueLine, endLine } from "./line.js";
import { splitAlong } from "./masktools.js";
import { objectAt, selectAt, selectInside } from "./objects.js";
import { inOrder, isLeaving } from "./queue.js";
import { pinAt, pointAtPin } from "./pins.js";
import { dragTo, grab, release } from "./polygon.js";
import { cutTo } from "./scissors.js";
import { hover } from "./selection.js";
import { activate } from "./similar.js";
import { openPlace, stepSlice } from "./stacks.js";
import { state } from "./state.js";
import { pointer, request } from "./stage.js";
import { $, toast } from "./ui.js";
import { isInside, pan, sight, toImage, view, zoomAt } from "./view.js";

const MOVED = 5; // screen pixels from which on a press is a drag
const NOTCH = 50; // pixels of scrolling per slice
const LONG = 550; // milliseconds after which a finger's press means background

const fingers = new Map();
let press = null;
let pinch = null;
let spaceHeld = false;
let previewTimer = 0;
let previewAsked = 0;
let turned = 0; // pixels scrolled with the wheel since the last change of slice

export function startPointer() {
  const stage = $("stage");
  stage.addEventListener("pointerdown", down);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", cancel);
  stage.addEventListener("pointerleave", () => { pointer.inside = false; hover(null); forgetPreview(); request("overlay"); });
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("wheel", wheel, { passive: false });
}

/** While the space bar is held, dragging moves the image. */
export function holdSpace(held) {
  spaceHeld = held;
  $("stage").classList.toggle("panning", held);
}

function place(event) {
  const frame = $("stage").getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
}

function down(event) {
  if (event.target.closest("#blank")) return;
  if (document.activeElement?.matches("input, select")) document.activeElement.blur();
  const [x, y] = place(event);
  fingers.set(event.pointerId, [x, y]);
  $("stage").setPointerCapture(event.pointerId);
  forgetPreview();
  if (isLeaving()) {
    toast("Another image is being opened.");
    return;
  }
  if (event.pointerType === "touch" && fingers.size === 2) {
    giveUp();
    pinch = spread();
    return;
  }
  if (current.image === null) {
    toast("The image is still being opened.");
    return;
  }
  if (pinch || fingers.size > 2) return;
  press = { id: event.pointerId, x, y, kind: kindOf(event), moved: false, began: performance.now() };
  press.touch = event.pointerType === "touch";
  press.also = event.shiftKey;
  if (press.kind === "polygon") grab(x, y, event.button === 2 || event.altKey);
  if (isLine(press.kind)) beginLine(press.kind, ...toImage(x, y));
  if (press.kind === "brush" || press.kind === "erase") {
    beginStroke(...toImage(x, y), press.kind === "brush");
    request("overlay");
  }
  if (press.kind === "pan") $("stage").classList.add("panning");
}

const isLine = (kind) => kind === "select" || kind === "split";

function kindOf(event) {
  if (event.button === 1 || spaceHeld || state.tool === "pan") return "pan";
  const background = event.button === 2 || event.altKey;
  if (event.shiftKey && !background) return "select";
  if (state.tool === "click" || state.tool === "box") return background !== state.negative ? "background" : "object";
  if (background && state.tool === "brush") return "erase";
  return state.tool;
}

function move(event) {
  const [x, y] = place(event);
  pointer.x = x;
  pointer.y = y;
  pointer.inside = true;
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
  if (pinch && fingers.size >= 2) {
    movePinch();
    return;
  }
  if (!press || event.pointerId !== press.id) {
    if (event.pointerType === "mouse") {
      preview(x, y);
      pointAtPin(x, y);
      hover(isUnderWay() ? null : objectAt(...toImage(x, y))?.id ?? null);
    }
    request("overlay");
    return;
  }
  press.moved ||= Math.hypot(x - press.x, y - press.y) > MOVED;
  if (press.kind === "pan") {
    pan(event.movementX, event.movementY);
  } else if (press.kind === "brush" || press.kind === "erase") {
    for (const step of event.getCoalescedEvents?.() ?? [event]) continueStroke(...toImage(...place(step)));
  } else if (press.kind === "polygon") {
    dragTo(...toImage(x, y));
  } else if (isLine(press.kind)) {
    for (const step of event.getCoalescedEvents?.() ?? [event]) continueLine(...toImage(...place(step)));
  } else if (press.moved && (press.kind === "object" || press.kind === "background")) {
    pointer.box = [...toImage(Math.min(x, press.x), Math.min(y, press.y)), ...toImage(Math.max(x, press.x), Math.max(y, press.y))];
  }
  request("overlay");
}

function up(event) {
  fingers.delete(event.pointerId);
  if (pinch) {
    if (fingers.size === 0) pinch = null;
    return;
  }
  if (!press || event.pointerId !== press.id) return;
  const done = press;
  press = null;
  $("stage").classList.remove("panning");
  const [x, y] = toImage(...place(event));
  if (done.kind === "brush" || done.kind === "erase") endStroke();
  else if (done.kind === "polygon") release();
  else if (done.kind === "comment") pinAt(x, y);
  else if (done.kind === "scissors") inOrder(() => cutTo(x, y));
  else if (isLine(done.kind)) drawn(done, x, y);
  else if (done.kind !== "pan") prompt(done, x, y);
  pointer.box = null;
  request("overlay");
}

/** Handle the end of a lasso, a cut, or a click that selects. */
function drawn(done, x, y) {
  const line = endLine();
  if (done.kind === "split") {
    if (done.moved) inOrder(() => splitAlong(line));
  } else if (done.moved) inOrder(() => selectInside(line, done.also));
  else inOrder(() => pick(x, y, done.also));
}

function prompt(done, x, y) {
  const seen = sight();
  if (done.moved && pointer.box) {
    const [x0, y0, x1, y1] = pointer.box;
    const clip = (value, most) => Math.min(Math.max(value, 0), most);
    const edges = [clip(x0, view.imageWidth), clip(y0, view.imageHeight), clip(x1, view.imageWidth), clip(y1, view.imageHeight)];
    if (edges[2] - edges[0] < 1 || edges[3] - edges[1] < 1) return;
    const boxDone = waits("waitingBoxes", edges);
    inOrder(() => box(...edges, seen).finally(boxDone));
    return;
  }
  if (!isInside(x, y)) return;
  const isLong = done.touch && performance.now() - done.began > LONG;
  const positive = (done.kind === "object") !== isLong;
  const maySelect = state.tool === "box" && !done.touch;
  const clickDone = waits("waiting", [x, y, positive ? 1 : 0]);
  inOrder(() => clicked(x, y, positive, maySelect, seen).finally(clickDone));
}

/** Send a click, or select an object; called when everything before it was answered. */
async function clicked(x, y, positive, maySelect, seen) {
  if (maySelect && !hasObject()) {
    if (objectAt(x, y)) selectAt(x, y);
    return;
  }
  await click(x, y, positive, seen);
}

/** Activate the proposal at a point, or else select the accepted object there. */
function pick(x, y, also) {
  if (!state.proposals || hasObject() || !activate(x, y)) selectAt(x, y, also);
}

function cancel(event) {
  fingers.delete(event.pointerId);
  if (fingers.size === 0) pinch = null;
  giveUp();
}

function giveUp() {
  press = null;
  pointer.box = null;
  cancelStroke();
  endLine();
  $("stage").classList.remove("panning");
  request("overlay");
}

// -- zoom ---------------------------------------------------------------------------------

function wheel(event) {
  event.preventDefault();
  const [x, y] = place(event);
  if (event.shiftKey && openPlace()) {
    turned += (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 20 : 1);
    const slices = Math.trunc(turned / NOTCH);
    turned -= slices * NOTCH;
    if (slices) stepSlice(Math.sign(slices));
    return;
  }
  if (event.shiftKey) {
    pan(-event.deltaY - event.deltaX, 0);
    return;
  }
  const lines = event.deltaMode === 1 ? 20 : 1;
  zoomAt(Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0022), x, y);
}

function spread() {
  const [[ax, ay], [bx, by]] = [...fingers.values()];
  return { x: (ax + bx) / 2, y: (ay + by) / 2, size: Math.max(Math.hypot(ax - bx, ay - by), 1) };
}

function movePinch() {
  const now = spread();
  pan(now.x - pinch.x, now.y - pinch.y);
  zoomAt(now.size / pinch.size, now.x, now.y);
  pinch = now;
}

// -- hover preview --------------------------------------------------------------------------

function preview(sx, sy) {
  if (!state.settings.preview || state.tool !== "click" || isUnderWay() || state.proposals) return;
  clearTimeout(previewTimer);
  previewTimer = setTimeout(async () => {
    const [x, y] = toImage(sx, sy);
    if (!isInside(x, y) || isUnderWay()) return;
    const asked = ++previewAsked;
    try {
      const { mask } = await post(`/api/images/${current.image}/preview`, { x, y, ...sight() });
      if (asked !== previewAsked || isUnderWay()) return;
      pointer.hover = fromCrop(mask);
      request("overlay");
    } catch {
      // A preview that fails is not shown.
    }
  }, 70);
}

export function forgetPreview() {
  clearTimeout(previewTimer);
  previewAsked += 1;
  pointer.hover = null;
}
