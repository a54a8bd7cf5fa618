// Import of annotations: a COCO file, a zip archive, or a folder in any known format.

import { ask, get, save } from "./api.js";
import { refreshDetails } from "./details.js";
import { refreshImages, working } from "./images.js";
import { keyOf } from "./keys.js";
import { takeLabels } from "./labels.js";
import { refreshObjects } from "./objects.js";
import { rememberStep } from "./steps.js";
import { complain, dialog, h } from "./ui.js";
import { zipped } from "./zip.js";

const MOST_FILES = 65_000; // of an archive

export function showImport() {
  dialog("Import", (close) => {
    const chosen = (attributes, take) => {
      const input = h("input", { type: "file", hidden: true, ...attributes });
      input.addEventListener("change", () => { if (input.files.length) { close(); take([...input.files]); } });
      return input;
    };
    const file = chosen({ id: "import-file", accept: ".json,.zip,application/json,application/zip" }, ([one]) => send(one, one.name));
    const folder = chosen({ id: "import-folder", webkitdirectory: true }, sendFolder);
    return [
      h("p", {}, "Objects are added to the images of the same names; existing objects are not added again."),
      file, folder,
      h("div.end", {},
        h("button.button", { onclick: close }, "Cancel"),
        h("button.button", { onclick: () => folder.click() }, "A folder (VOC, YOLO, labelme, masks)…"),
        h("button.button.main", { onclick: () => file.click() }, "A COCO or zip file…")),
    ];
  });
}

async function sendFolder(files) {
  const wanted = files.filter((file) => !file.webkitRelativePath.split("/").some((part) => part.startsWith(".")));
  if (wanted.length > MOST_FILES) {
    complain(new Error(`${wanted.length} files: pack them into zip archives of ${MOST_FILES} at most.`));
    return;
  }
  working(`Packing ${wanted.length} files…`);
  try {
    const archive = await zipped(wanted.map((file) => ({ name: file.webkitRelativePath || file.name, file })));
    await send(archive, wanted[0].webkitRelativePath.split("/")[0] || "folder");
  } finally {
    working("");
  }
}

async function send(file, name, crowds = false) {
  working(`Importing ${name}…`);
  const watch = setInterval(() => tellProgress(name), 500);
  try {
    const query = `name=${encodeURIComponent(name)}&crowds=${crowds}`;
    const found = await ask("POST", `/api/import?${query}`, file);
    remember(name, found.objects);
    takeLabels(await ask("GET", "/api/project"));
    await refreshImages();
    await refreshObjects();
    await refreshDetails();
    report(file, name, found);
  } catch (error) {
    complain(error);
  } finally {
    clearInterval(watch);
    working("");
  }
}

/** Remember an import as one step of undo, even if it adds objects to many images. */
function remember(name, objects) {
  if (!objects.length) return;
  let now = { objects, revision: 1 };
  const step = (what) => async () => {
    const answer = await save("POST", `/api/import/${what}`, now);
    now = { objects: answer.objects, revision: now.revision + 1 };
    await refreshImages();
    await refreshObjects();
  };
  rememberStep(`the import of ${name} (objects that were changed since stay)`, step("undo"), step("redo"));
}

async function tellProgress(name) {
  const { running, done, images } = await get("/api/import").catch(() => ({}));
  if (running && images) working(`Importing ${name}: ${done} of ${images} images…`);
}

function report(file, name, found) {
  const list = (title, lines, more) => lines.length
    ? [
      h("p", {}, title),
      ...lines.map((line) => h("div.muted", {}, line)),
      more > lines.length ? h("div.muted", {}, `${more} objects in all`) : null,
    ]
    : [];
  dialog(`Imported ${name}`, (close) => [
    h("p", {}, `${found.summary}.`, found.added ? ` ${keyOf("undo")} undoes the import.` : ""),
    ...list("Left out:", found.left_out, found.left_out_count),
    ...list("Different from existing objects:", found.differing, found.differing_count),
    h("div.end", {}, ...[
      found.crowds
        ? h("button.button", { onclick: () => { close(); send(file, name, true); } }, "Import crowds too")
        : null,
      h("button.button.main", { onclick: close }, "OK"),
    ].filter(Boolean)),
  ].filter(Boolean));
}
