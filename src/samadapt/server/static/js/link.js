// The connection to the server, and the storage of requests that are not saved yet.

const listeners = new Set();
const UNSENT = "samadapt-unsent";

/** State of the connection: "up"; "away": no answer; "stale": wrong token; "other": other project. */
export const link = { kind: "up", text: "" };

let probe = null; // sends a request to check the connection
let back = null; // promise that resolves when the server is back
let resolve = null;

export function startLink(ask) {
  probe = ask;
}

/** Call `listener` when the state of the connection changes. */
export function onLink(listener) {
  listeners.add(listener);
}

/** Return true for a status which means that nothing was done, and that a repeat may succeed. */
export function isLost(status) {
  return status === 0 || status === 401 || status === 421 || status === 429;
}

/** Update the state of the connection from a request's status, 0 for no answer. */
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

/** Return a promise that resolves when the server can be reached. */
export function whenBack() {
  return back ?? Promise.resolve();
}

async function keepAsking() {
  for (let wait = 300; back; wait = Math.min(wait * 1.5, 2000)) {
    await new Promise((done) => setTimeout(done, wait));
    await probe?.().catch(() => {});
  }
}

// -- unsaved requests -----------------------------------------------------------------------
// Kept in the tab's storage, so that they are sent again after a reload.

export function keepUnsent(entry) {
  write([...read().filter(({ key }) => key !== entry.key), entry]);
}

export function forgetUnsent(key) {
  write(read().filter((entry) => entry.key !== key));
}

/** Return the unsaved requests of this tab: [{project, method, path, body, key}]. */
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
    // The storage is full: the request is still in the page's memory.
  }
}
