// The page of `xrdpipe look`. Everything about what is shown is in `view`, which goes to the program as it is.

import { Chart, showMetrics } from "./charts.js";
import { Controls } from "./controls.js";
import { Drawing } from "./drawing.js";
import { $, all, colour, darkness, element, option, same, say, short } from "./elements.js";
import { Picture } from "./picture.js";
import { Latest, get, getJson, post } from "./requests.js";
import { Rings } from "./rings.js";
import { Texts } from "./texts.js";

const NUMBERS = { // of the pixel under the cursor
  value: "Value", subtracted: "Subtracted", q: "q (Å⁻¹)", two_theta: "2θ (°)", d: "d (Å)", azimuth: "Azimuth (°)",
};
const PREPARING = { // what the first view of some settings waits for
  background: "the background", correction: "the correction", mask: "rings and arcs for the mask, once for a geometry",
  integ: "the split pixels of the pattern", cake: "the split pixels of the cake",
};
const LAYERS = { frame: "frame", subtracted: "subtracted", mask: "mask", difference: "difference" };
const OVERLAYS = { frame: "mask", subtracted: "mask", difference: "changes" }; // what is laid over a layer
const SCALES = { linear: "linear", sqrt: "square root", log: "logarithm", percentile: "percentiles" };

const info = await getJson("api/info");
const memory = "xrdpipe look"; // of this tab alone; a reload keeps what is set and drawn
const identity = JSON.stringify([info.title, info.start, info.frames, info.shape]);
const before = remembered();
const { tab: name, view: left } = await post("api/tab", { tab: sessionStorage.getItem(`${memory}: tab`), has_state: before !== null });
sessionStorage.setItem(`${memory}: tab`, name);
const view = { frame: 0, combine: info.combine[0], choices: {}, values: {}, shapes: [], ...(before?.state ?? left) };

let shown = null; // {view, answer} of the last view that could be computed
let kept = { choices: {}, values: {}, shapes: [] }; // "before"
let compared = null; // {before: answer, difference}
let unsaved = before?.unsaved ?? left !== null; // shapes that were not saved
let saved = {}; // {view, note} of what was saved last

function remembered() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(memory));
    return kept.of === identity ? kept : null;
  } catch {
    return null;
  }
}

// ------------------------------------------------------------------------------------------------ what goes wrong

function fail(error) {
  if (error.status === 410) { // a view that the program does not hold any more
    picture.source = null;
    asking.ask();
  } else if (error.status) say($("#problem"), error.message);
  else if (error instanceof TypeError && /fetch|network/i.test(error.message)) stopped();
  else reportError(error);
}

function stopped() {
  alive.close();
  say($("#problem"), "xrdpipe look has ended. The text below stays right; start it again to go on.");
  $("#problem").classList.add("ended");
}

const alive = new EventSource(`api/alive?${new URLSearchParams({ tab: name })}`);
alive.addEventListener("end", stopped);
alive.onmessage = ({ data }) => {
  const busy = $("#busy").textContent;
  const [group] = JSON.parse(data).filter((each) => each in PREPARING);
  if (group && (busy === "working …" || busy.startsWith("preparing"))) working(`preparing ${PREPARING[group]} …`);
};
alive.onerror = () => get("api/info").catch(fail);
$("#end").onclick = () => post("api/end", {}).then(stopped, fail);

// ------------------------------------------------------------------------------------------------------- the view

const asking = new Latest(async () => {
  const asked = structuredClone(view);
  const busy = setTimeout(() => working("working …"), 150);
  try {
    await take(asked, await post("api/view?quick=1", asked));
  } finally {
    clearTimeout(busy);
    if (/^(working|preparing)/.test($("#busy").textContent)) working("");
    document.body.dataset.ready = Number(document.body.dataset.ready ?? 0) + 1;
  }
}, fail);

/** The exact result of a view of which a preview is shown; dropped when something else was changed meanwhile. */
const exactly = new Latest(async (asked) => {
  if (!same(asked, view)) return;
  const answer = await post("api/view", asked);
  if (same(asked, view)) await take(asked, answer);
}, fail);

