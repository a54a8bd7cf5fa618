// Requests to the server, repeated until they succeed if they change data, and the state of saving.

import { fetchWithKey } from "./door.js";
import { forgetUnsent, heard, isLost, keepUnsent, link, onLink, startLink, whenBack } from "./link.js";
import { state } from "./state.js";

export const PREPARING = 202; // HTTP status of an answer that is not ready yet
const client = tabId();
startLink(() => ask("GET", "/api/project"));
onLink(() => report());
const savedListeners = new Set();
const askedListeners = new Set();
let pending = 0;
let failure = null;
let lastSaved = null;

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Send a request and return the answer; throws an `ApiError` with the server's message. */
export async function ask(method, path, body, options = {}) {
  const headers = { "x-samadapt-client": client };
  if (method !== "GET") headers["idempotency-key"] = options.key ?? freshKey();
  if (state.project) headers["x-samadapt-project"] = state.project.id;
  if (state.settings.person) headers["x-samadapt-person"] = encodeURIComponent(state.settings.person);
  let payload = body;
  if (body !== undefined && !(body instanceof Blob)) {
    headers["content-type"] = "application/json";
    payload = JSON.stringify(body);
  }
  let response, answer;
  try {
    response = await fetchWithKey(path, { method, headers, body: payload, ...options });
    // The connection may break while the body arrives: treated like no answer.
    if (response.ok) answer = options.raw ? response : await response.json();
  } catch {
    heard(0);
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) {
    heard(200);
    if (response.status === PREPARING) throw new ApiError(PREPARING, answer.preparing);
    return answer;
  }
  let text = response.statusText;
  try {
    text = (await response.json()).error ?? text;
  } catch {
    // The answer is not from our server: use the status text.
  }
  heard(response.status, text);
  throw new ApiError(response.status, text);
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);

/**
 * Send a request that changes data, and return the answer. While the server cannot be reached, it is
 * repeated with the same idempotency key, so that it takes effect once, and the state of saving says
 * so. Until the server confirms or refuses it, it is kept in the tab's storage, to survive a reload.
 */
export async function save(method, path, body, key = freshKey()) {
  for (const listener of askedListeners) listener(path);
  pending += 1;
  keepUnsent({ project: state.project.id, method, path, body, key });
  report();
  try {
    for (;;) {
      try {
        const answer = await ask(method, path, body, { key });
        failure = null;
        lastSaved = new Date();
        return answer;
      } catch (error) {
        if (!isLost(error.status) && error.status !== 507) throw error;
        failure = error.message;
        report();
        if (error.status === 507) await new Promise((done) => setTimeout(done, 2000));
        else await whenBack();
      }
    }
  } finally {
    pending -= 1;
    forgetUnsent(key);
    if (!pending) failure = null;
    report();
  }
}

/** Call `listener` with "saved", "saving", "failed" or "away" and a text, now and at every change. */
export function onSaved(listener) {
  savedListeners.add(listener);
  report();
}

/** Call `listener` with the path of every request that `save` sends. */
export function onAsked(listener) {
  askedListeners.add(listener);
}

export function isSaving() {
  return pending > 0;
}

/** Tell the server that the page is closed, which releases its claim of the image. */
export function leave() {
  ask("POST", "/api/leave", {}, { keepalive: true }).catch(() => {});
}

/** Return a new idempotency key for a request that may be repeated. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Return why something could not be saved; empty if nothing failed. */
export function whyNotSaved() {
  return failure ?? "";
}

function report() {
  const kind = failure || (pending && link.kind !== "up") ? "failed" : pending ? "saving" : link.kind === "up" ? "saved" : "away";
  const many = pending > 1 ? ` (${pending})` : "";
  const texts = { failed: `Not saved yet${many}`, away: "Not connected", saving: "Saving…", saved: savedText() };
  for (const listener of savedListeners) listener(kind, texts[kind]);
}

function savedText() {
  if (!lastSaved) return "Saved";
  return `Saved ${lastSaved.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`;
}

/** Return the unique client name of this tab, which a reload does not change. */
function tabId() {
  const name = "samadapt-tab";
  let id = null;
  try {
    id = sessionStorage.getItem(name);
    if (!id || performance.getEntriesByType("navigation")[0]?.type === "duplicate") id = null;
    id ??= freshKey();
    sessionStorage.setItem(name, id);
  } catch {
    id ??= freshKey();
  }
  return id;
}
