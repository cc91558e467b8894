// @ts-check
/**
 * The live training panel: curves, progress and buttons over a growing record.
 *
 * The kernel sends rows once each, as float32; this file keeps them and draws them
 * at the browser's pace. Buttons are small messages with an id, so that a message
 * heard by two threads of the kernel is obeyed once.
 */
import { bytes, clock, count, h, icon, latest, newId, number, s, set, write } from "./draw.js";
import { RunRecord } from "./record.js";
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { mount } from "./mount.js";

/** @typedef {import("./record.js").Facts} Facts */

/** @type {Object<string, string>} */
const WORDS = {
  queued: "Queued",
  running: "Training",
  paused: "Paused",
  finished: "Finished",
  stopped: "Stopped",
  interrupted: "Interrupted",
  failed: "Failed",
  gone: "Kernel gone",
};

const GONE = new Set(["restarting", "autorestarting", "terminating", "dead"]);
const LOST = "the kernel ended or was restarted; this is the last it told";

/** The panel in one output: header, progress, facts, charts, table. */
class Panel {
  /**
   * @param {RunRecord} record
   * @param {import("./controls.js").Send} send
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
    this.outcome = h("div", { class: "knb-outcome", "data-off": true }, this.result);
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
    const tiles = ["Epoch", "Step", "Samples / s", "Time left", "Gradient norm", "Device memory"];
    for (const tile of tiles) {
      const label = h("dt", {}, tile);
      const value = h("dd", {}, "–");
      const root = h("div", {}, label, value);
      this.tiles.set(tile, { label, value, root });
      this.facts.append(root);
    }
    this.facts.insertBefore(this.controls.rate.root, this.facts.children[4]);
    this.alarms = new Alarms((kind) => send("silence", kind));
    const past = s("svg", { class: "knb-past", width: 22, height: 10, "aria-hidden": "true" });
    past.append(s("path", { d: "M0,5H22" }));
    this.names = h("span");
    this.behind = h("p", { class: "knb-behind", hidden: true }, past, this.names);
    this.grid = h("div", { class: "knb-charts" });
    this.aside = h("div", { class: "knb-charts" });
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
    this.root = h(
      "section",
      { class: "knb knb-panel" },
      h(
        "header",
        { class: "knb-head" },
        h("div", { class: "knb-title" }, this.name, this.status, this.controls.note),
        h("div", { class: "knb-slot" }, this.controls.root, this.outcome),
      ),
      this.progress,
      this.facts,
      this.grid,
      this.behind,
      this.alarms.root,
      h(
        "details",
        { class: "knb-more", toggle: () => this.measure() },
        h("summary", {}, "Gradient norm"),
        this.aside,
      ),
      this.table,
      this.spoken,
    );
    /** What is to be drawn before the next frame. @type {"" | "cursor" | "all"} */
    this.dirty = "";
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
  }

  /** Move everybody's cursor. @param {number | null} x @param {number} [reach] */
  point(x, reach = 0) {
    this.cursor = x === null ? null : { x, reach };
    this.later("cursor");
  }

  /** Its size is known, or another one now. */
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

  /** Draw before the next frame, however many messages come until then. @param {"cursor" | "all"} [what] */
  later(what = "all") {
    const waiting = this.dirty;
    if (waiting !== "all") this.dirty = what;
    if (waiting) return;
    requestAnimationFrame(() => {
      const whole = this.dirty === "all";
      this.dirty = "";
      if (!this.root.isConnected) return;
      if (whole) this.draw();
      else for (const chart of this.charts.values()) chart.drawCursor();
    });
  }

  draw() {
    const facts = this.record.facts;
    if (!facts) return;
    const { over } = this.record;
    this.drawHead(facts, over);
    this.drawFacts(facts, over);
    const names = facts.charts.map((plan) => plan.name);
    if (names.join("\n") !== [...this.charts.keys()].join("\n")) {
      this.charts = new Map(
        facts.charts.map((plan) => [plan.name, this.charts.get(plan.name) ?? new Chart(plan, this)]),
      );
      for (const [place, aside] of /** @type {const} */ ([
        [this.grid, false],
        [this.aside, true],
      ])) {
        const there = facts.charts.filter((plan) => plan.aside === aside);
        place.replaceChildren(
          ...there.map(({ name }) => /** @type {Chart} */ (this.charts.get(name)).root),
        );
      }
      this.measure();
    }
    for (const chart of this.charts.values()) chart.draw();
    const past = facts.earlier.map(({ name }) => name);
    set(this.behind, "hidden", !past.length);
    write(this.names, `earlier runs: ${past.join(", ")}`);
    this.alarms.draw(facts);
    this.drawTable();
    this.speak(facts, over);
  }

  /** @param {Facts} facts @param {boolean} over */
  drawHead(facts, over) {
    const { gone } = this.record;
    set(this.root, "aria-label", `Training of ${facts.name}`);
    set(this.root, "data-status", gone ? "gone" : facts.status);
    write(this.name, facts.name);
    const starting = facts.status === "running" && !facts.step;
    const word = gone ? WORDS.gone : (WORDS[facts.status] ?? facts.status);
    write(this.status, starting && !gone ? "Starting" : word);
    this.controls.update(facts);
    if (gone) {
      write(this.controls.note, LOST);
      set(this.controls.note, "title", LOST);
    }
    // What came out takes the place of the buttons: nothing below moves.
    set(this.controls.root, "data-off", over);
    set(this.outcome, "data-off", !over);
    const { epochs } = this.record;
    const shown = facts.charts.filter((plan) => !plan.aside);
    const results = shown.map(({ name }) => {
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
    this.tile("Gradient norm", number(facts.gradient_norm));
    this.tile("Device memory", bytes(facts.memory));
    set(
      /** @type {any} */ (this.tiles.get("Device memory")).root,
      "hidden",
      facts.memory === null,
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
    const key = `${this.record.facts?.generation} ${epochs.length} ${epochs.names}`;
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

  /** Tell a screen reader of a new status or alarm, in the end also of the results. @param {Facts} facts @param {boolean} over */
  speak(facts, over) {
    const alarm = latest(facts.alarms);
    const parts = [
      `${this.status.textContent}.`,
      over && this.result.textContent ? `${this.result.textContent}.` : "",
      alarm ? `Alarm: ${alarm.sentence}` : "",
    ];
    write(this.spoken, parts.filter(Boolean).join(" "));
  }
}

/** The alarms of a run: one line that is always there, and a list to open. */
export class Alarms {
  /** @param {(kind: string) => void} silence */
  constructor(silence) {
    this.silence = silence;
    this.key = "";
    this.summary = h("summary", {}, icon("alarm"), h("span", {}, "No alarms"));
    this.list = h("ul", { class: "knb-warnings" });
    this.root = h("details", { class: "knb-more knb-alarms" }, this.summary, this.list);
  }

  /** @param {Facts} facts */
  draw({ alarms }) {
    const key = JSON.stringify(alarms);
    if (key === this.key) return;
    this.key = key;
    const last = latest(alarms);
    const words = last
      ? `${alarms.length} alarm${alarms.length > 1 ? "s" : ""}: ${last.sentence}`
      : "No alarms";
    write(/** @type {Element} */ (this.summary.lastElementChild), words);
    set(this.root, "data-any", alarms.length > 0);
    const held = this.list.contains(
      /** @type {ShadowRoot} */ (this.root.getRootNode()).activeElement ?? null,
    );
    this.list.replaceChildren(
      ...alarms.map((alarm) =>
        h(
          "li",
          {},
          h("b", {}, `Step ${count(alarm.step)}`),
          h("span", {}, `${alarm.sentence} ${alarm.hint}`),
          h(
            "button",
            {
              class: "knb-toggle",
              type: "button",
              "aria-label": `Silence alarms of the kind ${alarm.kind}`,
              click: () => this.silence(alarm.kind),
            },
            "silence",
          ),
        ),
      ),
    );
    if (held) (this.list.querySelector("button") ?? this.summary).focus();
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
      const send = (/** @type {string} */ op, /** @type {any} */ value) =>
        model.send({ op, value, id: newId() });
      const draw = () => {
        for (const panel of panels) panel.later();
      };
      model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
        if (message.op !== "append") return;
        if (record.take(message, buffers)) {
          draw();
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
      // Where the front end lets us know its kernel: say so when that is gone.
      const told = model.widget_manager?.kernel?.statusChanged;
      const listen = (/** @type {any} */ _, /** @type {string} */ status) => {
        if (!GONE.has(status) || record.over) return;
        record.gone = true;
        draw();
      };
      told?.connect(listen);
      model.on("destroy", () => told?.disconnect(listen)); // or the kernel keeps us
      send("sync");
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      place(el);
    },
  };
};
