// The panel with the attributes of the selected object, and the tags of the image.

import { get, save } from "./api.js";
import { inOrder } from "./queue.js";
import { labelOf, on, set, state } from "./state.js";
import { rememberStep } from "./steps.js";
import { $, h } from "./ui.js";

export function startDetails() {
  on("image", look);
  on("details selected objects labels", render);
  $("said").addEventListener("focusout", () => setTimeout(render)); // show changes that arrived while a field was edited
}

function look() {
  set({ details: null });
  return refreshDetails();
}

let edits = 0, unsaved = 0; // edits of this page so far, and those not saved yet

/** Fetch the details again, as somebody else may have changed them. An answer from before an edit
 * of this page is ignored; the last edit fetches them again once it is saved. */
export async function refreshDetails() {
  const id = state.image?.id, asked = edits;
  if (!id || unsaved) return;
  try {
    const details = await get(`/api/images/${id}/details`);
    if (state.image?.id === id && asked === edits) set({ details });
  } catch {
    // Nothing is shown without an answer; the next image fetches its details again.
  }
}

let shown = "", shownPlace = "";

function render() {
  const box = $("said");
  const object = state.objects.get(state.selected);
  const fields = (object && labelOf(object.label)?.attributes) || [];
  box.hidden = !state.details;
  if (!state.details) return;
  const { image, details } = state; // an edit belongs to this image, even if another one is open when it ends
  // A field with the focus stays, unless the image, the object or its fields change.
  const place = JSON.stringify([image?.id, object?.id, fields]), now = JSON.stringify([place, details]);
  if (box.children.length && (now === shown || (place === shownPlace && box.contains(document.activeElement)))) return;
  [shown, shownPlace] = [now, place];
  box.replaceChildren(
    ...(fields.length ? [h("h3", {}, `${labelOf(object.label).name} #${object.id}`), ...fields.map((field) => line(object.id, field))] : []),
    h("label.field", {}, h("span", {}, "Tags of this image"), h("span"), h("input", {
      id: "tags", type: "text", value: state.details.tags.join(", "), placeholder: "night, blurred", spellcheck: false, "aria-label": "Tags of this image",
      onchange: (event) => tag(image, present(image, details), event.target.value), onkeydown: leave,
    })),
  );
}

function line(id, field) {
  const { image, details } = state;
  const value = details.attributes[id]?.[field.name];
  const change = (next) => describe(present(image, details), id, field.name, next);
  if (field.kind === "flag") {
    return h("label.check", {}, h("input", { type: "checkbox", checked: value === true, onchange: (event) => change(event.target.checked) }), h("span", {}, field.name));
  }
  const input = field.kind === "choice"
    ? h("select", { onchange: (event) => change(event.target.value || null) }, h("option", { value: "" }, "–"),
      field.choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)))
    : h("input", {
      type: field.kind === "number" ? "number" : "text", step: "any", value: value ?? "", maxLength: 1000, onkeydown: leave,
      onchange: ({ target }) => change(target.value === "" ? null : field.kind === "number" ? target.valueAsNumber : target.value),
    });
  return h("label.field", {}, h("span", {}, field.name), h("span"), input);
}

/** Return the present details of an image, or the last known ones if another image is open. */
function present(image, details) {
  return state.image?.id === image.id && state.details ? state.details : details;
}

function leave(event) {
  if (event.key === "Enter" || event.key === "Escape") event.target.blur();
}

function describe(details, id, name, value) {
  const before = details.attributes[id]?.[name] ?? null;
  details.attributes[id] = { ...details.attributes[id], [name]: value ?? undefined };
  const store = (wanted) => save("PATCH", `/api/objects/${id}/attributes`, { attributes: { [name]: wanted } });
  return edited(`${name} of #${id}`, store, value, before);
}

function tag(image, details, text) {
  const before = details.tags;
  const tags = text.split(",").map((one) => one.trim()).filter(Boolean);
  details.tags = tags;
  const add = tags.filter((one) => !before.includes(one)), remove = before.filter((one) => !tags.includes(one));
  const store = (changes) => save("PATCH", `/api/images/${image.id}/tags`, changes);
  return edited(`the tags of ${image.name}`, store, { add, remove }, { add: remove, remove: add });
}

/** Save an edit that the page shows already, as a step of undo; if refused, it is removed from the page. */
function edited(what, store, now, before) {
  const stored = async (value) => {
    edits += 1;
    unsaved += 1;
    try {
      await store(value);
    } catch (error) {
      shownPlace = ""; // redraw even a field with the focus
      throw error;
    } finally {
      unsaved -= 1;
      await refreshDetails();
    }
  };
  edits += 1;
  unsaved += 1; // until the queue reaches it
  return inOrder(async () => {
    unsaved -= 1;
    await stored(now);
    rememberStep(what, () => stored(before), () => stored(now));
  });
}
