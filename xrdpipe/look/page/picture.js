// The frame on a canvas. The picture at hand is moved and scaled at once; the program draws the visible part anew.

import { Latest } from "./requests.js";
import { colour, same } from "./elements.js";

const CLOSEST = 48; // screen pixels of one detector pixel
const PAUSE = 60; // ms from a movement until the part is asked for

/**
 * Coordinates are those of the detector: pixel (0, 0) covers 0 to 1 along slow (down) and fast (right).
 *
 * `load(source, part)` gives `{bitmap, mask, range}` of a part; `paint(context, picture)` draws on top; `loaded(range)`
 * hears the values of the colours.
 */
export class Picture {
  #whole = null; // {bitmap, mask, part, source} of the whole frame, coarse
  #sharp = null; // the same of the visible part
  #fitted = true;

  constructor(canvas, shape, { load, paint, loaded, failed }) {
    Object.assign(this, { canvas, shape, load, paint, loaded, source: null });
    this.context = canvas.getContext("2d");
    this.corner = [0, 0]; // (slow, fast) of the canvas's upper left corner
    this.zoom = 1; // CSS pixels of a detector pixel
    this.opacity = 1; // of the mask over the frame
    this.loading = new Latest((pause) => this.#load(pause), failed);
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Show another result, layer or contrast. */
  show(source) {
    this.source = source;
    this.loading.ask(0);
  }

  toScreen([slow, fast]) {
    return [(fast - this.corner[1]) * this.zoom, (slow - this.corner[0]) * this.zoom];
  }

  /** The place on the detector of a mouse event. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      this.corner[0] + (event.clientY - box.top) / this.zoom,
      this.corner[1] + (event.clientX - box.left) / this.zoom,
    ];
  }

  has([slow, fast]) {
    return slow >= 0 && fast >= 0 && slow < this.shape[0] && fast < this.shape[1];
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.zoom = Math.min(height / this.shape[0], width / this.shape[1]) * 0.985;
    this.corner = [(this.shape[0] - height / this.zoom) / 2, (this.shape[1] - width / this.zoom) / 2];
    this.#fitted = true;
    this.#moved();
  }

  /** Move by screen pixels. */
  move(right, down) {
    this.corner = [this.corner[0] - down / this.zoom, this.corner[1] - right / this.zoom];
    this.#fitted = false;
    this.#moved();
  }

  /** Zoom about a place on the detector. */
  zoomBy(factor, about) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const smallest = Math.min(height / this.shape[0], width / this.shape[1]) / 3;
    const zoom = Math.min(Math.max(this.zoom * factor, smallest), CLOSEST);
    this.corner = this.corner.map((at, i) => about[i] - ((about[i] - at) * this.zoom) / zoom);
    this.zoom = zoom;
    this.#fitted = false;
    this.#moved();
  }

  #middle() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [this.corner[0] + height / 2 / this.zoom, this.corner[1] + width / 2 / this.zoom];
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    this.zoomBy(Math.exp(-Math.max(-300, Math.min(300, event.deltaY * lines)) * 0.002), this.place(event));
  }

  #key(event) {
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) this.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.25, this.#middle());
    else if (event.key === "-") this.zoomBy(0.8, this.#middle());
    else if (event.key === "0" || event.key === "Home") this.fit();
    else return;
    event.preventDefault();
  }

  #resize() {
    const scale = devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * scale);
    this.canvas.height = Math.round(this.canvas.clientHeight * scale);
    if (this.#fitted) this.fit();
    else this.#moved();
    this.#draw(); // a resized canvas is empty until then
  }

  #moved() {
    this.redraw();
    if (this.source) this.loading.ask(PAUSE);
  }

  /** The visible rows and columns, and the size of their picture: never finer than screen or detector. */
  #visible() {
    const sizes = [this.canvas.clientHeight, this.canvas.clientWidth];
    const range = (i) => [
      Math.max(0, Math.min(this.shape[i] - 1, Math.floor(this.corner[i]))),
      Math.min(this.shape[i], Math.max(1, Math.ceil(this.corner[i] + sizes[i] / this.zoom))),
    ];
    return this.#sized(range(0), range(1), this.zoom * devicePixelRatio);
  }

  #sized(rows, columns, zoom) {
    const size = ([first, last]) => Math.max(1, Math.round((last - first) * Math.min(1, zoom)));
    return { rows, columns, height: size(rows), width: size(columns) };
  }

  async #load(pause) {
    if (pause) await new Promise((done) => setTimeout(done, pause));
    const { source } = this;
    const part = this.#visible();
    if (!source || (this.#sharp?.source === source && same(this.#sharp.part, part))) return;
    const loaded = await this.load(source, part);
    this.#sharp = { ...loaded, part, source };
    if ([part.rows, part.columns].every(([first, last], i) => last - first === this.shape[i])) this.#whole = this.#sharp;
    this.loaded(loaded.range, source);
    this.redraw();
    if (this.#whole?.source === source || this.loading.overtaken) return;
    const sizes = [this.canvas.clientHeight / this.shape[0], this.canvas.clientWidth / this.shape[1]];
    const whole = this.#sized([0, this.shape[0]], [0, this.shape[1]], Math.min(...sizes));
    this.#whole = { ...(await this.load(source, whole)), part: whole, source };
    this.redraw();
  }

  redraw() {
    this.drawing ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = null;
    const { context } = this;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.fillStyle = colour("well");
    context.fillRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    for (const each of new Set([this.#whole, this.#sharp])) if (each) this.#place(each);
    this.paint(context, this);
  }

  #place({ bitmap, mask, part: { rows, columns } }) {
    const [left, top] = this.toScreen([rows[0], columns[0]]);
    const [right, bottom] = this.toScreen([rows[1], columns[1]]);
    this.context.imageSmoothingEnabled = (right - left) * devicePixelRatio < bitmap.width * 1.01; // sharp pixels close up
    this.context.clearRect(left, top, right - left, bottom - top);
    this.context.drawImage(bitmap, left, top, right - left, bottom - top);
    if (!mask) return;
    this.context.globalAlpha = this.opacity;
    this.context.drawImage(mask, left, top, right - left, bottom - top);
    this.context.globalAlpha = 1;
  }
}
