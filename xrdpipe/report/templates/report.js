"use strict";
// Draw the plots and the table of the page from the JSON in #data. Names of files are text here, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const INK = "#1c1c1c";
const DISTINCT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK]; // Okabe & Ito
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const DARK = VIRIDIS.slice(0, 8); // visible on white

// ------------------------------------------------------------------------------------------------------ small parts

const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

/** Escape a text for Plotly, which reads some tags as markup. */
const plain = (text) =>
  String(text).replace(/[\u0000-\u001f\u007f]+/g, "␣").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const short = (text, most = 34) => {
  const letters = [...String(text)];
  return letters.length <= most ? String(text) : `${letters.slice(0, most - 12).join("")}…${letters.slice(-11).join("")}`;
};

const formatValue = (value, unit) => {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (unit === "%") return `${(100 * value).toFixed(2)} %`;
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
};

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Return the colour of a scale at the position `at` (0 to 1). */
function shade(scale, at) {
  const place = at * (scale.length - 1);
  const low = Math.min(Math.floor(place), scale.length - 2);
  const parts = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const [from, to] = [parts(scale[low]), parts(scale[low + 1])];
  return `rgb(${from.map((part, i) => Math.round(part + (place - low) * (to[i] - part))).join(",")})`;
}

/** Where a scale of the colours puts a share of the range: linear, by the square root, logarithmic over three decades. */
const BENT = { linear: (at) => at, sqrt: Math.sqrt, log: (at) => Math.log1p(999 * at) / Math.log(1000) };
const UNBENT = { linear: (at) => at, sqrt: (at) => at * at, log: (at) => (1000 ** at - 1) / 999 };
const colourScale = (name) => Array.from({ length: 41 }, (_, i) => [UNBENT[name](i / 40), shade(VIRIDIS, i / 40)]);

const colours = (count) =>
  Array.from({ length: count }, (_, i) => (count <= DISTINCT.length ? DISTINCT[i] : shade(DARK, i / (count - 1))));

// ------------------------------------------------------------------------------------------------------------ plots

const PRINTED = 690; // px, the width of a printed page
const plots = [];

const axis = (title, more = {}) => ({
  title: { text: plain(title), standoff: 8, font: { size: 14 } }, showline: true, mirror: "ticks", ticks: "inside", linecolor: "#555",
  tickcolor: "#555", showgrid: false, zeroline: false, automargin: true, ...more,
});

function draw(place, traces, layout, height) {
  const whole = {
    height, autosize: true, margin: { l: 64, r: 16, t: 30, b: 48 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: INK }, showlegend: false,
    hoverlabel: { bgcolor: "#fff", bordercolor: "#555", font: { color: INK }, align: "left", namelength: -1 },
    ...layout,
  };
  const first = !place.data;
  Plotly.react(place, traces, whole, {
    responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" },
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], // nothing that uploads
    showSendToCloud: false, plotlyServerURL: "",
  });
  if (first) {
    plots.push(place);
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.addEventListener("keydown", move);
  }
}

/** Zoom and move a plot by the keyboard. */
function move(event) {
  const place = event.currentTarget;
  const { range, type } = place._fullLayout.xaxis;
  if (event.target !== place || event.ctrlKey || event.altKey || event.metaKey || type === "category") return;
  const span = range[1] - range[0];
  const by = { "+": [0.2, -0.2], "=": [0.2, -0.2], "-": [-1 / 3, 1 / 3], ArrowLeft: [-0.1, -0.1], ArrowRight: [0.1, 0.1] }[event.key];
  if (!by && event.key !== "0") return;
  event.preventDefault();
  Plotly.relayout(place, by
    ? { "xaxis.range": [range[0] + by[0] * span, range[1] + by[1] * span] }
    : { "xaxis.autorange": true, "yaxis.autorange": true });
}

function fit(printing) {
  for (const place of plots) {
    const width = place.closest(".panels") ? PRINTED / 2 - 10 : PRINTED;
    Plotly.relayout(place, printing ? { autosize: false, width } : { autosize: true, width: null });
  }
}

