// @ts-check
/**
 * The live training panel: curves, progress and buttons over a growing record.
 *
 * The kernel sends rows once each, as float32; this file keeps them and draws them
 * at the browser's pace. Buttons are small messages with an id, so that a message
 * heard by two threads of the kernel is obeyed once.
 */
import { bytes, clock, count, h, latest, newId, number, set, tickLabel, write } from "./draw.js";
import { OVER, RunRecord } from "./record.js";
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { mount } from "./mount.js";

/** @typedef {import("./record.js").Facts} Facts */

/** @type {Object<string, string>} */
const WORDS = {
  running: "Training",
  paused: "Paused",
  finished: "Finished",
  stopped: "Stopped",
  interrupted: "Interrupted",
  failed: "Failed",
};

/** The panel in one output: header, progress, facts, charts, table. */
class Panel {
  /**
   * @param {RunRecord} record
   * @param {(op: string) => void} send
   */
  constructor(record, send) {
    this.record = record;
    /** @type {{x: number, reach: number} | null} */
    this.cursor = null;
    /** @type {Map<string, Chart>} */
    this.charts = new Map();
    this.name = h("strong", { class: "knb-name" });
    this.status = h("span", { class: "knb-status" });
    this.controls = new Controls(send);
    this.result = h("span");
    this.outcome = h("div", { class: "knb-outcome", hidden: true }, this.result);
    this.fill = h("div", { class: "knb-fill" });
    this.progress = h(
      "div",
      {
        class: "knb-progress",
        role: "progressbar",
        "aria-label": "Progress of training",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      this.fill,
    );
    /** @type {Map<string, {label: HTMLElement, value: HTMLElement, root: HTMLElement}>} */
    this.tiles = new Map();
    this.facts = h("dl", { class: "knb-facts" });
    for (const tile of [
      "Epoch",
      "Step",
      "Samples / s",
      "Time left",
      "Learning rate",
      "Device memory",
    ]) {
      const label = h("dt", {}, tile);
      const value = h("dd", {}, "–");
      const root = h("div", {}, label, value);
      this.tiles.set(tile, { label, value, root });
      this.facts.append(root);
    }
    this.grid = h("div", { class: "knb-charts" });
    this.tableKey = "";
    this.tableBody = h("div", {
      class: "knb-scroll",
      tabindex: 0,
      role: "region",
      "aria-label": "Values per epoch",
    });
    this.table = h(
      "details",
      { class: "knb-more", toggle: () => this.drawTable() },
      h("summary", {}, "Values per epoch"),
      this.tableBody,
    );
    this.spoken = h("div", {
      class: "knb-spoken",
      role: "status",
      "aria-live": "polite",
    });
    this.lastSpoken = { at: 0, text: "" };
    this.root = h(
      "section",
      { class: "knb knb-panel" },
      h(
        "header",
        { class: "knb-head" },
        h("div", { class: "knb-title" }, this.name, this.status, this.controls.note),
        this.controls.root,
        this.outcome,
      ),
      this.progress,
      this.facts,
      this.grid,
      this.table,
      this.spoken,
    );
    this.dirty = false;
    /** @type {HTMLElement | null} */
    this.focused = null;
    this.left = 0;
    this.scrolled = 0;
    this.root.addEventListener("focusin", (event) => {
      this.focused = /** @type {HTMLElement} */ (event.target);
    });
    this.root.addEventListener("focusout", () => {
      this.left = performance.now();
    });
    this.tableBody.addEventListener("scroll", () => {
      if (this.root.isConnected) this.scrolled = this.tableBody.scrollTop;
    });
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.root);
  }

  /** Move everybody's cursor. @param {number | null} x @param {number} [reach] */
  point(x, reach = 0) {
    this.cursor = x === null ? null : { x, reach };
    this.later();
  }

  measure() {
    for (const chart of this.charts.values()) {
      chart.width = chart.root.clientWidth;
      set(chart.plot, "width", chart.width);
    }
    this.draw();
  }

  /** The notebook drew its output anew: what lost the focus with it gets it back. */
  moved() {
    const shadow = /** @type {ShadowRoot} */ (this.root.getRootNode());
    const just = performance.now() - this.left < 50;
    if (this.focused && just && !shadow.activeElement) this.focused.focus({ preventScroll: true });
    this.tableBody.scrollTop = this.scrolled;
    this.draw();
  }

