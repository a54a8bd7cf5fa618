// Keyboard shortcuts: the actions, their keys, and the dialog to change them.

import { hasOwnUse, startFocus } from "./focus.js";
import { keep, load } from "./state.js";
import { confirmed, dialog, h, toast } from "./ui.js";

/** Actions as name: [group, text, default keys]. `nameOf` gives the names of keys. */
const ACTIONS = {
  accept: ["Object", "Accept object or proposal", ["Enter", "E"]],
  drop: ["Object", "Drop object, deselect, end", ["Escape"]],
  cycle: ["Object", "Next candidate", ["C"]],
  undo: ["Object", "Undo", ["Ctrl+Z"]],
  redo: ["Object", "Redo", ["Ctrl+Shift+Z", "Ctrl+Y"]],
  edit: ["Object", "Improve selected object, fix proposal", ["I"]],
  remove: ["Object", "Delete selected object", ["Delete", "Backspace"]],
  searchLabel: ["Object", "Label by name or number", ["/"]],
  similar: ["Object", "Find similar objects", ["F"]],
  reject: ["Object", "Reject proposal", ["R", "Delete"]],
  acceptAll: ["Object", "Accept all proposals", ["Shift+Enter"]],
  proposalNext: ["Object", "Next proposal", ["Tab"]],
  proposalPrevious: ["Object", "Previous proposal", ["Shift+Tab"]],
  selectAll: ["Object", "Select all that the list shows", ["Ctrl+A"]],
  selectAlike: ["Object", "Select all of this label", ["Shift+A"]],
  merge: ["Object", "Merge selected objects", ["Shift+M"]],
  hide: ["Object", "Hide or show selected objects", ["Shift+H"]],
  lock: ["Object", "Lock or unlock selected objects", ["Shift+L"]],
  solo: ["Object", "Show selected objects alone, or all", ["Shift+O"]],
  showAll: ["Object", "Show hidden objects", ["Shift+U"]],
  islands: ["Mask", "Remove islands", ["Shift+I"]],
  holes: ["Mask", "Fill holes", ["Shift+F"]],
  largest: ["Mask", "Keep largest part", ["Shift+K"]],
  smooth: ["Mask", "Smooth", ["Shift+S"]],
  refine: ["Mask", "Refine the outline (images larger than memory)", ["Shift+E"]],
  toolSplit: ["Mask", "Split by a stroke", ["Shift+X"]],
  toolPolygon: ["Mask", "Corners: drag, add on a line, Alt removes", ["Shift+P"]],
  simplify: ["Mask", "Fewer corners", ["Shift+C"]],
  done: ["Images", "Image done, on to the next", ["N"]],
  skipImage: ["Images", "Skip or reopen image", ["K"]],
  forReview: ["Images", "For review, on to the next", ["Shift+R"]],
  approve: ["Images", "Approve, on to the next for review", ["Shift+Y"]],
  sendBack: ["Images", "Send back with a comment", ["Shift+B"]],
  queue: ["Images", "Review waiting proposals", ["Shift+Q"]],
  comment: ["Images", "Comment on a place", ["U"]],
  next: ["Images", "Next image", ["ArrowRight"]],
  previous: ["Images", "Previous image", ["ArrowLeft"]],
  jump: ["Images", "Go to image…", ["G"]],
  sliceNext: ["Slices", "Next slice (or Shift wheel)", ["ArrowDown", "PageDown"]],
  slicePrevious: ["Slices", "Previous slice", ["ArrowUp", "PageUp"]],
  carry: ["Slices", "Carry the selected object to the next slice", [".", "Shift+ArrowDown"]],
  carryBack: ["Slices", "Carry it to the previous slice", [">", ":", "Shift+ArrowUp"]],
  fillSlices: ["Slices", "Fill between two slices of an object; accept what was filled", ["Shift+G"]],
  splitTrack: ["Slices", "From here on it is another object", ["Shift+T"]],
  joinTracks: ["Slices", "Two objects are the same", ["Shift+J"]],
  endTrack: ["Slices", "The object ends here", ["Shift+N"]],
  toolClick: ["Tools", "Click (drag: box)", ["W"]],
  polarity: ["Tools", "Clicks mean background", ["X"]],
  toolBox: ["Tools", "Box", ["Q"]],
  toolBrush: ["Tools", "Brush", ["B"]],
  toolErase: ["Tools", "Eraser", ["D"]],
  toolSelect: ["Tools", "Select objects", ["V"]],
  toolPan: ["Tools", "Move the image (or hold Space)", ["H"]],
  toolScissors: ["Tools", "Scissors: click along an edge, Enter ends", ["S"]],
  smaller: ["Tools", "Smaller brush", ["["]],
  larger: ["Tools", "Larger brush", ["]"]],
  fit: ["View", "Fit image", ["Z"]],
  zoomIn: ["View", "Zoom in", ["+", "="]],
  zoomOut: ["View", "Zoom out", ["-"]],
  fill: ["View", "Fill of objects", ["O"]],
  outline: ["View", "Outlines of objects", ["L"]],
  colourBy: ["View", "Colours by label or by object", ["J"]],
  autoLevels: ["View", "Contrast to fit the image", ["A"]],
  preview: ["View", "Preview under the mouse", ["M"]],
  keepEarlier: ["View", "Keep earlier objects on top", ["T"]],
  theme: ["View", "Dark or light", []],
  showLearning: ["View", "Learning panel", ["Y"]],
  panel: ["View", "Side panel (narrow screens)", ["P"]],
  help: ["View", "Keys", ["?"]],
};

