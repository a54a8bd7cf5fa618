// Entry point of the page: connects all modules.

import { get, isSaving, leave, onSaved, post, save, whyNotSaved } from "./api.js";
import { startBar } from "./bar.js";
import { acceptCarried, alone, carry, endCarried, fixCarried, fixedCarried, isCarried, isCarrying, isFixingCarried, rejectCarried, startCarrying, withdraw } from "./carrying.js";
import { resizeBrush } from "./brush.js";
import { current, cycle, drop, finalMask, hasObject, resync } from "./current.js";
import { startDetails } from "./details.js";
import { enter } from "./door.js";
import { autoLevels, refitContrast, startDisplay, toggle, toggleTheme } from "./display.js";
import { fileMenu } from "./files.js";
import { fillSlices, startFilling } from "./filling.js";
import { finish, go, jump, lastAsked, openImage, refreshImages, setMark, shownImage, startImages, working } from "./images.js";
import { revealInList } from "./imagelist.js";
import { showKeys, startKeys } from "./keys.js";
import { hide, lock, showAll, solo, startMarks, toggleColouring } from "./marks.js";
import { applyTool, mergeObjects, startMaskTools } from "./masktools.js";
import { selectListed, startObjectList } from "./objectlist.js";
import { selectAlike, selectedIds, selectedObjects } from "./selection.js";
import { chooseNumber, searchLabel, startLabels } from "./labels.js";
import { corners, simplify, startPolygon, togglePolygon } from "./polygon.js";
import { refreshLearning, startLearning } from "./learning.js";
import { mayLeave } from "./leaving.js";
import { startLive } from "./live.js";
import { link, onLink, unsent } from "./link.js";
import { acceptCurrent, deleteSelected, editSelected, redo, refreshObjects, startObjects, undo } from "./objects.js";
import { forgetPreview, holdSpace, startPointer } from "./pointer.js";
import { endPinning, isPinning, startPins } from "./pins.js";
import { askAmongOthers } from "./names.js";
import { inOrder, isBusy, leaveInOrder } from "./queue.js";
import { approve, forReview, pinComment, sendBack, startReview } from "./review.js";
import { cutBack, finishPath, giveUpPath, isCutting, startScissors } from "./scissors.js";
import { acceptAll, acceptProposal, dropCovered, endProposals, findSimilar, rejectProposal, step } from "./similar.js";
import { painted, request, shownBitmap, startStage } from "./stage.js";
import { on, set, state } from "./state.js";
import { startStacks, stepSlice } from "./stacks.js";
import { redoStep, restoreSteps, undoStep } from "./steps.js";
import { endTrack, joinTracks, splitTrack, startTracks, unfollow } from "./tracks.js";
import { startTeaching } from "./teaching.js";
import { $, complain, h, placeIcons, toast } from "./ui.js";
import { acceptAllWaiting, acceptWaiting, fixed, fixWaiting, isFixing, isQueue, openQueue, passOver, redone, rejectWaiting, startQueue } from "./waiting.js";
import { extent } from "./mask.js";
import { fit, reveal, showAt, view, zoomAt } from "./view.js";

const EVERY = 8000; // milliseconds between two requests that renew the claim

/** Accept the object under way, or else the active proposal; the bar says which. */
async function accept() {
  if (isCarried() && !hasObject()) return acceptCarried();
  if (isQueue() && !hasObject()) return acceptWaiting();
  if (state.proposals && !hasObject()) return acceptProposal();
  const mask = finalMask();
  await acceptCurrent();
  if (!hasObject()) await (isFixingCarried() ? fixedCarried() : isFixing() ? fixed() : dropCovered(mask));
  return null;
}

/** Bring the object under way into sight after undo or redo. */
function inSight() {
  const mask = finalMask();
  if (mask) reveal(extent(mask));
}

/** Actions that run one after the other, after the clicks that wait for their answer. */
const ordered = {
  accept: () => (isCutting() ? finishPath() : accept()),
  drop: () => {
    if (isPinning()) endPinning();
    else if (isCutting()) giveUpPath();
    else if (hasObject()) return drop().then(() => (isFixingCarried() ? fixedCarried(true) : isFixing() && fixed(true)));
    else if (isCarried()) return withdraw();
    else if (state.proposals) endProposals();
    else { set({ selected: null }); unfollow(); }
    return null;
  },
  cycle: () => cycle(),
  undo: async (_, pressed) => (isCutting() ? cutBack() : (await undoStep(pressed)) || undo().then(inSight)), redo: async () => (await redoStep()) || redo().then(inSight).then(() => isQueue() && redone()),
  edit: () => (isCarried() && !hasObject() ? fixCarried() : isQueue() && !hasObject() ? fixWaiting() : editSelected()), remove: deleteSelected,
  similar: findSimilar, acceptAll: () => (isCarried() ? acceptCarried() : isQueue() ? acceptAllWaiting() : acceptAll()), reject: () => (isCarried() ? rejectCarried() : isQueue() ? rejectWaiting() : rejectProposal()),
  proposalNext: () => (isCarried() ? null : isQueue() ? passOver() : step(1)), proposalPrevious: () => (isCarried() ? null : step(-1)),
  number: chooseNumber,
  selectAll: selectListed, selectAlike, merge: mergeObjects,
  hide: () => hide(selectedObjects()), lock: () => lock(selectedObjects()), solo: () => solo(selectedObjects()), showAll,
  toolPolygon: togglePolygon, simplify,
  islands: () => applyTool("remove islands"), holes: () => applyTool("fill holes"),
  refine: () => applyTool("refine outline"),
  largest: () => applyTool("keep largest"), smooth: () => applyTool("smooth"),
};

