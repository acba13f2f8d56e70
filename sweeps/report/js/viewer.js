// Two pictures of one frame under a wipe, and what can be laid over them.

const LAYERS = [["picture", "Picture"], ["labels", "Segmentation"], ["errors", "Changed labels"], ["difference", "Difference"], ["weight", "Weights"], ["qp", "QP"]];
const HINTS = {
  picture: "As decoded; recompressed as WebP for this page.",
  labels: "What the network sees.",
  errors: "Where the network sees another class than in the original.",
  difference: "Luma minus the original's, GAIN times, around middle grey.",
  weight: "log₂ of the weight of each block: how much its distortion matters to the network. Blue matters more.",
  qp: "QP offset of each block as the encoder was told. Blue gets more bits (below 0).",
};

function startViewer(gallery) {
  if (!gallery) return;
  const plain = gallery.streams.findIndex((stream) => stream.plain);
  const machine = gallery.streams.findIndex((stream) => !stream.plain);
  const view = {
    gallery, shot: 0, layer: "picture", network: 0,
    ...firstPair(gallery, plain, machine),
    labels: new Map(), generation: 0, shown: {},
  };
  buildViewer(view);
  refresh(view);
}

// Plain beside machine-aware; of one kind alone, beside the original.
function firstPair(gallery, plain, machine) {
  if (plain >= 0 && machine >= 0) return { left: String(plain), right: String(machine) };
  const one = String(Math.max(plain, machine));
  return { left: gallery.shots[0].picture ? "o" : one, right: one };
}

function buildViewer(view) {
  const { gallery } = view;
  const part = (name, ...children) => (view[name] = element("div", { class: name }, ...children));
  const controls = element("div", { class: "viewer-controls controls" });
  const known = LAYERS.filter(([key]) => hasLayer(view, key));
  controls.append(segments("What is shown", known, "picture", (key) => { view.layer = key; refresh(view); }));
  if (gallery.networks.length > 1) {
    const names = gallery.networks.map((network, k) => [String(k), network.name]);
    controls.append(picker("Network", names, "0", (key) => { view.network = Number(key); refresh(view); }));
  }
  const root = document.getElementById("viewer");
  root.append(controls);
  if (gallery.shots.length > 1) root.append(filmStrip(view));
  root.append(part("sides", sideHead(view, "left"), sideHead(view, "right")));
  root.append(buildStage(view), wipeSlider(view));
  root.append(part("readout"), part("key"), (view.hint = element("p", { class: "hint" })));
}

function hasLayer(view, key) {
  const views = Object.values(view.gallery.views);
  if (key === "labels") return view.gallery.networks.length > 0;
  if (key === "errors") return view.gallery.networks.length > 0 && view.gallery.shots.some((shot) => shot.picture);
  return key === "picture" || views.some((one) => one[key]);
}

function filmStrip(view) {
  const strip = element("div", { class: "strip", role: "group", "aria-label": "Frame" });
  view.gallery.shots.forEach((shot, k) => {
    const picture = shot.picture ?? Object.entries(view.gallery.views).find(([key]) => key.endsWith(`|${k}`))?.[1].picture;
    const inside = picture ? element("img", { src: picture, alt: shot.name }) : element("span", {}, shot.name);
    const choose = () => {
      view.shot = k;
      for (const other of strip.children) other.setAttribute("aria-pressed", String(other === button));
      refresh(view);
    };
    const button = element("button", { type: "button", "aria-pressed": String(k === 0), title: shot.name, onclick: choose }, inside);
    strip.append(button);
  });
  return strip;
}

function sideHead(view, side) {
  const select = element("select", { id: `${side}-stream`, "aria-label": side === "left" ? "Left of the line" : "Right of the line" });
  if (view.gallery.shots.some((shot) => shot.picture)) select.append(element("option", { value: "o" }, "Original"));
  view.gallery.streams.map((stream, k) => [stream, k]).sort(byName).forEach(([stream, k]) => {
    select.append(element("option", { value: k }, `${stream.label}, ${stream.point}`));
  });
  select.value = view[side];
  select.addEventListener("change", () => { view[side] = select.value; refresh(view); });
  const facts = element("p", { id: `${side}-facts` });
  return element("div", {}, select, facts);
}

