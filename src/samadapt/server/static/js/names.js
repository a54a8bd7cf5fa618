// The person's name: requested once, as soon as other people work in the project.

import { get } from "./api.js";
import { configure, state } from "./state.js";
import { $, askText, h } from "./ui.js";

let asking = null;

/** Ask for the name, unless it is known or was asked for before. */
export function whoAmI() {
  if (state.settings.person || state.settings.askedName) return Promise.resolve();
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

/** Show an optional question for the name above the image, if others work in the project. */
export async function askAmongOthers() {
  if (state.settings.person || state.settings.askedName) return;
  const { people } = await get("/api/people").catch(() => ({ people: [] }));
  if (!people.length) return;
  const input = h("input", { type: "text", maxLength: 60, "aria-label": "Your name", placeholder: "Your name", spellcheck: false });
  const end = (person) => {
    configure({ person, askedName: true });
    $("name-note").replaceChildren();
  };
  const form = h("form.note", { onsubmit: (event) => { event.preventDefault(); end(input.value.trim()); } },
    h("span", {}, `${people.slice(0, 3).join(", ")}${people.length > 3 ? " and others" : ""} ${people.length > 1 ? "work" : "works"} here, too. Who are you?`), input,
    h("button.button.small.main", { type: "submit" }, "OK"), h("button.button.small", { type: "button", onclick: () => end("") }, "No name"));
  $("name-note").replaceChildren(form);
}

async function ask() {
  const name = await askText("Your name", "Others see it beside what you draw, review and say. View changes it later.", "");
  configure({ person: name ?? "", askedName: true });
  $("name-note").replaceChildren();
}
