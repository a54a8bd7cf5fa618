// Teaching a task: fitting an adapter that finds the objects of a label by itself.

import { get, post } from "./api.js";
import { CANNOT_LEARN, refreshLearning } from "./learning.js";
import { labelOf, on, state } from "./state.js";
import { $, complain, h, toast } from "./ui.js";

let now = null; // progress of the run
let timer = 0;
let rendered = ""; // what the panel shows

export function startTeaching() {
  on("tab label labels learning", render);
  on("tab", refresh);
}

async function refresh() {
  clearTimeout(timer);
  if (state.tab !== "learning") return;
  const wasRunning = now?.running;
  now = await get("/api/teaching").catch(() => now);
  if (wasRunning && now && !now.running) ended();
  render();
  if (now?.running) timer = setTimeout(refresh, 1000);
}

function ended() {
  refreshLearning(0);
  toast(now.spec ? `The task “${now.label}” is learned: choose it under Adapter, or look for its objects under Review.` : `“${now.label}” was not taught: ${now.problem}`, !now.spec);
}

async function ask(path, body = {}) {
  try {
    now = await post(path, body);
  } catch (error) {
    complain(error);
  }
  await refresh();
}

function render() {
  const panel = $("teaching-panel");
  if (state.tab !== "learning" || panel.contains(document.activeElement)) return;
  const name = labelOf(state.label)?.name, cannot = state.learning?.can_learn === false ? `No task can be taught: ${CANNOT_LEARN}.` : "";
  const key = JSON.stringify([now?.running ? now : null, now?.problem ?? "", name, cannot]);
  if (key === rendered) return;
  rendered = key;
  const share = now?.quality === null || now?.quality === undefined ? "" : `, agreement ${Math.round(100 * now.quality)} %`;
  panel.replaceChildren(
    h("h3", {}, "Teach a task"),
    ...(now?.running ? [
      h("div", { role: "status" }, now.steps ? `“${now.label}”: step ${now.step} of ${now.steps}${share}` : `“${now.label}”: the images are read…`),
      h("progress", { max: Math.max(1, now.steps), value: now.step, "aria-label": "Steps of teaching" }),
      h("div.buttons", {}, h("button.button.small", { onclick: () => ask("/api/teaching/stop") }, "Stop")),
    ] : [
      h("div.muted", {}, cannot || "All accepted objects of a label become a task: an adapter that finds such objects by itself, on all images."),
      now?.problem && h("div.muted", {}, `“${now.label}” was not taught: ${now.problem}`),
      h("div.buttons", {}, h("button.button.small", { id: "teach", disabled: !name || Boolean(cannot), title: cannot, onclick: () => ask("/api/teaching", { label: name }) }, name ? `Teach “${name}”` : "Choose a label first")),
    ]).filter(Boolean));
}
