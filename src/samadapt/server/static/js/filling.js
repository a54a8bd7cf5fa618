// Filling the slices between two of the same track, in the background; then review or accept all.

import { get, post, save } from "./api.js";
import { expect, isCarried, showCarried } from "./carrying.js";
import { hasObject } from "./current.js";
import { openImage, refreshImages } from "./images.js";
import { keyOf } from "./keys.js";
import { mayLeave } from "./leaving.js";
import { refreshObjects } from "./objects.js";
import { inOrder, leaving } from "./queue.js";
import { endProposals } from "./similar.js";
import { on, state } from "./state.js";
import { rememberStep } from "./steps.js";
import { chosen, refreshTracks } from "./tracks.js";
import { $, complain, h, toast } from "./ui.js";

const EVERY = 300; // milliseconds between two requests for the progress
let filled = null; // {found: [[image, proposal]], stops: Map(image -> why)}: waits for a decision
let timer = 0;

export function startFilling() {
  on("image", () => { if (filled) showHere(); });
  watch();
}

/** Fill the gap next to the selected object; if that is done already, accept all its proposals. */
export async function fillSlices() {
  if (filled) return acceptFilled();
  if (hasObject() || isCarried()) {
    toast("Accept or drop the present object first.");
    return null;
  }
  const object = chosen();
  if (object === undefined) return null;
  try {
    await post(`/api/images/${state.image.id}/fill`, { object });
    watch(true);
  } catch (error) {
    if (error.status === 409) toast(error.message);
    else complain(error);
  }
  return null;
}

/** Poll the progress of filling until it ends. */
async function watch(isMine = false) {
  clearTimeout(timer);
  const now = await get("/api/fill").catch(() => null);
  if (now?.running) {
    tell(h("span", {}, `Filling ${now.stack}: ${now.done} of ${now.steps} steps`),
      button("Stop", () => post("/api/fill/stop").catch(complain)));
    timer = setTimeout(() => watch(true), EVERY);
  } else if (isMine && now) {
    ended(now);
  }
}

function ended({ found, stops, problem }) {
  if (problem && problem !== "stopped") toast(problem, true);
  if (!found.length) {
    tell();
    if (!problem) toast("Nothing lies between.");
    return;
  }
  filled = { found, stops: new Map(stops) };
  for (const [image, id] of found) {
    expect(id, { image, step: 0, why: filled.stops.get(image) ?? "", isFilled: true, next });
  }
  summary();
  refreshImages().catch(complain);
  showHere();
}

function summary() {
  const { found, stops } = filled;
  const doubtful = found.filter(([image]) => stops.has(image)).length;
  tell(
    h("span", {}, `${count(found.length)} filled${doubtful ? `, ${doubtful} to look at` : ""}`),
    button(`Accept all (${keyOf("fillSlices")})`, () => inOrder(acceptFilled), "main"),
    button("Look through", () => inOrder(next)),
    button("Discard", () => inOrder(discard)));
}

const count = (number) => `${number} slice${number === 1 ? "" : "s"}`;

async function acceptFilled() {
  const proposals = filled.found.map(([, id]) => id);
  endProposals();
  end();
  try {
    let now = await save("POST", "/api/fill/accept", { proposals });
    const total = now.objects.length;
    const step = (what) => async () => {
      const answer = await save("POST", `/api/import/${what}`, { objects: now.objects, revision: now.revision });
      now = { objects: answer.objects, revision: now.revision + 1 };
      await shown();
    };
    rememberStep(`the filling of ${count(total)}`, step("undo"), step("redo"));
    await shown();
    toast(`${count(total)} accepted; ${keyOf("undo")} takes all back.`);
  } catch (error) {
    complain(error);
  }
}

async function shown() {
  await refreshObjects();
  await Promise.all([refreshTracks(), refreshImages()]);
}

async function discard() {
  const proposals = filled.found.map(([, id]) => id);
  endProposals();
  end();
  await post("/api/fill/discard", { proposals }).catch(complain);
  await refreshImages();
}

/** Go to the next filled slice without a decision, doubtful ones first. */
async function next() {
  const { found, stops } = filled ?? { found: [] };
  const waiting = new Set(Object.values((await left()) ?? {}).flat());
  const some = found.filter(([, id]) => waiting.has(id));
  if (!some.length) {
    end();
    toast("All that was filled is decided.");
    return;
  }
  filled.found = some;
  summary();
  const [image] = some.find(([one]) => stops.has(one)) ?? some[0];
  if (state.image?.id === image) await showHere();
  else if (await mayLeave()) await leaving(() => openImage(image));
}

/** Return the proposals that still wait, by image. */
async function left() {
  const found = {};
  for (const [image] of filled?.found ?? []) {
    const { proposals } = await get(`/api/images/${image}/proposals`);
    found[image] = proposals.map(({ id }) => id);
  }
  return found;
}

/** Show the proposal of filling in the open slice. */
async function showHere() {
  const mine = filled?.found.find(([image]) => image === state.image?.id);
  if (mine && !hasObject() && !isCarried()) await showCarried(mine[1]).catch(complain);
}

function end() {
  filled = null;
  tell();
}

function tell(...parts) {
  $("fill-state").replaceChildren(...parts);
}

function button(text, action, kind = "") {
  return h(`button.button.small${kind && `.${kind}`}`, { onclick: action }, text);
}