/** Make a button for each curve: a click hides or shows it in all `places`, a double click shows only this one. */
function legend(places, labels, lines, at = $("legend")) {
  if (labels.length < 2) return;
  const press = (button, on) => button.setAttribute("aria-pressed", on);
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  const buttons = labels.map((label, i) => {
    const button = element("button", { type: "button" }, element("i"), short(label, 60));
    const { color, dash = "solid" } = lines[i];
    Object.assign(button.firstChild.style, { borderColor: color, borderTopStyle: { solid: "solid", dot: "dotted" }[dash] ?? "dashed" });
    button.addEventListener("click", () => { press(button, !pressed(button)); show(); });
    button.addEventListener("dblclick", () => { for (const each of buttons) press(each, each === button); show(); });
    press(button, true);
    return button;
  });
  const all = element("button", { type: "button", className: "all", hidden: true }, "Show all");
  all.addEventListener("click", () => { for (const each of buttons) press(each, true); show(); buttons[0].focus(); });
  function show() {
    const visible = buttons.map(pressed);
    for (const place of places) Plotly.restyle(place, { visible });
    all.hidden = visible.every(Boolean);
  }
  at.append(...buttons, all);
}

/** Draw curves over one another, or each `offset` above the one before; then `ticks` label them. */
function curves(place, xs, ys, labels, lines, { title = "", offset = 0, ticks = labels, height = 440, along = data.axis } = {}) {
  const at = [...ticks.keys()].filter((i) => ticks[i] !== "");
  const named = offset ? { tickvals: at.map((i) => i * offset), ticktext: at.map((i) => ticks[i]) } : {};
  const traces = ys.map((y, i) => ({
    x: xs[i], y: offset ? y.map((value) => value + i * offset) : y, customdata: y, type: "scatter", mode: "lines",
    name: plain(short(labels[i], 60)), line: { width: 1.2, ...lines[i] },
    hovertemplate: "%{fullData.name}<br>%{customdata:.5~g} at %{x:.4~g}<extra></extra>",
  }));
  draw(place, traces, { xaxis: axis(along), yaxis: axis(title, named), hovermode: "closest" }, height);
}

function intensityScale(place) {
  $("scale").addEventListener("change", (event) => Plotly.relayout(place, { "yaxis.type": event.target.value, "yaxis.autorange": true }));
}

// -------------------------------------------------------------------------------------------------------------- run

const column = (key) => {
  const at = data.table.columns.findIndex((each) => each.key === key);
  return data.table.rows.map((row) => row[at]);
};
const heading = (key) => {
  const { label, unit } = data.table.columns.find((each) => each.key === key);
  return label + (unit ? ` (${unit})` : "");
};

/** Return the numbers of a column in the unit of the plots; null for missing ones. */
const scaled = (key) => {
  const factor = data.table.columns.find((each) => each.key === key).unit === "%" ? 100 : 1;
  return column(key).map((value) => (typeof value === "number" ? factor * value : null));
};

function unpacked() {
  const radial = floats(data.radial);
  const flat = floats(data.intensity);
  const rows = data.shown.map((_, i) => flat.subarray(i * radial.length, (i + 1) * radial.length));
  return { radial, flat, rows, names: data.names };
}

function drawOverlay() {
  const { radial, rows, names } = unpacked();
  const lines = colours(names.length).map((color) => ({ color }));
  curves($("overlay"), names.map(() => radial), rows, names, lines, { title: "intensity (counts)", height: 460 });
  legend([$("overlay")], names, lines);
  intensityScale($("overlay"));
}

const quantile = (values, share) => {
  const step = Math.max(1, Math.floor(values.length / 50000));
  const some = values.filter((value, i) => i % step === 0 && Number.isFinite(value)).sort();
  return some[Math.min(some.length - 1, Math.floor(share * some.length))];
};

function drawSeries() {
  const { radial, flat, rows, names } = unpacked();
  for (const key of data.labels) $("label").append(element("option", { value: key }, heading(key)));
  const label = (i) => {
    const key = $("label").value;
    return plain(key === "" ? short(names[i], 24) : key === "#" ? data.shown[i] + 1 : formatValue(column(key)[data.shown[i]]));
  };
  const some = (count, most) => {
    const step = Math.ceil(count / most);
    return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
  };

  const heat = () => {
    const ticks = some(rows.length, 14);
    draw($("heat"), [{
      type: "heatmap", x: radial, z: rows, text: names.map((name) => Array(radial.length).fill(plain(short(name, 60)))),
      colorscale: colourScale($("colours").value), zmin: quantile(flat, 0.01), zmax: quantile(flat, 0.998),
      colorbar: { thickness: 14, outlinewidth: 0, ticks: "outside" }, hoverongaps: false,
      hovertemplate: "%{text}<br>%{z:.5~g} at %{x:.4~g}<extra></extra>",
    }], {
      xaxis: axis(data.axis), yaxis: axis("", { tickvals: ticks, ticktext: ticks.map(label) }),
    }, 480);
  };

  const lines = some(rows.length, 40);
  const height = quantile(flat, 0.999) - quantile(flat, 0.01);
  const waterfall = () => {
    const offset = (Number($("offset").value) / 100) * height;
    const ticks = new Set(some(lines.length, 24));
    curves($("waterfall"), lines.map(() => radial), lines.map((row) => rows[row]), lines.map((row) => names[row]),
      lines.map((_, i) => ({ color: shade(DARK, i / (lines.length - 1)) })),
      { title: offset ? "" : "intensity (counts)", offset, ticks: lines.map((row, i) => (ticks.has(i) ? label(row) : "")), height: 620 });
    $("waterfall-caption").textContent =
      (lines.length < rows.length ? `${lines.length} of ${rows.length} patterns, evenly chosen` : "Every pattern") +
      (offset ? `, each ${formatValue(offset)} counts above the one before.` : ", without offset.");
  };

  heat();
  waterfall();
  $("label").addEventListener("change", () => { heat(); waterfall(); });
  $("colours").addEventListener("change", heat);
  $("offset").addEventListener("input", waterfall);
}

