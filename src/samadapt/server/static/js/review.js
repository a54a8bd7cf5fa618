// The review panel: assignee, state of the review, and comments of the image.

import { get, save } from "./api.js";
import { go } from "./images.js";
import { listed, STATES } from "./imagelist.js";
import { keyOf, run } from "./keys.js";
import { whoAmI } from "./names.js";
import { pin, pointAt } from "./pins.js";
import { inOrder, leaving } from "./queue.js";
import { on, set, state, tell } from "./state.js";
import { $, complain, confirmed, h, toast } from "./ui.js";
import { showPlace } from "./view.js";

export function startReview() {
  on("image", () => { set({ review: null }); refreshReview(); });
  on("review tab images settings", render);
}

let edits = 0; // number of edits by this page; answers from before an edit are ignored

/** Fetch the review again, as somebody else may have changed it. */
export async function refreshReview() {
  const id = state.image?.id, asked = edits;
  if (!id) return;
  const answer = await get(`/api/images/${id}/review`).catch(() => null);
  if (answer && asked === edits) take(answer);
}

// -- actions ----------------------------------------------------------------------------------

export async function forReview() {
  if (await setState("review")) await go(1, "unfinished");
}

export async function approve() {
  if ((await mayApprove()) && (await setState("approved"))) await go(1, "review");
}

/** Return true if the image may be approved; asks if proposals or comments are open. */
async function mayApprove() {
  const id = state.image?.id;
  if (!id) return true;
  const [{ proposals }, review] = await Promise.all([get(`/api/images/${id}/proposals`), get(`/api/images/${id}/review`)]);
  const waiting = proposals.length, comments = review.comments.filter((one) => !one.resolved).length;
  const open = [[waiting, "proposal"], [comments, "comment"]].filter(([count]) => count).map(([count, noun]) => `${count} ${noun}${count === 1 ? "" : "s"}`);
  if (!open.length) return true;
  return confirmed("Approve this image", `${open.join(" and ")} still wait${waiting + comments === 1 ? "s" : ""} here. Approve the image anyway?`, "Approve");
}

/** Send the image back, with a comment on the place to work on. */
export async function sendBack() {
  await whoAmI();
  const id = state.image?.id;
  pin(async (comment) => (await setState("returned", comment, id)) && leaving(() => go(1, "review")));
}

/** Add a comment to a place. */
export async function pinComment() {
  await whoAmI();
  const id = state.image?.id;
  pin((comment) => ask(`/api/images/${id}/comments`, comment));
}

async function setState(wanted, comment = null, image = state.image?.id) {
  await whoAmI();
  if (state.review?.image !== image) await refreshReview();
  if (!image || state.review?.image !== image) return false; // another image was opened meanwhile
  const { revision } = state.review;
  return ask(`/api/images/${image}/review`, { state: wanted, revision, comment });
}

function resolve(comment) {
  return inOrder(() => ask(`/api/comments/${comment.number}`, { resolved: !comment.resolved }));
}

async function assign(images, assignee) {
  await whoAmI();
  try {
    await save("POST", "/api/assign", { images, assignee });
    await refreshReview();
    if (images.length > 1) toast(`${images.length} images are ${assignee ? `for ${assignee}` : "nobody's task"} now.`);
  } catch (error) {
    complain(error);
  }
}

async function assignListed() {
  const images = listed(), assignee = $("assignee").value.trim();
  const text = `All ${images.length} images that the list of images shows ${assignee ? `become the task of ${assignee}` : "become nobody's task"}.`;
  if (await confirmed("Assign the listed images", text, "Assign")) await assign(images, assignee);
}

async function ask(path, body) {
  edits += 1;
  try {
    const answer = await save("POST", path, body);
    edits += 1; // answers to requests sent meanwhile may be older
    take(answer);
    return true;
  } catch (error) {
    complain(error);
    await refreshReview();
    return false;
  }
}