function byName([a, k], [b, n]) {
  const number = (stream) => Number(stream.point.match(/[\d.]+/)?.[0] ?? 0);
  const size = (stream) => Number(stream.point.match(/×([\d.]+)/)?.[1] ?? 1);
  return a.label.localeCompare(b.label) || size(b) - size(a) || number(a) - number(b) || k - n;
}

function buildStage(view) {
  view.stage = element("div", { class: "stage" });
  for (const side of ["left", "right"]) {
    const parts = { image: element("img", { alt: "" }), canvas: element("canvas"), words: element("p", { hidden: true }) };
    parts.box = element("div", { class: `side ${side}` }, parts.image, parts.canvas, parts.words);
    view.shown[side] = parts;
    view.stage.append(parts.box);
  }
  view.stage.append(element("div", { class: "line" }));
  const drag = (event) => {
    const box = view.stage.getBoundingClientRect();
    if (event.buttons & 1) moveWipe(view, (100 * (event.clientX - box.left)) / box.width);
    readOut(view, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  view.stage.addEventListener("pointerdown", drag);
  view.stage.addEventListener("pointermove", drag);
  return view.stage;
}

function wipeSlider(view) {
  view.slider = element("input", { type: "range", class: "wipe", id: "wipe", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "Line between the two pictures" });
  view.slider.addEventListener("input", () => moveWipe(view, Number(view.slider.value)));
  return view.slider;
}

function moveWipe(view, percent) {
  const place = Math.max(0, Math.min(100, percent));
  view.slider.value = String(place);
  view.stage.style.setProperty("--wipe", `${place}%`);
}

async function refresh(view) {
  const shot = view.gallery.shots[view.shot];
  const generation = (view.generation += 1);
  view.stage.style.setProperty("--shape", `${shot.width} / ${shot.height}`);
  view.stage.style.aspectRatio = `${shot.width} / ${shot.height}`;
  view.stage.style.width = `min(100%, ${Math.max(shot.width * 2, 640)}px, calc(82vh * ${shot.width / shot.height}))`;
  view.slider.style.width = view.stage.style.width;
  const sources = { left: viewOf(view, "left"), right: viewOf(view, "right") };
  const labels = { left: await labelsOf(view, "left"), right: await labelsOf(view, "right"), original: await labelsFor(view, "o") };
  if (generation !== view.generation) return;
  view.now = { shot, sources, labels };
  for (const side of ["left", "right"]) {
    showSide(view, side);
    document.getElementById(`${side}-facts`).textContent = factsOf(view, side);
  }
  view.hint.textContent = HINTS[view.layer].replace("GAIN", view.gallery.gain);
  showKey(view);
  readOut(view, null, null);
}

function viewOf(view, side) {
  return view[side] === "o" ? view.gallery.shots[view.shot] : view.gallery.views[`${view[side]}|${view.shot}`];
}

function labelsOf(view, side) {
  return labelsFor(view, view[side]);
}

async function labelsFor(view, stream) {
  const network = view.gallery.networks[view.network]?.name;
  const source = stream === "o" ? view.gallery.shots[view.shot] : view.gallery.views[`${stream}|${view.shot}`];
  const text = source?.labels?.[network];
  if (!text) return null;
  const key = `${stream}|${view.shot}|${network}`;
  if (!view.labels.has(key)) view.labels.set(key, await inflate(text));
  return view.labels.get(key);
}

function factsOf(view, side) {
  const source = view.now.sources[side];
  if (view[side] === "o") return `${view.now.shot.name}, not coded`;
  if (!source) return "not kept for this frame";
  const parts = [];
  if (source.bits !== null) parts.push(`${quantity(source.bits / 1000)} kbit`);
  if (source.psnr !== null) parts.push(`${source.psnr.toFixed(2)} dB`);
  const network = view.gallery.networks[view.network]?.name ?? Object.keys(source.agreement)[0];
  if (network in source.agreement) parts.push(`agreement ${source.agreement[network].toFixed(4)}`);
  return parts.join(" · ");
}

// Two grids under one wipe share their colours.
function sharedLimit(view) {
  const grids = ["left", "right"].map((side) => view.now.sources[side]?.[view.layer]).filter(Boolean);
  return Math.max(...grids.map((grid) => gridLimit(grid, 1)), 1);
}

function showSide(view, side) {
  const { box, image, canvas, words } = view.shown[side];
  const source = view.now.sources[side];
  const { layer } = view;
  const { shot } = view.now;
  const grid = layer === "weight" || layer === "qp" ? source?.[layer] : null;
  const difference = layer === "difference" && source?.difference;
  const picture = difference || source?.picture || "";
  if (picture) image.src = picture;
  image.hidden = !picture;
  image.alt = `${shot.name}: ${view[side] === "o" ? "original" : view.gallery.streams[Number(view[side])].label}`;
  canvas.hidden = true;
  canvas.style.width = canvas.style.height = "100%";
  box.className = `side ${side}${["errors", "weight", "qp"].includes(layer) ? " cells" : ""}`;
  words.textContent = source ? missing(view, side, source) : "This stream was not kept.";
  words.hidden = !words.textContent;
  if (layer === "labels" && view.now.labels[side]) {
    paintLabels(canvas, view.now.labels[side], view.gallery.networks[view.network].palette, shot);
    canvas.hidden = false;
  } else if (layer === "errors" && view.now.labels[side] && view.now.labels.original) {
    paintErrors(canvas, view.now.labels[side], view.now.labels.original, shot);
    canvas.hidden = false;
  } else if (grid) {
    paintGrid(canvas, grid, layer === "qp" ? -1 : 1, sharedLimit(view));
    canvas.hidden = false;
  }
}

function missing(view, side, source) {
  const original = view[side] === "o";
  if (view.layer === "difference" && !source.difference) return original ? "The original itself" : "No original to compare with";
  if (view.layer !== "weight" && view.layer !== "qp") return "";
  if (source[view.layer]) return "";
  if (original) return "Not coded";
  return view.gallery.streams[Number(view[side])].plain ? "This encoder was told nothing" : "No map to show";
}

function showKey(view) {
  const { layer } = view;
  const items = [];
  if (layer === "labels") {
    const network = view.gallery.networks[view.network];
    const present = new Set();
    for (const side of ["left", "right"]) for (const label of view.now.labels[side] ?? []) present.add(label);
    for (const label of [...present].sort((a, b) => a - b)) {
      if (label < network.classes.length) items.push(keyItem(network.palette[label], network.classes[label]));
    }
  } else if (layer === "errors") {
    items.push(keyItem(`rgb(${ALARM})`, "another class than in the original"));
  } else if (layer === "weight" || layer === "qp") {
    const limit = sharedLimit(view);
    const digits = layer === "qp" ? 0 : 1;
    items.push(element("span", {}, signedNumber(-limit, digits)), scaleBar(limit, layer === "qp" ? -1 : 1), element("span", {}, signedNumber(limit, digits)));
  }
  clear(view.key, ...items);
}

function keyItem(colour, name) {
  const chip = element("i");
  chip.style.background = colour;
  return element("span", {}, chip, name);
}

function readOut(view, x, y) {
  if (x === null || !view.now || x < 0 || y < 0 || x >= 1 || y >= 1) return clear(view.readout);
  return clear(view.readout, ...["left", "right"].map((side) => element("span", {}, wordAt(view, side, x, y))));
}

function wordAt(view, side, x, y) {
  const { shot, labels, sources } = view.now;
  const grid = sources[side]?.[view.layer];
  if (view.layer === "weight" || view.layer === "qp") {
    const value = grid?.rows?.[Math.floor(y / grid.cell[1])]?.[Math.floor(x / grid.cell[0])];
    if (value === undefined) return "";
    return view.layer === "qp" ? `QP ${signedNumber(value)}` : `weight ×${(2 ** value).toFixed(2)}`;
  }
  const label = labels[side]?.[Math.floor(y * shot.height) * shot.width + Math.floor(x * shot.width)];
  const network = view.gallery.networks[view.network];
  return label === undefined ? "" : `sees ${network.classes[label] ?? `label ${label}`}`;
}
