// @ts-check
/**
 * The model card: graph, table and totals, drawn from coordinates made in Python.
 *
 * A click on a layer selects it, here and in the kernel; a click on a group asks the
 * kernel for the graph with that group folded or laid open.
 */
import { h, newId, s, set, write } from "./draw.js";
import { mount } from "./mount.js";

/**
 * @typedef {{
 *   id: string, name: string, role: "step" | "group" | "frame", family: string,
 *   x: number, y: number, width: number, height: number,
 *   title: string, note: string, small: string, source: string,
 * }} Box
 * @typedef {{
 *   width: number, height: number, boxes: Box[], edges: string[],
 *   labels: [number, number, string][],
 * }} Scene
 * @typedef {{id: string, name: string, depth: number, group: boolean, cells: string[]}} Row
 * @typedef {{source: string, weights: string[][], config: string[][]}} Detail
 * @typedef {{
 *   name: string, kind: string, connected: boolean, totals: [string, string][],
 *   rows: Row[], details: {[id: string]: Detail},
 * }} Content
 */

const MARGIN = 12;
const HEAD = ["Layer", "Kind", "Output shape", "Parameters", "Memory", "FLOPs"];

/**
 * The box that a key leads to from the box at `now`; null for keys that lead nowhere.
 * @param {string} key
 * @param {number} now
 * @param {number} count
 */
export function step(key, now, count) {
  const last = count - 1;
  /** @type {{[key: string]: number}} */
  const moves = {
    ArrowDown: Math.min(now + 1, last),
    ArrowRight: Math.min(now + 1, last),
    ArrowUp: Math.max(now - 1, 0),
    ArrowLeft: Math.max(now - 1, 0),
    Home: 0,
    End: last,
  };
  return moves[key] ?? null;
}

/**
 * What is said of a box, by a screen reader and below the graph.
 * @param {Box} box
 * @param {Row | undefined} row
 */
export function words(box, row) {
  const said = [`${box.title} ${box.note}`.trim(), box.small, row?.cells[1] ?? "", box.source];
  return said.filter(Boolean).join(" · ");
}

