// One panel: curves of a measure over the rate. Knows nothing of the rest of the page but what it is given.

const MARKERS = ["circle", "square", "triangle", "diamond", "plus", "cross"];
const LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 34, HEIGHT = 270;

function marker(kind, x, y, size, attributes) {
  const paths = {
    circle: `M${x - size},${y}a${size},${size} 0 1,0 ${2 * size},0a${size},${size} 0 1,0 ${-2 * size},0z`,
    square: `M${x - size * 0.9},${y - size * 0.9}h${size * 1.8}v${size * 1.8}h${-size * 1.8}z`,
    triangle: `M${x},${y - size * 1.15}l${size * 1.1},${size * 1.95}h${-size * 2.2}z`,
    diamond: `M${x},${y - size * 1.25}l${size * 1.25},${size * 1.25}l${-size * 1.25},${size * 1.25}l${-size * 1.25},${-size * 1.25}z`,
    plus: `M${x - size * 0.4},${y - size * 1.2}h${size * 0.8}v${size * 0.8}h${size * 0.8}v${size * 0.8}h${-size * 0.8}v${size * 0.8}h${-size * 0.8}v${-size * 0.8}h${-size * 0.8}v${-size * 0.8}h${size * 0.8}z`,
    cross: `M${x - size},${y - size * 0.5}l${size * 0.5},${-size * 0.5}l${size * 0.5},${size * 0.5}l${size * 0.5},${-size * 0.5}l${size * 0.5},${size * 0.5}l${-size * 0.5},${size * 0.5}l${size * 0.5},${size * 0.5}l${-size * 0.5},${size * 0.5}l${-size * 0.5},${-size * 0.5}l${-size * 0.5},${size * 0.5}l${-size * 0.5},${-size * 0.5}l${size * 0.5},${-size * 0.5}z`,
  };
  return vector("path", { d: paths[kind], ...attributes });
}

function swatch(look) {
  const line = vector("line", { x1: 0, y1: 7, x2: 26, y2: 7, stroke: look.colour, "stroke-width": 2, "stroke-dasharray": look.dash });
  return vector("svg", { width: 26, height: 14, "aria-hidden": "true" }, line, marker(look.marker, 13, 7, 3.8, { fill: look.colour }));
}

// curves: [{name, look, points: [{rate, value, scale, id}]}]; returns the picture and the places of its points.
function drawChart(curves, options) {
  const { width, log, unit, sizes, label } = options;
  const all = curves.flatMap((curve) => curve.points);
  const svg = vector("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", tabindex: 0, "aria-label": label });
  if (!all.length) {
    svg.append(vector("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no curve is shown"));
    return { svg, places: [] };
  }
  const rates = padded(extent(all.map((p) => p.rate)), 0.05, log);
  const values = padded(extent(all.map((p) => p.value)), 0.06, false);
  if (!log) rates[0] = 0;
  const x = (log ? logScale : linearScale)(rates, [LEFT, width - RIGHT]);
  const y = linearScale(values, [HEIGHT - BOTTOM, TOP]);
  svg.append(axes(x, y, rates, values, width, log, unit));
  const places = [];
  for (const curve of curves) svg.append(drawCurve(curve, x, y, sizes, places));
  svg.append(vector("g", { class: "ring" }));
  return { svg, places };
}

function extent(values) {
  return [Math.min(...values), Math.max(...values)];
}

function axes(x, y, rates, values, width, log, unit) {
  const group = vector("g", { "aria-hidden": "true" });
  const floor = HEIGHT - BOTTOM;
  for (const [value, text] of linearTicks(values, 6)) {
    group.append(vector("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), stroke: "var(--grid)" }));
    group.append(vector("text", { x: LEFT - 7, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of (log ? logTicks : linearTicks)(rates, Math.max(3, Math.floor(width / 60)))) {
    group.append(vector("line", { x1: x(value), x2: x(value), y1: floor, y2: floor + 4, stroke: "var(--muted)" }));
    group.append(vector("text", { x: x(value), y: floor + 17, "text-anchor": "middle" }, text));
  }
  group.append(vector("line", { x1: LEFT, x2: width - RIGHT, y1: floor, y2: floor, stroke: "var(--muted)" }));
  group.append(vector("text", { x: width - RIGHT, y: HEIGHT - 2, "text-anchor": "end" }, unit));
  return group;
}

// The line goes through the points that no other one of the curve beats; the others are hollow. Where a curve has
// several sizes, each has a thin line of its own.
function drawCurve(curve, x, y, sizes, places) {
  const { look, points } = curve;
  const group = vector("g", { class: "curve", "data-series": curve.name });
  const best = upperLeft(points);
  const line = (list, attributes) =>
    vector("path", { d: list.map((p, k) => `${k ? "L" : "M"}${x(p.rate).toFixed(1)},${y(p.value).toFixed(1)}`).join(""), fill: "none", stroke: look.colour, ...attributes });
  const scales = [...new Set(points.map((p) => p.scale))];
  if (sizes && scales.length > 1) {
    for (const scale of scales) {
      const own = points.filter((p) => p.scale === scale).sort((a, b) => a.rate - b.rate);
      group.append(line(own, { "stroke-width": 1, opacity: 0.45, class: "size" }));
    }
  }
  group.append(line(best.map((k) => points[k]), { "stroke-width": 2.2, "stroke-dasharray": look.dash, "stroke-linejoin": "round", class: "hull" }));
  points.forEach((p, k) => {
    const on = best.includes(k);
    const place = { x: x(p.rate), y: y(p.value), id: p.id };
    const size = points.length > 40 ? 2.4 : 3.8;
    group.append(marker(look.marker, place.x, place.y, size, { fill: on ? look.colour : "var(--paper)", stroke: look.colour, "stroke-width": 1.3, opacity: on ? 1 : 0.7, "data-point": p.id }));
    places.push(place);
  });
  return group;
}

function drawRing(svg, place) {
  const ring = svg.querySelector(".ring");
  if (!ring) return;
  clear(ring);
  if (place) ring.append(vector("circle", { cx: place.x, cy: place.y, r: 8, fill: "none", stroke: "var(--ink)", "stroke-width": 1.6 }));
}
