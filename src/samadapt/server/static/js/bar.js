// The bar below the image: what can be done now, with its keys.

import { candidateButtons } from "./candidates.js";
import { current, isUnderWay, onCurrent, shownMask } from "./current.js";
import { notFollowed } from "./follows.js";
import { keyOf, run } from "./keys.js";
import { onBusy } from "./queue.js";
import { isPinning } from "./pins.js";
import { openPlace } from "./stacks.js";
import { request } from "./stage.js";
import { configure, labelName, on, state } from "./state.js";
import { selectedObjects } from "./selection.js";
import { whichProposal } from "./similar.js";
import { $, h, icon, setChildren } from "./ui.js";
import { onView } from "./view.js";

export function startBar() {
  onCurrent(() => { render(); request("overlay"); });
  on("proposals selected label labels objects settings tool image", render);
  $("brush-size").addEventListener("input", (event) => configure({ brush: fromSlider(Number(event.target.value)) }));
  onBusy(render);
  onView(tellWhich);
  render();
}

function render() {
  const bar = $("bar");
  const parts = (isUnderWay() ? forObject() : state.proposals ? forProposals() : state.selected !== null ? forSelected() : []).filter(Boolean);
  bar.hidden = !parts.length;
  setChildren(bar, parts);
  say(isPinning() ? "Click on the place for the comment; Esc cancels." : parts.length ? remark() : "");
  const painting = ["brush", "erase", "scissors"].includes(state.tool);
  $("brush-bar").hidden = !painting;
  $("brush-value").textContent = `${state.settings.brush} px`;
  // Do not move the slider while it is dragged.
  if (fromSlider(Number($("brush-size").value)) !== state.settings.brush) $("brush-size").value = toSlider(state.settings.brush);
}

/** Update the text about the active proposal; the view may show others now. */
function tellWhich() {
  const place = $("which-proposal"), text = state.proposals && whichProposal();
  if (place && text && place.textContent !== text) place.textContent = text;
}

function say(text) {
  $("remark").title = text;
  $("remark").dataset.kind = !isUnderWay() && state.proposals?.carried?.why ? "warn" : "";
  if ($("remark").textContent !== text) $("remark").textContent = text;
}

/** Return the hint above the buttons. */
function remark() {
  const text = notFollowed();
  const waiting = state.proposals?.list.length;
  if (text || !waiting) return text;
  if (isUnderWay()) return `An object of your own; ${waiting === 1 ? "1 proposal waits" : `${waiting} proposals wait`}.`;
  if (state.proposals.carried) return state.proposals.carried.why ? `Look closely: ${state.proposals.carried.why}.` : "Accept it, or click to correct it.";
  if (state.proposals.unlike) return "This image looks unlike those with examples: look closely, whatever the score says.";
  return "A click begins an object of your own; Shift click picks a proposal.";
}

function forObject() {
  const candidates = candidateButtons();
  const waiting = state.proposals?.list.length;
  const name = current.edited ? `${labelName(current.label)} #${current.edited.id}` : labelName(state.label);
  return [
    ...candidates, ...(candidates.length ? [key("cycle"), separator()] : []),
    small("undo", "undo", "Undo"), small("redo", "redo", "Redo"), separator(),
    small("cross", "drop", "Drop this object"),
    h("span.info", {}, name),
    main("accept", current.edited ? "Save" : waiting ? "Accept this object" : "Accept", !shownMask() && !current.waiting.length && !current.waitingBoxes.length),
  ];
}

function forProposals() {
  const { list, index, more, queue, carried } = state.proposals;
  if (carried) {
    const { score } = list[0], { track, isFilled } = carried;
    return [
      h("span.info", { title: "How far the answers there and back agree" }, isFilled ? "Filled" : `Track ${track} · ${Math.round(100 * score)} %`), separator(),
      plain("reject", "Reject"), plain("edit", "Fix"), !isFilled && plain("endTrack", "Ended"), main("accept", carried.step ? "Accept, carry on" : "Accept"), small("cross", "drop", "End"),
    ].filter(Boolean);
  }
  if (queue) {
    const { label, score } = list[index];
    return [
      h("span.info", { title: "The score of the proposal; the most doubtful come first" }, `${label} · ${Math.round(100 * score)} % · ${queue.waiting} left`),
      small("right", "proposalNext", "Later"), separator(),
      plain("reject", "Reject"), plain("edit", "Fix"), plain("acceptAll", "All here"), main("accept", "Accept proposal"), small("cross", "drop", "End"),
    ];
  }
  const title = more ? "There may be more; they are searched for after these" : "";
  return [
    h("span.info", { id: "which-proposal", title }, whichProposal()),
    small("left", "proposalPrevious", "Previous"), small("right", "proposalNext", "Next"), separator(),
    plain("reject", "Reject"), plain("acceptAll", "Accept all"), main("accept", "Accept proposal"), small("cross", "drop", "End"),
  ];
}

const TRACK_TOOLS = [
  ["fillSlices", "Fill", "Fill the slices up to the next one of this object"], ["splitTrack", "Split", "From this slice on it is another object"],
  ["joinTracks", "Join", "The same object as the one that was selected before"], ["endTrack", "End", "The object is in no later slice"],
];

function forSelected() {
  const objects = selectedObjects(), [object] = objects;
  if (!object) return [];
  if (objects.length > 1) {
    return [
      h("span.info", {}, `${objects.length} objects`), separator(),
      openPlace() && objects.length === 2 && plain("joinTracks", "Join tracks"), plain("merge", "Merge"), plain("hide", "Hide"), plain("remove", "Delete"), small("cross", "drop", "Deselect"),
    ].filter(Boolean);
  }
  return [
    h("span.info", {}, `${labelName(object.label)} #${object.id}`), separator(),
    ...(openPlace() ? [plain("carry", "Carry on"), ...TRACK_TOOLS.map((tool) => titled(...tool)), separator()] : []),
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

function titled(action, text, title) {
  return h("button.button", { title: `${title} (${keyOf(action)})`, onclick: () => run(action), "data-bar": action }, text);
}

function main(action, text, disabled = false) {
  return h("button.button.main", { onclick: () => run(action), disabled, "data-bar": action }, text, key(action));
}

// The slider has finer steps for small brushes.
function fromSlider(value) {
  return Math.max(1, Math.round((value / 200) ** 2 * 400));
}

function toSlider(size) {
  return Math.round(Math.sqrt(size / 400) * 200);
}
