// The person's name: asked for once, as soon as somebody else may want to know it.

import { get } from "./api.js";
import { configure, state } from "./state.js";
import { askText } from "./ui.js";

let asking = null;

/** Ask for the name unless it is known or was asked for before. */
export function whoAmI() {
  if (state.settings.person || state.settings.askedName) return Promise.resolve();
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

/** In a project that others work in, the name is asked for at the beginning. */
export async function askAmongOthers() {
  if (state.settings.person || state.settings.askedName) return;
  const { people } = await get("/api/people").catch(() => ({ people: [] }));
  if (people.length) await whoAmI();
}

async function ask() {
  const name = await askText("Your name", "Others see it beside what you draw, review and say. View changes it later.", "");
  configure({ person: name ?? "", askedName: true });
}
