// All panels of a data set, their common legend, and what is said about the point that is looked at.

function startCurves(data) {
  const state = { set: 0, log: true, sizes: true, hidden: new Set(), pinned: false, current: null, panels: [] };
  const looks = chooseLooks(data.series);
  const redraw = () => drawPanels(data, looks, state);
  curveControls(data, state, redraw);
  drawLegend(data, looks, state, redraw);
  redraw();
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    redraw();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip(state);
  });
  addEventListener("click", (event) => {
    if (state.pinned && !event.target.closest("#tip, .panel")) hideTip(state);
  });
}

// One encoder: its plain coding in ink, arms in colours. Several: a colour each, plain coding dashed.
function chooseLooks(series) {
  const coders = [...new Set(series.map((one) => one.coder))];
  const arms = [...new Set(series.filter((one) => !one.plain).map((one) => one.arm))];
  return series.map((one) => {
    const arm = one.plain ? 0 : 1 + arms.indexOf(one.arm);
    const colour = coders.length > 1 ? `var(--c${coders.indexOf(one.coder) % 7})` : one.plain ? "var(--ink)" : `var(--c${(arm - 1) % 7})`;
    const shape = coders.length > 1 && arms.length === 0 ? coders.indexOf(one.coder) : arm;
    return { colour, marker: MARKERS[shape % MARKERS.length], dash: one.plain && arms.length && coders.length > 1 ? "5 4" : null };
  });
}

function curveControls(data, state, redraw) {
  const place = document.getElementById("curve-controls");
  if (data.sets.length > 1) {
    const names = data.sets.map((set, k) => [String(k), set.name]);
    place.append(picker("Input", names, "0", (key) => { state.set = Number(key); hideTip(state); redraw(); drawPoints(data, state.set); }));
  }
  place.append(segments("Rate axis", [["log", "Log rate"], ["linear", "Linear"]], "log", (key) => { state.log = key === "log"; redraw(); }));
  const several = data.sets.some((set) => set.curves.some((curve) => new Set(curve.map((p) => p.scale)).size > 1));
  if (several) {
    place.append(segments("Sizes", [["all", "Each size"], ["hull", "Best of all sizes"]], "all", (key) => { state.sizes = key === "all"; redraw(); }));
    document.getElementById("curve-hint").prepend("The strong line goes through the points that no other size beats; BD-rates are taken from them. Thin lines are single sizes. ");
  }
}

function drawLegend(data, looks, state, redraw) {
  const buttons = data.series.map((series, k) => {
    const button = element("button", { type: "button", "aria-pressed": "true", "data-series": k }, swatch(looks[k]), series.label);
    button.addEventListener("click", () => {
      if (state.hidden.has(k)) state.hidden.delete(k);
      else state.hidden.add(k);
      button.setAttribute("aria-pressed", String(!state.hidden.has(k)));
      redraw();
    });
    return button;
  });
  clear(document.getElementById("legend"), ...buttons);
}

function drawPanels(data, looks, state) {
  const set = data.sets[state.set];
  const count = (network) => set.panels.filter((panel) => panel.network === network).length;
  const known = [...new Set(set.panels.map((panel) => panel.network))];
  // PSNR stands beside the driving network's measures where they leave room for it.
  const beside = known.length > 1 && count(known[0]) < 3 ? known[0] : "(psnr)";
  const networks = known.filter((network) => network !== "(psnr)" || beside === "(psnr)");
  state.panels = [];
  const groups = networks.map((network) => {
    const grid = element("div", { class: "grid" });
    const mine = set.panels.map((panel, k) => [panel, k]).filter(([panel]) => (panel.network === "(psnr)" ? beside : panel.network) === network);
    for (const [panel, k] of mine) {
      const figure = element("figure", { class: "panel" }, element("figcaption", {}, panel.title));
      grid.append(figure);
      state.panels.push({ panel, place: k, figure });
    }
    const role = network === "(psnr)" ? "Signal" : element("span", {}, network === networks[0] ? "network that drives" : "network that only judges");
    const title = network === "(psnr)" ? element("h3", {}, role) : element("h3", {}, `${network} `, data.machine ? role : null);
    return element("div", { class: "group" }, title, grid);
  });
  clear(document.getElementById("panels"), ...groups);
  for (const one of state.panels) fillPanel(one, data, set, looks, state);
}

function fillPanel(one, data, set, looks, state) {
  const curves = data.series.map((series, k) => ({
    name: series.label,
    look: looks[k],
    points: state.hidden.has(k) ? [] : (set.curves[k] ?? []).map((p, n) => ({ rate: p.rate, value: p.values[one.place], scale: p.scale, id: `${k}.${n}` })).filter((p) => p.value !== null),
  })).filter((curve) => curve.points.length);
  const width = Math.max(260, Math.round(one.figure.clientWidth));
  const label = `${one.panel.title} of ${one.panel.network === "(psnr)" ? "the signal" : one.panel.network} over ${set.unit}`;
  const { svg, places } = drawChart(curves, { width, log: state.log, unit: set.unit, sizes: state.sizes, label });
  one.svg = svg;
  one.places = places;
  one.figure.append(svg);
  watchPanel(one, data, set, state);
}

