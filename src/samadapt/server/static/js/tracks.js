// Tracks: objects that are the same in several slices; following one; split, join and end.

import { get, save } from "./api.js";
import { hasObject } from "./current.js";
import { refreshImages } from "./images.js";
import { keyOf } from "./keys.js";
import { refreshObjects } from "./objects.js";
import { select, selectedIds } from "./selection.js";
import { openPlace, placeOf } from "./stacks.js";
import { on, state, tell } from "./state.js";
import { keepSteps, rememberStep } from "./steps.js";
import { $, complain, toast } from "./ui.js";

let known = ""; // identifies the objects whose tracks were requested last
let isFresh = false; // the slice was opened just now
let followed = null; // {object, track, stack} selected last
let isFollowing = false; // the track of `followed` is selected again in other slices
let before = null; // the object selected before `followed`, for joining

export function startTracks() {
  keepSteps("tracks", stepOf);
  on("image", () => { known = ""; isFresh = true; state.tracks = {}; look(); });
  on("objects", () => look());
  on("selected", follow);
  on("hovered tracks", () => {
    const said = tracksOf(state.hovered);
    $("stage").title = said ? inWords(said) : "";
  });
}

/** Return {track, parent, ends, slices} of an object; undefined if it is in no stack. */
export const tracksOf = (id) => state.tracks[id];

/** Return a description of a track. */
export function inWords({ track, parent, ends, slices }) {
  const part = slices.length > 1 ? `slices ${slices[0]} to ${slices.at(-1)}` : "one slice";
  return [`track ${track}`, part, parent && `from track ${parent}`, ends && "ends"].filter(Boolean).join(", ");
}

/** Fetch the tracks of the open slice. */
export async function refreshTracks() {
  known = "";
  await look();
}

async function look() {
  const id = state.image?.id;
  if (!id || !placeOf(id)) return;
  const now = [id, ...[...state.objects.values()].map((object) => `${object.id}.${object.revision}`)].join(" ");
  if (now === known) return;
  known = now;
  try {
    const { tracks } = await get(`/api/images/${id}/tracks`);
    if (state.image?.id !== id || known !== now) return;
    state.tracks = tracks;
    for (const object of state.objects.values()) object.track = tracks[object.id]?.track;
    if (followed) followed.track = tracks[followed.object]?.track ?? followed.track;
    tell(["tracks"]);
    if (isFresh && state.selected === null && !state.proposals && !hasObject()) selectFollowed();
    isFresh = false;
  } catch {
    known = ""; // the next change fetches them again
  }
}

function follow() {
  const said = tracksOf(state.selected), { stack } = openPlace() ?? {};
  if (!stack || state.selected === null) return;
  if (followed && followed.object !== state.selected && followed.track !== said?.track) before = followed;
  followed = { object: state.selected, track: said?.track ?? state.selected, stack: stack.name };
  isFollowing = true;
}

/** Select the object of the followed track in this slice. */
function selectFollowed() {
  if (!isFollowing || followed.stack !== openPlace()?.stack.name) return;
  const here = [...state.objects.values()].find((object) => object.track === followed.track);
  if (here) select([here.id]);
}

/** Note the track of an object. */
export function noteTrack(object, track) {
  if (followed?.object === object) followed.track = track;
}

/** Stop following a track; its object stays remembered for joining. */
export function unfollow() {
  isFollowing = false;
}

// -- changes ------------------------------------------------------------------------------------

export const splitTrack = () => change("split", chosen(), {}, (track) => `the split of track ${track}`);
export const endTrack = () => change("end", chosen(), {}, (track) => `the end of track ${track}`);

/** Merge the tracks of two selected objects, or of the selected one and the one selected in another slice. */
export async function joinTracks() {
  const ids = [...selectedIds()];
  const mine = ids.at(-1), other = ids.length === 2 ? ids[0] : ids.length === 1 ? elsewhere() : null;
  if (mine === undefined || other === null) {
    toast(`Select two objects, or one in each of two slices, one after the other: ${keyOf("joinTracks")} makes them one track.`);
    return;
  }
  if (await change("merge", mine, { other }, (track) => `joining track ${track}`)) before = null;
}

/** Return the object selected before the present one, if it is of another track of this stack. */
function elsewhere() {
  const { stack } = openPlace() ?? {}, mine = tracksOf(state.selected)?.track;
  const found = [followed, before].find((one) => one && one.stack === stack?.name && one.object !== state.selected && one.track !== mine);
  return found?.object ?? null;
}

/** Return the number of the only selected object; undefined, with a message, otherwise. */
export function chosen() {
  const ids = [...selectedIds()];
  if (ids.length === 1 && openPlace()) return ids[0];
  toast(openPlace() ? (ids.length ? `${ids.length} objects are selected: Esc, then select one.` : "Select one object first.") : "This image is no slice of a stack.");
  return undefined;
}

/** Send a change of tracks, and return the step that the server answers with. */
async function made(path, body) {
  const step = await save("POST", path, body);
  await refreshObjects();
  await Promise.all([refreshTracks(), step.deleted.length + step.withdrawn.length ? refreshImages() : null]);
  return step;
}

/** Return undo and redo of a change of tracks, from the server's answer. */
function stepOf(step) {
  return {
    undo: async () => { step = await made("/api/tracks/undo", step); },
    redo: async () => { step = await made("/api/tracks/redo", step); },
    data: () => step,
  };
}

/** Change the track of an object; returns true if that was done. */
async function change(what, object, more, named) {
  if (object === undefined || !openPlace()) return false;
  if (!tracksOf(object)) await refreshTracks();
  const { image } = state, track = tracksOf(object)?.track ?? object;
  let step;
  try {
    step = await made(`/api/images/${image.id}/tracks/${what}`, { object, ...more });
  } catch (error) {
    complain(error);
    return false;
  }
  const { undo, redo, data } = stepOf(step);
  rememberStep(named(track), undo, redo, "tracks", data);
  const now = tracksOf(object)?.track ?? track, gone = step.deleted.length, late = step.withdrawn.length;
  toast({
    split: () => `From this slice on it is track ${now}, which came from another one.`,
    merge: () => `Both are track ${now} now.`,
    end: () => `Track ${now} ends here${gone ? `; ${gone} later object${gone === 1 ? "" : "s"} deleted` : ""}${late ? `; ${late} later proposal${late === 1 ? "" : "s"} withdrawn` : ""}.`,
  }[what]() + ` ${keyOf("undo")} takes that back.`);
  return true;
}
