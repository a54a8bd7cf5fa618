// The state of the page. Modules change it with `set` and listen to changes with `on`.

const listeners = new Map();

export const state = {
  project: null,
  labels: [],
  labelsRevision: 0,
  label: null, // number of the label that new objects get
  images: [], // rows as the server's `Gallery.rows` says
  stacks: [], // {name, axis, slices, remarks}: slices are images
  tracks: {}, // tracks of the objects of a slice by object; see tracks.js
  changesUntil: 0, // the last event that the list of images shows
  taken: {}, // image -> person who annotates it now
  image: null, // the answer to `open`, without objects
  objects: new Map(), // id -> object with decoded mask
  unsaved: new Map(), // key -> {key, image, mask, label}: accepted, but not confirmed by the server
  selected: null, // id of the object that leads the selection; see selection.js
  hovered: null, // id
  tool: "click",
  negative: false,
  proposals: null, // {list, index, more, unlike}
  review: null, // of the image: {state, assignee, revision, comments}
  learning: null,
  tab: "objects",
  settings: load("settings", {
    opacity: 0.45,
    outline: true,
    colourBy: "label", // or "instance"
    fill: true,
    width: 1.5,
    brightness: 0,
    contrast: 0,
    gamma: 1,
    invert: false,
    smooth: false,
    keepEarlier: false,
    preview: false,
    brush: 16,
    leaving: "ask",
    theme: "system",
    fitContrast: false,
    lockContrast: false,
    person: "",
    askedName: false,
  }),
};

/** Call `listener` whenever one of the named parts of the state was changed. */
export function on(names, listener) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
  }
}

/** Change parts of the state, and call each of their listeners once. */
export function set(changes) {
  Object.assign(state, changes);
  tell(Object.keys(changes));
}

/** Call the listeners of parts that were changed in place. */
export function tell(names) {
  const due = new Set();
  for (const name of names) for (const listener of listeners.get(name) ?? []) due.add(listener);
  for (const listener of due) listener();
}

/** Change settings, and store them in the browser. */
export function configure(changes) {
  Object.assign(state.settings, changes);
  keep("settings", state.settings);
  tell(["settings"]);
}

/** Text for the absence of a label. */
export const NO_LABEL = "no label";

export function labelOf(id) {
  return state.labels.find((label) => label.id === id) ?? null;
}

export function labelName(id) {
  return labelOf(id)?.name ?? NO_LABEL;
}

export function colourOf(id) {
  return labelOf(id)?.colour ?? "#ffd23f";
}

export function keep(name, value) {
  try {
    localStorage.setItem(`samadapt-${name}`, JSON.stringify(value));
  } catch {
    // The page works without storage, too.
  }
}

export function load(name, standard) {
  try {
    const found = JSON.parse(localStorage.getItem(`samadapt-${name}`));
    return found && typeof found === "object" ? { ...standard, ...found } : standard;
  } catch {
    return standard;
  }
}