function working(text) {
  $("#busy").textContent = text;
  document.body.classList.toggle("busy", text.endsWith("…"));
}

async function take(asked, answer) {
  controls.fail(answer.error);
  say($("#problem"), answer.error?.message);
  $("#waiting").hidden = true;
  $("#old").hidden = !answer.error || !shown;
  document.body.classList.toggle("old", Boolean(answer.error));
  document.body.classList.toggle("preview", answer.exact === false);
  if (!answer.error) await show(asked, answer);
  if (answer.exact === false) {
    working("preview; the exact pattern follows …");
    exactly.ask(asked);
  } else working(answer.error ? "" : `${short(answer.seconds, 2)} s`);
}

function changed() {
  sessionStorage.setItem(memory, JSON.stringify({ of: identity, state: view, unsaved }));
  keeping.ask();
  asking.ask();
}

/** The program keeps what every tab shows, so that shapes outlive the tab, and the program. */
const keeping = new Latest(() => post("api/keep", { tab: name, view, unsaved }), fail);

async function show(asked, answer) {
  shown = { view: asked, answer };
  texts.show(same(asked, saved.view) ? { ...answer, notes: [saved.note] } : answer);
  showLegend(answer);
  showPicture();
  compared = comparing() ? await compare() : null;
  showPicture();
  drawChart();
  if (pointed) pointing.ask(pointed);
}

const comparing = () => $("#compare").value !== "" || $("#layer").value === "difference";

/** The settings kept as "before", of the frame that is shown. */
async function compare() {
  const { frame, combine } = shown.view;
  const [before, quick] = [{ ...kept, frame, combine }, shown.answer.exact ? "" : "?quick=1"];
  const answer = await post(`api/view${quick}`, before);
  if (answer.error) return { error: `Before: ${answer.error.message}` };
  return { before: answer, difference: await post(`api/compare${quick}`, { before, after: shown.view }) };
}

// ----------------------------------------------------------------------------------------------------- the frame

const picture = new Picture($("#canvas"), info.shape, {
  async load({ id, layer, before, scale, low, high }, { rows, columns, width, height }) {
    const part = { id, rows: rows.join(), columns: columns.join(), width, height };
    const bitmap = async (response) => createImageBitmap(await (await response).blob());
    const values = get("api/picture", { ...part, layer, before, scale, low, high, reasons: 0 });
    const above = OVERLAYS[layer];
    const mask = above ? bitmap(get("api/picture", { ...part, layer: above, before })) : null;
    const loaded = await Promise.all([bitmap(values), mask]);
    const range = (await values).headers.get("X-Range").split(",").map(Number);
    return { bitmap: loaded[0], mask: loaded[1], range };
  },
  paint(context) {
    rings.paint(context);
    drawing.paint(context);
  },
  loaded(range, source) {
    showColours(range, source);
    if (!document.body.classList.contains("old")) say($("#problem"), null); // of a contrast that was refused
  },
  failed: fail,
});

const rings = new Rings(picture, info.phases, fail);
const drawing = new Drawing(picture, {
  changed(shapes) {
    view.shapes = shapes;
    unsaved = shapes.length > 0;
    changed();
  },
  async lines(points) {
    const through = points.map((point) => point.join()).join(";");
    return (await getJson("api/rings", { id: shown.answer.id, through })).rings.flatMap((ring) => ring.lines);
  },
});
drawing.restore(view.shapes);
say($("#back"), left && "These shapes were drawn before and not saved.");

function showPicture() {
  if (!shown) return;
  const layer = $("#layer").value;
  const source = {
    id: shown.answer.id, layer, before: layer === "difference" ? compared?.before?.id : null, scale: $("#scale").value,
    low: $("#low").value, high: $("#high").value,
  };
  if (layer === "difference" && !source.before) source.layer = "subtracted";
  if (!same(source, picture.source)) picture.show(source);
}

