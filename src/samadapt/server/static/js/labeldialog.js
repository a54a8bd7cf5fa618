// The dialog to change a label: name, colour, attributes, merging it into another, removing it.

import { get, save } from "./api.js";
import { current, hasObject, label as labelCurrent } from "./current.js";
import { keyOf } from "./keys.js";
import { chooseLabel, takeLabels } from "./labels.js";
import { refreshObjects } from "./objects.js";
import { inOrder } from "./queue.js";
import { rememberStep } from "./steps.js";
import { NO_LABEL, state } from "./state.js";
import { complain, dialog, h, icon, toast } from "./ui.js";

const KINDS = { text: "text", number: "number", choice: "choice", flag: "yes or no" };

/** Open the dialog for a label; null for a new one. */
export function editLabel(known) {
  dialog(known ? `Label ${known.name}` : "New label", (close) => {
    const name = h("input", { type: "text", value: known?.name ?? "", maxLength: 100, required: true, spellcheck: false, "aria-label": "Name", placeholder: "Name, or group/name" });
    const colour = h("input.colour", { type: "color", value: known?.colour ?? freshColour(), "aria-label": "Colour" });
    const attributes = attributeList(known?.attributes ?? []);
    const submit = (event) => {
      event.preventDefault();
      const label = { id: known?.id ?? 0, name: name.value.trim(), colour: colour.value, attributes: attributes.read() };
      if (!label.name) return;
      store(known ? state.labels.map((one) => (one.id === known.id ? label : one)) : [...state.labels, label], () => {
        close();
        if (!known) inOrder(() => chooseLabel(state.labels.at(-1).id));
      });
    };
    name.style.flex = "1";
    return h("form", { onsubmit: submit }, h("div.select-row", {}, name, colour), attributes.element,
      known && removal(known, close),
      h("div.end", {},
        h("button.button", { type: "button", onclick: close }, "Cancel"),
        h("button.button.main", { type: "submit" }, "Save")));
  }, true);
}

/** Return the colour that the fewest labels have. */
function freshColour() {
  const uses = (colour) => state.labels.filter((label) => label.colour.toLowerCase() === colour).length;
  return state.project.colours.reduce((best, colour) => (uses(colour) < uses(best) ? colour : best));
}

function attributeList(given) {
  const list = h("div");
  const add = (one = { name: "", kind: "text", choices: [] }) => {
    const kind = h("select.kind", { "aria-label": "Kind", onchange: () => { choices.hidden = kind.value !== "choice"; } },
      Object.entries(KINDS).map(([value, text]) => h("option", { value, selected: value === one.kind }, text)));
    const choices = h("input.choices", { type: "text", value: one.choices.join(", "), placeholder: "red, green, blue", "aria-label": "Choices, with commas between", hidden: one.kind !== "choice" });
    const line = h("div.attribute", {},
      h("input.name", { type: "text", value: one.name, maxLength: 100, placeholder: "Attribute", "aria-label": "Attribute" }), kind,
      h("button.icon-button", { type: "button", "aria-label": "Remove attribute", onclick: () => line.remove() }, icon("cross")), choices);
    list.append(line);
    return line;
  };
  given.forEach(add);
  const part = (line, name) => line.querySelector(`.${name}`).value.trim();
  return {
    element: h("div", {}, h("h3", {}, "Attributes of its objects"), list,
      h("button.button.small.quiet", { type: "button", onclick: () => add().querySelector("input").focus() }, icon("plus"), "Add attribute")),
    read: () => [...list.children].filter((line) => part(line, "name")).map((line) => ({
      name: part(line, "name"), kind: part(line, "kind"),
      choices: part(line, "kind") === "choice" ? part(line, "choices").split(",").map((text) => text.trim()).filter(Boolean) : [],
    })),
  };
}

/** Return the controls to remove a label, or to merge it into another, which its objects get. */
function removal(known, close) {
  const count = h("span.muted", {}, "…");
  get("/api/labels/counts").then(({ counts }) => { count.textContent = `Its ${counts[known.id] ?? 0} objects on all images get`; }, complain);
  const into = h("select", { "aria-label": "Label that its objects get" }, h("option", { value: "" }, NO_LABEL),
    state.labels.filter(({ id }) => id !== known.id).map(({ id, name }) => h("option", { value: id }, name)));
  const go = () => {
    const target = into.value ? Number(into.value) : null;
    close();
    inOrder(async () => {
      if (hasObject() && current.label === known.id) await labelCurrent(target);
      const answer = await save("POST", `/api/labels/${known.id}/merge`, { into: target, revision: state.labelsRevision });
      takeLabels(answer);
      await refreshObjects();
      remember(known, target, answer);
      toast(`${known.name} is removed, ${answer.changed} objects were relabelled; ${keyOf("undo")} undoes that.`);
    });
  };
  return h("div", {}, h("h3", {}, "Merge or remove"), count,
    h("div.select-row", {}, into, h("button.button.danger", { type: "button", onclick: go }, "Remove label")));
}

/** Remember a merge as one step of undo, even if it changes objects of many images. */
function remember(label, into, merged) {
  let now = merged;
  const step = (what, body) => async () => {
    const answer = await save("POST", `/api/labels/${label.id}/${what}`, body());
    now = answer;
    takeLabels(answer);
    await refreshObjects();
  };
  rememberStep(`the removal of the label ${label.name}`, step("unmerge", () => ({ objects: now.objects, proposals: now.proposals })), step("merge", () => ({ into, revision: state.labelsRevision })));
}

async function store(labels, then) {
  try {
    takeLabels(await save("PUT", "/api/labels", { labels, revision: state.labelsRevision }));
    then();
  } catch (error) {
    complain(error);
    if (error.status === 409) get("/api/project").then(takeLabels, () => {});
  }
}
