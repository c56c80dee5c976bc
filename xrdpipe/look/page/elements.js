// Small parts of the page. Names and messages are text here, never markup.

export const $ = (selector, inside = document) => inside.querySelector(selector);
export const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const option = (value, text = value) => element("option", { value, textContent: text });

/** Show a text in an element, or hide the element where there is none. */
export function say(node, text) {
  node.textContent = text ?? "";
  node.hidden = !text;
}

/** Four digits of a number, in a form that does not jump about. */
export function short(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size >= 1e7 || (size < 1e-3 && size > 0)) return value.toExponential(digits - 2);
  return value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size || 1))));
}

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** The value of a colour of the style sheet: follows light and dark. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const darkness = matchMedia("(prefers-color-scheme: dark)");

/** Whether a key pressed belongs to a field in which one types. */
export const types = (target) => target.matches?.("textarea, select, input:not([type=checkbox], [type=range], [type=radio])");
