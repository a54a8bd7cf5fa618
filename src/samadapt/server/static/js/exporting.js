// Export: a dialog for format and images, then a summary of what was written and left out.

import { ask } from "./api.js";
import { inOrder } from "./queue.js";
import { load, keep, state } from "./state.js";
import { complain, dialog, h } from "./ui.js";

const NAMES = {
  coco: "COCO, run lengths", "coco-polygons": "COCO, polygons with holes", masks: "Mask per object (PNG)",
  "label-maps": "Label maps (PNG)", yolo: "YOLO segmentation", "label-volume": "Stacks: label volumes (TIFF)", ctc: "Stacks: Cell Tracking Challenge", labelme: "labelme", voc: "PASCAL VOC",
};

export function showExport() {
  dialog("Export", (close) => {
    const last = load("export", { format: "coco", images: "annotated" });
    const group = (label, oneFile) => h("optgroup", { label }, state.project.formats.filter((format) => format.one_file === oneFile)
      .map(({ name }) => h("option", { value: name, selected: name === last.format }, NAMES[name] ?? name)));
    const format = h("select", { id: "export-format" }, group("One file", true), group("A folder, as a zip archive", false));
    const images = h("select", { id: "export-images" }, [
      ["annotated", "with objects or done"], ["done", "done"], ["approved", "approved"], ["all", "all, including untouched"],
    ].map(([value, text]) => h("option", { value, selected: value === last.images }, text)));
    const submit = (event) => {
      event.preventDefault();
      keep("export", { format: format.value, images: images.value });
      close();
      inOrder(() => exportAs(format.value, images.value)); // after everything that is being saved
    };
    return h("form", { onsubmit: submit },
      h("label.field", {}, "Format", h("span"), format), h("label.field", {}, "Images", h("span"), images),
      h("div.end", {}, h("button.button", { type: "button", onclick: close }, "Cancel"), h("button.button.main", { type: "submit" }, "Export")));
  }, true);
}

async function exportAs(format, images) {
  try {
    const query = `format=${format}&done_only=${images === "done"}&approved_only=${images === "approved"}&untouched=${images === "all"}`;
    const response = await ask("GET", `/api/export?${query}`, undefined, { raw: true });
    const [, name] = /filename="([^"]+)"/.exec(response.headers.get("content-disposition")) ?? [null, format];
    const address = URL.createObjectURL(await response.blob());
    const link = h("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    report(name, JSON.parse(decodeURIComponent(response.headers.get("x-samadapt-summary"))));
  } catch (error) {
    complain(error);
  }
}

function report(name, { written, left_out: lines, left_out_count: count }) {
  const place = name.endsWith(".zip") ? "left-out.txt in the archive" : '"info" in the file';
  dialog("Exported", (close) => [
    h("p", {}, h("b", {}, name), `: ${written}.`),
    ...(count ? [
      h("p", {}, `Left out (also listed in ${place}):`),
      ...lines.map((line) => h("div.muted", {}, line)),
      count > lines.length && h("div.muted", {}, `and ${count - lines.length} more`),
    ] : []),
    h("div.end", {}, h("button.button.main", { onclick: close }, "OK")),
  ].filter(Boolean), true);
}
