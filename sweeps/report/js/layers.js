// What is laid over a picture: labels, where they are wrong, grids of what the encoder was told.

const ALARM = [213, 94, 0];
const LESS = [213, 94, 0], MORE = [0, 114, 178];

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function rgbOf(colour) {
  return [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16));
}

function paint(canvas, width, height, colourAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let k = 0; k < width * height; k += 1) {
    const colour = colourAt(k);
    if (colour) image.data.set(colour, 4 * k);
  }
  context.putImageData(image, 0, 0);
}

function paintLabels(canvas, labels, palette, shot) {
  const colours = palette.map((colour) => [...rgbOf(colour), 255]);
  paint(canvas, shot.width, shot.height, (k) => colours[Math.min(labels[k], colours.length - 1)]);
}

function paintErrors(canvas, labels, reference, shot) {
  paint(canvas, shot.width, shot.height, (k) => (labels[k] === reference[k] ? null : [...ALARM, 235]));
}

// Blue gets more bits, orange fewer; the picture shows through where nothing changes.
function mixed(value, limit) {
  const share = Math.max(-1, Math.min(1, value / limit));
  return [...(share > 0 ? MORE : LESS), Math.round(215 * Math.sqrt(Math.abs(share)))];
}

function paintGrid(canvas, grid, sign, limit) {
  const rows = grid.rows.length, columns = grid.rows[0].length;
  paint(canvas, columns, rows, (k) => mixed(sign * grid.rows[Math.floor(k / columns)][k % columns], limit));
  // The last cells reach beyond the picture; the stage crops them.
  canvas.style.width = `${100 * columns * grid.cell[0]}%`;
  canvas.style.height = `${100 * rows * grid.cell[1]}%`;
}

function gridLimit(grid, least) {
  return Math.max(least, ...grid.rows.flat().map(Math.abs));
}

function scaleBar(limit, sign) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  paint(canvas, 101, 1, (k) => mixed(sign * ((k - 50) / 50) * limit, limit));
  return canvas;
}
