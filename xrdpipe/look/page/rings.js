// Rings of a phase over the frame.

import { $, option, say } from "./elements.js";
import { getJson } from "./requests.js";

const APART = 4; // screen pixels between rings that are drawn
const ROOM = 30; // screen pixels between labels

const far = ([x, y], places, gap) => places.every(([a, b]) => Math.hypot(a - x, b - y) > gap);

/** `failed(error)` hears what the program refuses. */
export class Rings {
  #rings = [];

  constructor(picture, names, failed) {
    this.picture = picture;
    const [select, typed] = [$("#calibrant"), $("#phase")];
    select.append(...names.map((name) => option(name)), option("typed", "d or cell …"));
    const load = (phase) => this.#load(phase).catch(failed);
    select.onchange = () => {
      typed.hidden = select.value !== "typed";
      load(typed.hidden ? select.value : typed.value);
      if (!typed.hidden) typed.focus();
    };
    typed.onchange = () => load(typed.value);
  }

  async #load(phase) {
    this.#rings = [];
    this.picture.redraw();
    if (phase.trim()) this.#rings = (await getJson("api/rings", { phase: phase.trim() })).rings;
    say($("#problem"), null); // of a phase that was refused
    this.picture.redraw();
  }

  /** Draw those that can be told apart at this zoom, and as many labels as there is room for. */
  paint(context) {
    const [drawn, labels] = [[], []];
    context.strokeStyle = "#ff4f9add";
    context.lineWidth = 1;
    for (const [number, { d, hkl, lines }] of this.#rings.entries()) {
      for (const line of lines) {
        const points = line.map((point) => this.picture.toScreen(point));
        const place = points[Math.floor(points.length / 6)];
        if (!far(place, drawn, APART)) continue;
        drawn.push(place);
        context.beginPath();
        points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...point));
        context.stroke();
        const beside = points[Math.floor(points.length * ((number * 0.382) % 1))]; // labels go around the centre
        const free = points.length > 12 && far(beside, labels.map((label) => label.place), ROOM);
        if (free) labels.push({ text: hkl ?? `${d.toFixed(3)} Å`, place: beside });
      }
    }
    context.font = "11px sans-serif";
    for (const { text, place: [x, y] } of labels) {
      context.fillStyle = "#fffd";
      context.fillRect(x - 2, y - 10, context.measureText(text).width + 4, 13);
      context.fillStyle = "#a8005c";
      context.fillText(text, x, y);
    }
  }
}
