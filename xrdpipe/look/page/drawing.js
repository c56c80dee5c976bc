// Shapes of the drawn mask: drawn with the mouse, undone and redone, listed.

import { $, all, element, short, types } from "./elements.js";

const HINTS = {
  polygon: "Polygon: click its corners; double click, Enter or the first corner closes it.",
  rectangle: "Rectangle: drag from corner to corner.",
  circle: "Circle: drag from its centre outwards.",
  ring: "Ring: drag from one angle 2θ to the other.",
  brush: "Brush: drag over the pixels.",
  threshold: "Threshold: click the corners of a region.",
};
const NEAR = 8; // screen pixels

const distance = ([a, b], [c, d]) => Math.hypot(a - c, b - d);
const rounded = ([slow, fast]) => [Math.round(slow * 100) / 100, Math.round(fast * 100) / 100];
const numberOf = (input) => (input.value === "" || input.validity.badInput ? null : Number(input.value));

/** `changed(shapes)` hears every change; `lines(points)` promises the lines of constant 2theta through points. */
export class Drawing {
  #past = [];
  #future = [];
  #draft = null; // the shape being drawn; its last point follows the mouse
  #lines = new WeakMap(); // lines of a ring, drawn by the program
  #pointed = null; // shape under the mouse in the list
  shapes = [];
  tool = "pan";
  unmask = false;