/** Actions on tracks: one at a time; others are ignored meanwhile. */
const carrying = {
  carry: () => carry(1), carryBack: () => carry(-1), fillSlices, splitTrack, joinTracks, endTrack: () => (isCarried() ? endCarried() : endTrack()),
};

/** Run an action that decides about a proposal; for carried objects, one at a time (see `alone`). */
function decided(name) {
  const action = () => inOrder(ordered[name]);
  return isCarrying() || isCarried() || isFixingCarried() ? alone(action) : action();
}

/** Actions that leave the image, after asking what to do with the object under way. */
const leading = {
  done: () => finish("done"),
  skipImage: () => finish("skipped"),
  forReview, approve, sendBack, queue: openQueue,
  next: () => go(1), previous: () => go(-1),
};

const leaveDecided = (action) => leaveInOrder(async () => (await mayLeave()) && action());
const inTurn = (group, how) => Object.fromEntries(Object.entries(group).map(([name, action]) => [name, (value) => {
  const pressed = performance.now();
  return how(() => action(value, pressed));
}]));

const actions = {
  ...inTurn(ordered, inOrder), ...inTurn(leading, leaveDecided),
  skipImage: () => (shownImage()?.mark ? inOrder(() => setMark("")) : leaveDecided(leading.skipImage)),
  ...inTurn(carrying, (action) => alone(() => inOrder(action))),
  ...Object.fromEntries(["accept", "acceptAll", "reject", "edit"].map((name) => [name, () => decided(name)])),
  sliceNext: () => stepSlice(1), slicePrevious: () => stepSlice(-1),
  jump, searchLabel, comment: pinComment,
  toolClick: () => set({ tool: "click" }), toolBox: () => set({ tool: "box" }),
  toolBrush: () => set({ tool: "brush" }), toolErase: () => set({ tool: "erase" }),
  toolSelect: () => set({ tool: "select" }), toolPan: () => set({ tool: "pan" }), toolScissors: () => set({ tool: "scissors" }), toolSplit: () => set({ tool: "split" }), colourBy: toggleColouring,
  polarity: () => set({ negative: !state.negative }),
  smaller: () => resizeBrush(1 / 1.2), larger: () => resizeBrush(1.2),
  fit, zoomIn: () => zoomAt(1.25), zoomOut: () => zoomAt(0.8),
  fill: () => toggle("fill"), outline: () => toggle("outline"), keepEarlier: () => { toggle("keepEarlier"); toast(state.settings.keepEarlier ? "Earlier objects stay on top." : "New objects may cover earlier ones."); },
  preview: () => { toggle("preview"); forgetPreview(); toast(state.settings.preview ? "Preview on." : "Preview off."); },
  autoLevels: () => autoLevels(shownBitmap()),
  theme: toggleTheme, help: showKeys, menu: (button) => fileMenu(button, actions),
  showReview: () => { set({ tab: "review" }); document.body.classList.add("panel-open"); },
  showLearning: () => { set({ tab: "learning" }); document.body.classList.add("panel-open"); },
  panel: () => document.body.classList.toggle("panel-open"),
};

async function start() {
  placeIcons();
  await enter();
  const project = await get("/api/project");
  set({ project, labels: project.labels, labelsRevision: project.labels_revision });
  $("project-name").textContent = project.name;
  $("brand").title = `${project.folder}\nmodel ${project.model}\nsaved in ${project.project}`;
  startKeys(actions, () => Boolean(state.proposals), holdSpace);
  startStage();
  startPointer();
  startMarks();
  startObjects();
  startObjectList();
  startMaskTools();
  startPolygon();
  startScissors();
  startLabels();
  startDetails();
  startTeaching();
  startReview();
  startQueue();
  startStacks();
  startTracks();
  restoreSteps();
  startCarrying();
  startFilling();
  startPins();
  startBar();
  startDisplay();
  startTabs();
  onSaved(saved);
  onLink(linked);
  on("tool negative", tools);
  on("image", warnings);
  on("image others", others);
  on("image", () => state.image && refitContrast(shownBitmap()));
  tools();
  document.addEventListener("auto-levels", actions.autoLevels);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && signOfLife());
  addEventListener("beforeunload", (event) => (isSaving() || isBusy()) && event.preventDefault());
  for (const note of project.notes) toast(note, true);
  await startImages();
  sendAgain();
  startLearning();
  setInterval(signOfLife, EVERY);
  startLive();
  waitForModel();
  document.documentElement.dataset.ready = "true";
  askAmongOthers();
}

