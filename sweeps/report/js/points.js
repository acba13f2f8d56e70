// The table of all operating points, made when it is first opened.

function startPoints(data) {
  document.getElementById("point-details").addEventListener("toggle", (event) => {
    if (event.target.open) drawPoints(data, null);
  });
}

let pointSet = 0;

function drawPoints(data, chosen) {
  pointSet = chosen ?? pointSet;
  const details = document.getElementById("point-details");
  if (!details.open) return;
  const set = data.sets[pointSet];
  const networks = new Set(set.panels.map((panel) => panel.network)).size;
  const titles = set.panels.map((panel) => (panel.network === "(psnr)" || networks < 3 ? panel.title : `${panel.network}: ${panel.title}`));
  const head = ["Curve", "Rate point", set.unit, ...titles, "encode s", "Command"];
  const texts = new Set([0, 1, head.length - 1]);
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell, k) => element(k ? tag : "th", { class: texts.has(k) ? "text" : null, scope: k ? null : tag === "th" ? "col" : "row" }, cell)));
  const body = data.series.flatMap((series, k) => (set.curves[k] ?? []).map((point) => row([
    series.label,
    point.point,
    quantity(point.rate),
    ...point.values.map((value, n) => (value === null ? "" : measure(value, set.panels[n].metric))),
    point.encode_s ? quantity(point.encode_s) : "",
    element("code", {}, point.line),
  ], "td")));
  clear(document.getElementById("point-table"), element("table", { class: "plain" }, element("thead", {}, row(head, "th")), element("tbody", {}, ...body)));
}
