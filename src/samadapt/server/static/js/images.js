// Images: opening one, prefetching the next, and the list.

import { ApiError, get, post, PREPARING, save } from "./api.js";
import { begin, current, hasObject, onCurrent, standing } from "./current.js";
import { fetchWithKey } from "./door.js";
import { mayLeave } from "./leaving.js";
import { takeObjects } from "./objects.js";
import { revealInList, startImageList } from "./imagelist.js";
import { leaveInOrder } from "./queue.js";
import { endProposals } from "./similar.js";
import { entryOf, isSameStack, items, nameOf, neighbours } from "./stacks.js";
import { keep, load, on, set, state, tell } from "./state.js";
import { painted, showBitmaps } from "./stage.js";
import { showTiles } from "./tiles.js";
import { $, askText, complain, h, toast } from "./ui.js";
import { show, view } from "./view.js";

const KEPT = 6; // decoded images in memory
const AGAIN = 1000; // milliseconds between two requests for an image that is being prepared
const bitmaps = new Map(); // image -> promise of {version, levels}
let opening = 0;

export async function startImages() {
  startImageList();
  on("image image-mark images", header);
  onCurrent(noteObject);
  await refreshImages();
  const last = Number(load("place", {})[state.project.folder]);
  const here = state.images.find((row) => row[0] === last) ?? state.images.find((row) => row[2] === "new") ?? state.images[0];
  if (here) await openImage(here[0]);
}

export async function refreshImages() {
  const { images, taken, number, stacks } = await get("/api/images");
  set({ images, taken, stacks, changesUntil: number });
}

/** Open an image; the object under way on the one before is kept at the server. */
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
    const isSame = isSameStack(opened, id) && view.imageWidth === answer.width && view.imageHeight === answer.height;
    if (!isSame) show(answer.width, answer.height, Boolean(answer.tile));
    showBitmaps(picture.levels);
    await showTiles(answer);
    broken = null;
    set({ image });
    $("blank").hidden = true;
    remember(id);
    working(answer.ready ? "" : "The model reads the image…");
    await painted();
    prefetch(id);
  } catch (error) {
    if (mine !== opening) return;
    failed(id, error);
    if (error.status === PREPARING) setTimeout(() => mine === opening && openImage(id), AGAIN);
  } finally {
    clearTimeout(waiting);
    if (mine === opening && $("working-text").textContent === "Opening…") working("");
  }
}

export function working(text) {
  $("working").hidden = !text;
  $("working-text").textContent = text;
}

export async function go(step, wanted = "any") {
  const after = state.image?.id ?? opened ?? 0;
  const atEnd = {
    unfinished: "No other unfinished image is left.", review: "No other image waits for review.",
    any: step > 0 ? "This is the last image." : "This is the first image.",
  };
  try {
    const { image } = await get(`/api/next?after=${after}&step=${step}&unfinished=${wanted === "unfinished"}&review=${wanted === "review"}`);
    if (image) await openImage(image);
    else toast(atEnd[wanted]);
  } catch (error) {
    complain(error);
  }
}

/** Mark the image and go on to the next one that is not finished. */
export async function finish(mark) {
  if (!state.image && mark === "done") toast("An image that cannot be read cannot be marked as done: skip it.", true);
  else if (shownImage() && (await setMark(mark))) await go(1, "unfinished");
}

/** Return the open image, or the one that cannot be shown, which can be marked as well. */
export function shownImage() {
  return state.image ?? broken;
}

