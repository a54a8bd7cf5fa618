// Thumbnails in the list of images, fetched with the page's key, which an <img> would not send.

import { fetchWithKey } from "./door.js";
import { h } from "./ui.js";

const MOST = 400; // thumbnails in memory
const AGAIN = 10000; // milliseconds until a failed request is repeated
const known = new Map(); // number of the image -> promise of a blob URL, or of null if there is none

/** Return an element with an image's thumbnail, which is empty until it is loaded. */
export function thumbnail(id) {
  const picture = h("img", { alt: "" });
  address(id).then((found) => { if (found) picture.src = found; });
  return picture;
}

function address(id) {
  const found = known.get(id) ?? fetched(id);
  known.delete(id);
  known.set(id, found); // move it to the end: the first ones are dropped
  if (known.size > MOST) forget(known.keys().next().value);
  return found;
}

async function fetched(id) {
  const response = await fetchWithKey(`/api/images/${id}/thumbnail`).catch(() => null);
  if (response?.status === 200) return URL.createObjectURL(await response.blob());
  setTimeout(() => known.delete(id), AGAIN);
  return null;
}

function forget(id) {
  known.get(id).then((found) => found && URL.revokeObjectURL(found));
  known.delete(id);
}
