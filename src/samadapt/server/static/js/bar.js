// The bar below the image: what can be done now, with its keys.

import { choose, current, isUnderWay, onCurrent, shownMask } from "./current.js";
import { keyOf, run } from "./keys.js";
import { inOrder, onBusy } from "./queue.js";
import { request } from "./stage.js";
import { configure, labelOf, on, state } from "./state.js";
import { $, h, icon } from "./ui.js";

export function startBar() {
  onCurrent(() => { render(); request("overlay"); });
  on("proposals selected label labels objects settings tool", render);
  $("brush-size").addEventListener("input", (event) => configure({ brush: fromSlider(Number(event.target.value)) }));
  onBusy(render);
  render();
}

function render() {
  const bar = $("bar");
  const parts = state.proposals ? forProposals() : isUnderWay() ? forObject() : state.selected !== null ? forSelected() : [];
  bar.hidden = !parts.length;
  bar.replaceChildren(...parts);
  const painting = state.tool === "brush" || state.tool === "erase";
  $("brush-bar").hidden = !painting;
  $("brush-bar").style.bottom = parts.length ? "" : "14px";
  $("brush-value").textContent = `${state.settings.brush} px`;
  $("brush-size").value = toSlider(state.settings.brush);
}

function forObject() {
  const dots = current.candidates > 1
    ? [h("span.dots", { title: "Candidates: whole, part, smaller part" }, Array.from({ length: current.candidates }, (_, k) =>
      h("button", { "aria-label": `Candidate ${k + 1}`, "aria-current": String(k === current.chosen), onclick: () => inOrder(() => choose(k)) }))),
    key("cycle"), separator()] : [];
  const name = current.edited ? `${labelOf(current.label)?.name ?? "object"} #${current.edited.id}` : labelOf(state.label)?.name ?? "object";
  return [
    ...dots,
    small("undo", "undo", "Undo"), small("redo", "redo", "Redo"), separator(),
    small("cross", "drop", "Drop this object"),
    h("span.info", {}, name),
    main("accept", current.edited ? "Save" : "Accept", !shownMask() && !current.waiting.length && !current.waitingBoxes.length),
  ];
}

function forProposals() {
  const { list, index, more } = state.proposals;
  const title = more ? "There may be more: they are looked for after these" : "";
  return [
    h("span.info", { title }, `Similar ${index + 1} / ${list.length}${more ? "+" : ""}`),
    small("left", "proposalPrevious", "Previous"), small("right", "proposalNext", "Next"), separator(),
    plain("reject", "Reject"), plain("acceptAll", "Accept all"), main("accept", "Accept"), small("cross", "drop", "End"),
  ];
}

function forSelected() {
  const object = state.objects.get(state.selected);
  if (!object) return [];
  return [
    h("span.info", {}, `${labelOf(object.label)?.name ?? "object"} #${object.id}`), separator(),
    plain("edit", "Improve"), plain("remove", "Delete"), small("cross", "drop", "Deselect"),
  ];
}

function key(action) {
  const text = keyOf(action);
  return text ? h("kbd", {}, text) : null;
}

function separator() {
  return h("span.sep");
}

function small(image, action, title) {
  return h("button.icon-button", { title: `${title} (${keyOf(action)})`, "aria-label": title, onclick: () => run(action) }, icon(image));
}

function plain(action, text) {
  return h("button.button", { onclick: () => run(action), "data-bar": action }, text, key(action));
}

function main(action, text, disabled = false) {
  return h("button.button.main", { onclick: () => run(action), disabled, "data-bar": action }, text, key(action));
}

// Fine steps for small brushes.
function fromSlider(value) {
  return Math.max(1, Math.round((value / 200) ** 2 * 400));
}

function toSlider(size) {
  return Math.round(Math.sqrt(size / 400) * 200);
}
