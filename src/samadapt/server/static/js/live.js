// Polls for changes of other people every second, and shows them.

import { get, isSaving } from "./api.js";
import { hasObject } from "./current.js";
import { refreshDetails } from "./details.js";
import { refreshImages } from "./images.js";
import { takeLabels } from "./labels.js";
import { refreshLearning } from "./learning.js";
import { link } from "./link.js";
import { refreshObjects } from "./objects.js";
import { isBusy } from "./queue.js";
import { refreshReview } from "./review.js";
import { set, state, tell } from "./state.js";

const EVERY = 1000; // milliseconds
let proposals = 0; // number of waiting proposals that the list of images shows

export function startLive() {
  (async () => {
    for (;;) {
      await new Promise((done) => setTimeout(done, EVERY));
      if (!document.hidden && link.kind === "up") await look().catch(() => {}); // a broken connection is shown above the image
    }
  })();
  document.addEventListener("visibilitychange", () => document.hidden || look().catch(() => {}));
}

async function look() {
  const image = state.image?.id ?? 0;
  const answer = await get(`/api/changes?after=${state.changesUntil}&image=${image}`);
  if (JSON.stringify(answer.taken) !== JSON.stringify(state.taken)) set({ taken: answer.taken });
  if (state.image?.id === image && JSON.stringify(answer.others) !== JSON.stringify(state.image?.others)) {
    state.image.others = answer.others;
    tell(["others"]);
  }
  if (state.learning && answer.learned !== state.learning.learned) refreshLearning(0);
  if (answer.proposals !== proposals) await takeCounts(answer.proposals);
  // Changes being saved may be missing in the answer: take it over at the next poll.
  if (answer.number === state.changesUntil || isSaving() || isBusy()) return;
  state.changesUntil = answer.number;
  if (answer.images === null || !takeRows(answer.images)) await refreshImages();
  if (answer.labels_revision !== state.labelsRevision) takeLabels(await get("/api/project"));
  if (answer.open && state.image?.id === image) await takeOpen(answer.open);
}

/** Update the number of waiting proposals of each image. */
async function takeCounts(total) {
  const { counts } = await get("/api/proposals/counts");
  proposals = total;
  for (const row of state.images) row[9] = counts[row[0]] ?? 0;
  tell(["images"]);
}

/** Take over changed rows of the list of images; false if one of them is new. */
function takeRows(rows) {
  const places = new Map(state.images.map(([id], index) => [id, index]));
  for (const row of rows) {
    if (!places.has(row[0])) return false;
    const place = places.get(row[0]);
    row[5] = row[0] === state.image?.id ? hasObject() : state.images[place][5];
    state.images[place] = row;
  }
  if (rows.length) tell(["images"]);
  return true;
}

/** Update the open image after a change, made here or by somebody else. */
async function takeOpen({ versions, mark, revision }) {
  const isNew = ([id, number]) => state.objects.get(id)?.revision !== number;
  if (versions.length !== state.objects.size || versions.some(isNew)) await refreshObjects();
  if (state.image.mark !== mark || state.image.revision !== revision) {
    Object.assign(state.image, { mark, revision });
    tell(["image-mark"]);
  }
  if (!document.activeElement?.closest("#said, #review-panel")) await Promise.all([refreshDetails(), refreshReview()]);
}
