// Files in and out: the menu at the top right.

import { ask } from "./api.js";
import { showExport } from "./exporting.js";
import { rememberImport } from "./importundo.js";
import { keyOf } from "./keys.js";
import { refreshImages } from "./images.js";
import { takeLabels } from "./labels.js";
import { refreshObjects } from "./objects.js";
import { state } from "./state.js";
import { complain, dialog, h, menu } from "./ui.js";

export function fileMenu(button, actions) {
  menu(button, [
    [state.image?.mark ? "Reopen this image" : "Skip this image", actions.skipImage],
    ["Go to image…", actions.jump],
    null,
    ["Import COCO file…", importFile],
    null,
    ["Export…", showExport],
    null,
    ["Look for new images", () => refreshImages().catch(complain)],
  ]);
}

function importFile() {
  const input = h("input", { type: "file", accept: ".json,application/json" });
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) send(file, false);
  });
  input.click();
}

async function send(file, crowds) {
  try {
    const query = `name=${encodeURIComponent(file.name)}&crowds=${crowds}`;
    const found = await ask("POST", `/api/import?${query}`, file);
    rememberImport(file.name, found.objects);
    takeLabels(await ask("GET", "/api/project"));
    await refreshImages();
    await refreshObjects();
    report(file, found);
  } catch (error) {
    complain(error);
  }
}

function report(file, found) {
  const list = (title, lines, more) => lines.length
    ? [
      h("p", {}, title),
      ...lines.map((line) => h("div.muted", {}, line)),
      more > lines.length ? h("div.muted", {}, `${more} objects in all`) : null,
    ]
    : [];
  dialog(`Imported ${file.name}`, (close) => [
    h("p", {}, `${found.summary}.`, found.added ? ` ${keyOf("undo")} takes all of it back.` : ""),
    ...list("Left out:", found.left_out, found.left_out_count),
    ...list("Differs from what is there:", found.differing, found.differing_count),
    h("div.end", {}, ...[
      found.crowds
        ? h("button.button", { onclick: () => { close(); send(file, true); } }, "Take crowds, too")
        : null,
      h("button.button.main", { onclick: close }, "OK"),
    ].filter(Boolean)),
  ].filter(Boolean));
}
