// An import is one step of undo, though it adds objects to many images.

import { onAsked, save } from "./api.js";
import { current } from "./current.js";
import { refreshImages } from "./images.js";
import { refreshObjects } from "./objects.js";
import { confirmed, toast } from "./ui.js";

const STEPS = /^\/api\/(images\/\d+\/(click|box|stroke|choose|skip|edit|accept|objects|undo|redo)|objects\/)/;
const imports = []; // {name, objects, revision, at}
const undone = [];
let at = 0; // steps that were done in this tab, less those that were undone

onAsked((path) => {
  if (!STEPS.test(path)) return;
  if (path.endsWith("/undo")) at -= 1;
  else at += 1;
  if (!/\/(undo|redo)$/.test(path)) undone.length = 0;
});

export function rememberImport(name, objects) {
  if (!objects.length) return;
  imports.push({ name, objects, revision: 1, at });
  undone.length = 0;
}

/** Take the last import back if it is what was done last; false if there is another step to undo. */
export async function undoImport() {
  const last = imports.at(-1);
  if (!last || (last.at !== at && current.canUndo)) return false;
  // Something was done since, on other images.
  if (last.at !== at && !(await confirmed("Undo the import", `Nothing else can be undone on this image. Take back the import of ${last.name}? Objects that were changed since stay.`, "Take it back"))) return true;
  const { objects } = await save("POST", "/api/import/undo", { objects: last.objects, revision: last.revision });
  imports.pop();
  undone.push({ ...last, objects, revision: last.revision + 1, at });
  await look(`The import of ${last.name} is taken back: ${objects.length} objects.`);
  return true;
}

export async function redoImport() {
  const last = undone.at(-1);
  if (!last || last.at !== at) return false;
  const { objects } = await save("POST", "/api/import/redo", { objects: last.objects, revision: last.revision });
  undone.pop();
  imports.push({ ...last, objects, revision: last.revision + 1, at });
  await look(`The import of ${last.name} is there again: ${objects.length} objects.`);
  return true;
}

async function look(text) {
  await refreshImages();
  await refreshObjects();
  toast(text);
}