/** Fill a list of frames, and draw the first one and every one that is chosen. */
function eachFrame(list, frames, show) {
  list.append(...frames.map(({ name }, i) => element("option", { value: i }, short(name, 60))));
  const chosen = () => show(frames[Number(list.value)]);
  list.addEventListener("change", chosen);
  chosen();
  return chosen;
}

const rowsOf = (flat, length) => Array.from({ length: flat.length / length }, (_, i) => flat.subarray(i * length, (i + 1) * length));

function drawMerged() {
  const { radial, intensity, axis: along } = data.merged;
  curves($("merged"), [floats(radial)], [floats(intensity)], ["merged"], colours(1).map((color) => ({ color })), { title: "intensity", along });
}

function drawSectors() {
  const place = $("sector-plot");
  eachFrame($("sector-frame"), data.sectors, ({ radial, intensity, labels, axis: along }) => {
    const x = floats(radial);
    const lines = colours(labels.length).map((color) => ({ color }));
    curves(place, labels.map(() => x), rowsOf(floats(intensity), x.length), labels, lines, { title: "intensity (counts)", along });
    Plotly.relayout(place, { "yaxis.type": $("sector-scale").value });
    $("sector-legend").replaceChildren();
    legend([place], labels, lines, $("sector-legend"));
  });
  $("sector-scale").addEventListener("change", (event) => Plotly.relayout(place, { "yaxis.type": event.target.value, "yaxis.autorange": true }));
}

function drawCakes() {
  const show = eachFrame($("cake-frame"), data.cakes, ({ radial, azimuthal, intensity, axis: along }) => {
    const [x, y, flat] = [radial, azimuthal, intensity].map(floats);
    draw($("cake"), [{
      type: "heatmap", x, y, z: rowsOf(flat, x.length), hoverongaps: false,
      colorscale: colourScale($("cake-colours").value), zmin: quantile(flat, 0.01), zmax: quantile(flat, 0.995),
      colorbar: { thickness: 14, outlinewidth: 0, ticks: "outside" },
      hovertemplate: "%{z:.5~g} at %{x:.4~g}, %{y:.1f}°<extra></extra>",
    }], { xaxis: axis(along), yaxis: axis("azimuth (°)") }, 460);
  });
  $("cake-colours").addEventListener("change", show);
}

