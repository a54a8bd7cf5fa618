// Files in and out: the menu at the top right.

import { showExport } from "./exporting.js";
import { showImport } from "./importing.js";
import { refreshImages } from "./images.js";
import { state } from "./state.js";
import { complain, menu } from "./ui.js";

export function fileMenu(button, actions) {
  menu(button, [
    [state.image?.mark ? "Reopen this image" : "Skip this image", actions.skipImage],
    ["Go to image…", actions.jump],
    null,
    ["Import…", showImport],
    null,
    ["Export…", showExport],
    null,
    ["Look for new images", () => refreshImages().catch(complain)],
  ]);
}