  /** Draw before the next frame, however many messages come until then. */
  later() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      if (this.root.isConnected) this.draw();
    });
  }

  draw() {
    const facts = this.record.facts;
    if (!facts) return;
    const over = OVER.has(facts.status);
    this.drawHead(facts, over);
    this.drawFacts(facts, over);
    const names = facts.charts.map((plan) => plan.name);
    if (names.some((name) => !this.charts.has(name))) {
      for (const plan of facts.charts) {
        if (!this.charts.has(plan.name)) this.charts.set(plan.name, new Chart(plan, this));
      }
      this.grid.replaceChildren(
        ...names.map((n) => /** @type {Chart} */ (this.charts.get(n)).root),
      );
      this.measure();
    }
    for (const chart of this.charts.values()) chart.draw();
    this.drawTable();
    this.speak(facts, over);
  }

  /** @param {Facts} facts @param {boolean} over */
  drawHead(facts, over) {
    set(this.root, "aria-label", `Training of ${facts.model}`);
    set(this.root, "data-status", facts.status);
    write(this.name, facts.model);
    const starting = facts.status === "running" && !facts.step;
    write(this.status, starting ? "Starting" : (WORDS[facts.status] ?? facts.status));
    this.controls.update(facts);
    // What came out takes the place of the buttons: nothing below moves.
    set(this.controls.root, "hidden", over);
    set(this.outcome, "hidden", !over);
    const { epochs } = this.record;
    const results = facts.charts.map(({ name }) => {
      const from = epochs.get(`val_${name}`).length ? `val_${name}` : name;
      return `${from} ${number(latest(epochs.get(from)))}`;
    });
    write(this.result, epochs.length ? results.join(", ") : "");
  }

  /** @param {Facts} facts @param {boolean} over */
  drawFacts(facts, over) {
    const per = facts.steps_per_epoch;
    const total = per ? per * (facts.epochs - facts.first_epoch) : 0;
    const share = facts.status === "finished" ? 1 : total ? Math.min(1, facts.step / total) : 0;
    const unknown = !total && !over;
    set(this.progress, "data-unknown", unknown);
    set(this.progress, "aria-valuenow", unknown ? null : Math.round(share * 100));
    const now = Math.min(facts.epoch, facts.epochs);
    set(this.progress, "aria-valuetext", `epoch ${now} of ${facts.epochs}`);
    this.fill.style.transform = `scaleX(${share.toFixed(4)})`;
    const epochs = facts.epochs - facts.first_epoch;
    this.progress.style.setProperty("--knb-parts", String(epochs <= 40 ? epochs : 1));
    const of = (/** @type {number} */ n, /** @type {number | null} */ all) =>
      all ? `${count(n)} / ${count(all)}` : count(n);
    this.tile("Epoch", of(now, facts.epochs));
    if (over) this.tile("Step", count(facts.step), "Steps");
    else this.tile("Step", of(facts.step_in_epoch, per));
    this.tile("Samples / s", count(facts.samples_per_second));
    this.tile(
      "Time left",
      clock(over ? facts.elapsed : facts.seconds_left),
      over ? "Time taken" : "Time left",
    );
    this.tile("Learning rate", facts.learning_rate === null ? "–" : tickLabel(facts.learning_rate));
    this.tile("Device memory", bytes(facts.device_memory));
    set(
      /** @type {any} */ (this.tiles.get("Device memory")).root,
      "hidden",
      facts.device_memory === null,
    );
  }

  /** @param {string} name @param {string} value @param {string} [label] */
  tile(name, value, label) {
    const tile = /** @type {{label: HTMLElement, value: HTMLElement}} */ (this.tiles.get(name));
    write(tile.value, value);
    if (label) write(tile.label, label);
  }

  drawTable() {
    if (!(/** @type {HTMLDetailsElement} */ (this.table).open)) return;
    const { epochs } = this.record;
    const key = `${this.record.generation} ${epochs.length} ${epochs.names}`;
    if (key === this.tableKey) return;
    this.tableKey = key;
    const columns = epochs.names.map((name) => epochs.get(name));
    const rows = Array.from({ length: epochs.length }, (_, i) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, String(this.record.epochAt(i))),
        ...columns.map((c) => h("td", {}, number(c[i]))),
      ),
    );
    this.tableBody.replaceChildren(
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, ...["epoch", ...epochs.names].map((n) => h("th", { scope: "col" }, n))),
        ),
        h("tbody", {}, ...rows),
      ),
    );
  }

  /** Tell a screen reader of a new epoch or status, at most once a second. @param {Facts} facts @param {boolean} over */
  speak(facts, over) {
    const { epochs } = this.record;
    const last = epochs.length - 1;
    const values = epochs.names.map(
      (n) => `${n.replace("val_", "validation ")} ${number(epochs.get(n)[last])}`,
    );
    const text = [
      `${this.status.textContent}.`,
      last >= 0
        ? `Epoch ${this.record.epochAt(last)} of ${facts.epochs}: ${values.join(", ")}.`
        : "",
    ].join(" ");
    const now = performance.now();
    if (text === this.lastSpoken.text || (now - this.lastSpoken.at < 1000 && !over)) return;
    this.lastSpoken = { at: now, text };
    write(this.spoken, text);
  }
}

export default () => {
  const record = new RunRecord();
  /** @type {Set<Panel>} */
  const panels = new Set();
  let asked = 0;
  /** @type {(el: HTMLElement) => void} */
  let place;
  return {
    /** @param {{model: any}} context */
    initialize({ model }) {
      const send = (/** @type {string} */ op) => model.send({ op, id: newId() });
      model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
        if (message.op !== "append") return;
        if (record.take(message, buffers)) {
          for (const panel of panels) panel.later();
        } else if (performance.now() - asked > 1000) {
          asked = performance.now();
          send("sync");
        }
      });
      place = mount(model, () => {
        const panel = new Panel(record, send);
        panels.add(panel);
        return panel;
      });
      send("sync");
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      place(el);
    },
  };
};