/** Draw the pictures anew in another scale: their greys follow the square root of the counts, from 0.15 (dark) to 1. */
function drawContrast() {
  const pictures = [...document.querySelectorAll(".previews img")].map((image) => ({ image, original: image.src }));
  const whole = new Image();
  $("contrast").addEventListener("change", async (event) => {
    const bent = BENT[event.target.value];
    const grey = Uint8ClampedArray.from({ length: 256 }, (_, value) => {
      const root = Math.min(1, (255 - value) / (255 * 0.85));
      return 255 * (1 - 0.85 * bent(root * root));
    });
    for (const { image, original } of pictures) {
      whole.src = original;
      await whole.decode();
      const canvas = element("canvas", { width: whole.naturalWidth, height: whole.naturalHeight });
      const context = canvas.getContext("2d");
      context.drawImage(whole, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      const { data: values } = pixels;
      for (let i = 0; i < values.length; i += 4) {
        const [red, green, blue] = values.subarray(i, i + 3);
        if (Math.max(red, green, blue) - Math.min(red, green, blue) < 8) values.fill(grey[green], i, i + 3); // not the mask
      }
      context.putImageData(pixels, 0, 0);
      image.src = canvas.toDataURL();
    }
  });
}

function drawDrift() {
  const keys = data.drift.filter((key) => column(key).some((value) => typeof value === "number"));
  const names = column("name").map((name) => plain(short(name, 60)));
  const layout = { xaxis: axis("frame", { mirror: "all", anchor: keys.length > 1 ? `y${keys.length}` : "y" }), hovermode: "closest" };
  const mode = names.length > 300 ? "lines" : "lines+markers";
  const traces = keys.map((key, i) => {
    const at = i ? i + 1 : "";
    const room = 1 / keys.length;
    layout[`yaxis${at}`] = axis(heading(key), { domain: [1 - (i + 1) * room + 0.06 * room, 1 - i * room - 0.06 * room], nticks: 5 });
    return {
      type: "scatter", mode, cliponaxis: false, x: names.map((_, n) => n + 1), y: scaled(key),
      yaxis: `y${at}`, text: names, line: { color: DISTINCT[0], width: 1.2 }, marker: { size: 5 },
      hovertemplate: "%{text}<br>%{y:.5~g}<extra></extra>",
    };
  });
  draw($("drift"), traces, layout, 70 + 150 * keys.length);
}

// ------------------------------------------------------------------------------------------------------------ sweep

const DASHES = ["solid", "dot", "dash", "dashdot", "longdash"];

/** Return the line of each job: colour by the first key that varied, dashes by the second; the first job is wider. */
function byWhatVaried() {
  const among = data.varied.slice(0, 2).map((key) => {
    const values = data.jobs.map((job) => column(key)[job.row]);
    const each = [...new Set(values)].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b)));
    return { at: values.map((value) => each.indexOf(value)), count: each.length };
  });
  const [hue, dash] = among;
  const palette = colours(hue ? hue.count : data.jobs.length);
  return data.jobs.map((_, i) => ({
    color: palette[hue ? hue.at[i] : i], dash: DASHES[dash ? dash.at[i] % DASHES.length : 0], width: i ? 1.3 : 2.4,
  }));
}

function drawJobs() {
  const labels = data.jobs.map((job) => data.titles[job.row]);
  const lines = byWhatVaried();
  const radial = data.jobs.map((job) => floats(job.radial));
  const places = [$("overlay"), $("difference")].filter(Boolean);
  curves($("overlay"), radial, data.jobs.map((job) => floats(job.intensity)), labels, lines, { title: "intensity (counts)" });
  if ($("difference")) {
    const differences = data.jobs.map((job) => floats(job.difference));
    const most = Math.max(...differences.map((each) => quantile(each.map(Math.abs), 0.995))) || 1;
    const offset = Number((1.5 * most).toPrecision(1));
    const values = (job) => data.varied.map((key) => formatValue(column(key)[job.row])).join(", ");
    const ticks = data.jobs.map((job, i) => plain(short(values(job) || labels[i], 30)));
    const thin = lines.map((line) => ({ ...line, width: 1.2, dash: "solid" }));
    curves($("difference"), radial, differences, labels, thin, { title: data.varied.join(", "), offset, ticks, height: 140 + 40 * labels.length });
    $("difference-caption").textContent = `each ${formatValue(offset)} counts above the one before.`;
  }
  legend(places, labels, lines);
  intensityScale($("overlay"));
}

function drawSettings() {
  const select = $("metric");
  for (const key of data.numbers) select.append(element("option", { value: key }, heading(key)));
  const panels = data.varied.map((key) => {
    const place = element("div", { className: "plot" });
    place.setAttribute("aria-label", key);
    $("panels").append(place);
    return place;
  });
  const show = () => {
    const all = scaled(select.value);
    const some = [...all.keys()].filter((row) => all[row] !== null);
    const y = some.map((row) => all[row]);
    const text = some.map((row) => plain(short(data.titles[row], 60)));
    const color = some.map((row) => (row === data.best ? DISTINCT[1] : DISTINCT[0]));
    data.varied.forEach((key, i) => {
      const values = some.map((row) => column(key)[row]);
      const numeric = values.every((value) => typeof value === "number");
      const x = numeric ? values : values.map((value) => plain(short(formatValue(value), 20)));
      const each = [...new Set(x)].sort(numeric ? (a, b) => a - b : undefined);
      const means = each.map((value) => {
        const scores = y.filter((_, n) => x[n] === value);
        return scores.reduce((a, b) => a + b) / scores.length;
      });
      draw(panels[i], [
        { type: "scatter", mode: "lines", x: each, y: means, line: { color: "#999", width: 1.2 }, hoverinfo: "skip" },
        { type: "scatter", mode: "markers", x, y, text, marker: { color, size: 8 }, cliponaxis: false,
          hovertemplate: "%{text}<br>%{y:.5~g}<extra></extra>" },
      ], {
        xaxis: axis(key, numeric ? {} : { type: "category", categoryarray: each, categoryorder: "array" }),
        yaxis: axis(i ? "" : heading(select.value)), hovermode: "closest",
      }, 300);
    });
  };
  show();
  select.addEventListener("change", show);
}

