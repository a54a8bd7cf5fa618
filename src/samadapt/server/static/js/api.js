// Talking to the server: one queue per kind of work, and a saved state that is always true.

import { fetchWithKey } from "./door.js";
import { forgetUnsent, heard, isLost, keepUnsent, link, onLink, startLink, whenBack } from "./link.js";
import { state } from "./state.js";

export const PREPARING = 202; // the status of what is there in a while
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

/** Ask the server; errors carry its one line for the person. */
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
    // The server may go while it answers: half an answer is as good as none.
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
    // Not from our server: the status must do.
  }
  heard(response.status, text);
  throw new ApiError(response.status, text);
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);

/**
 * Ask for something that must not get lost. While the server is away it is asked again and again,
 * with the same key, so that it does nothing twice; the saved state tells so. Until it is confirmed
 * or refused the tab keeps it, for the case that the page is loaded anew.
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

/** Be told "saved", "saving" or "failed" with a text, now and whenever it changes. */
export function onSaved(listener) {
  savedListeners.add(listener);
  report();
}

/** Be told of everything that is to be saved, by its path. */
export function onAsked(listener) {
  askedListeners.add(listener);
}

export function isSaving() {
  return pending > 0;
}

/** Tell the server that the page is closed, so that others may have the image. */
export function leave() {
  ask("POST", "/api/leave", {}, { keepalive: true }).catch(() => {});
}

/** A name for a request that may have to be repeated. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Why something could not be saved; empty when nothing failed. */
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

/** The name of this tab: it survives a reload, and no other tab has it. */
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
