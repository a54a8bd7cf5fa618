// Buttons to choose among the candidates for the object under way, with score and thumbnail.

import { get } from "./api.js";
import { choose, current } from "./current.js";
import { extent, fromCrop, outline } from "./mask.js";
import { inOrder } from "./queue.js";
import { shownBitmap } from "./stage.js";
import { colourOf, state } from "./state.js";
import { h } from "./ui.js";
import { view } from "./view.js";

const WIDTH = 168, HEIGHT = 126;
let fetched = { of: null, masks: null };

/** Return a button for each candidate; none if there is only one. */
export function candidateButtons() {
  if (current.candidates < 2) return [];
  return [h("span.candidates", {}, Array.from({ length: current.candidates }, (_, k) => button(k)))];
}

function button(k) {
  const score = Math.round(100 * Math.min(Math.max(current.scores[k] ?? 0, 0), 1));
  const text = `Candidate ${k + 1}: score ${score} of 100`;
  const show = (event) => thumbnail(event.currentTarget, k);
  const hide = (event) => event.currentTarget.querySelector("canvas")?.remove();
  const made = h("button", {
    "aria-label": text, "aria-current": String(k === current.chosen), "data-candidate": String(k),
    onclick: () => inOrder(() => choose(k)), onmouseenter: show, onfocus: show, onmouseleave: hide, onblur: hide,
  }, String(score));
  // The bar may be redrawn while the mouse is over a button.
  requestAnimationFrame(() => made.matches(":hover") && thumbnail(made, k));
  return made;
}

async function thumbnail(button, k) {
  if (button.querySelector("canvas")) return;
  const canvas = h("canvas.candidate", { width: 2 * WIDTH, height: 2 * HEIGHT });
  const { left, top } = button.getBoundingClientRect();
  Object.assign(canvas.style, { left: `${left}px`, top: `${top - HEIGHT - 14}px` });
  button.append(canvas);
  const masks = await candidateMasks().catch(() => []);
  if (canvas.isConnected && masks[k]) draw(canvas, masks[k]);
  else canvas.remove();
}

/** Fetch the masks of all candidates; only when a thumbnail is shown, as most clicks need none. */
function candidateMasks() {
  const { image, clicks } = current;
  if (fetched.of !== clicks) {
    const masks = get(`/api/images/${image}/candidates`).then(({ candidates }) => candidates.map(fromCrop));
    fetched = { of: clicks, masks };
    masks.catch(() => { fetched = { of: null, masks: null }; });
  }
  return fetched.masks;
}

/** Draw the part of the image around a mask, with the mask's outline. */
function draw(canvas, mask) {
  const pen = canvas.getContext("2d");
  const box = extent(mask);
  const scale = 0.8 * Math.min(canvas.width / box.w, canvas.height / box.h);
  pen.translate(canvas.width / 2, canvas.height / 2);
  pen.scale(scale, scale);
  pen.translate(-box.x - box.w / 2, -box.y - box.h / 2);
  const bitmap = shownBitmap();
  if (bitmap) pen.drawImage(bitmap, 0, 0, view.imageWidth, view.imageHeight);
  const path = outline(mask);
  for (const [width, colour] of [[6, "rgb(0 0 0 / 60%)"], [3, colourOf(current.edited ? current.label : state.label)]]) {
    pen.lineWidth = width / scale;
    pen.strokeStyle = colour;
    pen.stroke(path);
  }
  canvas.dataset.drawn = "true";
}
