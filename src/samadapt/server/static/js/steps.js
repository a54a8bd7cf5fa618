// Steps of undo beyond a session's own: imports, merged labels, attributes, tracks, other images.

import { onAsked } from "./api.js";
import { current } from "./current.js";
import { state } from "./state.js";
import { confirmed, toast } from "./ui.js";

const STEPS = /^\/api\/(images\/\d+\/(click|box|stroke|choose|skip|edit|accept|objects|proposals|undo|redo)|objects\/\d+(\/delete)?$|proposals\/\d+\/(accept|reject))/;
const KEPT = "samadapt-steps"; // in the tab's storage
const kinds = new Map();
const done = []; // {text, undo, redo, at, kind, data}
const undone = [];
let refused = 0; // time at which the question below was last cancelled
let at = 0; // number of a session's steps done in this tab, minus those undone

onAsked((path) => {
  if (!STEPS.test(path)) return;
  if (path.endsWith("/undo")) at -= 1;
  else at += 1;
  if (!/\/(undo|redo)$/.test(path)) undone.length = 0;
  keep();
});

/**
 * Add a step. `text` names it; `undo` and `redo` are functions that return false if they cannot run now.
 * A step of a `kind` given to `keepSteps` survives a reload: it is restored from its `data()`.
 */
export function rememberStep(text, undo, redo, kind = "", data = null) {
  done.push({ text, undo, redo, at, kind, data });
  undone.length = 0;
  keep();
}

/** Store steps of a kind in the tab; `make` restores {undo, redo, data} from the result of `data()`. */
export function keepSteps(kind, make) {
  kinds.set(kind, make);
}

/** Restore the steps that were stored before a reload of the page. */
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
 * Undo the last of these steps, unless a step of the session is to be undone first: then return false.
 * Asks first if other images changed since. Key presses from before that question was cancelled, by the
 * time `pressed`, are ignored.
 */
export async function undoStep(pressed) {
  const last = done.at(-1);
  if (!last || (last.at !== at && current.canUndo)) return false;
  if (last.at !== at) { // other images were changed since
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

/** Move the last step between the stacks; a step that throws is dropped, as it would always fail. */
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