const mapped = new Map();
const actions = {};
let proposing = () => false;

export function startKeys(todo, isProposing, hold) {
  Object.assign(actions, todo);
  proposing = isProposing;
  const own = load("keys", {});
  for (const [name, [, , keys]] of Object.entries(ACTIONS)) mapped.set(name, own[name] ?? keys);
  addEventListener("keydown", (event) => press(event, hold));
  addEventListener("keyup", (event) => event.code === "Space" && hold(false));
  addEventListener("blur", () => hold(false));
  startFocus();
  for (const element of document.querySelectorAll("[data-action]")) {
    const name = element.dataset.action;
    element.addEventListener("click", () => run(name, element));
  }
  titles();
}

/** Run an action by its name. */
export function run(name, element) {
  actions[name]?.(element);
}

/** Return the key to show for an action. */
export function keyOf(name) {
  return shown(mapped.get(name)?.[0] ?? "");
}

function titles() {
  for (const element of document.querySelectorAll("[data-action]")) {
    const [, text] = ACTIONS[element.dataset.action] ?? [];
    if (!text) continue;
    const key = keyOf(element.dataset.action);
    element.title = key ? `${text} (${key})` : text;
    element.setAttribute("aria-label", text);
    if (element.matches(".tool")) {
      element.querySelector(".key")?.remove();
      if (key.length === 1) element.append(h("span.key", {}, key));
    }
  }
}

function press(event, hold) {
  if (document.querySelector(".veil") || event.target.matches?.("input:not([type=range], [type=checkbox]), select")) return;
  if (hasOwnUse(event)) return;
  if (event.code === "Space") {
    event.preventDefault();
    if (!event.repeat) hold(true);
    return;
  }
  if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    actions.number?.(Number(event.key));
    return;
  }
  const key = nameOf(event);
  for (const [name, keys] of mapped) {
    if (!keys.includes(key)) continue;
    if (PROPOSALS.has(name) && !proposing()) continue;
    if (name === "remove" && proposing()) continue;
    event.preventDefault();
    if (!event.repeat || REPEATS.has(name)) run(name);
    return;
  }
}

const PROPOSALS = new Set(["reject", "acceptAll", "proposalNext", "proposalPrevious"]);
const REPEATS = new Set(["undo", "redo", "zoomIn", "zoomOut", "smaller", "larger", "next", "previous", "sliceNext", "slicePrevious"]);

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const letter = /^[A-Z0-9]$/.test(key) || event.key.length > 1;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${event.shiftKey && letter ? "Shift+" : ""}${key}`;
}

function shown(key) {
  return key.replace("ArrowRight", "→").replace("ArrowLeft", "←").replace("Escape", "Esc").replace("ArrowDown", "↓").replace("ArrowUp", "↑").replace("Delete", "Del");
}

const FIXED = {
  Object: [["1 … 9, 0", "Label, no label"]],
  Tools: [["Right click, Alt", "Click on the background"], ["Shift click", "Select an object, or one more"], ["Shift drag", "Select what lies inside"]],
  View: [["Wheel", "Zoom"], ["Space drag", "Move the image"]],
};

/** Show the dialog of all keys, in which they can be changed. */
export function showKeys() {
  dialog("Keys", (close) => {
    const grid = h("div.keys");
    const group = (title) => h("div.group", {}, h("h3", {}, title),
      Object.entries(ACTIONS).filter(([, [of]]) => of === title).map(([name, [, text]]) => line(name, text, fill)),
      (FIXED[title] ?? []).map(([key, text]) => h("div.line", {}, text, h("kbd", {}, key))));
    const fill = () => grid.replaceChildren(...["Object", "Mask", "Tools", "Slices", "Images", "View"].map(group));
    fill();
    const restore = () => {
      keep("keys", {});
      for (const [name, [, , keys]] of Object.entries(ACTIONS)) mapped.set(name, keys);
      titles();
      fill();
    };
    return [h("p.muted", {}, "Click on a key to change it, then press the new one."), grid,
      h("div.end", {}, h("button.button", { onclick: restore }, "Restore standard keys"), h("button.button.main", { onclick: close }, "Close"))];
  });
}

function line(name, text, fill) {
  const keys = mapped.get(name);
  const button = h("button", { title: "Change", onclick: () => wait(button, name, fill) },
    ...(keys.length ? keys : ["–"]).map((key) => h("kbd", {}, shown(key))));
  return h("div.line", {}, text, button);
}

function wait(button, name, fill) {
  button.classList.add("waiting");
  button.replaceChildren(h("kbd", {}, "press a key"));
  button.addEventListener("keydown", (event) => {
    if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const key = nameOf(event);
    if (/^[0-9]$/.test(key) || key === " ") {
      toast("Digits are labels, and Space moves the image.", true);
    } else {
      bind(name, key).then(fill);
      return;
    }
    fill();
  });
  button.focus();
}

/** Assign a key to an action; asks first if another action has the key. */
async function bind(name, key) {
  const owner = [...mapped].find(([other, keys]) => other !== name && keys.includes(key))?.[0];
  if (owner) {
    const text = `${shown(key)} is the key for “${ACTIONS[owner][1]}”. Use it for “${ACTIONS[name][1]}” instead?`;
    if (!(await confirmed("This key is used", text, "Use it here"))) return;
    mapped.set(owner, mapped.get(owner).filter((one) => one !== key));
  }
  mapped.set(name, [key]);
  keep("keys", Object.fromEntries(mapped));
  titles();
}
