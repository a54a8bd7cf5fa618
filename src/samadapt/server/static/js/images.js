// Images: opening one, having the next ready, the list.

import { get, post, save } from "./api.js";
import { begin, standing } from "./current.js";
import { credentials } from "./door.js";
import { takeObjects } from "./objects.js";
import { leaveInOrder } from "./queue.js";
import { endProposals } from "./similar.js";
import { keep, load, on, set, state, tell } from "./state.js";
import { painted, showBitmaps } from "./stage.js";
import { $, askText, complain, h, toast } from "./ui.js";
import { show } from "./view.js";

const ROW = 54;
const KEPT = 4; // decoded images in memory
const bitmaps = new Map(); // image -> promise of {version, levels}
let opening = 0;
let shown = []; // rows of the list after filtering

export async function startImages() {
  on("images taken image", renderList);
  on("image image-mark images", header);
  $("image-list").addEventListener("scroll", renderList, { passive: true });
  new ResizeObserver(renderList).observe($("image-list"));
  $("image-filter").addEventListener("input", filter);
  $("image-state").addEventListener("change", filter);
  await refreshImages();
  const last = Number(load("place", {})[state.project.folder]);
  const here = state.images.find((row) => row[0] === last) ?? state.images.find((row) => row[2] === "new") ?? state.images[0];
  if (here) await openImage(here[0]);
}

export async function refreshImages() {
  const { images, taken } = await get("/api/images");
  state.images = images;
  set({ taken });
  filter();
}

/** Open an image; what was under way on the one before stays on the server. */
export async function openImage(id) {
  const mine = ++opening;
  const waiting = setTimeout(() => working("Opening…"), 150);
  endProposals();
  try {
    const pixels = bitmap(id);
    const answer = await post(`/api/images/${id}/open`);
    if (mine !== opening) return;
    let picture = await pixels;
    if (picture.version !== answer.version) {
      bitmaps.delete(id);
      picture = await bitmap(id);
    }
    if (mine !== opening) return;
    const { objects, current: _, ...image } = answer;
    state.objects = new Map();
    state.selected = null;
    takeObjects(objects);
    begin(id, standing(answer));
    show(answer.width, answer.height);
    showBitmaps(picture.levels);
    set({ image });
    $("blank").hidden = true;
    remember(id);
    working(answer.ready ? "" : "The model reads the image…");
    await painted();
    prefetch(id);
  } catch (error) {
    if (mine === opening) failed(id, error);
  } finally {
    clearTimeout(waiting);
    if (mine === opening && $("working-text").textContent === "Opening…") working("");
  }
}

export function working(text) {
  $("working").hidden = !text;
  $("working-text").textContent = text;
}

export async function go(step, unfinished = false) {
  const after = state.image?.id ?? opened ?? 0;
  try {
    const { image } = await get(`/api/next?after=${after}&step=${step}&unfinished=${unfinished}`);
    if (image) await openImage(image);
    else toast(unfinished ? "No other image is left to do." : step > 0 ? "This is the last image." : "This is the first image.");
  } catch (error) {
    complain(error);
  }
}

/** Mark the image and go on to the next one that is not finished. */
export async function finish(mark) {
  const image = state.image;
  if (!image) return;
  if (await setMark(mark)) await go(1, true);
}

