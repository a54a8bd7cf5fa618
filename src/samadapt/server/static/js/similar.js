// Find similar: proposals of the model, accepted or rejected with one key.

import { freshKey, post, saveObject } from "./api.js";
import { hasObject } from "./current.js";
import { area, contains, fromCrop, merged, overlaps, toCrop } from "./mask.js";
import { bringBack, put, remember, remove } from "./objects.js";
import { labelOf, set, state } from "./state.js";
import { working } from "./images.js";
import { complain, toast } from "./ui.js";
import { reveal } from "./view.js";

export async function findSimilar() {
  const image = state.image?.id;
  if (!image) return;
  if (hasObject()) {
    toast("Accept or drop the present object first.");
    return;
  }
  working("Looking for similar objects…");
  try {
    const { proposals } = await post(`/api/images/${image}/similar`, { label: state.label });
    if (state.image?.id !== image) return;
    const list = proposals.map(({ mask, likeness }) => ({ mask: fromCrop(mask), likeness })).filter(({ mask }) => mask);
    if (list.length) {
      set({ proposals: { list, index: 0 }, selected: null });
      reveal(list[0].mask);
    } else {
      toast(`Nothing else here looks like ${labelOf(state.label)?.name ?? "these objects"}.`);
    }
  } catch (error) {
    complain(error);
  } finally {
    working("");
  }
}

export function endProposals() {
  if (state.proposals) set({ proposals: null });
}

export async function acceptProposal() {
  const proposal = state.proposals?.list[state.proposals.index];
  if (!proposal) return;
  leave(state.proposals.index);
  await keepOne(proposal);
}

export function rejectProposal() {
  if (state.proposals) leave(state.proposals.index);
}

export async function acceptAll() {
  const list = state.proposals?.list ?? [];
  endProposals();
  for (const proposal of list) await keepOne(proposal);
  toast(`${list.length} objects accepted.`);
}

export function step(by) {
  const { list, index } = state.proposals;
  const next = (index + by + list.length) % list.length;
  set({ proposals: { list, index: next } });
  reveal(list[next].mask);
}

/** Make the proposal at a point the active one; false when there is none. */
export function activate(x, y) {
  const found = state.proposals.list.findIndex(({ mask }) => contains(mask, x, y));
  if (found < 0) return false;
  set({ proposals: { list: state.proposals.list, index: found } });
  return true;
}

function leave(index) {
  const list = state.proposals.list.filter((_, k) => k !== index);
  if (!list.length) {
    endProposals();
    return;
  }
  const next = Math.min(index, list.length - 1);
  set({ proposals: { list, index: next } });
  reveal(list[next].mask);
}

async function keepOne(proposal) {
  const image = state.image.id;
  let mask = proposal.mask;
  if (state.settings.keepEarlier) {
    for (const object of state.objects.values()) {
      if (mask && object.mask && overlaps(mask, object.mask)) mask = merged(mask, object.mask, 0);
    }
  }
  if (!mask || !area(mask)) return;
  const body = { key: freshKey(), mask: toCrop(mask), label: state.label, source: "similar" };
  try {
    const { object } = await saveObject(`/api/images/${image}/objects`, body);
    if (state.image?.id !== image) return;
    put(object, mask);
    remember(() => remove(object.id), () => bringBack(object.id));
  } catch (error) {
    complain(error);
  }
}
