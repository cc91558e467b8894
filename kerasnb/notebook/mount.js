// @ts-check
/**
 * Where live pictures appear: over their still twins.
 *
 * The notebook holds only the still twin, as plain HTML with the name of its widget.
 * So a saved notebook always shows something, in whatever hands. While the widget's
 * kernel is alive, its code looks for the twin in the page and takes its place, again
 * each time the notebook draws its output anew.
 */
import { h } from "./draw.js";

/**
 * @typedef {{root: HTMLElement, moved?: () => void, measure?: () => void}} Picture
 * @typedef {{
 *   fillers: Map<string, (twin: HTMLElement) => void>, observer: MutationObserver,
 *   drawn: WeakMap<Element, Picture>, sizes: ResizeObserver,
 * }} Registry
 */

const KEY = Symbol.for("kerasnb.page");
const NAMED = "[data-knb]";

/**
 * One for the page, however many widgets: it sees twins come, and pictures change size.
 *
 * JupyterLab keeps each ResizeObserver that was ever made, and all that it reaches.
 * @returns {Registry}
 */
function registry() {
  const page = /** @type {any} */ (window);
  if (page[KEY]) return page[KEY];
  /** @type {Registry["fillers"]} */
  const fillers = new Map();
  const observer = new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node instanceof HTMLElement) for (const twin of twinsIn(node)) fill(twin, fillers);
      }
    }
  });
  observer.observe(document.body, { childList: true, subtree: true });
  /** @type {Registry["drawn"]} */
  const drawn = new WeakMap();
  const sizes = new ResizeObserver((changes) => {
    for (const { target } of changes) drawn.get(target)?.measure?.();
  });
  return (page[KEY] = { fillers, observer, drawn, sizes });
}

/** @param {HTMLElement} node @returns {HTMLElement[]} */
function twinsIn(node) {
  const inside = /** @type {HTMLElement[]} */ ([...node.querySelectorAll(NAMED)]);
  return node.matches(NAMED) ? [node, ...inside] : inside;
}

/**
 * @param {HTMLElement} twin
 * @param {Registry["fillers"]} fillers
 */
function fill(twin, fillers) {
  fillers.get(twin.dataset.knb ?? "")?.(twin);
}

/**
 * Put a picture over every twin of `model`, now and whenever one comes.
 * @param {any} model
 * @param {() => Picture} make
 * @returns {(el: HTMLElement) => void} puts a picture into an element of one's own
 */
export function mount(model, make) {
  const { fillers, drawn, sizes } = registry();
  /** @type {{host: HTMLElement, picture: Picture}[]} */
  const made = [];
  const place = (/** @type {HTMLElement} */ into) => {
    // The notebook threw the last one out with its output: it moves over as it is.
    let found = made.find(({ host }) => !host.isConnected);
    if (!found) {
      const picture = make();
      const host = h("div", { class: "knb-host", "data-lm-suppress-shortcuts": "true" });
      const style = h("style", {}, model.get("_style"));
      host.attachShadow({ mode: "open" }).append(style, picture.root);
      found = { host, picture };
      made.push(found);
      drawn.set(picture.root, picture);
      sizes.observe(picture.root);
    }
    for (const still of into.children) /** @type {HTMLElement} */ (still).style.display = "none";
    into.append(found.host);
    found.picture.moved?.();
  };
  const name = model.get("_twin");
  fillers.set(name, place);
  for (const twin of twinsIn(document.body)) fill(twin, new Map([[name, place]]));
  // The cell was run again: what is still on a page goes back to its still twin.
  model.on("destroy", () => {
    fillers.delete(name);
    for (const { host, picture } of made.splice(0)) {
      sizes.unobserve(picture.root);
      for (const still of host.parentElement?.children ?? []) {
        /** @type {HTMLElement} */ (still).style.display = "";
      }
      host.remove();
    }
    model.off(); // JupyterLab keeps a closed model, and that would keep us
  });
  return place;
}
