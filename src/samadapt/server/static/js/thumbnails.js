// Thumbnails in the list of images, fetched with the page's key: a browser sends none for an <img>.

import { fetchWithKey } from "./door.js";
import { h } from "./ui.js";

const MOST = 400; // kept at once
const AGAIN = 10000; // milliseconds until one that failed is asked for again
const known = new Map(); // number of the image -> promise of an address, null for none

/** A small picture of an image; empty until it has come. */
export function thumbnail(id) {
  const picture = h("img", { alt: "" });
  address(id).then((found) => { if (found) picture.src = found; });
  return picture;
}

function address(id) {
  const found = known.get(id) ?? fetched(id);
  known.delete(id);
  known.set(id, found); // the newest are last
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