function saved(kind, text) {
  tellLink();
  const element = $("saved");
  element.dataset.state = kind;
  element.textContent = text;
  element.title = kind === "failed" || kind === "away" ? whyNotSaved() || $("link").textContent : "All accepted objects are on the disk";
}

const LINK = {
  away: () => `The server does not answer. Start it again (samadapt annotate ${state.project.name}): this page then continues by itself.${isSaving() ? " Do not close it." : ""}`,
  stale: () => "The server was started again. Open the address that it printed, in another tab: this page then continues by itself.",
  other: () => `Another project is open at this address now. Start ${state.project.name} again: before that, nothing is saved here.`,
};

/** Show why the server does not answer, and whether changes are unsaved. */
function tellLink() {
  const { kind } = link;
  $("link").hidden = kind === "up";
  $("link").textContent = kind === "up" ? "" : LINK[kind]();
}

/** Handle a change of the connection; when the server is back, fetch the present state. */
async function linked(kind) {
  tellLink();
  if (kind !== "up") {
    working("");
    return;
  }
  toast("The server is back.");
  try {
    if (!state.image) await openFailed();
    else {
      await resync();
      await refreshObjects();
    }
    await refreshImages();
    refreshLearning(0);
  } catch (error) {
    complain(error);
  }
}

/** Open the image that could not be opened while the server was away. */
async function openFailed() {
  const id = lastAsked();
  if (id) await openImage(id);
}

/** Send the requests that were not saved before the page was reloaded. */
async function sendAgain() {
  const entries = unsent(state.project.id);
  if (!entries.length) return;
  let count = 0;
  for (const { method, path, body, key } of entries) {
    try {
      await save(method, path, body, key);
      count += 1;
    } catch (error) {
      complain(error);
    }
  }
  if (count) toast(count === 1 ? "An unsaved change is saved now." : `${count} unsaved changes are saved now.`);
  if (state.image) {
    await resync();
    await refreshObjects().catch(complain);
  }
}

function tools() {
  for (const element of document.querySelectorAll("[data-tool]")) {
    if (element.id !== "stage") element.setAttribute("aria-pressed", String(element.dataset.tool === state.tool));
  }
  $("stage").dataset.tool = state.tool;
  $("polarity").setAttribute("aria-pressed", String(state.negative));
}

function startTabs() {
  const choose = (tab) => set({ tab });
  for (const button of document.querySelectorAll("[data-tab]")) button.addEventListener("click", () => choose(button.dataset.tab));
  on("tab", () => {
    for (const button of document.querySelectorAll("[data-tab]")) button.setAttribute("aria-selected", String(button.dataset.tab === state.tab));
    for (const panel of document.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== state.tab;
    if (state.tab === "images") revealInList();
    if (state.tab === "learning") refreshLearning(0);
  });
  choose("objects");
}

function warnings() {
  const texts = state.image?.warnings ?? [];
  $("warnings").replaceChildren(...texts.map((text) => {
    const note = h("div.note", {}, h("span", {}, text), h("button.button.small", { onclick: () => note.remove() }, "OK"));
    return note;
  }));
}

/** Show who else has this image open. */
function others() {
  const names = state.image?.others ?? [];
  $("others").hidden = !names.length;
  const named = names.filter((name) => name !== "somebody");
  const who = named.length ? named.join(", ") : names.length > 1 ? `${names.length} others` : "Somebody";
  $("others").textContent = names.length ? `${who} here too` : "";
  $("others").title = `${names.join(", ")} ${names.length > 1 ? "have" : "has"} this image open as well. Objects of all are kept; N goes to an image that is free.`;
}

/** Renew the claim of the open image at the server. */
async function signOfLife() {
  const image = state.image?.id;
  if (!image || document.hidden) return;
  try {
    await post(`/api/here/${image}`);
  } catch {
    // A broken connection is shown above the image.
  }
}

/** Poll until the image is encoded, and then remove the message about it. */
async function waitForModel() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 400));
    if (link.kind !== "up" || $("working-text").textContent !== "The model reads the image…") continue;
    const image = state.image?.id;
    if (!image) {
      working("");
      continue;
    }
    const answer = await post(`/api/here/${image}`).catch(() => null);
    if (answer?.ready && state.image?.id === image) working("");
  }
}

// State of the page for tests and benchmarks.
window.samadapt = { link, state, set, current, view, finalMask, isBusy, corners, selectedIds: () => [...selectedIds()], openImage, painted, request, show: showAt };

start().catch((error) => {
  complain(error);
  $("blank").hidden = false;
  $("blank").textContent = error.message ?? String(error);
});
