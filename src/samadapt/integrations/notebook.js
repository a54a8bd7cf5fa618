// The page's part of samadapt.widget: shows the image and its masks, sends clicks and boxes.

const DRAG = 4; // screen pixels that make a box of a click
const LONGEST = 800; // screen pixels of the image's longer side, unless the cell is narrower

function element(name, parent, properties = {}) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  parent.append(made);
  return made;
}

async function picture(bytes) {
  if (!bytes || bytes.byteLength === 0) return null;
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

function render({ model, el }) {
  const root = element("div", el, { className: "samadapt", tabIndex: 0 });
  root.dataset.lmSuppressShortcuts = "true"; // keys are ours while the widget has the focus
  const canvas = element("canvas", root);
  const bar = element("div", root, { className: "samadapt-bar" });
  const label = element("input", bar, { value: model.get("label"), title: "label" });
  const buttons = {};
  for (const kind of ["undo", "clear", "accept"]) {
    const text = kind[0].toUpperCase() + kind.slice(1);
    buttons[kind] = element("button", bar, { textContent: text, onclick: () => send({ kind }) });
  }
  const status = element("span", root, { className: "samadapt-status" });
  status.setAttribute("role", "status");
  const layers = { _picture: null, _mask: null, _accepted: null };
  let sent = model.get("_state").answered ?? 0;
  const newest = {};
  let drag = null;

  function send(message) {
    sent += 1;
    model.send(message);
    told();
  }

  function scale() {
    return canvas.width / Math.max(1, model.get("width"));
  }

  function place(event) {
    const frame = canvas.getBoundingClientRect();
    const within = (at, size) => Math.min(Math.max(at, 0), size);
    return [
      within(((event.clientX - frame.left) / frame.width) * model.get("width"), model.get("width")),
      within(((event.clientY - frame.top) / frame.height) * model.get("height"), model.get("height")),
    ];
  }

  function frameBetween([x, y], [u, v]) {
    return [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
  }

  function draw() {
    const pen = canvas.getContext("2d");
    const by = scale();
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const shown of Object.values(layers)) {
      if (shown) pen.drawImage(shown, 0, 0, canvas.width, canvas.height);
    }
    const { clicks = [], box = null } = model.get("_state");
    const edges = drag?.moved ? frameBetween(drag.from, drag.to) : box;
    if (edges) {
      pen.strokeStyle = "#ffe14d";
      pen.lineWidth = 2;
      const [left, top, right, bottom] = edges.map((side) => side * by);
      pen.strokeRect(left, top, right - left, bottom - top);
    }
    for (const [x, y, positive] of clicks) {
      pen.beginPath();
      pen.arc(x * by, y * by, 5, 0, 7);
      pen.fillStyle = positive ? "#2ecc40" : "#ff4136";
      pen.fill();
      pen.strokeStyle = "white";
      pen.lineWidth = 1.5;
      pen.stroke();
    }
  }

  function told() {
    const state = model.get("_state");
    const waiting = (state.answered ?? 0) < sent;
    root.dataset.busy = String(waiting);
    status.dataset.problem = String(Boolean(state.problem));
    const help = "Click on an object; right-click or Alt for the background; drag a box.";
    const count = `${state.objects ?? 0} accepted. `;
    status.textContent = waiting ? "…" : state.problem || count + help;
    buttons.undo.disabled = !state.can_undo;
    buttons.accept.disabled = model.get("_mask").byteLength === 0;
    draw();
  }

  async function load(name) {
    const mine = (newest[name] = (newest[name] ?? 0) + 1);
    const loaded = await picture(model.get(name));
    if (mine < newest[name]) return; // a newer one is on its way
    layers[name] = loaded;
    if (name === "_picture") resize();
    root.dataset.loaded = Object.entries(layers).filter(([, one]) => one).map(([key]) => key).join(" ");
    told();
  }

  function resize() {
    const [width, height] = [model.get("width"), model.get("height")];
    const by = Math.min(LONGEST / Math.max(width, height), 8);
    canvas.width = Math.max(1, Math.round(width * by));
    canvas.height = Math.max(1, Math.round(height * by));
  }

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && event.button !== 2) return;
    root.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const from = place(event);
    const positive = event.button === 0 && !event.altKey;
    drag = { from, to: from, positive, x: event.clientX, y: event.clientY, moved: false };
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.to = place(event);
    const distance = Math.hypot(event.clientX - drag.x, event.clientY - drag.y);
    drag.moved ||= drag.positive && distance > DRAG;
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const { from, to, positive, moved } = drag;
    drag = null;
    if (moved) {
      const [x0, y0, x1, y1] = frameBetween(from, to);
      send({ kind: "box", x0, y0, x1, y1 });
    } else {
      send({ kind: "click", x: from[0], y: from[1], positive });
    }
  });
  canvas.addEventListener("pointercancel", () => {
    drag = null;
    draw();
  });
  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // or the notebook would run or delete cells
    if (event.target === label) {
      if (event.key === "Enter") root.focus();
      return;
    }
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    let kind = null;
    if (event.key === "Enter") kind = "accept";
    else if (event.key === "Escape") kind = "clear";
    else if (command && key === "z") kind = event.shiftKey ? "redo" : "undo";
    else if (command && key === "y") kind = "redo";
    if (kind && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      send({ kind });
    }
  });
  label.addEventListener("input", () => {
    model.set("label", label.value);
    model.save_changes();
  });

  const listeners = {
    "change:_state": told,
    "change:label": () => {
      if (label.value !== model.get("label")) label.value = model.get("label");
    },
  };
  for (const name of Object.keys(layers)) listeners[`change:${name}`] = () => load(name);
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  resize();
  told();
  Object.keys(layers).forEach(load);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
  };
}

export default { render };
