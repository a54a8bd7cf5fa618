// Proposals on all images: the search in the background, and the queue for review.

import { get, post } from "./api.js";
import { showCarried, wasCarried } from "./carrying.js";
import { current, hasObject, onWaiting, request } from "./current.js";
import { openImage } from "./images.js";
import { keyOf, run } from "./keys.js";
import { mayLeave } from "./leaving.js";
import { extent, fromCrop } from "./mask.js";
import { inOrder, leaving } from "./queue.js";
import { endProposals, tellAccepted } from "./similar.js";
import { colourOf, labelName, NO_LABEL, on, set, state } from "./state.js";
import { rememberStep } from "./steps.js";
import { $, complain, h, toast } from "./ui.js";
import { reveal } from "./view.js";

let standing = null; // {waiting, tasks, run}
let fixing = null; // number of the proposal that is being improved with clicks
let timer = 0;

export function startQueue() {
  on("tab label labels images", render);
  on("tab images", refresh);
  on("image", () => { fixing = null; });
  onWaiting(([id]) => (wasCarried(id) ? inOrder(() => showCarried(id)) : showAgain(id).catch(complain)));
}

/** Return true if the proposals on the screen are those of the queue. */
export const isQueue = () => Boolean(state.proposals?.queue);
export const isFixing = () => fixing !== null;

/** Open the queue at the most uncertain proposal. */
export const openQueue = () => following(0);

export async function acceptWaiting() {
  const { id, label } = present();
  await decide(`the acceptance of “${label}”`, () => request(`/api/proposals/${id}/accept`, {}));
}

export async function rejectWaiting() {
  if (hasObject()) return;
  const { id, label } = present();
  await decide(`the rejection of “${label}”`, () => request(`/api/proposals/${id}/reject`, {}));
}

/** Accept all waiting proposals of this image as one step of undo. */
export async function acceptAllWaiting() {
  const proposals = state.proposals.list.map(({ id }) => id);
  await decide("the acceptance of all that waited there", async () => {
    const { accepted } = await request(`/api/images/${state.image.id}/proposals/accept`, { proposals });
    tellAccepted(accepted, proposals.length);
  });
}

/** Improve the active proposal with clicks; the queue continues when that is saved or dropped. */
export async function fixWaiting() {
  const { id } = present();
  endProposals();
  try {
    await request(`/api/proposals/${id}/accept`, { fix: true });
    fixing = id;
    if (current.mask) reveal(current.mask);
  } catch (error) {
    complain(error);
    await following(id);
  }
}

/** Handle the end of an improvement: the object was saved, or `isGivenUp`. */
export async function fixed(isGivenUp = false) {
  fixing = null;
  if (isGivenUp) toast(`It is accepted as it was proposed; ${keyOf("undo")} on its image takes that back.`);
  await following(0);
}

/** Leave the active proposal in the queue, and go to the next one. */
export const passOver = () => following(present().id);

const present = () => state.proposals.list[state.proposals.index];

async function decide(what, action) {
  const { id } = present(), { image } = state, ownObject = hasObject();
  let isDone = true;
  try {
    await action();
  } catch (error) {
    isDone = false;
    complain(error); // such as when somebody else has decided it
  }
  await following(id);
  if (!isDone || ownObject || state.image?.id === image.id) return;
  // The image was left: remember the decision, so that undo returns to it.
  rememberStep(`${what} on ${image.name}`, () => stepAt(image.id, "undo"), () => stepAt(image.id, "redo", () => following(0)));
}

/** Undo or redo the last step on an image, then call `goOn`; false if the open image may not be left. */
export async function stepAt(image, way, goOn = null) {
  if (state.image?.id !== image) {
    if (!(await mayLeave())) return false;
    await leaving(() => openImage(image));
  }
  await request(`/api/images/${image}/${way}`, {});
  await goOn?.();
  return true;
}

/** Show a proposal that waits again after undo; false if none waits on this image. */
async function showAgain(id) {
  refresh();
  return show({ id, image: state.image?.id });
}