export async function setMark(mark) {
  const image = state.image;
  try {
    const answer = await save("POST", `/api/images/${image.id}/mark`, { mark, revision: image.revision });
    Object.assign(image, answer);
    setState(image.id, answer.mark || (state.objects.size ? "started" : "new"));
    tell(["image-mark"]);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

/** After an object was added or deleted: the list's number and state. */
export function countObjects() {
  const row = state.images.find(([id]) => id === state.image?.id);
  if (!row) return;
  row[3] = state.objects.size;
  if (["new", "started"].includes(row[2])) row[2] = row[3] ? "started" : "new";
  tell(["images"]);
}

export async function jump() {
  const text = await askText("Go to image", "Its number in the list, or part of its name");
  if (!text) return;
  const number = Number(text);
  const row = state.images[number - 1] && Number.isInteger(number)
    ? state.images[number - 1]
    : state.images.find(([, name]) => name.toLowerCase().includes(text.toLowerCase()));
  if (row) leaveInOrder(() => openImage(row[0]));
  else toast(`No image ${text}.`, true);
}

let opened = null;

/** The image that was asked for last, whether it could be opened or not. */
export function lastAsked() {
  return opened;
}

function remember(id) {
  opened = id;
  keep("place", { ...load("place", {}), [state.project.folder]: id });
}

function failed(id, error) {
  opened = id;
  begin(null, null);
  set({ image: null });
  takeObjects([]);
  showBitmaps([]);
  const row = state.images.find((entry) => entry[0] === id);
  $("blank").replaceChildren(h("b", {}, row?.[1] ?? "This image"), h("span", {}, error.message || String(error)));
  $("blank").hidden = false;
  if (error.status === 422 && row) setState(id, "unreadable");
}

function setState(id, value) {
  const row = state.images.find((entry) => entry[0] === id);
  if (row) row[2] = value;
  tell(["images"]);
}

// -- pixels ---------------------------------------------------------------------------------

function bitmap(id) {
  if (!bitmaps.has(id)) {
    const promise = fetchBitmap(id);
    bitmaps.set(id, promise);
    promise.catch(() => bitmaps.delete(id));
  }
  const promise = bitmaps.get(id);
  bitmaps.delete(id);
  bitmaps.set(id, promise); // the one used last stays longest
  for (const old of [...bitmaps.keys()].slice(0, Math.max(0, bitmaps.size - KEPT))) bitmaps.delete(old);
  return promise;
}

async function fetchBitmap(id) {
  const response = await fetch(`/api/images/${id}/pixels`, { headers: credentials() });
  if (!response.ok) {
    const error = new Error((await response.json().catch(() => ({}))).error ?? response.statusText);
    error.status = response.status;
    throw error;
  }
  const full = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const levels = [full];
  for (let size = Math.max(full.width, full.height) / 2; size > 1000; size /= 2) {
    const before = levels.at(-1);
    const half = { resizeWidth: Math.ceil(before.width / 2), resizeHeight: Math.ceil(before.height / 2), resizeQuality: "low" };
    levels.push(await createImageBitmap(before, half));
  }
  return { version: response.headers.get("x-samadapt-version"), levels };
}

async function prefetch(id) {
  try {
    for (const unfinished of [true, false]) {
      const { image } = await get(`/api/next?after=${id}&step=1&unfinished=${unfinished}`);
      if (image && state.image?.id === id) await bitmap(image);
    }
  } catch {
    // It will be fetched when it is opened.
  }
}

// -- header and list ------------------------------------------------------------------------

function header() {
  const index = state.images.findIndex(([id]) => id === state.image?.id);
  $("image-name").textContent = state.image?.name.split("/").at(-1) ?? "…";
  $("position").title = state.image?.name ?? "";
  $("image-count").textContent = index >= 0 ? `${index + 1} / ${state.images.length}` : "";
  const isDone = state.image?.mark === "done";
  $("done").querySelector("span").textContent = isDone ? "Next to do" : "Done, next";
  $("skip-image").querySelector("span").textContent = state.image?.mark ? "Reopen image" : "Skip image";
  document.title = `${state.image?.name ?? "samadapt"} - ${state.project?.name ?? ""}`;
}

function filter() {
  const text = $("image-filter").value.trim().toLowerCase();
  const wanted = $("image-state").value;
  const groups = { todo: ["new", "started"], problem: ["unreadable", "missing"] };
  shown = state.images.filter(([, name, kind], index) =>
    (!text || name.toLowerCase().includes(text) || String(index + 1) === text)
    && (!wanted || (groups[wanted] ?? [wanted]).includes(kind)));
  renderList();
  const finished = state.images.filter(([, , kind]) => kind === "done" || kind === "skipped").length;
  $("progress").firstElementChild.style.width = `${(100 * finished) / Math.max(1, state.images.length)}%`;
  $("progress").title = `${finished} of ${state.images.length} finished`;
}

/** Only the rows in sight exist: ten thousand images are no more work than ten. */
function renderList() {
  const list = $("image-list");
  if (list.closest("[hidden]")) return;
  const spacer = list.firstElementChild;
  spacer.style.height = `${shown.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  const rows = [];
  for (let k = first; k < last; k++) rows.push(imageRow(shown[k], k));
  spacer.replaceChildren(...rows);
}

export function revealInList() {
  filter();
  const index = shown.findIndex(([id]) => id === state.image?.id);
  if (index >= 0) $("image-list").scrollTop = Math.max(0, index * ROW - $("image-list").clientHeight / 2);
  renderList();
}

function imageRow([id, name, kind, objects], index) {
  const person = state.taken[id];
  const words = { new: "to do", started: "started", done: "done", skipped: "skipped", unreadable: "cannot be read", missing: "file is gone" };
  const text = `${words[kind]}${objects ? ` · ${objects} objects` : ""}${person ? ` · ${person} is here` : ""}`;
  return h("button.image-row", {
    "aria-current": String(id === state.image?.id), title: name,
    style: { top: `${index * ROW}px` }, onclick: () => leaveInOrder(() => openImage(id)),
  },
  kind === "unreadable" || kind === "missing" ? h("span.swatch") : h("img", { src: `/api/images/${id}/thumbnail`, loading: "lazy", alt: "" }),
  h("div", {}, h("div.name", {}, name), h("span.state", { "data-state": kind }, text)));
}
