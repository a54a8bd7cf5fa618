// Comments on the image: a pin at the place of each, and adding a new one.

import { inOrder } from "./queue.js";
import { request } from "./stage.js";
import { on, set, state } from "./state.js";
import { $, dialog, h, toast } from "./ui.js";
import { isInside, toScreen } from "./view.js";

const NEAR = 12; // screen pixels
let then = null; // called with the new comment once it is entered
let before = "click"; // the tool that was in use
let pointed = null; // number of the comment that is pointed at

export function startPins() {
  on("image", endPinning);
}

export function isPinning() {
  return state.tool === "comment";
}

/** Ask for a place, then for a text; `save` gets {text, x, y}. */
export function pin(save) {
  if (!state.image) return;
  then = save;
  if (!isPinning()) before = state.tool;
  set({ tool: "comment" });
}

export function endPinning() {
  then = null;
  if (isPinning()) set({ tool: before });
}

/** Handle the click that gives a new comment's place. */
export async function pinAt(x, y) {
  if (!isInside(x, y)) {
    toast("Click inside the image.");
    return;
  }
  const save = then;
  endPinning();
  const text = await askComment(); // ask at once, without waiting for earlier requests
  if (text && save) await inOrder(() => save({ text, x, y }));
}

function askComment() {
  return new Promise((answer) => {
    let said = null;
    dialog("Comment", (close) => {
      const input = h("textarea", { rows: 4, maxLength: 2000, "aria-label": "Comment", placeholder: "What is to be done here?" });
      const submit = (event) => {
        event.preventDefault();
        said = input.value.trim() || null;
        close();
      };
      const key = (event) => event.key === "Enter" && !event.shiftKey && submit(event);
      input.addEventListener("keydown", key);
      return h("form", { onsubmit: submit }, input, h("div.end", {},
        h("button.button", { type: "button", onclick: close }, "Cancel"), h("button.button.main", { type: "submit" }, "Pin it")));
    }, true, () => answer(said));
  });
}

/** Highlight the pin of a comment in the list; null for none. */
export function pointAt(number) {
  pointed = number;
  request("overlay");
}

/** Show the text of the pin at a place of the screen. */
export function pointAtPin(x, y) {
  const near = (one) => {
    const [px, py] = toScreen(one.x, one.y);
    return Math.hypot(px - x, py - 12 - y) < NEAR;
  };
  const found = shownPins().find(near) ?? null;
  if (pointed === (found?.number ?? null)) return;
  pointed = found?.number ?? null;
  $("stage").title = found ? `${found.person || "somebody"}: ${found.text}` : "";
}

function shownPins() {
  return (state.review?.comments ?? []).filter((one) => !one.resolved || one.number === pointed);
}

export function drawPins(pen) {
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.font = "600 11px system-ui, sans-serif";
  for (const one of shownPins()) {
    const [x, y] = toScreen(one.x, one.y), radius = one.number === pointed ? 13 : 10;
    pen.beginPath();
    pen.arc(x, y - radius - 5, radius, 0.25 * Math.PI, 0.75 * Math.PI, true);
    pen.lineTo(x, y);
    pen.closePath();
    pen.fillStyle = one.resolved ? "#5c6673" : "#b3261e";
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#fff";
    pen.stroke();
    pen.fillStyle = "#fff";
    pen.fillText(String(one.number), x, y - radius - 5);
  }
}
