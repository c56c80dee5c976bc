// Controls of every key, made from what the program says about its keys.

import { $, all, element, option, same, say } from "./elements.js";

const PAUSE = 120; // ms without typing before a value counts
const MANY = 20; // keys of a group that is closed until something in it changes

const shown = (value) => (value === null ? "off" : Array.isArray(value) ? `[${value.join(", ")}]` : String(value));

/** A name that may be broken after an underscore. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]);

/** A typed text as a value: a number, a list in brackets (or with commas), or the text. */
function valueOf(text, kind) {
  const word = text.trim();
  const inner = word.match(/^\[(.*)\]$/s)?.[1] ?? (kind === "list" && word.includes(",") ? word : null);
  const part = (each) => valueOf(each.replace(/^\s*["']|["']\s*$/g, ""), "text");
  if (inner !== null) return inner.trim() ? inner.split(",").map(part) : [];
  if (word !== "" && Number.isFinite(Number(word))) return Number(word);
  return { true: true, false: false }[word] ?? word;
}

// Each editor: the element, `read()` of its value (an Error says what is wrong), and `write(value)`.

function numberEditor({ kind, low, high }) {
  const input = element("input", { type: "number", step: kind === "integer" ? 1 : "any" });
  if (low !== null && low !== undefined) input.min = low;
  if (high !== null && high !== undefined) input.max = high;
  const read = () => {
    if (input.validity.badInput || input.value === "") throw new Error("Type a number.");
    return Number(input.value);
  };
  return { input, read, write: (value) => (input.value = value ?? "") };
}

function textEditor({ kind, key, choices }) {
  const input = element("input", { type: "text", spellcheck: false, autocomplete: "off" });
  if (choices) {
    input.setAttribute("list", `choices-${key}`);
    input.append(element("datalist", { id: `choices-${key}` }, ...choices.map((each) => option(each))));
  }
  const read = () => {
    if (!input.value.trim()) throw new Error("Type a value.");
    return valueOf(input.value, kind);
  };
  return { input, read, write: (value) => (input.value = value === null ? "" : shown(value)) };
}

function tickEditor() {
  const input = element("input", { type: "checkbox" });
  return { input, read: () => input.checked, write: (value) => (input.checked = value === true) };
}

/** A choice; a nullable one has "off" among its options. */
function choiceEditor({ kind, choices, nullable }) {
  const values = [...(nullable ? [null] : []), ...(kind === "boolean" ? [false, true] : choices)];
  const input = element("select", {}, ...values.map((value, i) => option(i, shown(value))));
  const write = (value) => {
    const at = values.findIndex((each) => same(each, value));
    if (at < 0) input.append(option(values.push(value) - 1, shown(value)));
    input.value = at < 0 ? values.length - 1 : at;
  };
  return { input, read: () => values[input.value], write };
}

function fixedEditor() {
  const input = element("output");
  return { input, read: null, write: (value) => (input.textContent = value === null ? "none" : shown(value)) };
}

function editorOf(key) {
  if (key.kind === "file") return fixedEditor();
  if (key.kind === "choice" || (key.kind === "boolean" && key.nullable)) return choiceEditor(key);
  if (key.kind === "boolean") return tickEditor();
  const editor = key.kind === "number" || key.kind === "integer" ? numberEditor(key) : textEditor(key);
  return key.nullable ? withOff(editor, key) : editor;
}

/** An editor with a box that turns the key off; turned on again, the last value comes back. */
function withOff({ input, read, write }, key) {
  const off = element("input", { type: "checkbox", ariaLabel: `${key.key}: off` });
  let last = key.default;
  const writeBoth = (value) => {
    if (value !== null) last = value;
    off.checked = input.disabled = value === null;
    write(value);
  };
  off.onchange = () => {
    input.disabled = off.checked;
    write(off.checked ? null : last);
    if (!off.checked) input.focus();
  };
  return {
    input, write: writeBoth, box: element("label", { className: "off" }, off, "off"),
    waiting: () => !off.checked && input.value === "",
    read: () => (off.checked ? null : read()),
  };
}

/** A line of the panel: name, editor, help, reset. */
class Row {
  constructor(key, set) {
    Object.assign(this, { key, set, editor: editorOf(key) });
    const { input, box = "" } = this.editor;
    const [id, name] = [`key-${key.key}`, key.key.split(".").slice(1).join(".")];
    input.id = id;
    this.help = element("p", { className: "help", id: `${id}-help`, textContent: this.#about(), hidden: true });
    this.problem = element("p", { className: "bad", id: `${id}-problem`, hidden: true });
    input.setAttribute("aria-describedby", `${id}-help ${id}-problem`);
    const info = element("button", { className: "info", textContent: "i", ariaLabel: `About ${key.key}`, ariaExpanded: "false" });
    info.onclick = () => info.setAttribute("aria-expanded", !(this.help.hidden = !this.help.hidden));
    this.reset = element("button", { className: "reset", textContent: "↺", title: `Back to ${shown(key.value)}`,
      ariaLabel: `${key.key}: back to ${shown(key.value)}` });
    this.reset.onclick = () => {
      this.write(key.value, undefined);
      set(key, key.value);
      input.focus();
    };
    this.node = element("div", { className: "key", title: this.#about(), role: "group" },
      element("label", { htmlFor: id }, ...breakable(name)), element("span", { className: "editor" }, input, box),
      info, this.reset, this.help, this.problem);
    this.node.dataset.key = key.key;
    if (this.editor.read) this.node.addEventListener("input", (event) => this.#edited(event));
    this.node.addEventListener("change", () => this.editor.read && this.#take());
  }

  #about() {
    const { help, kind, low = null, high = null, default: standard } = this.key;
    const parts = [help];
    if (low !== null) parts.push(`at least ${low}`);
    if (high !== null) parts.push(`at most ${high}`);
    parts.push(kind === "file" ? "given on the command line" : `default: ${shown(standard)}`);
    return parts.filter(Boolean).join("; ");
  }

  /** Show a value and whether it differs from the command line's. */
  write(value) {
    this.editor.write(value);
    this.fail(null);
    this.#mark(value);
  }

  #mark(value) {
    const changed = !same(value, this.key.value);
    this.node.classList.toggle("changed", changed);
    this.reset.style.visibility = changed ? "visible" : "hidden";
  }

  fail(message) {
    say(this.problem, message);
    this.editor.input.setAttribute("aria-invalid", Boolean(message));
  }

  #edited({ target }) {
    clearTimeout(this.timer);
    const typed = target.type === "number" || target.type === "text";
    this.timer = setTimeout(() => this.#take(), typed ? PAUSE : 0);
  }

  #take() {
    clearTimeout(this.timer);
    try {
      if (this.editor.waiting?.()) return; // turned on, nothing typed yet
      const value = this.editor.read();
      this.fail(null);
      this.#mark(value);
      this.set(this.key, value);
    } catch (error) {
      this.fail(error.message);
    }
  }
}

/** The panel: `view.choices` and `view.values` are kept as the user sets them, `changed()` hears of it. */
export class Controls {
  #rows = new Map();
  #bodies = new Map();

  constructor(root, groups, view, changed) {
    Object.assign(this, { groups, view, changed });
    for (const group of groups) root.append(this.#section(group));
  }

  #section(group) {
    const select = element("select", { id: `option-${group.name}` }, ...group.choices.map((name) => option(name)));
    select.value = this.view.choices[group.name] ?? group.choice;
    const about = () => (select.title = group.descriptions?.[select.value] ?? "");
    select.onchange = () => {
      about();
      if (select.value === group.choice) delete this.view.choices[group.name];
      else this.view.choices[group.name] = select.value;
      for (const key of Object.keys(this.view.values)) if (key.startsWith(`${group.name}.`)) delete this.view.values[key];
      this.#fill(group);
      this.changed();
    };
    about();
    const body = element("div", { className: "keys" });
    const count = element("small");
    this.#bodies.set(group.name, { body, count, select });
    const chosen = element("div", { className: "key option" }, element("label", { htmlFor: select.id, textContent: "option" }),
      element("span", { className: "editor" }, select));
    this.#fill(group);
    const open = body.children.length <= MANY || count.textContent !== ""; // of many keys, most stay off
    return element("details", { open, id: `group-${group.name}` },
      element("summary", {}, element("span", { textContent: group.name }), " ", count), chosen, body);
  }

  #fill(group) {
    const { body, select } = this.#bodies.get(group.name);
    const rows = (group.keys[select.value] ?? []).map((key) => new Row(key, (...given) => this.#set(group, ...given)));
    for (const row of rows) {
      row.write(row.key.key in this.view.values ? this.view.values[row.key.key] : row.key.value);
      this.#rows.set(row.key.key, row);
    }
    body.replaceChildren(...rows.map((row) => row.node));
    this.#count(group);
  }

  #set(group, key, value) {
    const before = key.key in this.view.values ? this.view.values[key.key] : key.value;
    if (same(value, key.value)) delete this.view.values[key.key];
    else this.view.values[key.key] = value;
    this.#count(group);
    if (!same(before, value)) this.changed();
  }

  #count(group) {
    const { count } = this.#bodies.get(group.name);
    const changes = Object.keys(this.view.values).filter((key) => key.startsWith(`${group.name}.`)).length
      + (group.name in this.view.choices ? 1 : 0);
    count.textContent = changes ? `${changes} changed` : "";
  }

  /** Show the program's message beside the key that it names, and take away the one before. */
  fail(error) {
    for (const node of all(".key .bad")) node.hidden || this.#rows.get(node.parentNode.dataset.key)?.fail(null);
    const row = error?.key && this.#rows.get(error.key);
    if (!row?.node.isConnected) return;
    row.fail(error.message);
    $(`#group-${error.key.split(".")[0]}`).open = true;
    row.node.scrollIntoView({ block: "nearest" });
  }
}
