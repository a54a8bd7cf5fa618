// Carrying the selected object from slice to slice, and deciding about the proposals made there.

import { get, post } from "./api.js";
import { current, edit, hasObject, onFirstPrompt, request } from "./current.js";
import { openImage } from "./images.js";
import { keyOf } from "./keys.js";
import { mayLeave } from "./leaving.js";
import { extent, fromCrop } from "./mask.js";
import { leaving } from "./queue.js";
import { select } from "./selection.js";
import { endProposals } from "./similar.js";
import { placeOf, where } from "./stacks.js";
import { colourOf, NO_LABEL, on, set, state } from "./state.js";
import { rememberStep } from "./steps.js";
import { chosen, endTrack, noteTrack } from "./tracks.js";
import { complain, toast } from "./ui.js";
import { reveal } from "./view.js";
import { stepAt } from "./waiting.js";

const asked = new Map(); // proposal -> its origin: {image, step, from, track, why}
let fixing = null; // {how, object} of a carried mask that is being improved with clicks
let isUnderWay = false;

export function startCarrying() {
  onFirstPrompt(() => (isCarried() ? fixCarried() : null));
  on("image", () => { fixing = null; });
}

/** Return true while an object is being carried to another slice. */
export const isCarrying = () => isUnderWay;
/** Return true if the proposal on the screen is a carried one. */
export const isCarried = () => Boolean(state.proposals?.carried);
export const isFixingCarried = () => fixing !== null;
export const wasCarried = (proposal) => asked.has(proposal);

/**
 * Run an action that carries an object or decides about a carried one. Further calls are ignored
 * until it ends, so that nothing is accepted before it is on the screen.
 */
export function alone(action) {
  if (isUnderWay) return null;
  isUnderWay = true;
  return Promise.resolve(action()).finally(() => { isUnderWay = false; });
}

/** Carry the selected object to the next slice (1) or the one before (-1). */
export async function carry(step) {
  if (isCarried()) {
    toast(`Accept (${keyOf("accept")}) or reject (${keyOf("reject")}) what was carried here first.`);
    return;
  }
  if (hasObject()) {
    toast("Accept or drop the present object first.");
    return;
  }
  const object = chosen();
  if (object !== undefined) await carryFrom(state.image.id, object, step);
}

async function carryFrom(image, object, step) {
  let answer;
  try {
    answer = await post(`/api/images/${image}/carry`, { object, step });
  } catch (error) {
    if (error.status === 409) toast(sentence(error.message));
    else complain(error);
    return;
  }
  noteTrack(object, answer.track);
  for (const text of answer.problems) toast(text, true);
  await leaving(() => openImage(answer.image));
  if (state.image?.id !== answer.image) return;
  if (answer.proposal) {
    const { track, why } = answer;
    asked.set(answer.proposal.id, { image: answer.image, step, from: image, object, track, why });
    show(answer.proposal);
  } else {
    if (answer.object) select([answer.object]);
    const join = answer.object && answer.why ? ` ${keyOf("joinTracks")} makes both one track; ${keyOf("carry")} carries this one on.` : "";
    toast(answer.why ? `${sentence(answer.why)}${join}` : `Track ${answer.track} is here already.`, Boolean(answer.why));
  }
}

function show({ id, label, score, mask }) {
  const colour = colourOf(state.labels.find(({ name }) => name === label)?.id ?? null);
  const one = { id, label: label ?? NO_LABEL, score, colour, mask: fromCrop(mask) };
  set({ proposals: { list: [one], index: 0, more: false, unlike: false, carried: asked.get(id) }, selected: null });
  reveal(extent(one.mask));
}

/** Show a carried proposal of the open image; false if it is no longer waiting. */
export async function showCarried(id) {
  const image = state.image?.id;
  const { proposals } = await get(`/api/images/${image}/proposals`);
  const found = proposals.find((one) => one.id === id);
  if (!found || state.image?.id !== image) return false;
  show(found);
  return true;
}

const present = () => ({ ...state.proposals.list[0], how: state.proposals.carried });

export async function acceptCarried() {
  const { id, how } = present(), { image } = state;
  endProposals();
  let answer;
  try {
    answer = await request(`/api/proposals/${id}/accept`, {});
  } catch (error) {
    complain(error);
    return;
  }
  remember("the object", image.id);
  await goOn(how, answer.object.id);
}

/** Remember a decision on a slice that is left, so that undo returns to it. */
function remember(what, image) {
  const back = async () => {
    await withdraw();
    return stepAt(image, "undo");
  };
  rememberStep(`${what} in ${where(placeOf(image))}`, back, () => stepAt(image, "redo"));
}

export async function rejectCarried() {
  const { id, how } = present();
  endProposals();
  try {
    await request(`/api/proposals/${id}/reject`, {});
    if (how.next) await how.next();
    else toast(`Rejected: draw the object here, go on to another slice, or end the track where it was seen last (${where(placeOf(how.from))}).`);
  } catch (error) {
    complain(error);
  }
}

/** Improve the carried proposal with clicks; when the object is saved, it is carried on. */
export async function fixCarried() {
  const { id, how } = present();
  endProposals();
  try {
    // This makes two steps of undo: accepting the proposal, and editing the object.
    const { object } = await request(`/api/proposals/${id}/accept`, {});
    fixing = { how, object: object.id };
    await edit(object);
    if (current.mask) reveal(current.mask);
  } catch (error) {
    complain(error);
  }
}

/** Handle the end of an improvement: the object was saved, or `isGivenUp`. */
export async function fixedCarried(isGivenUp = false) {
  const { how, object } = fixing;
  fixing = null;
  if (isGivenUp) {
    toast(`It is accepted as it was carried; ${keyOf("undo")} takes that back.`);
    return;
  }
  remember("the correction", how.image);
  await goOn(how, object);
}

/** End the track of the carried object in the slice that it was carried from. */
export async function endCarried() {
  const { how } = present();
  if (how.isFilled) return;
  await withdraw();
  await leaving(() => openImage(how.from));
  if (state.image?.id !== how.from || !state.objects.has(how.object)) return;
  select([how.object]);
  await endTrack();
}

/** Remove the carried proposal, on the screen and at the server. */
export async function withdraw() {
  if (!isCarried()) return;
  const { id } = present();
  endProposals();
  await post("/api/fill/discard", { proposals: [id] }).catch(complain);
}

/** Carry the object to the next slice, or go to the next slice that was filled. */
async function goOn({ step, next }, object) {
  if (next) return next();
  select([object]);
  if (step && (await mayLeave())) await carryFrom(state.image.id, object, step);
  return null;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`.replace(/\?\.$/, "?");

// -- filling ------------------------------------------------------------------------------------

/** Register a proposal that filling made; `how.next` goes to the next one. */
export function expect(id, how) {
  asked.set(id, how);
}