  constructor(picture, { changed, lines }) {
    Object.assign(this, { picture, changed, lines });
    const { canvas } = picture;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("dblclick", () => (this.tool === "pan" ? picture.fit() : this.#close()));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.#key(event));
    for (const button of all("[data-tool]")) button.onclick = () => this.choose(button.dataset.tool);
    $("#add").onclick = () => this.#take(false);
    $("#take").onclick = () => this.#take(true);
    $("#undo").onclick = () => this.undo();
    $("#redo").onclick = () => this.redo();
    $("#clear").onclick = () => this.#change([]);
    $("#everywhere").onclick = () => this.#add(this.#started("threshold", []));
    $("#hint").onsubmit = (event) => event.preventDefault();
    this.choose("pan");
    this.#list();
  }

  /** Begin with shapes of an earlier visit of this tab. */
  restore(shapes) {
    this.shapes = shapes;
    this.#list();
  }

  choose(tool) {
    this.#draft = null;
    this.tool = tool;
    for (const button of all("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    for (const part of all("#hint [data-of]")) part.hidden = part.dataset.of !== tool;
    this.picture.canvas.style.cursor = tool === "pan" ? "grab" : "crosshair";
    $("#hint").hidden = tool === "pan";
    this.#hint();
    this.picture.redraw();
  }

  undo() {
    if (this.#past.length) this.#change(this.#past.pop(), this.#future);
  }

  redo() {
    if (this.#future.length) this.#change(this.#future.pop(), this.#past, this.#future);
  }

  #take(unmask) {
    this.unmask = unmask;
    $("#add").setAttribute("aria-pressed", !unmask);
    $("#take").setAttribute("aria-pressed", unmask);
  }

  /** Take other shapes; those before go onto a stack, and what could be redone is kept only by undo and redo. */
  #change(shapes, stack = this.#past, future = stack === this.#past ? [] : this.#future) {
    if (!shapes.length && !this.shapes.length) return;
    stack.push(this.shapes);
    this.#future = future;
    this.shapes = shapes;
    this.#pointed = null;
    this.#list();
    this.picture.redraw();
    this.changed(shapes);
  }

  #hint(problem = null) {
    $("#hint-text").textContent = problem ?? HINTS[this.tool] ?? "";
    $("#hint-text").classList.toggle("bad", problem !== null);
  }

  // ------------------------------------------------------------------------------------------------- with the mouse

  #started(kind, points) {
    const shape = { kind, points };
    if (this.unmask) shape.unmask = true;
    if (kind === "brush") shape.radius = Math.max(0.5, numberOf($("#radius")) ?? 10);
    if (kind === "threshold") Object.assign(shape, { low: numberOf($("#below")), high: numberOf($("#above")) });
    return shape;
  }

  get #cornered() {
    return this.tool === "polygon" || this.tool === "threshold";
  }

  #down(event) {
    this.picture.canvas.focus({ preventScroll: true });
    this.picture.canvas.setPointerCapture(event.pointerId);
    if (this.tool === "pan" || event.button !== 0) {
      this.panned = [event.clientX, event.clientY];
      this.picture.canvas.style.cursor = "grabbing";
      return;
    }
    const point = this.picture.place(event);
    if (!this.#cornered) this.#draft = this.#started(this.tool, [point, point]);
    else if (!this.#draft) this.#draft = this.#started(this.tool, [point, point]);
    else if (this.#draft.points.length > 3 && this.#near(event, this.#draft.points[0])) this.#close();
    else this.#draft.points.push(point);
    this.picture.redraw();
  }

  #near(event, point) {
    return distance(this.picture.toScreen(this.picture.place(event)), this.picture.toScreen(point)) < NEAR;
  }

  #move(event) {
    if (this.panned) {
      this.picture.move(event.clientX - this.panned[0], event.clientY - this.panned[1]);
      this.panned = [event.clientX, event.clientY];
    }
    this.mouse = this.picture.place(event);
    const draft = this.#draft;
    if (draft?.kind === "brush") {
      const step = Math.max(draft.radius / 4, 1 / this.picture.zoom);
      if (distance(this.mouse, draft.points.at(-1)) > step) draft.points.push(this.mouse);
    } else if (draft) {
      draft.points[draft.points.length - 1] = this.mouse;
    }
    if (draft || this.tool === "brush") this.picture.redraw();
  }

  #up() {
    if (this.panned) {
      this.panned = null;
      this.picture.canvas.style.cursor = this.tool === "pan" ? "grab" : "crosshair";
      return;
    }
    const draft = this.#draft;
    if (!draft || this.#cornered) return;
    const [first, last] = [draft.points[0], draft.points.at(-1)];
    this.#draft = null;
    if (draft.kind === "brush") {
      draft.points.splice(1, 1); // the second point began as a copy of the first
      this.#add(draft);
    } else if (distance(first, last) * this.picture.zoom > 2) {
      if (draft.kind === "circle") Object.assign(draft, { points: [first], radius: distance(first, last) });
      this.#add(draft);
    } else this.picture.redraw();
  }

  /** Close the polygon being drawn: its last point is that of the mouse, and a double click leaves two of it. */
  #close() {
    const draft = this.#draft;
    if (!draft || !this.#cornered) return;
    const apart = (point, i, them) => !i || distance(point, them[i - 1]) * this.picture.zoom > 2;
    const corners = draft.points.slice(0, -1).filter(apart);
    this.#draft = null;
    if (corners.length > 2) this.#add({ ...draft, points: corners });
    else this.picture.redraw();
  }

  #add(shape) {
    if (shape.kind === "threshold" && shape.low === null && shape.high === null) {
      this.#hint("Threshold: first type a value, below or above which pixels are masked.");
      this.picture.redraw();
      return;
    }
    this.#hint();
    const whole = { ...shape, points: shape.points.map(rounded) };
    if (whole.radius) whole.radius = Math.round(whole.radius * 100) / 100;
    this.#change([...this.shapes, whole]);
  }

  #key(event) {
    const command = event.ctrlKey || event.metaKey;
    if (types(event.target) || document.querySelector("dialog[open]")) return;
    if (command && event.key.toLowerCase() === "z") event.shiftKey ? this.redo() : this.undo();
    else if (command && event.key.toLowerCase() === "y") this.redo();
    else if (event.key === "Escape") this.#draft ? this.#cancel() : this.choose("pan");
    else if (event.key === "Enter" && this.#draft) this.#close();
    else if (event.key === "Backspace" && this.#draft?.points.length > 2) this.#draft.points.splice(-2, 1);
    else return;
    this.picture.redraw();
    event.preventDefault();
  }

  #cancel() {
    this.#draft = null;
    this.#hint();
  }

  // ---------------------------------------------------------------------------------------------------- on the frame

  /** Draw outlines over the frame. */
  paint(context) {
    for (const shape of this.shapes) this.#outline(context, shape, shape === this.#pointed ? 3 : 1.5);
    if (this.#draft) this.#outline(context, this.#draft, 1.5, true);
    if (this.tool === "brush" && this.mouse) {
      const radius = this.#draft?.radius ?? numberOf($("#radius")) ?? 10;
      this.#stroke(context, this.#arc(this.mouse, radius), 1, false);
    }
  }

  #arc(centre, radius) {
    const path = new Path2D();
    path.arc(...this.picture.toScreen(centre), radius * this.picture.zoom, 0, 2 * Math.PI);
    return path;
  }

