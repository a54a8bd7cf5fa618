// The learning panel: clicks per object over time, the adapter in use, reset and snapshots.

import { get, post } from "./api.js";
import { resync } from "./current.js";
import { on, set, state } from "./state.js";
import { $, askText, complain, confirmed, dialog, h, toast } from "./ui.js";

/** Message for models that take no adapters. */
export const CANNOT_LEARN = "this is an exported model, which answers as it is and cannot learn";
const MOST = 12; // prompts on the chart's axis; more are drawn at its end
const ENOUGH = 8; // least number of objects for the comparison to be shown
let timer = 0;
let rendered = ""; // what the panel shows

export function startLearning() {
  on("learning tab settings", render);
  new MutationObserver(render).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  refreshLearning(0);
}

/** Fetch the state of learning after `wait` milliseconds, such as after an object was accepted. */
export function refreshLearning(wait = 1200) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      set({ learning: await get("/api/learning") });
    } catch {
      return;
    }
    if (state.tab === "learning") refreshLearning(6000);
  }, wait);
}

function render() {
  const found = state.learning;
  if (!found) return;
  const pill = $("adapting");
  const [kind, text] = standing(found);
  pill.dataset.state = kind;
  pill.textContent = text;
  pill.title = explanation(found);
  if (state.tab !== "learning") return;
  // Redraw only after a change, so that open lists and the focus stay.
  const now = JSON.stringify([found, document.documentElement.dataset.theme]);
  if (now === rendered) return;
  rendered = now;
  const compared = found.objects.filter(([, frozen, , isVerified]) => isVerified && frozen !== null);
  const canvas = compared.length >= ENOUGH && h("canvas.plot");
  const select = h("select", { "aria-label": "Adapter", onchange: () => change(select.value) },
    found.choices.map(({ spec, text }) => h("option", { value: spec, selected: spec === found.adapter, title: text }, text)));
  const chosen = found.choices.find(({ spec }) => spec === found.adapter);
  select.title = chosen?.text ?? found.adapter;
  const parts = [
    h("h3", {}, "Prompts per object"),
    ...(canvas ? comparison(compared, canvas) : []),
    h("div.muted", { id: "compared" }, howMany(compared.length, found.unverified)),
    h("h3", {}, "Adapter"),
    select,
    h("div", { id: "chosen-adapter" }, chosen?.text ?? found.adapter),
    h("div", {}, explanation(found)),
    ...found.notes.map((note) => h("div.muted", {}, note)),
    h("div.buttons", {},
      h("button.button.small", { onclick: snapshot, disabled: !found.learning }, "Snapshot…"),
      h("button.button.small.danger", { onclick: reset, disabled: !found.learning }, "Reset…")),
    canvas && h("span.muted", {}, "Frozen model: it is given your own clicks, then a simulated annotator's, until it agrees with your mask (IoU 0.85). A trend, not a benchmark: the mask came from the adapted model."),
  ];
  $("learning-panel").replaceChildren(...parts.filter(Boolean));
  if (canvas) requestAnimationFrame(() => plot(canvas, compared));
}

/** Return state and text of the badge in the header. */
function standing(found) {
  if (!found.learning) return ["off", found.adapter === "none" ? "Frozen model" : found.adapter];
  if (!found.learned) return ["off", "Nothing learned yet"];
  if (found.active) return ["active", `Adapting · ${found.learned}`];
  return found.lost ? ["fallback", "Fell back"] : ["off", `Learning · ${found.learned}`];
}

function comparison(compared, canvas) {
  const last = compared.slice(-20), means = averages(last);
  return [
    h("div.big", {},
      h("div", {}, h("b", {}, means.own), h("span.muted", {}, `you, last ${last.length}`)),
      h("div", {}, h("b", {}, means.frozen), h("span.muted", {}, "frozen model, same objects"))),
    canvas,
    h("div.legend", {}, h("span", {}, h("i"), "you"), h("span", {}, h("i.frozen"), "frozen (simulated)"),
      compared.some(([own, frozen]) => Math.max(own, frozen) > MOST) && h("span", {}, `${MOST}+: ${MOST} or more`)),
  ];
}

/** Return a text about how many objects are compared, and how many are not. */
function howMany(compared, unverified) {
  const objects = (count) => `${count} object${count === 1 ? "" : "s"}`;
  const texts = [compared < ENOUGH
    ? `Shown from ${ENOUGH} objects on that you corrected or checked: ${compared} so far.`
    : `${objects(compared)} that you corrected or checked.`];
  if (unverified) texts.push(`Unverified: ${objects(unverified)} accepted unchanged; left out.`);
  return texts.join(" ");
}

