// Search for similar objects: proposals, accepted or rejected with one key.

import { get, post } from "./api.js";
import { hasObject, onObjects, request } from "./current.js";
import { area, contains, extent, fromCrop, merged, overlaps, toCrop } from "./mask.js";
import { labelOf, set, state } from "./state.js";
import { rememberStep } from "./steps.js";
import { working } from "./images.js";
import { $, complain, toast } from "./ui.js";
import { isInSight, reveal, sight } from "./view.js";

/** Results of the searches on this image for this label so far, which the next one continues. */
let search = { image: null, label: null, rejected: [], tried: [] };
let saving = 0;
const accepted = new Map(); // number of an object -> the proposal that it was made from

/** Drop proposals that became objects, by redo or by somebody else; undo brings them back. */
onObjects((saved, removed, isUndo) => queueMicrotask(() => {
  if (state.proposals?.queue) return;
  for (const { id } of saved) dropCovered(state.objects.get(id)?.mask);
  if (isUndo) bringBack(removed.flatMap((id) => accepted.get(id) ?? []));
}));

export async function findSimilar() {
  const image = state.image?.id;
  if (!image) return;
  if (hasObject()) {
    toast("Accept or drop the present object first.");
    return;
  }
  if (search.image !== image || search.label !== state.label) {
    search = { image, label: state.label, rejected: [], tried: [] };
    accepted.clear();
  }
  const present = search;
  working("Looking for similar objects…");
  const watch = setInterval(() => tellProgress(image, present), 700);
  try {
    const { rejected, tried, label } = present;
    const found = await post(`/api/images/${image}/similar`, { label, rejected: rejected.slice(-500), tried: tried.slice(-5000), ...sight() });
    if (state.image?.id !== image || search !== present) return;
    present.tried = found.more ? [...tried, ...found.tried] : [];
    const list = found.proposals.map(({ mask, likeness }) => ({ mask: fromCrop(mask), likeness })).filter(({ mask }) => mask);
    if (list.length) {
      set({ proposals: { list, index: 0, more: found.more, unlike: found.unlike }, selected: null });
      reveal(extent(list[0].mask));
    } else if (found.more) {
      toast(`Nothing yet, ${found.looked} of ${found.places} places looked at: look on with the same key.`);
    } else {
      toast(`Nothing else here looks like ${labelOf(label)?.name ?? "these objects"}.`);
    }
  } catch (error) {
    complain(error);
  } finally {
    clearInterval(watch);
    working("");
  }
}

async function tellProgress(image, present) {
  const found = await get(`/api/images/${image}/similar`).catch(() => null);
  if (found?.places && search === present && !$("working").hidden) {
    working(`Looking for similar objects: ${found.looked} of ${found.places} places…`);
  }
}

export function endProposals() {
  accepted.clear();
  if (state.proposals) set({ proposals: null });
}

/** Return a text: which proposal is active, and how many are out of sight. */
export function whichProposal() {
  const { list, index, more } = state.proposals;
  const hidden = list.filter(({ mask }) => !isInSight(extent(mask))).length;
  return `Similar ${index + 1} / ${list.length}${more ? "+" : ""}${hidden ? ` (${hidden} out of sight)` : ""}`;
}

export async function acceptProposal() {
  const proposal = state.proposals?.list[state.proposals.index];
  if (!proposal) return;
  const place = placeOf(proposal);
  leave(state.proposals.index);
  saving += 1;
  try {
    await keepOne(proposal, place);
  } finally {
    saving -= 1;
  }
  await goOn();
}

export async function rejectProposal() {
  if (mustWait()) return;
  const proposal = state.proposals?.list[state.proposals.index];
  if (!proposal) return;
  const present = search, crop = toCrop(proposal.mask), place = placeOf(proposal), { image } = place;
  const take = () => {
    present.rejected.push(crop);
    const now = state.image?.id === image ? state.proposals?.list.indexOf(proposal) ?? -1 : -1;
    if (now >= 0) leave(now);
  };
  take();
  rememberStep("a rejected proposal", () => {
    present.rejected = present.rejected.filter((one) => one !== crop);
    bringBack([place]);
  }, take);
  await goOn();
}

/** Return a proposal with its place in the list. */
function placeOf(proposal) {
  const { list, more, unlike } = state.proposals;
  return { image: state.image.id, proposal, index: list.indexOf(proposal), more, unlike };
}

