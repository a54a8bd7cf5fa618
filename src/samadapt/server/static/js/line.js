// A line drawn freely: the lasso around objects, and the cut through one.

let line = [];
let closed = false;

export function beginLine(kind, x, y) {
  line = [[x, y]];
  closed = kind === "select";
}

export function continueLine(x, y) {
  line.push([x, y]);
}

/** End the line; returns its points. */
export function endLine() {
  const done = line;
  line = [];
  return done;
}

/** Draw what there is, with `toScreen` from image to screen. */
export function drawLine(pen, toScreen) {
  if (line.length < 2) return;
  pen.beginPath();
  line.forEach(([x, y], k) => (k ? pen.lineTo(...toScreen(x, y)) : pen.moveTo(...toScreen(x, y))));
  if (closed) pen.closePath();
  for (const [width, colour] of [[3.5, "rgb(0 0 0 / 55%)"], [1.5, "#fff"]]) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke();
  }
}