// ------------------------------------------------------------------------------------------------------------ table

const PAGE = 200; // rows shown at once

function drawTable() {
  const { columns, rows, links } = data.table;
  const text = rows.map((row) => row.map((cell, i) => formatValue(cell, columns[i].unit)).join(" ").toLowerCase());
  const numeric = columns.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  const state = { sorted: null, down: false, first: 0 };
  const heads = columns.map((each, i) => {
    const head = element("th", { scope: "col", className: numeric[i] ? "number" : "" }, element("button", { type: "button" }, each.label));
    head.firstChild.addEventListener("click", () => {
      const twice = state.sorted === i;
      Object.assign(state, twice && state.down ? { sorted: null } : { sorted: i, down: twice }, { first: 0 });
      show();
    });
    return head;
  });
  const body = element("tbody");
  const { classList } = $("table").closest("section");
  $("table").style.setProperty("--name", `${0.58 * Math.min(36, Math.max(...rows.map((row) => String(row[0]).length)))}em`);
  classList.toggle("many", columns.length > 9);
  classList.toggle("landscape", columns.length > 14);
  $("table").append(element("thead", {}, element("tr", {}, ...heads)), body);

  const compare = (a, b) => {
    const [left, right] = [rows[a][state.sorted], rows[b][state.sorted]];
    if (left === null || right === null) return (left === null) - (right === null); // missing values come last
    const by = typeof left === "number" && typeof right === "number" ? left - right
      : String(left).localeCompare(String(right), undefined, { numeric: true });
    return state.down ? -by : by;
  };
  const cell = (row, i) => {
    const value = rows[row][i];
    const { key, unit } = columns[i];
    const node = element("td", { className: numeric[i] ? "number" : "" }, key === "hash" ? short(value ?? "", 24) : formatValue(value, unit));
    if (key === "hash") node.title = value ?? "";
    if (links?.[row] && key === "job") node.replaceChildren(element("a", { href: links[row] }, formatValue(value)));
    return node;
  };
  function show() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let matches = rows.map((_, i) => i).filter((i) => words.every((word) => text[i].includes(word)));
    if (state.sorted !== null) matches = matches.sort(compare);
    heads.forEach((head, i) => head.setAttribute("aria-sort", state.sorted !== i ? "none" : state.down ? "descending" : "ascending"));
    const page = matches.slice(state.first, state.first + PAGE);
    body.replaceChildren(...page.map((row) => element(
      "tr", { className: row === data.best ? "best" : rows[row].includes("failed") ? "failed" : "" }, ...columns.map((_, i) => cell(row, i)))));
    const part = page.length < matches.length ? `rows ${state.first + 1} to ${state.first + page.length} of ` : "";
    $("count").textContent = `${part}${matches.length}${matches.length < rows.length ? ` found among ${rows.length}` : " rows"}`;
    $("pages").hidden = matches.length <= PAGE;
    $("before").disabled = state.first === 0;
    $("after").disabled = state.first + PAGE >= matches.length;
  }
  const turn = (by) => () => { state.first += by; show(); };
  $("before").addEventListener("click", turn(-PAGE));
  $("after").addEventListener("click", turn(PAGE));
  $("filter").addEventListener("input", () => { state.first = 0; show(); });
  show();
}

// ------------------------------------------------------------------------------------------------------------- page

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = $(button.dataset.copy);
    getSelection().selectAllChildren(source);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      document.execCommand("copy"); // copies the selection where pages from disk have no clipboard
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
drawTable();
if ($("heat")) drawSeries();
else if (data.jobs && $("overlay")) drawJobs();
else if ($("overlay")) drawOverlay();
if ($("merged")) drawMerged();
if ($("sector-plot")) drawSectors();
if ($("cake")) drawCakes();
if ($("contrast")) drawContrast();
if ($("drift")) drawDrift();
if ($("panels")) drawSettings();
addEventListener("beforeprint", () => fit(true));
addEventListener("afterprint", () => fit(false));
// While the run goes on, the file is rewritten every few seconds: reload it and keep the scroll position.
if (history.state?.top) scrollTo(0, history.state.top);
if ("running" in document.documentElement.dataset) {
  setInterval(() => {
    if (document.hidden) return;
    history.replaceState({ top: scrollY }, "");
    location.reload();
  }, 3000);
}

document.documentElement.dataset.drawn = "yes";