function take(answer) {
  if (state.image?.id !== answer.image) return;
  const { mark, ...review } = answer;
  if (state.image.mark !== mark.mark || state.image.revision !== mark.revision) {
    Object.assign(state.image, mark);
    tell(["image-mark"]);
  }
  const row = state.images.find(([id]) => id === answer.image);
  if (row) {
    if (mark.mark || row[2] === "done" || row[2] === "skipped") row[2] = mark.mark || (state.objects.size ? "started" : "new");
    row[6] = review.state;
    row[7] = review.assignee;
    row[8] = review.comments.filter((one) => !one.resolved).length;
    tell(["images"]);
  }
  set({ review });
}

// -- the panel --------------------------------------------------------------------------------

let shownImage; // number of the image that the panel shows

function render() {
  header();
  const panel = $("review-image");
  if (state.tab !== "review") return;
  const { review } = state;
  if (panel.contains(document.activeElement) && review?.image === shownImage) return;
  shownImage = review?.image;
  if (!review) {
    panel.replaceChildren();
    return;
  }
  const button = (name, text, wanted) => h("button.button.small", {
    "data-review": wanted, "aria-pressed": String(review.state === wanted), onclick: () => run(name),
  }, text, keyOf(name) && h("kbd", {}, keyOf(name)));
  const open = review.comments.filter((one) => !one.resolved);
  panel.replaceChildren(
    h("h3", {}, "This image"),
    h("div", {}, h("span.state", { "data-review": review.state || null }, STATES[review.state] ?? "not in review")),
    h("div.buttons", {}, button("forReview", "For review", "review"), button("approve", "Approve", "approved"), button("sendBack", "Send back…", "returned")),
    h("label.field", {}, h("span", {}, "Whose task it is"), h("span"), assigneeInput(review.assignee)),
    h("div.buttons", {}, h("button.button.small", { onclick: () => inOrder(assignListed) }, "The same for all listed…")),
    h("h3", {}, open.length ? `Comments (${open.length} open)` : "Comments"),
    h("div.comments", {}, review.comments.map(commentRow)),
    h("div.buttons", {}, h("button.button.small", { onclick: () => run("comment") }, "Comment on a place…", keyOf("comment") && h("kbd", {}, keyOf("comment")))));
}

function assigneeInput(assignee) {
  const image = state.image.id; // another one may be open when the queue reaches it
  const input = h("input", {
    id: "assignee", type: "text", value: assignee, maxLength: 60, spellcheck: false, placeholder: "nobody's", "aria-label": "Whose task it is",
    onfocus: fillNames, onkeydown: leave,
    onchange: () => inOrder(() => assign([image], input.value.trim())),
  });
  input.setAttribute("list", "people");
  return h("span", {}, input, h("datalist", { id: "people" }));
}

function leave(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault(); // a dialog that opens now must not get the key
  event.target.blur();
}

async function fillNames() {
  const { people } = await get("/api/people").catch(() => ({ people: [] }));
  const names = [...new Set([state.settings.person, ...people])].filter(Boolean);
  $("people")?.replaceChildren(...names.map((value) => h("option", { value })));
}

function commentRow(one) {
  const when = new Date(1000 * one.time).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  return h("div.comment", {
    "data-comment": one.number, "data-resolved": one.resolved ? "true" : null,
    onpointerenter: () => pointAt(one.number), onpointerleave: () => pointAt(null),
  },
  h("button.comment-place", { "aria-label": `Show comment ${one.number}`, title: "Show the place", onclick: () => showPlace(one.x, one.y) }, String(one.number)),
  h("div", {}, h("div.comment-text", {}, one.text), h("span.muted", {}, `${one.person || "somebody"}, ${when}`)),
  h("label.check", { title: "Resolved" }, h("input", { type: "checkbox", checked: one.resolved, "aria-label": `Comment ${one.number} is resolved`, onchange: () => resolve(one) })));
}

function header() {
  const pill = $("review-state"), { review } = state;
  const open = review?.comments.filter((one) => !one.resolved).length ?? 0;
  const text = [STATES[review?.state], open && `${open} comment${open === 1 ? "" : "s"}`].filter(Boolean).join(" · ");
  pill.hidden = !text;
  pill.textContent = text;
  pill.dataset.review = review?.state ?? "";
}
