// The view panel: how objects and image look, and how drawing behaves.

import { configure, on, state } from "./state.js";
import { keyOf } from "./keys.js";
import { ANSWERS } from "./leaving.js";
import { toggleColouring } from "./marks.js";
import { $, h } from "./ui.js";

export function startDisplay() {
  on("settings tab", render);
  applyTheme();
  darkSystem.addEventListener("change", applyTheme);
  build();
  render();
}

export function toggle(name) {
  configure({ [name]: !state.settings[name] });
}

/** Switch between dark and light; if the result is the system's theme, follow the system again. */
export function toggleTheme() {
  const other = theme() === "dark" ? "light" : "dark";
  configure({ theme: other === systemTheme() ? "system" : other });
  applyTheme();
}

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (darkSystem.matches ? "dark" : "light");
const theme = () => (state.settings.theme === "system" ? systemTheme() : state.settings.theme);

function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

const PLAIN = { brightness: 0, contrast: 0, gamma: 1, invert: false };

/** Fit brightness and contrast to the image's darkest and brightest pixels, or reset them. */
export function autoLevels(bitmap) {
  const isPlain = Object.entries(PLAIN).every(([name, value]) => state.settings[name] === value);
  if (state.settings.fitContrast || !isPlain) configure({ ...PLAIN, fitContrast: false });
  else fitContrast(bitmap);
}

/** Fit the contrast to an image that was opened, unless one fit is set for all images. */
export function refitContrast(bitmap) {
  if (state.settings.fitContrast && !state.settings.lockContrast) fitContrast(bitmap);
}

function fitContrast(bitmap) {
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
    ...PLAIN, fitContrast: true,
    contrast: Math.min(100, Math.round(25 * Math.log2(1 / (high - low)))),
    brightness: Math.round(100 * (0.5 - (low + high) / 2)),
  });
}

/** Build the panel once, so that updates do not replace a slider that is being dragged. */
function build() {
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
      h("button.button.small", { onclick: () => document.dispatchEvent(new Event("auto-levels")) }, "Fit contrast ", h("kbd", { "data-key": "autoLevels" })),
      h("button.button.small", { onclick: () => configure({ ...PLAIN, fitContrast: false }) }, "As it is")),
    check("lockContrast", "Same fit for all images"),
    h("h3", {}, "Drawing"),
    check("keepEarlier", "Keep earlier objects on top"), check("preview", "Preview under the mouse"),
    h("label.field", {}, "Unaccepted object when leaving the image", h("select", {
      "data-setting": "leaving", onchange: (event) => configure({ leaving: event.target.value }),
    }, Object.entries(ANSWERS).map(([value, text]) => h("option", { value, selected: value === s.leaving }, text)))),
    h("h3", {}, "You"),
    h("input", { type: "text", value: s.person, "aria-label": "Your name", placeholder: "Your name, for others to see", maxLength: 60, onchange: (event) => configure({ person: event.target.value.trim() }) }));
}

function render() {
  for (const input of $("view-panel").querySelectorAll("[data-setting]")) {
    const value = state.settings[input.dataset.setting];
    if (input.type === "checkbox") input.checked = value;
    else if (input.value !== String(value)) input.value = value;
  }
  for (const output of $("view-panel").querySelectorAll("output")) output.textContent = String(state.settings[output.dataset.name]);
  for (const hint of $("view-panel").querySelectorAll("[data-key]")) {
    hint.textContent = keyOf(hint.dataset.key);
    hint.hidden = !hint.textContent;
  }
}

function slider(name, text, min, max, step) {
  const output = h("output", { "data-name": name });
  return h("label.field", {}, text, output, h("input", {
    type: "range", min, max, step, value: state.settings[name], "data-setting": name, "aria-label": text,
    oninput: (event) => configure({ [name]: Number(event.target.value), ...(name in PLAIN ? { fitContrast: false } : {}) }),
  }));
}

function check(name, text) {
  return h("label.check", {}, h("input", { type: "checkbox", "data-setting": name, onchange: () => toggle(name) }),
    text, h("kbd", { "data-key": name }));
}
