// Elements, made and changed without markup in strings, so that no name from a server can become markup.

const SVG = "http://www.w3.org/2000/svg";

export const at = (id) => document.getElementById(id);

/** An element; attributes that are null or false are left out, functions become listeners. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** As `el`, of a drawing. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Changes the text where it is another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Fills the node anew where what it shows, told by `key`, has changed. */
export function show(node, key, ...children) {
  if (node.shownKey === key) return;
  node.shownKey = key;
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** A figure in large type with its unit. */
export function figure(node, { figure: value, unit }) {
  show(node, `${value} ${unit}`, el("span", { class: "value" }, value), " ", el("span", { class: "unit" }, unit));
}

/** A word in small type that marks a row. */
export const tag = (word, kind = word) => el("span", { class: `tag tag-${kind}` }, word);

/** A bar of so much of its whole, beside a figure that says the same. */
export function bar(share, kind = "") {
  const inner = el("i");
  inner.style.width = `${(100 * Math.max(0, Math.min(1, share || 0))).toFixed(2)}%`;
  return el("span", { class: `bar ${kind}`, "aria-hidden": "true" }, inner);
}