/** The card in one output. */
class Card {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Content} */
    this.content = model.get("_card");
    /** @type {string} the box that the keyboard is on */
    this.current = "";
    this.rows = new Map(this.content.rows.map((row) => [row.id, row]));
    this.svg = s("svg", {
      class: "knb-scene",
      role: "group",
      "aria-label": `Graph of ${this.content.name}`,
      keydown: (event) => this.key(event),
    });
    this.hint = h("p", { class: "knb-hint" });
    this.graph = h("div", { class: "knb-graph" }, this.svg);
    this.body = h("tbody");
    this.detail = h("div", { class: "knb-detail", "aria-live": "polite" });
    const head = HEAD.map((name) => h("th", { scope: "col" }, name));
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...head)), this.body);
    const shown = this.content.connected;
    this.root = h(
      "section",
      { class: "knb knb-card", "aria-label": `Model ${this.content.name}` },
      h(
        "header",
        { class: "knb-head" },
        h("strong", { class: "knb-name" }, this.content.name),
        h("span", { class: "knb-muted" }, this.content.kind),
      ),
      h(
        "dl",
        { class: "knb-facts" },
        ...this.content.totals.map(([label, value]) =>
          h("div", {}, h("dt", {}, label), h("dd", { title: value }, value)),
        ),
      ),
      h(
        "div",
        { class: "knb-body" },
        shown && h("div", { class: "knb-left" }, this.graph, this.hint),
        h(
          "div",
          { class: "knb-right" },
          !shown &&
            h(
              "p",
              { class: "knb-muted" },
              "The connections are inside its call method, unseen here.",
            ),
          h(
            "div",
            { class: "knb-scroll", tabindex: 0, role: "region", "aria-label": "Layers" },
            table,
          ),
          this.detail,
        ),
      ),
    );
    this.draw();
  }

  /** @returns {Scene} */
  get scene() {
    return this.model.get("_scene");
  }

  draw() {
    const focused = this.svg.matches(":focus-within");
    this.drawGraph();
    this.drawTable();
    this.mark();
    if (focused) this.focus(this.current);
  }

  drawGraph() {
    const { width, height, boxes, edges, labels } = this.scene;
    const [wide, tall] = [width + 2 * MARGIN, height + 2 * MARGIN];
    for (const [name, value] of Object.entries({ width: wide, height: tall })) {
      set(this.svg, name, value);
    }
    if (!boxes.some((box) => box.id === this.current)) this.current = boxes[0]?.id ?? "";
    const frames = boxes.filter((box) => box.role === "frame");
    const others = boxes.filter((box) => box.role !== "frame");
    this.svg.replaceChildren(
      s(
        "g",
        { transform: `translate(${MARGIN},${MARGIN})` },
        ...frames.map((box) => this.frame(box)),
        ...edges.map((d) => s("path", { class: "knb-edge", d })),
        ...labels.map(([x, y, text]) => s("text", { class: "knb-shape", x, y }, text)),
        ...others.map((box) => this.box(box)),
      ),
    );
  }

  /** @param {Box} box */
  frame(box) {
    const { x, y, width, height } = box;
    return s(
      "g",
      this.handle(box, "true"),
      s("rect", { class: "knb-frame", x, y, width, height, rx: 8 }),
      s("rect", { class: "knb-bar-area", x, y, width, height: 26, rx: 8 }),
      chevron(x + 12, y + 9, true),
      s("text", { class: "knb-box-title", x: x + 28, y: y + 18 }, box.title),
    );
  }

  /** @param {Box} box */
  box(box) {
    const { x, y, width, height, family } = box;
    const folded = box.role === "group";
    const left = x + (folded ? 30 : 16);
    return s(
      "g",
      this.handle(box, folded ? "false" : null),
      folded && s("rect", { class: "knb-box", x: x + 4, y: y + 4, width, height, rx: 6 }),
      s("rect", { class: "knb-box", x, y, width, height, rx: 6 }),
      s("rect", {
        class: "knb-bar",
        "data-family": family,
        x: x + 6,
        y: y + 9,
        width: 3,
        height: height - 18,
        rx: 1.5,
      }),
      folded && chevron(x + 16, y + 9, false),
      s(
        "text",
        { x: left, y: y + 18 },
        s("tspan", { class: "knb-box-title" }, box.title),
        box.note ? s("tspan", { class: "knb-box-note" }, ` ${box.note}`) : null,
      ),
      s("text", { class: "knb-box-small", x: left, y: y + 33 }, box.small),
    );
  }

  /**
   * What makes a box a button.
   * @param {Box} box
   * @param {string | null} expanded
   */
  handle(box, expanded) {
    return {
      class: "knb-node",
      "data-id": box.id,
      role: "button",
      tabindex: box.id === this.current ? 0 : -1,
      "aria-label": words(box, this.rows.get(box.id)),
      "aria-expanded": expanded,
      click: () => this.press(box),
      pointerenter: () => this.hover(box.id),
      pointerleave: () => this.hover(null),
      focus: () => this.arrive(box.id),
    };
  }

  /** @param {{id: string, role?: string}} box */
  press(box) {
    this.current = box.id;
    if (box.role === "group" || box.role === "frame") {
      const open = box.role === "group";
      this.model.send({ op: "fold", id: newId(), group: box.id, open });
      return;
    }
    this.model.set("selected", this.selected() === box.id ? "" : box.id);
    this.model.save_changes();
  }

  /** The id behind the selected layer: an id, or the bare name that Python may set. */
  selected() {
    const wanted = this.model.get("selected");
    if (!wanted || this.content.details[wanted]) return wanted;
    return this.content.rows.find((row) => row.name === wanted)?.id ?? "";
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const boxes = this.scene.boxes;
    const now = boxes.findIndex((box) => box.id === this.current);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.press(boxes[now]);
      return;
    }
    const to = step(event.key, now, boxes.length);
    if (to === null) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for arrows
    this.focus(boxes[to].id);
  }

  /** @param {string} id */
  focus(id) {
    this.nodes()
      .find((node) => node.getAttribute("data-id") === id)
      ?.focus();
  }

  /** The keyboard is on a box now: Tab comes back to it. @param {string} id */
  arrive(id) {
    this.current = id;
    for (const node of this.nodes()) {
      set(node, "tabindex", node.getAttribute("data-id") === id ? 0 : -1);
    }
    this.hover(id);
  }

  /** @returns {SVGElement[]} */
  nodes() {
    return [.../** @type {any} */ (this.svg.querySelectorAll(".knb-node"))];
  }

  /** Point at a layer in graph and table alike. @param {string | null} id */
  hover(id) {
    for (const node of [...this.nodes(), ...this.body.children]) {
      set(node, "data-hot", id !== null && node.getAttribute("data-id") === id);
    }
    const box = this.scene.boxes.find((each) => each.id === id);
    write(this.hint, box ? box.source || words(box, this.rows.get(box.id)) : "");
  }

  drawTable() {
    const seen = new Map(this.scene.boxes.map((box) => [box.id, box]));
    const rows = this.content.rows.filter((row) => !this.content.connected || seen.has(row.id));
    this.body.replaceChildren(...rows.map((row) => this.row(row, seen.get(row.id))));
  }

  /** @param {Row} row @param {Box | undefined} box */
  row(row, box) {
    const role = box?.role ?? (row.group ? "frame" : "step");
    const expanded = row.group && box ? String(role === "frame") : null;
    const press = () => this.press({ id: row.id, role });
    const button = h(
      "button",
      { class: "knb-link", type: "button", "aria-expanded": expanded, click: press },
      row.name,
    );
    button.style.paddingLeft = `${row.depth * 14}px`;
    return h(
      "tr",
      {
        "data-id": row.id,
        pointerenter: () => this.hover(row.id),
        pointerleave: () => this.hover(null),
      },
      h("th", { scope: "row" }, button),
      ...row.cells.map((cell) => h("td", {}, cell)),
    );
  }

  /** Show which layer is selected, and what is known of it. */
  mark() {
    const id = this.selected();
    for (const node of this.nodes()) {
      if (node.hasAttribute("aria-expanded")) continue;
      set(node, "aria-pressed", String(node.getAttribute("data-id") === id));
    }
    for (const row of this.body.children) {
      set(row, "data-selected", row.getAttribute("data-id") === id);
    }
    for (const chosen of this.root.querySelectorAll("[data-selected], [aria-pressed='true']")) {
      reveal(chosen);
    }
    const [row, detail] = [this.rows.get(id), this.content.details[id]];
    if (!row || !detail) {
      this.detail.replaceChildren();
      return;
    }
    const weights = detail.weights.map((cells) => h("tr", {}, ...cells.map((c) => h("td", {}, c))));
    const settings = detail.config.map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v)));
    this.detail.replaceChildren(
      h(
        "div",
        { class: "knb-detail-head" },
        h("strong", {}, row.name),
        h("span", { class: "knb-muted" }, row.cells[0]),
        detail.source && h("code", { class: "knb-muted" }, detail.source),
        h(
          "button",
          {
            class: "knb-toggle",
            type: "button",
            "aria-label": `Close the details of ${row.name}`,
            click: () => this.press({ id }),
          },
          "close",
        ),
      ),
      ...(weights.length
        ? [h("table", { "aria-label": "Weights" }, h("tbody", {}, ...weights))]
        : []),
      h("dl", { class: "knb-settings" }, ...settings),
    );
  }
}

