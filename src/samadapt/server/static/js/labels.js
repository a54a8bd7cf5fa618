// Labels: the list at the top right, chosen by click or number key.

import { get, save } from "./api.js";
import { current, hasObject, label as labelCurrent } from "./current.js";
import { relabel } from "./objects.js";
import { inOrder } from "./queue.js";
import { keep, load, on, set, state } from "./state.js";
import { $, complain, dialog, h, icon } from "./ui.js";

const COLOURS = ["#e6413c", "#3c8ee6", "#3fae49", "#f2a516", "#9b59d0", "#19b5b0", "#e667b3", "#8f7a3d", "#7bc043", "#5b6ee1", "#ff7f50", "#6b8e9e"];

export function startLabels() {
  on("labels label selected objects", render);
  on("objects", learnLabels);
  const last = load("label", {})[state.project.folder];
  set({ label: state.labels.some((label) => label.id === last) ? last : state.labels[0]?.id ?? null });
}

/** Choose a label; it goes to the selected object, if there is one. */
export async function chooseLabel(id) {
  if (current.edited) {
    await labelCurrent(id);
    return;
  }
  if (state.selected !== null && state.objects.has(state.selected)) await relabel(id);
  if (hasObject() && current.label !== id) await labelCurrent(id);
  set({ label: id });
  keep("label", { ...load("label", {}), [state.project.folder]: id });
}

/** The label of a number key: 1 to 9, and 0 for none. */
export async function chooseNumber(number) {
  if (number === 0) await chooseLabel(null);
  else if (state.labels[number - 1]) await chooseLabel(state.labels[number - 1].id);
}

function render() {
  const counts = new Map();
  for (const object of state.objects.values()) counts.set(object.label, (counts.get(object.label) ?? 0) + 1);
  const row = (id, name, colour, key) => h("button.row", {
    title: name, "aria-current": String(state.label === id), onclick: () => inOrder(() => chooseLabel(id)), ondblclick: () => id !== null && editLabel(id),
  },
  h("span.swatch", { style: { background: colour } }), h("span.name", {}, name),
  h("span.muted", {}, counts.get(id) ? String(counts.get(id)) : ""), key !== null && h("kbd", {}, String(key)));
  $("labels").replaceChildren(
    h("header", {}, h("h3", {}, "Label"),
      h("button.button.small.quiet", { onclick: () => editLabel(0), title: "Add a label" }, icon("plus"), "Add")),
    h("div.label-list", {},
      state.labels.map((label, k) => row(label.id, label.name, label.colour, k < 9 ? k + 1 : null)),
      row(null, state.labels.length ? "no label" : "object (no label)", "#ffd23f", 0)));
}

function editLabel(id) {
  const known = state.labels.find((label) => label.id === id);
  dialog(known ? "Change label" : "New label", (close) => {
    const name = h("input", { type: "text", value: known?.name ?? "", maxLength: 100, required: true, spellcheck: false });
    const colour = h("input.colour", { type: "color", value: known?.colour ?? COLOURS[state.labels.length % COLOURS.length] });
    const store = async (labels) => {
      try {
        await setLabels(labels);
        close();
        if (!known) inOrder(() => chooseLabel(state.labels.at(-1).id));
      } catch (error) {
        complain(error);
      }
    };
    const submit = (event) => {
      event.preventDefault();
      const label = { id, name: name.value.trim(), colour: colour.value };
      if (!label.name) return;
      store(known ? state.labels.map((one) => (one.id === id ? label : one)) : [...state.labels, label]);
    };
    name.style.flex = "1";
    return h("form", { onsubmit: submit }, h("div.select-row", {}, name, colour),
      h("div.end", {},
        known && h("button.button.danger", { type: "button", onclick: () => store(state.labels.filter((one) => one.id !== id)) }, "Remove"),
        h("button.button", { type: "button", onclick: close }, "Cancel"),
        h("button.button.main", { type: "submit" }, "Save")));
  }, true);
}

async function setLabels(labels) {
  try {
    const answer = await save("PUT", "/api/labels", { labels, revision: state.labelsRevision });
    takeLabels(answer);
  } catch (error) {
    if (error.status === 409) takeLabels(await get("/api/project"));
    throw error;
  }
}

let learning = false;

/** Labels that others added, or that came back with an object. */
async function learnLabels() {
  const known = new Set(state.labels.map((label) => label.id));
  const isKnown = ({ label }) => (label ?? null) === null || known.has(label);
  if (learning || [...state.objects.values()].every(isKnown)) return;
  learning = true;
  try {
    takeLabels(await get("/api/project"));
  } catch {
    // The next change of the objects asks again.
  } finally {
    learning = false;
  }
}

export function takeLabels(answer) {
  const label = answer.labels.some((one) => one.id === state.label) ? state.label : answer.labels[0]?.id ?? null;
  set({ labels: answer.labels, labelsRevision: answer.labels_revision, label });
}