export async function setMark(mark) {
  const image = shownImage();
  try {
    const answer = await save("POST", `/api/images/${image.id}/mark`, { mark, revision: image.revision });
    Object.assign(image, answer);
    setState(image.id, answer.mark || (image === broken ? "problem" : state.objects.size ? "started" : "new"));
    tell(["image-mark"]);
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

/** Update the number of objects and the state in the list after objects were added or deleted. */
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
  const item = items()[Number(text) - 1] ?? items().find(({ name }) => name.toLowerCase().includes(text.toLowerCase()));
  if (item) leaveTo(entryOf(item));
  else toast(`No image ${text}.`, true);
}

/** Open another image after asking what to do with the object under way. */
export function leaveTo(id) {
  return leaveInOrder(async () => (await mayLeave()) && openImage(id));
}

/** Update in the list whether the open image has an object that is not accepted. */
function noteObject() {
  const row = state.images.find(([id]) => id === current.image);
  if (!row || row[5] === hasObject()) return;
  row[5] = hasObject();
  tell(["images"]);
}

let opened = null;
let broken = null; // {id, name, mark, revision} of an image that cannot be shown

/** Return the number of the image requested last, even if it could not be opened. */
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
  showTiles(null);
  const row = state.images.find((entry) => entry[0] === id);
  const why = error.message || String(error);
  $("blank").replaceChildren(h("b", {}, row?.[1] ?? "This image"), h("span", {}, why));
  $("blank").hidden = false;
  if (error.status === 422 && row) offerSkipping(row, why);
}

/** Show why an image cannot be opened, with buttons to skip it or to try again. */
async function offerSkipping(row, why) {
  const [id, name] = row;
  row[4] = why;
  if (row[2] !== "skipped") setState(id, "problem");
  const { mark, revision } = await get(`/api/images/${id}/objects`).catch(() => ({}));
  if (opened !== id || state.image || revision === undefined) return;
  broken = { id, name, mark, revision };
  tell(["image-mark"]);
  revealInList();
  const button = (text, action) => h("button.button", { onclick: () => leaveInOrder(action) }, text);
  $("blank").append(h("div.buttons", {},
    button("Skip this image", () => finish("skipped")), button("Next image", () => go(1)), button("Try again", () => openImage(id))));
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
  bitmaps.set(id, promise); // move it to the end: the first ones are dropped
  for (const old of [...bitmaps.keys()].slice(0, Math.max(0, bitmaps.size - KEPT))) bitmaps.delete(old);
  return promise;
}

async function fetchBitmap(id) {
  const { version, blob } = await fetchPixels(id);
  const full = await decode(blob).catch(async () => decode((await fetchPixels(id, "?decoded=true")).blob));
  const levels = [full];
  for (let size = Math.max(full.width, full.height) / 2; size > 1000; size /= 2) {
    const before = levels.at(-1);
    const half = { resizeWidth: Math.ceil(before.width / 2), resizeHeight: Math.ceil(before.height / 2), resizeQuality: "low" };
    levels.push(await createImageBitmap(before, half));
  }
  return { version, levels };
}

async function fetchPixels(id, how = "") {
  const response = await fetchWithKey(`/api/images/${id}/pixels${how}`);
  if (response.status !== 200) {
    const { error, preparing } = await response.json().catch(() => ({}));
    throw new ApiError(response.status, error ?? preparing ?? response.statusText);
  }
  return { version: response.headers.get("x-samadapt-version"), blob: await response.blob() };
}

const decode = (blob) => createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });

async function prefetch(id) {
  try {
    for (const near of neighbours(id)) if (state.image?.id === id) await bitmap(near);
    if (neighbours(id).length) return;
    for (const unfinished of [true, false]) {
      const { image } = await get(`/api/next?after=${id}&step=1&unfinished=${unfinished}`);
      if (image && state.image?.id === id) await bitmap(image);
    }
  } catch {
    // The pixels are fetched when the image is opened.
  }
}

// -- header -----------------------------------------------------------------------------------

function header() {
  const image = shownImage();
  const index = items().findIndex(({ rows }) => rows.some(([id]) => id === image?.id));
  const name = image ? nameOf(image) : "";
  $("image-name").textContent = name.split("/").at(-1) || "…";
  $("position").title = name;
  $("image-count").textContent = index >= 0 ? `${index + 1} / ${items().length}` : "";
  const isDone = image?.mark === "done";
  $("done").querySelector("span").textContent = isDone ? "Next to do" : "Done, next";
  $("skip-image").querySelector("span").textContent = image?.mark ? "Reopen image" : "Skip image";
  document.title = `${name || "samadapt"} - ${state.project?.name ?? ""}`;
}
