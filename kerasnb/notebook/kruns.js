// @ts-check
/**
 * The runs of a notebook: a table to sort, curves, what differs, weights to load.
 *
 * All is made in Python; here rows change places, and buttons ask for weights.
 */
import { h, newId, set, write } from "./draw.js";
import { mount } from "./mount.js";

/**
 * @typedef {number | string | null} Key
 * @typedef {{
 *   id: string, cells: string[], keys: Key[], curve: string, keeps: boolean,
 *   epoch: number | null,
 * }} Row
 * @typedef {{
 *   head: {key: string, title: string, down: boolean}[], rows: Row[], pictures: string[],
 *   names: string[], differ: string[][],
 * }} Content
 */

/**
 * The rows in the order of one column; those without a value stay last.
 * @template {{keys: Key[]}} R
 * @param {R[]} rows
 * @param {number} column
 * @param {boolean} down
 * @returns {R[]}
 */
export function sorted(rows, column, down) {
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [one.keys[column], other.keys[column]];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  });
}

/** A picture made in Python, in the colours of the page. @param {string} text */
function picture(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  return /** @type {SVGElement} */ (/** @type {unknown} */ (parsed.documentElement));
}

class Board {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Content} */
    this.content = model.get("_board");
    this.column = 0;
    this.down = false;
    this.body = h("tbody");
    this.said = h("p", { class: "knb-said", role: "status" });
    this.heads = this.content.head.map(({ key, title }, i) => {
      const press = () => this.sort(i);
      const sort = h("button", { class: "knb-link", type: "button", title, click: press }, key);
      return h("th", { scope: "col" }, sort);
    });
    const [first, ...rest] = this.heads;
    const loss = h("th", { scope: "col" }, "loss");
    const weights = h("th", { scope: "col" }, "best weights");
    const head = h("thead", {}, h("tr", {}, first, loss, ...rest, weights));
    const count = this.content.rows.length;
    this.root = h(
      "section",
      { class: "knb knb-runs", "aria-label": "Runs" },
      h(
        "header",
        { class: "knb-head" },
        h("strong", { class: "knb-name" }, "Runs"),
        h("span", { class: "knb-muted" }, `${count} side by side`),
      ),
      h("div", { class: "knb-pictures" }, ...this.content.pictures.map(picture)),
      scroll("Results", h("table", { "aria-label": "Results" }, head, this.body)),
      this.said,
      this.differences(),
    );
    this.rows = new Map(this.content.rows.map((row) => [row.id, this.row(row)]));
    this.draw();
  }

  /** @param {Row} row */
  row(row) {
    const [name, ...cells] = row.cells;
    const press = () => this.load(row);
    const words = row.epoch === null ? "load" : `load epoch ${row.epoch}`;
    const label = `Load the weights of the best epoch of ${name}`;
    const load = h(
      "button",
      { class: "knb-toggle knb-load", type: "button", "aria-label": label, click: press },
      words,
    );
    return h(
      "tr",
      { "data-id": row.id },
      h("th", { scope: "row" }, name),
      h("td", {}, ...(row.curve ? [picture(row.curve)] : [])),
      ...cells.map((cell) => h("td", {}, cell)),
      h("td", {}, row.keeps ? load : "not kept"),
    );
  }

  differences() {
    const { names, differ } = this.content;
    if (names.length < 2) return null;
    if (!differ.length) return h("p", { class: "knb-muted" }, "All settings are the same.");
    const head = ["setting", ...names].map((name) => h("th", { scope: "col" }, name));
    const rows = differ.map(([name, ...values]) =>
      h("tr", {}, h("th", { scope: "row" }, name), ...values.map((value) => h("td", {}, value))),
    );
    return h(
      "details",
      { class: "knb-more", open: true },
      h("summary", {}, "What differs"),
      scroll(
        "What differs",
        h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
      ),
    );
  }

  /** Sort by a column, the best first; once more turns it round. @param {number} column */
  sort(column) {
    this.down = this.column === column ? !this.down : this.content.head[column].down;
    this.column = column;
    this.draw();
  }

  draw() {
    const ordered = sorted(this.content.rows, this.column, this.down);
    const nodes = ordered.map((row) => /** @type {HTMLElement} */ (this.rows.get(row.id)));
    this.body.replaceChildren(...nodes);
    this.heads.forEach((head, i) => {
      const way = this.down ? "descending" : "ascending";
      set(head, "aria-sort", i === this.column ? way : null);
    });
  }

  /** Ask the kernel for the weights of a run. @param {Row} row */
  load(row) {
    this.say("Loading …", "");
    this.model.send({ op: "load", id: newId(), run: row.id });
  }

  /** What the kernel answered. */
  answer() {
    const { words, good, run } = this.model.get("_said");
    this.say(words, good ? "good" : "bad");
    for (const [id, row] of this.rows) set(row, "data-loaded", good && id === run);
  }

  /** @param {string} words @param {string} kind */
  say(words, kind) {
    write(this.said, words);
    set(this.said, "data-kind", kind || null);
  }
}

/** @param {string} label @param {HTMLElement} table */
function scroll(label, table) {
  return h("div", { class: "knb-scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

export default () => {
  /** @type {Set<Board>} */
  const boards = new Set();
  /** @type {(el: HTMLElement) => void} */
  let place;
  return {
    /** @param {{model: any}} context */
    initialize({ model }) {
      place = mount(model, () => {
        const board = new Board(model);
        boards.add(board);
        return board;
      });
      model.on("change:_said", () => boards.forEach((board) => board.answer()));
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      place(el);
    },
  };
};
