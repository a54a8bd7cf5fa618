// The view panel: how objects and image look, and how drawing behaves.

import { configure, on, state } from "./state.js";
import { keyOf } from "./keys.js";
import { toggleColouring } from "./marks.js";
import { $, h } from "./ui.js";

export function startDisplay() {
  on("settings tab", render);
  applyTheme();
  render();
}

export function toggle(name) {
  configure({ [name]: !state.settings[name] });
}

export function toggleTheme() {
  configure({ theme: state.settings.theme === "dark" ? "light" : "dark" });
  applyTheme();
}

function applyTheme() {
  document.documentElement.dataset.theme = state.settings.theme;
}

/** Stretch the image's darkest and brightest percent to black and white, or undo that. */
export function autoLevels(bitmap) {
  const { brightness, contrast, gamma, invert } = state.settings;
  if (brightness || contrast || gamma !== 1 || invert) {
    configure({ brightness: 0, contrast: 0, gamma: 1, invert: false });
    return;
  }
  if (!bitmap) return;
  const side = 256;
  const canvas = h("canvas", { width: side, height: side });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0, side, side);
  const { data } = pen.getImageData(0, 0, side, side);
  const counts = new Uint32Array(256);
  for (let k = 0; k < data.length; k += 4) counts[Math.round((data[k] + data[k + 1] + data[k + 2]) / 3)] += 1;
  const at = (share) => {
    let sum = 0;
    for (let value = 0; value < 256; value++) {
      sum += counts[value];
      if (sum > share * side * side) return value / 255;
    }
    return 1;
  };
  const low = at(0.005), high = Math.max(at(0.998), low + 0.03);
  configure({
    contrast: Math.min(100, Math.round(25 * Math.log2(1 / (high - low)))),
    brightness: Math.round(100 * (0.5 - (low + high) / 2)),
  });
}

function render() {
  if (state.tab !== "view") return;
  if ($("view-panel").contains(document.activeElement) && document.activeElement.type === "range") {
    for (const output of $("view-panel").querySelectorAll("output")) output.textContent = output.dataset.unit.replace("%", state.settings[output.dataset.name]);
    return;
  }
  const s = state.settings;
  $("view-panel").replaceChildren(
    h("h3", {}, "Objects"),
    check("fill", "Fill"), slider("opacity", "Opacity", 0.05, 1, 0.05),
    h("label.check", {}, h("input", { type: "checkbox", checked: s.colourBy === "instance", onchange: toggleColouring }), "A colour for each object", h("kbd", {}, keyOf("colourBy"))),
    check("outline", "Outlines"), slider("width", "Outline width", 0.5, 5, 0.5),
    h("h3", {}, "Image"),
    slider("brightness", "Brightness", -100, 100, 1), slider("contrast", "Contrast", -100, 100, 1), slider("gamma", "Gamma", 0.2, 4, 0.05),
    check("invert", "Invert"), check("smooth", "Smooth when enlarged"),
    h("div.buttons", {},
      h("button.button.small", { onclick: () => document.dispatchEvent(new Event("auto-levels")) }, "Fit contrast ", h("kbd", {}, keyOf("autoLevels"))),
      h("button.button.small", { onclick: () => configure({ brightness: 0, contrast: 0, gamma: 1, invert: false }) }, "As it is")),
    h("h3", {}, "Drawing"),
    check("keepEarlier", "New objects leave earlier ones"), check("preview", "Preview under the mouse"),
    h("h3", {}, "You"),
    h("input", { type: "text", value: s.person, placeholder: "Your name, for others to see", maxLength: 60, onchange: (event) => configure({ person: event.target.value.trim() }) }));
}

function slider(name, text, min, max, step) {
  const output = h("output", { "data-name": name, "data-unit": "%" }, String(state.settings[name]));
  return h("label.field", {}, text, output, h("input", {
    type: "range", min, max, step, value: state.settings[name], "data-setting": name,
    oninput: (event) => configure({ [name]: Number(event.target.value) }),
  }));
}

function check(name, text) {
  const key = keyOf(name);
  return h("label.check", {}, h("input", { type: "checkbox", checked: state.settings[name], "data-setting": name, onchange: () => toggle(name) }),
    text, key && h("kbd", {}, key));
}