/**
 * Scroll a part into view within its own box; the notebook stays where it is.
 * @param {Element} part
 */
function reveal(part) {
  const box = part.closest(".knb-scroll, .knb-graph");
  if (!box) return;
  const [inner, outer] = [part.getBoundingClientRect(), box.getBoundingClientRect()];
  const head = box.querySelector("thead")?.getBoundingClientRect().height ?? 0;
  const over = Math.max(0, inner.bottom - outer.bottom);
  box.scrollTop += over || Math.min(0, inner.top - outer.top - head);
}

/** @param {number} x @param {number} y @param {boolean} down */
function chevron(x, y, down) {
  const d = down ? `M${x},${y + 2}l4,5l4,-5z` : `M${x},${y}l6,4.5l-6,4.5z`;
  return s("path", { class: "knb-chevron", d });
}

export default () => {
  /** @type {Set<Card>} */
  const cards = new Set();
  /** @type {(el: HTMLElement) => void} */
  let place;
  return {
    /** @param {{model: any}} context */
    initialize({ model }) {
      place = mount(model, () => {
        const card = new Card(model);
        cards.add(card);
        return card;
      });
      model.on("change:_scene", () => cards.forEach((card) => card.draw()));
      model.on("change:selected", () => cards.forEach((card) => card.mark()));
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      place(el);
    },
  };
};
