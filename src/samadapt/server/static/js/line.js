// A freehand line: the lasso around objects, or the cut through one.

let line = [];
let closed = false;

export function beginLine(kind, x, y) {
  line = [[x, y]];
  closed = kind === "select";
}

export function continueLine(x, y) {
  line.push([x, y]);
}

/** End the line, and return its points. */
export function endLine() {
  const done = line;
  line = [];
  return done;
}

/** Draw the line; `toScreen` converts image to screen coordinates. */
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