/** The values of the colours, and as placeholders those that are automatic. */
function showColours([low, high], { scale, layer }) {
  const differ = layer === "difference";
  $("#side").classList.toggle("no-values", layer === "mask");
  $("#colours").style.background = `linear-gradient(to top, ${(differ ? info.difference_colours : info.colours).join()})`;
  if (scale !== "percentile") [$("#low").placeholder, $("#high").placeholder] = [short(low, 3), short(high, 3)];
  else [$("#low").placeholder, $("#high").placeholder] = ["1 %", "99.5 %"];
  const at = { sqrt: (t) => low + t * t * (high - low), log: (t) => low * (high / low) ** t };
  const value = (!differ && at[scale]) || ((t) => low + t * (high - low));
  $("#values").replaceChildren(...[1, 0.75, 0.5, 0.25, 0].map((t) => element("li", { textContent: short(value(t), 3) })));
}

function showOpacity() {
  picture.opacity = Number($("#opacity").value) / 100;
  picture.redraw();
}

/** The colours of the mask with how many pixels each has; over a difference, what only one of the masks has. */
function showLegend({ masked, total }) {
  const row = (name, paint, text, title) => {
    const swatch = element("i");
    swatch.style.background = paint;
    return element("tr", { title }, element("th", { scope: "row" }, swatch, name), element("td", { textContent: text }));
  };
  const share = (count) => `${((100 * count) / total).toFixed(2)} %`;
  const rows = $("#layer").value === "difference"
    ? info.changes.map(({ name, colour: paint }) => row(name, paint, "", `masked ${name}`))
    : info.reasons.filter(({ name }) => masked[name])
      .map(({ name, colour: paint }) => row(name, paint, share(masked[name]), `${masked[name]} pixels`));
  $("#legend tbody").replaceChildren(...rows);
}

// What is under the cursor.

const cursor = {};
for (const [name, title] of Object.entries({ pixel: "Row, column", ...NUMBERS, masked: "Masked" })) {
  cursor[name] = element("dd", { textContent: "–" });
  $("#cursor").append(element("div", { className: name }, element("dt", { textContent: title }), cursor[name]));
}

const pointing = new Latest(async ([slow, fast]) => {
  if (!shown) return;
  const said = await getJson("api/pixel", { id: shown.answer.id, slow, fast });
  for (const name of Object.keys(NUMBERS)) cursor[name].textContent = short(said[name], 5);
  cursor.masked.textContent = said.masked.join(", ") || "no";
}, fail);

let pointed = null;
$("#canvas").addEventListener("pointermove", (event) => {
  const place = picture.place(event);
  if (!picture.has(place)) return;
  pointed = place;
  cursor.pixel.textContent = place.map(Math.floor).join(", ");
  pointing.ask(place);
});

$("#layer").append(...Object.entries(LAYERS).map(([value, text]) => option(value, text)));
$("#scale").append(...Object.entries(SCALES).map(([value, text]) => option(value, text)));
$("#scale").value = "sqrt";
$("#fit").onclick = () => picture.fit();
for (const input of all("#low, #high")) input.oninput = showPicture;
$("#opacity").oninput = showOpacity;
$("#scale").onchange = () => {
  $("#low").value = $("#high").value = "";
  showPicture();
};

// ---------------------------------------------------------------------------------------------------- the results

const chart = new Chart($("#chart"));
let tab = "pattern";

function drawChart() {
  if (!shown) return;
  const { answer } = shown;
  const over = $("#compare").value !== "" && compared;
  const { difference } = over || {};
  if (answer.exact) showMetrics(answer, over ? over.before : null, difference?.verdict);
  const problem = over && (over.error ?? difference?.error?.message ?? difference?.error);
  say($("#before"), problem ? `No difference: ${problem}` : "");
  if (tab === "cake") caking.ask(1);
  else if (!answer.pattern) chart.empty("No pattern with these settings.");
  else {
    const log = $("#intensity").value === "log";
    const beside = $("#compare").value === "beside";
    const before = over?.before?.pattern ?? null;
    chart.pattern({ after: answer.pattern, sectors: answer.sectors, before, difference, log, beside });
  }
}