/** Put proposals that were decided back into the list, at their places. */
function bringBack(places) {
  const back = places.filter(({ image }) => image === state.image?.id).sort((a, b) => a.index - b.index);
  if (!back.length || state.proposals?.queue) return;
  const list = [...(state.proposals?.list ?? [])];
  for (const { proposal, index } of back) list.splice(index, 0, proposal);
  const [{ proposal, more, unlike }] = back;
  set({ proposals: { more, unlike, ...state.proposals, list, index: list.indexOf(proposal) }, selected: null });
  reveal(extent(proposal.mask));
}

/** Accept all proposals as one step of undo; they stay on the screen until they are saved. */
export async function acceptAll() {
  if (mustWait() || !state.proposals) return;
  const { list, more } = state.proposals, image = state.image.id;
  const masks = [], places = list.map(placeOf);
  for (const { mask } of list) masks.push(freeOf([...[...state.objects.values()].map((object) => object.mask), ...masks], mask));
  const left = [...masks.keys()].filter((k) => masks[k] && area(masks[k]));
  if (left.length) {
    try {
      const { saved } = await request(`/api/images/${image}/objects/add`, { masks: left.map((k) => toCrop(masks[k])), label: state.label, source: "similar" });
      left.forEach((k, n) => accepted.set(saved[n].id, places[k]));
    } catch (error) {
      complain(error);
      return;
    }
  }
  set({ proposals: null });
  tellAccepted(left.length, list.length);
  if (more) await findSimilar();
}

export function step(by) {
  if (!state.proposals || mustWait()) return;
  const { list, index } = state.proposals;
  const next = (index + by + list.length) % list.length;
  set({ proposals: { ...state.proposals, index: next } });
  reveal(extent(list[next].mask));
}

/** Make the proposal at a point the active one; false if there is none. */
export function activate(x, y) {
  const found = state.proposals.list.findIndex(({ mask }) => contains(mask, x, y));
  if (found < 0) return false;
  set({ proposals: { ...state.proposals, index: found } });
  return true;
}

/** Return true, and show a message, if an object is under way: then proposals cannot be decided. */
function mustWait() {
  if (hasObject()) toast("Accept or drop your own object first: the proposals wait.");
  return hasObject();
}

/** Drop proposals of which at least half is inside an object that was accepted meanwhile. */
export function dropCovered(mask) {
  if (!state.proposals || !mask) return;
  const { list, index } = state.proposals;
  const left = list.filter(({ mask: proposed }) => {
    const rest = overlaps(proposed, mask) ? merged(proposed, mask, 0) : proposed;
    return rest && area(rest) > area(proposed) / 2;
  });
  if (left.length === list.length) return;
  set({ proposals: left.length ? { ...state.proposals, list: left, index: Math.min(index, left.length - 1) } : null });
}

function leave(index) {
  const { more, list: before } = state.proposals;
  const list = before.filter((_, k) => k !== index);
  if (!list.length) {
    set({ proposals: null });
    search.waits = more;
    return;
  }
  const next = Math.min(index, list.length - 1);
  set({ proposals: { ...state.proposals, list, index: next } });
  reveal(extent(list[next].mask));
}

/** Continue the search once the last proposal is decided and all accepted ones are saved. */
async function goOn() {
  if (!search.waits || saving || state.proposals || state.image?.id !== search.image || hasObject()) return;
  search.waits = false;
  await findSimilar();
}

async function keepOne(proposal, place) {
  const image = state.image.id;
  const mask = freeOf([...state.objects.values()].map((object) => object.mask), proposal.mask);
  if (!mask || !area(mask)) return;
  try {
    const { object } = await request(`/api/images/${image}/objects`, { mask: toCrop(mask), label: state.label, source: "similar" });
    accepted.set(object.id, place);
  } catch (error) {
    complain(error);
  }
}

/** Return a mask without the pixels of earlier ones if that is set; null if nothing is left. */
function freeOf(earlier, mask) {
  if (!state.settings.keepEarlier) return mask;
  let left = mask;
  for (const other of earlier) if (left && other && overlaps(left, other)) left = merged(left, other, 0);
  return left;
}

/** Show how many of the proposals became objects. */
export function tellAccepted(count, of) {
  const many = `${count} object${count === 1 ? "" : "s"}`;
  if (count === of) toast(`${many} accepted.`);
  else toast(`${many} accepted, ${of - count} could not be.`, true);
}
