// Files in and out: the menu at the top right.

import { ask } from "./api.js";
import { refreshImages } from "./images.js";
import { takeLabels } from "./labels.js";
import { refreshObjects } from "./objects.js";
import { state } from "./state.js";
import { complain, dialog, h, menu, toast } from "./ui.js";

const NAMES = {
  coco: "COCO, run lengths", "coco-polygons": "COCO, polygons with holes", masks: "Mask per object (PNG)",
  "label-maps": "Label maps (PNG)", yolo: "YOLO segmentation", labelme: "labelme", voc: "PASCAL VOC",
};

export function fileMenu(button, actions) {
  menu(button, [
    [state.image?.mark ? "Reopen this image" : "Skip this image", actions.skipImage],
    ["Go to image…", actions.jump],
    null,
    ["Import COCO file…", importFile],
    null,
    ...state.project.formats.map((format) => [`Export ${NAMES[format] ?? format}`, () => exportAs(format)]),
    null,
    ["Look for new images", () => refreshImages().catch(complain)],
  ]);
}

async function exportAs(format) {
  try {
    const response = await ask("GET", `/api/export?format=${format}`, undefined, { raw: true });
    const [, name] = /filename="([^"]+)"/.exec(response.headers.get("content-disposition")) ?? [null, format];
    const address = URL.createObjectURL(await response.blob());
    const link = h("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    const leftOut = Number(response.headers.get("x-samadapt-left-out"));
    if (leftOut) {
      const things = leftOut === 1 ? "1 thing that is" : `${leftOut} things that are`;
      const place = name.endsWith(".zip") ? "left-out.txt in the archive" : '"info" in the file';
      toast(`Exported without ${things} named in ${place}.`, true);
    }
  } catch (error) {
    complain(error);
  }
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
    h("p", {}, `${found.summary}.`),
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
