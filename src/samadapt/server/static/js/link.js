// Whether the server can be reached, and what must not get lost while it cannot.

const listeners = new Set();
const UNSENT = "samadapt-unsent";

/** "up"; "away": no answer; "stale": started again with another token; "other": another project. */
export const link = { kind: "up", text: "" };

let probe = null; // asks the server whether it is back
let back = null; // promise that resolves when it is
let resolve = null;

export function startLink(ask) {
  probe = ask;
}

/** Be told when the server goes and comes back. */
export function onLink(listener) {
  listeners.add(listener);
}

/** Whether an answer with this status means: nothing was done, try again later. */
export function isLost(status) {
  return status === 0 || status === 401 || status === 421 || status === 429;
}

/** Note how a request ended. */
export function heard(status, text = "") {
  const kind = status === 0 ? "away" : status === 401 || status === 429 ? "stale" : status === 421 ? "other" : "up";
  if (kind === link.kind) return;
  Object.assign(link, { kind, text });
  if (kind === "up") {
    resolve?.();
    back = resolve = null;
  } else if (!back) {
    back = new Promise((done) => { resolve = done; });
    keepAsking();
  }
  for (const listener of listeners) listener(kind);
}

/** Resolves when the server can be reached. */
export function whenBack() {
  return back ?? Promise.resolve();
}

async function keepAsking() {
  for (let wait = 300; back; wait = Math.min(wait * 1.5, 2000)) {
    await new Promise((done) => setTimeout(done, wait));
    await probe?.().catch(() => {});
  }
}

// -- what is not saved yet ------------------------------------------------------------------
// Kept by the tab, so that it is sent again even when the page was loaded anew meanwhile.

export function keepUnsent(entry) {
  write([...read().filter(({ key }) => key !== entry.key), entry]);
}

export function forgetUnsent(key) {
  write(read().filter((entry) => entry.key !== key));
}

/** What this tab did not get saved: [{project, method, path, body, key}]. */
export function unsent(project) {
  return read().filter((entry) => entry.project === project);
}

function read() {
  try {
    const found = JSON.parse(sessionStorage.getItem(UNSENT));
    return Array.isArray(found) ? found.filter((entry) => entry.key) : [];
  } catch {
    return [];
  }
}

function write(entries) {
  try {
    if (entries.length) sessionStorage.setItem(UNSENT, JSON.stringify(entries));
    else sessionStorage.removeItem(UNSENT);
  } catch {
    // No room: it is still in the page's memory.
  }
}
