// Tiles of an image larger than memory, drawn by OpenSeadragon below the objects, in the page's own view.

import { fetchWithKey } from "./door.js";
import { on, state } from "./state.js";
import { $ } from "./ui.js";
import { view } from "./view.js";

const SCRIPT = "/static/vendor/openseadragon.min.js";
const KEPT = 160; // tiles in memory
const AT_ONCE = 6; // requests
let viewer = null;
let shown = null; // the answer to `open`
let isSmooth = true;

/** Show the tiles of an image, given the answer to `open`; hide them for images without tiles. */
export async function showTiles(image) {
  shown = image?.tile ? image : null;
  $("tiles").hidden = !shown;
  if (!shown) {
    viewer?.world.removeAll();
    return;
  }
  viewer ??= await begin();
  viewer.world.removeAll();
  viewer.addTiledImage({ tileSource: source(image), success: moveTiles });
}

/** Update OpenSeadragon after a change of the page's view. */
export function moveTiles() {
  if (!shown || !viewer?.world.getItemCount()) return;
  const { scale, x, y, width, height, imageWidth } = view;
  const { viewport } = viewer, size = viewport.getContainerSize();
  if (size.x !== width || size.y !== height) viewport.resize(new OpenSeadragon.Point(width, height), true);
  const part = new OpenSeadragon.Rect(-x / scale / imageWidth, -y / scale / imageWidth, width / scale / imageWidth, height / scale / imageWidth);
  viewport.fitBounds(part, true);
  smooth();
}

async function begin() {
  await new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: SCRIPT, onload: done, onerror: () => failed(new Error("The view of large images cannot be loaded: load the page again.")) });
    document.head.append(script);
  });
  // OpenSeadragon adds a style sheet, which the page's security policy refuses, unless it finds this one.
  const none = document.createElementNS("none", "style");
  none.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(none);
  const made = new OpenSeadragon.Viewer({
    element: $("tiles"), drawer: "canvas", showNavigationControl: false, mouseNavEnabled: false, keyboardNavEnabled: false,
    animationTime: 0, blendTime: 0, autoResize: false, immediateRender: true, maxTilesPerFrame: 8, imageLoaderLimit: AT_ONCE, maxImageCacheCount: KEPT,
    minZoomImageRatio: 0, maxZoomPixelRatio: Infinity, visibilityRatio: 0, smoothTileEdgesMinZoom: Infinity,
  });
  made.canvas.tabIndex = -1;
  on("settings", smooth);
  return made;
}

/** Switch smoothing off where pixels are enlarged, unless the settings ask for it. */
function smooth() {
  const wanted = view.scale < 1 || state.settings.smooth;
  if (viewer && wanted !== isSmooth) viewer.drawer.setImageSmoothingEnabled((isSmooth = wanted));
}

/** Return the tile source for OpenSeadragon; a level has every 2^k-th pixel of the image. */
function source({ id, width, height, tile, version }) {
  const levels = Math.ceil(Math.log2(Math.max(width, height) / tile));
  return {
    width, height, tileSize: tile, tileOverlap: 0, maxLevel: levels, minLevel: 0,
    getTileUrl: (level, column, row) => `/api/images/${id}/tiles/${2 ** (levels - level)}/${column}/${row}?version=${version}`,
    downloadTileStart: download,
    downloadTileAbort: (context) => context.userData.stop?.abort(),
  };
}

/** Fetch a tile with the page's key, which an <img> would not send. */
async function download(context) {
  const stop = new AbortController();
  context.userData.stop = stop;
  try {
    const response = await fetchWithKey(context.src, { signal: stop.signal });
    if (response.status !== 200) throw new Error(response.statusText);
    const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    const pen = canvas.getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    context.finish(pen, null, "context2d");
  } catch (error) {
    context.fail(error.message, null);
  }
}