/** Continue after the redo of a decision, with the proposals left here or on other images. */
export async function redone() {
  if (!(await showAgain(0))) await following(0);
}

/** Go to the proposal after `after` in the order of uncertainty, on any image. */
async function following(after) {
  const { next } = await get(`/api/proposals/next?after=${after}`);
  refresh();
  if (!next) {
    endProposals();
    toast("No proposal waits.");
    return;
  }
  if (state.image?.id !== next.image) {
    if (!(await mayLeave())) return;
    await leaving(() => openImage(next.image));
    if (state.image?.id !== next.image) return;
  }
  await show(next);
}

/** Show the proposals of an image, with `id` active; false if none waits there. */
async function show({ id, image }) {
  const [{ proposals }, now] = await Promise.all([get(`/api/images/${image}/proposals`), get("/api/proposals")]);
  if (state.image?.id !== image) return false;
  const colour = (name) => colourOf(state.labels.find((label) => label.name === name)?.id ?? null);
  const list = proposals.map((one) => ({ ...one, label: one.label ?? NO_LABEL, mask: fromCrop(one.mask), colour: colour(one.label) })).filter(({ mask }) => mask);
  const index = Math.max(0, list.findIndex((one) => one.id === id));
  if (!list.length) return false;
  const unlike = now.run.unlike.includes(image);
  set({ proposals: { list, index, more: false, unlike, queue: { waiting: now.waiting } }, selected: null });
  reveal(extent(list[index].mask));
  return true;
}

// -- the search in the background -------------------------------------------------------------

async function refresh() {
  clearTimeout(timer);
  if (state.tab !== "review") return;
  standing = await get("/api/proposals").catch(() => null);
  render();
  if (standing?.run.running) timer = setTimeout(refresh, 1000);
}

async function ask(path, body = {}) {
  try {
    standing = await post(path, body);
  } catch (error) {
    complain(error);
  }
  await refresh();
}

function render() {
  const panel = $("review-queue");
  if (state.tab !== "review" || !standing || panel.contains(document.activeElement)) return;
  const { waiting, tasks, run: now } = standing;
  const name = labelName(state.label);
  panel.replaceChildren(
    h("h3", {}, "Proposals on all images"),
    waiting ? h("div.buttons", {}, h("button.button.small.main", { id: "open-queue", onclick: () => run("queue") },
      waiting === 1 ? "Review 1 proposal" : `Review ${waiting} proposals`, keyOf("queue") && h("kbd", {}, keyOf("queue")))) : h("div.muted", {}, "No proposal waits."),
    ...(now.running ? [
      h("div", { role: "status" }, `Looking for what is ${now.what}: ${now.looked} of ${now.images} images, ${now.found} found.`),
      h("progress", { max: Math.max(1, now.images), value: now.looked, "aria-label": "Images looked at" }),
      h("div.buttons", {}, h("button.button.small", { onclick: () => ask("/api/proposals/stop") }, "Stop")),
    ] : [
      now.what && h("div.muted", { role: "status" }, `Last run, ${now.what}: ${now.found} found on ${now.looked} images${now.failed ? `, ${now.failed} could not be read` : ""}${now.problem ? ` (${now.problem})` : ""}.`),
      now.unlike.length > 0 && h("div.muted", { id: "unlike" }, `${now.unlike.length === 1 ? "1 image looks" : `${now.unlike.length} images look`} unlike those with examples: look closely there, whatever the score says.`),
      h("div.buttons", {},
        h("button.button.small", { id: "propose-similar", title: "From accepted objects anywhere in the project, on all images that are not finished", onclick: () => inOrder(() => ask("/api/proposals/run", { label: state.label })) }, `Look for more “${name}”`),
        ...tasks.map((task) => h("button.button.small", { "data-task": task.spec, onclick: () => inOrder(() => ask("/api/proposals/run", { task: task.spec })) }, `Task “${task.name}”`))),
    ]).filter(Boolean));
}