function explanation(found) {
  if (!found.can_learn) return `Nothing is learned: ${CANNOT_LEARN}.`;
  if (!found.learning) return found.adapter === "none" ? "Nothing is learned: the model is used as shipped." : `In use: ${found.adapter}. It does not learn here.`;
  if (!found.learned) return "Accepted objects are learned in the background; until the first one is learned, the frozen model is used.";
  if (found.active) return `In use: learned from ${found.learned} object${found.learned === 1 ? "" : "s"}; the frozen model did no better on the last ones.`;
  if (!found.lost) return `Learned from ${found.learned} object${found.learned === 1 ? "" : "s"}, and compared with the frozen model on each new one. The adapted model is used once it is better; until then the frozen model is used.`;
  return "The adapted model did worse than the frozen model on the last objects, so the frozen model is used. Learning continues, and the adapted model is used again when it is better.";
}

async function change(spec) {
  try {
    set({ learning: await post("/api/learning/adapter", { adapter: spec }) });
    await resync();
    toast(`Adapter: ${spec}`);
  } catch (error) {
    complain(error);
    rendered = "";
    render();
  }
}

async function reset() {
  if (!(await confirmed("Reset learning", "The model returns to its shipped state, and learning starts again. Your objects are kept. A copy of the learned state stays in the project's folder.", "Reset"))) return;
  try {
    set({ learning: await post("/api/learning/reset") });
    await resync();
  } catch (error) {
    complain(error);
  }
}

async function snapshot() {
  const day = new Date().toISOString().slice(0, 10);
  const name = await askText("Snapshot", "A name: letters, digits, '-', '_' and '.'", `${state.project.name.replace(/[^A-Za-z0-9._-]+/g, "-")}-${day}`);
  if (!name) return;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    toast(`“${name}” cannot be the name of a snapshot: begin with a letter or digit, then letters, digits, “-”, “_” and “.”, 64 at most.`, true);
    return;
  }
  try {
    const answer = await post("/api/learning/snapshot", { name });
    set({ learning: answer });
    dialog("Snapshot saved", (close) => [
      h("p", {}, h("b", {}, name), " holds what was learned so far. It is in ", answer.saved),
      h("div.end", {}, h("button.button.main", { onclick: close }, "OK")),
    ], true);
  } catch (error) {
    complain(error);
  }
}

function averages(objects) {
  const mean = (values) => (values.reduce((a, b) => a + b, 0) / values.length).toFixed(1);
  return { own: mean(objects.map(([own]) => own)), frozen: mean(objects.map(([, frozen]) => frozen)) };
}

function plot(canvas, objects) {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const most = Math.max(4, ...objects.map(([own, frozen]) => Math.min(Math.max(own, frozen), MOST)));
  const isCut = objects.some(([own, frozen]) => Math.max(own, frozen) > most);
  const left = 22, bottom = height - 18;
  const x = (k) => left + 6 + (k * (width - left - 14)) / Math.max(1, objects.length - 1);
  const y = (value) => bottom - (Math.min(value, most) * (bottom - 10)) / most;
  pen.font = "10px system-ui";
  pen.fillStyle = colour("--muted");
  pen.strokeStyle = colour("--line");
  for (let value = 0; value <= most; value += Math.ceil(most / 4)) {
    pen.beginPath();
    pen.moveTo(left, y(value));
    pen.lineTo(width - 4, y(value));
    pen.stroke();
    pen.fillText(isCut && value === most ? `${value}+` : String(value), 4, y(value) + 3);
  }
  pen.fillText(`objects 1 to ${objects.length}`, left + 2, height - 5);
  const line = (values, ink, dashed) => {
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.setLineDash(dashed ? [4, 3] : []);
    pen.beginPath();
    values.forEach(([k, value], i) => (i ? pen.lineTo(x(k), y(value)) : pen.moveTo(x(k), y(value))));
    pen.stroke();
    pen.setLineDash([]);
  };
  const warn = colour("--warn"), accent = colour("--accent");
  objects.forEach(([own, frozen], k) => {
    dot(pen, x(k), y(frozen), 3, warn, false);
    dot(pen, x(k), y(own), 2.6, accent, true);
  });
  line(smoothed(objects.map(([, frozen], k) => [k, frozen])), warn, true);
  line(smoothed(objects.map(([own], k) => [k, own])), accent, false);
}

function dot(pen, x, y, radius, ink, filled) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.globalAlpha = 0.55;
  pen.fillStyle = pen.strokeStyle = ink;
  pen.lineWidth = 1.2;
  if (filled) pen.fill();
  else pen.stroke();
  pen.globalAlpha = 1;
}

/** Return the moving average over the last eight values. */
function smoothed(values) {
  return values.map(([k], i) => {
    const window = values.slice(Math.max(0, i - 7), i + 1);
    return [k, window.reduce((sum, [, value]) => sum + value, 0) / window.length];
  });
}
