// Pattern, before and after, difference, and cake, drawn by plotly; metrics as a table.

import { $, colour, element, say, short } from "./elements.js";

/** Escape a text for plotly, which reads some tags as markup. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const CONFIG = { displaylogo: false, responsive: false, displayModeBar: "hover",
  modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

const axis = (title, more = {}) => ({
  title: { text: plain(title), standoff: 6, font: { size: 12 } }, showline: true, mirror: "all", linecolor: colour("rule"), ticks: "outside",
  ticklen: 4, tickcolor: colour("rule"), showgrid: false, zeroline: false, automargin: true, exponentformat: "power",
  ...more,
});

const line = (name, { x, y }, paint, { width = 1.4, ...more } = {}) => ({
  type: "scatter", mode: "lines", name, x, y, line: { color: paint, width }, hovertemplate: "%{y:.6g}", ...more,
});

/** Two lines around the difference, as one filled area. */
function band({ x, sigma }) {
  const below = sigma.toReversed().map((each) => (each === null ? null : -each));
  return {
    type: "scatter", mode: "lines", name: "± sigma", x: [...x, ...x.toReversed()], y: [...sigma, ...below], yaxis: "y2",
    fill: "toself", fillcolor: `${colour("quiet")}40`, line: { width: 0 }, hoverinfo: "skip",
  };
}

const base = () => ({
  margin: { l: 8, r: 12, t: 26, b: 8 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent", dragmode: "zoom",
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") }, showlegend: false,
  hovermode: "x unified", hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") } },
  legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", bgcolor: "transparent" }, uirevision: "same",
  modebar: { bgcolor: "transparent", color: colour("quiet"), activecolor: colour("accent") },
});

/** `before` and `difference` are null where nothing is compared; then also the patterns of `sectors` are drawn. */
function patternFigure({ after, sectors, before, difference, log, beside }) {
  const { label, unit } = after;
  const layout = { ...base(), uirevision: `${unit} ${log} ${beside} ${!before}` };
  const type = log ? "log" : "linear";
  const low = difference?.difference ? 0.42 : 0;
  const nticks = log && low ? 3 : 0; // in the lower space, labels of 2 and 5 would lie over those of 10
  layout.yaxis = axis("Intensity", { type, nticks, domain: [low ? low + 0.06 : 0, 1] });
  const traces = [];
  if (before && beside) {
    layout.xaxis = axis(label, { domain: [0, 0.49], anchor: "y" });
    layout.xaxis3 = axis(label, { domain: [0.51, 1], anchor: "y3", matches: "x" });
    layout.yaxis3 = axis("", { type, domain: layout.yaxis.domain, anchor: "x3", matches: "y", showticklabels: false });
    traces.push(line("before", before, colour("before")), line("after", after, colour("after"), { xaxis: "x3", yaxis: "y3" }));
  } else {
    layout.xaxis = axis(label, { anchor: low ? "y2" : "y" });
    if (before) traces.push(line("before", before, colour("before"), { width: 3.4 })); // seen also under the other
    traces.push(line(before ? "after" : "pattern", after, colour("after")));
  }
  const parts = before ? [] : Object.entries(sectors ?? {});
  parts.forEach(([name, sector], i) =>
    traces.push(line(plain(name.replaceAll("_", " ")), sector, `hsl(${(360 * i) / parts.length} 55% 52%)`, { width: 1 })));
  layout.showlegend = Boolean(before) || parts.length > 0;
  if (low) {
    const x = before && beside ? "x2" : "x";
    if (x === "x2") Object.assign(layout.xaxis, { showticklabels: false, title: "", ticks: "" });
    if (x === "x2") Object.assign(layout.xaxis3, { showticklabels: false, title: "", ticks: "" });
    if (x === "x2") layout.xaxis2 = axis(label, { anchor: "y2", matches: "x" });
    layout.yaxis2 = axis("Difference", { domain: [0, low - 0.02], anchor: x, zeroline: true, zerolinecolor: colour("rule") });
    if (difference.sigma) traces.push({ ...band(difference), xaxis: x });
    traces.push(line("after − before", { x: difference.x, y: difference.difference }, colour("ink"), { xaxis: x, yaxis: "y2" }));
  }
  return { traces, layout };
}

function cakeFigure({ x, azimuth, label, picture }) {
  const layout = { ...base(), hovermode: false, uirevision: `${x} ${azimuth}` };
  layout.xaxis = axis(label ?? "", { range: x });
  layout.yaxis = axis("Azimuth (°)", { range: azimuth, tickmode: "linear", tick0: 0, dtick: 90 });
  const size = { sizex: x[1] - x[0], sizey: azimuth[1] - azimuth[0], sizing: "stretch", layer: "below" };
  layout.images = [{ source: picture, xref: "x", yref: "y", x: x[0], y: azimuth[1], ...size }];
  const corners = { type: "scatter", x, y: azimuth, mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" };
  return { traces: [corners], layout };
}

export class Chart {
  #figure = null;

  constructor(place) {
    this.place = place;
    new ResizeObserver(() => this.#figure && Plotly.Plots.resize(place)).observe(place);
  }

  pattern(what) {
    this.#draw(() => patternFigure(what));
  }

  cake(what) {
    this.#draw(() => cakeFigure(what));
  }

  /** Nothing to draw: say why. */
  empty(text) {
    this.#figure = null;
    Plotly.purge(this.place);
    this.place.replaceChildren(element("p", { className: "none", textContent: text }));
  }

  /** Draw again in the colours of light or dark. */
  again() {
    if (this.#figure) this.#draw(this.#figure);
  }

  #draw(figure) {
    if (!this.#figure) this.place.replaceChildren();
    this.#figure = figure;
    const { traces, layout } = figure();
    Plotly.react(this.place, traces, layout, CONFIG);
  }
}

/** Metrics and verdict in words; with those of before where there are some. */
export function showMetrics(after, before, verdict) {
  const judged = verdict ?? after.verdict;
  const words = $("#verdict");
  say(words, judged?.text);
  words.dataset.name = judged?.name ?? "";
  const values = new Map(before?.metrics?.map(({ name, value }) => [name, value]));
  const rows = (after.metrics ?? []).map(({ name, value, meaning }) => element("tr", { title: meaning },
    element("th", { scope: "row", textContent: name.replaceAll("_", " ") }),
    ...(before ? [element("td", { textContent: short(values.get(name)) })] : []),
    element("td", { textContent: short(value) })));
  $("#metrics tbody").replaceChildren(...rows);
  $("#metrics thead").hidden = !before;
}
