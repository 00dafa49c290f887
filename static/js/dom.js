// Small hands for the page's elements. Text from the exchange only ever becomes text.

export function node(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== "") made.textContent = text;
  return made;
}

// Writes only where it differs: an unchanged cell costs nothing.
export function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

export function readJson(id) {
  const found = document.getElementById(id);
  return found ? JSON.parse(found.textContent) : null;
}

const FLASH_MS = 300;
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

const flashing = new WeakSet();

// Marks a change by its side's tint, which fades. An animation of its own: restarting a class would force a layout.
// What is still tinted is left to fade: a busy cell would pile up animations.
export function flash(element, side) {
  if (stillness.matches || flashing.has(element)) return;
  flashing.add(element);
  const tint = element.animate([{ backgroundColor: `var(--${side}bar)` }, {}], FLASH_MS);
  tint.onfinish = tint.oncancel = () => flashing.delete(element);
}