  #path(points, closed) {
    const path = new Path2D();
    points.forEach((point, i) => path[i ? "lineTo" : "moveTo"](...this.picture.toScreen(point)));
    if (closed) path.closePath();
    return path;
  }

  #outline(context, shape, width, draft = false) {
    const { points } = shape;
    if (shape.kind === "rectangle") {
      const [[a, b], [c, d]] = points;
      this.#stroke(context, this.#path([[a, b], [a, d], [c, d], [c, b]], true), width, shape.unmask);
    } else if (shape.kind === "circle") {
      const radius = shape.radius ?? distance(points[0], points[1]);
      this.#stroke(context, this.#arc(points[0], radius), width, shape.unmask);
    } else if (shape.kind === "ring") {
      for (const line of this.#ring(shape, draft)) this.#stroke(context, this.#path(line, false), width, shape.unmask);
      if (draft) this.#stroke(context, this.#path(points, false), width, shape.unmask);
    } else if (shape.kind === "brush") {
      if (!draft && shape !== this.#pointed) return; // its pixels are enough to see
      context.lineCap = context.lineJoin = "round";
      context.strokeStyle = "#ffffff70";
      context.lineWidth = 2 * shape.radius * this.picture.zoom;
      context.stroke(this.#path(points.length > 1 ? points : [points[0], points[0]], false));
    } else if (points.length) this.#stroke(context, this.#path(points, !draft), width, shape.unmask);
  }

  /** Light over dark, so that it is seen on every colour; broken where the shape takes pixels out. */
  #stroke(context, path, width, broken) {
    context.setLineDash([]);
    context.strokeStyle = "#000000b0";
    context.lineWidth = width + 2;
    context.stroke(path);
    context.setLineDash(broken ? [6, 4] : []);
    context.strokeStyle = "#fff";
    context.lineWidth = width;
    context.stroke(path);
    context.setLineDash([]);
  }

  /** The lines of a ring; asked for when first drawn, and anew while its points move. */
  #ring(shape, draft) {
    const cached = this.#lines.get(shape);
    const points = JSON.stringify(shape.points);
    if (cached?.points !== points && !(draft && cached?.waiting)) {
      const entry = { points, waiting: true, lines: cached?.lines ?? [] };
      this.#lines.set(shape, entry);
      this.lines(shape.points).then((lines) => {
        Object.assign(entry, { lines, waiting: false });
        this.picture.redraw();
      }, () => (entry.waiting = false));
    }
    return this.#lines.get(shape).lines;
  }

  // ----------------------------------------------------------------------------------------------------- in the list

  #list() {
    const { shapes } = this;
    const items = shapes.map((shape, i) => {
      const remove = element("button", { textContent: "×", title: "Remove", ariaLabel: `Remove shape ${i + 1}` });
      remove.onclick = () => this.#change(shapes.filter((each) => each !== shape));
      const item = element("li", {}, element("span", { textContent: describe(shape) }), remove);
      item.onpointerenter = () => this.#point(shape);
      item.onpointerleave = () => this.#point(null);
      return item;
    });
    $("#shapes ol").replaceChildren(...items);
    $("#shapes .none").hidden = shapes.length > 0;
    $("#shapes small").textContent = shapes.length ? `${shapes.length} shape${shapes.length > 1 ? "s" : ""}` : "";
    $("#undo").disabled = !this.#past.length;
    $("#redo").disabled = !this.#future.length;
    $("#clear").disabled = !shapes.length;
  }

  #point(shape) {
    this.#pointed = shape;
    this.picture.redraw();
  }
}

/** A shape in words. */
function describe({ kind, points, radius, low, high, unmask }) {
  const parts = [`${kind[0].toUpperCase()}${kind.slice(1)}`];
  if (kind === "polygon") parts.push(`${points.length} corners`);
  if (radius) parts.push(`radius ${short(radius, 3)} px`);
  if (low !== null && low !== undefined) parts.push(`below ${short(low)}`);
  if (high !== null && high !== undefined) parts.push(`above ${short(high)}`);
  if (kind === "threshold") parts.push(points.length ? "in a region" : "everywhere");
  return `${parts.join(", ")}${unmask ? ": taken out" : ""}`;
}
