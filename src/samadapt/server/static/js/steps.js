// Steps of undo that reach beyond one image: an import, labels that are merged, attributes.

import { onAsked } from "./api.js";
import { current } from "./current.js";
import { state } from "./state.js";
import { confirmed, toast } from "./ui.js";

const STEPS = /^\/api\/(images\/\d+\/(click|box|stroke|choose|skip|edit|accept|objects|proposals|undo|redo)|objects\/\d+(\/delete)?$|proposals\/\d+\/(accept|reject))/;
const KEPT = "samadapt-steps"; // in the tab's storage
const kinds = new Map();
const done = []; // {text, undo, redo, at, kind, data}
const undone = [];
let refused = 0; // when such a question was answered with Cancel
let at = 0; // steps that were done in this tab on images, less those that were undone

onAsked((path) => {
  if (!STEPS.test(path)) return;
  if (path.endsWith("/undo")) at -= 1;
  else at += 1;
  if (!/\/(undo|redo)$/.test(path)) undone.length = 0;
  keep();
});

/**
 * Something was done: `text` names it, `undo` and `redo` do it back and again; false: not now.
 * A step of a `kind` of `keepSteps` is there also when the page was loaded anew, made of its `data()`.
 */
export function rememberStep(text, undo, redo, kind = "", data = null) {
  done.push({ text, undo, redo, at, kind, data });
  undone.length = 0;
  keep();
}

/** Steps of this kind are kept in the tab: `make` gives {undo, redo, data} for what `data()` gave. */
export function keepSteps(kind, make) {
  kinds.set(kind, make);
}

/** Bring back the steps that were kept before the page was loaded anew. */
export function restoreSteps() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (kept?.project !== state.project.id) return;
  at = kept.at;
  const again = ({ text, at: place, kind, data }) => ({ text, at: place, kind, ...kinds.get(kind)(data) });
  done.push(...kept.done.map(again));
  undone.push(...kept.undone.map(again));
}

function keep() {
  const plain = (steps) => steps.filter(({ kind }) => kind).map(({ text, at: place, kind, data }) => ({ text, at: place, kind, data: data() }));
  const kept = { project: state.project?.id, at, done: plain(done), undone: plain(undone) };
  if (kept.done.length + kept.undone.length) sessionStorage.setItem(KEPT, JSON.stringify(kept));
  else sessionStorage.removeItem(KEPT);
}

/**
 * Take the last of these steps back if it is what was done last; false if there is another step to undo.
 * What was `pressed` before a question was answered with Cancel is not asked about again.
 */
export async function undoStep(pressed) {
  const last = done.at(-1);
  if (!last || (last.at !== at && current.canUndo)) return false;
  if (last.at !== at) { // something was done since, on other images
    if (pressed < refused) return true;
    if (!(await confirmed("Undo", `Nothing else can be undone on this image. Undo ${last.text}?`, "Undo"))) {
      refused = performance.now();
      return true;
    }
  }
  await go(done, undone, last.undo, "Taken back");
  return true;
}

export async function redoStep() {
  const last = undone.at(-1);
  if (!last || last.at !== at) return false;
  await go(undone, done, last.redo, "Done again");
  return true;
}

/** A step that is refused can never be taken any more: it is passed over, and what comes before it is next. */
async function go(from, to, step, what) {
  const last = from.pop();
  if ((await step()) === false) {
    from.push(last);
    return;
  }
  to.push({ ...last, at });
  keep();
  toast(`${what}: ${last.text}.`);
}