let cakePicture = "";
const caking = new Latest(async (quick) => {
  const { id, cake, exact } = shown.answer;
  const size = { width: Math.round($("#chart").clientWidth), height: Math.round($("#chart").clientHeight) };
  const response = await get("api/cake", { id, ...size, scale: $("#scale").value, quick });
  const preview = response.headers.get("X-Exact") === "0";
  if (exact) working(preview ? "preview; the exact cake follows …" : `${short(shown.answer.seconds, 2)} s`);
  document.body.classList.toggle("preview-cake", preview);
  if (exact && preview) caking.ask(null); // of a preview of the whole view, another answer follows anyway
  const axes = cake ?? JSON.parse(response.headers.get("X-Cake"));
  URL.revokeObjectURL(cakePicture);
  cakePicture = URL.createObjectURL(await response.blob());
  if (tab === "cake") chart.cake({ ...axes, label: axes.label ?? shown.answer.pattern?.label, picture: cakePicture });
}, (error) => (error.status && error.status !== 410 ? chart.empty(error.message) : fail(error)));

function choose(name) {
  tab = name;
  document.body.classList.remove("preview-cake");
  for (const button of all("[role=tab]")) button.setAttribute("aria-selected", button.id === `tab-${name}`);
  $("#chart").setAttribute("aria-labelledby", `tab-${name}`);
  for (const part of all(".of-pattern")) part.hidden = name !== "pattern";
  chart.empty("");
  drawChart();
}

for (const button of all("[role=tab]")) button.onclick = () => choose(button.id.slice(4));
$("#intensity").onchange = drawChart;

async function recompare() {
  if (shown) showLegend(shown.answer);
  try {
    compared = shown && comparing() ? await compare() : null;
    showPicture();
    drawChart();
  } catch (error) {
    fail(error);
  }
}

$("#layer").onchange = recompare;
$("#compare").onchange = recompare;
$("#keep").onclick = () => {
  if (!shown) return;
  const { choices, values, shapes } = structuredClone(shown.view);
  kept = { choices, values, shapes };
  if (!$("#compare").value) $("#compare").value = "over";
  recompare();
};

/** The drawn mask has this name from now on, also in the text. */
function wasSaved(written, name, note) {
  saved = { view: { ...written, name }, note };
  unsaved &&= !same(written.shapes, view.shapes);
  view.name = name;
  changed();
}

// ----------------------------------------------------------------------------------------------- frames of the series

const last = info.frames.length - 1;
$("#title").textContent = info.title;
$("#combine").append(...info.combine.map((name) => option(name, name === "frame" ? "one frame" : name)));
$("#combine").disabled = info.combine.length < 2;
$("#slider").max = last;
$("#slider").hidden = $("#previous").hidden = $("#next").hidden = !last;

function showFrame() {
  const one = view.combine === "frame";
  $("#combine").value = view.combine;
  $("#slider").value = view.frame;
  $("#slider").disabled = !one;
  $("#previous").disabled = !one || view.frame === 0;
  $("#next").disabled = !one || view.frame === last;
  $("#position").textContent = one ? `${view.frame + 1} / ${last + 1}` : `${last + 1} frames`;
  $("#name").textContent = $("#name").title = one ? info.frames[view.frame].name : "";
  $("#slider").setAttribute("aria-valuetext", info.frames[view.frame].name);
}

function turnTo(frame, combine = view.combine) {
  Object.assign(view, { frame: Math.max(0, Math.min(last, frame)), combine });
  showFrame();
  changed();
}

$("#slider").oninput = () => turnTo(Number($("#slider").value));
$("#previous").onclick = () => turnTo(view.frame - 1);
$("#next").onclick = () => turnTo(view.frame + 1);
$("#combine").onchange = () => turnTo(view.frame, $("#combine").value);

// ---------------------------------------------------------------------------------------------------------- begin

const controls = new Controls($("#settings"), info.groups, view, changed);
const texts = new Texts(() => shown.view, wasSaved, fail);
darkness.addEventListener("change", () => {
  chart.again();
  picture.redraw();
});
showOpacity();
showFrame();
changed();