function watchPanel(one, data, set, state) {
  const at = (event) => {
    const box = one.svg.getBoundingClientRect();
    const factor = one.svg.viewBox.baseVal.width / box.width;
    return nearest(one.places, (event.clientX - box.left) * factor, (event.clientY - box.top) * factor, 45);
  };
  one.svg.addEventListener("pointermove", (event) => { if (!state.pinned) lookAt(at(event), one, data, set, state); });
  one.svg.addEventListener("pointerleave", () => { if (!state.pinned) hideTip(state); });
  one.svg.addEventListener("click", (event) => {
    const place = at(event);
    if (state.pinned) hideTip(state);
    lookAt(place, one, data, set, state);
    if (place) pinTip(state);
  });
  one.svg.addEventListener("keydown", (event) => stepPoint(event, one, data, set, state));
  one.svg.addEventListener("blur", () => { if (!state.pinned) hideTip(state); });
}

function nearest(places, x, y, most) {
  let best = null;
  for (const place of places) {
    const distance = Math.hypot(place.x - x, place.y - y);
    if (distance <= (best?.distance ?? most)) best = { ...place, distance };
  }
  return best;
}

function stepPoint(event, one, data, set, state) {
  const keys = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (event.key === "Enter" && state.current) return pinTip(state);
  if (!(event.key in keys) || !one.places.length) return undefined;
  event.preventDefault();
  const curves = new Map();
  for (const place of one.places) curves.set(place.id.split(".")[0], [...(curves.get(place.id.split(".")[0]) ?? []), place]);
  const names = [...curves.keys()];
  for (const list of curves.values()) list.sort((a, b) => a.x - b.x);
  const now = one.places.find((place) => place.id === state.current);
  let row = now ? names.indexOf(now.id.split(".")[0]) : 0;
  let column = now ? curves.get(names[row]).indexOf(now) : -1;
  row = (row + keys[event.key][0] + names.length) % names.length;
  const list = curves.get(names[row]);
  column = keys[event.key][1] ? column + keys[event.key][1] : column;
  lookAt(list[Math.min(list.length - 1, Math.max(0, column))], one, data, set, state);
  return undefined;
}

function lookAt(place, one, data, set, state) {
  if (!place) return hideTip(state);
  state.current = place.id;
  for (const other of state.panels) drawRing(other.svg, other.places.find((p) => p.id === place.id));
  return showTip(place, one, data, set);
}

function showTip(place, one, data, set) {
  const [k, n] = place.id.split(".").map(Number);
  const point = set.curves[k][n];
  const rows = [[set.unit, quantity(point.rate)]];
  if (set.unit !== "bpp") rows.push(["bpp", quantity(point.bpp)]);
  set.panels.forEach((panel, place_) => {
    if (panel.network === one.panel.network || panel.network === "(psnr)") rows.push([panel.title.replace(", dB", ""), measure(point.values[place_], panel.metric) + (panel.metric === "psnr_y" ? " dB" : "")]);
  });
  if (point.encode_s) rows.push(["encode", `${quantity(point.encode_s)} s`]);
  const list = element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  const tip = document.getElementById("tip");
  clear(tip, element("strong", {}, data.series[k].label), point.point, list, element("code", {}, point.line));
  tip.hidden = false;
  const box = one.svg.getBoundingClientRect();
  const x = box.left + (place.x * box.width) / one.svg.viewBox.baseVal.width;
  const y = box.top + (place.y * box.height) / one.svg.viewBox.baseVal.height;
  const room = document.documentElement.clientWidth;
  const side = x + 16 + tip.offsetWidth < room ? x + 16 : x - 16 - tip.offsetWidth;
  const below = room < 500 || side < 8;
  tip.style.left = `${Math.max(8, Math.min(below ? x - tip.offsetWidth / 2 : side, room - tip.offsetWidth - 8)) + scrollX}px`;
  tip.style.top = `${(below ? y + 16 : Math.max(8, y - tip.offsetHeight / 2)) + scrollY}px`;
}

function pinTip(state) {
  state.pinned = true;
  document.getElementById("tip").classList.add("pinned");
}

function hideTip(state) {
  state.pinned = false;
  state.current = null;
  for (const one of state.panels) if (one.svg) drawRing(one.svg, null);
  const tip = document.getElementById("tip");
  tip.hidden = true;
  tip.classList.remove("pinned");
}
