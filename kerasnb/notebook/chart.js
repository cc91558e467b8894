// @ts-check
/** One metric's curves: a small chart that is read by pointer, keyboard or ear. */
import {
  h,
  latest,
  logTicks,
  number,
  path,
  range,
  s,
  set,
  thin,
  tickLabel,
  ticks,
  write,
} from "./draw.js";
import { RunRecord, reading } from "./record.js";

/** @typedef {import("./record.js").ChartPlan} ChartPlan */

const HEIGHT = 176;
const MARGIN = { left: 46, right: 12, top: 10, bottom: 24 };

/**
 * @typedef {{x: number, reach: number} | null} Cursor
 * @typedef {{
 *   left: number, right: number, top: number, bottom: number,
 *   xs: [number, number], ys: [number, number],
 *   x: (v: number) => number, y: (v: number) => number,
 * }} Frame
 */

/** One metric's curves, with the values of the last or the pointed-at moment above. */
export class Chart {
  /**
   * @param {ChartPlan} plan
   * @param {{record: RunRecord, cursor: Cursor, point: (x: number | null, reach?: number) => void}} panel
   */
  constructor(plan, panel) {
    this.plan = plan;
    this.panel = panel;
    this.log = false;
    this.width = 0;
    this.gridKey = "";
    this.best = h("span", { class: "knb-best" });
    this.toggle = h(
      "button",
      {
        class: "knb-toggle",
        type: "button",
        "aria-pressed": "false",
        "aria-label": `Logarithmic axis for ${plan.name}`,
        title: "Logarithmic axis",
        click: () => this.setLog(!this.log),
      },
      "log",
    );
    this.train = h("b", { class: "knb-value" });
    this.valid = h("b", { class: "knb-value" });
    this.validKey = h(
      "span",
      { class: "knb-key", "data-series": "valid" },
      sample(true),
      h("span", { class: "knb-word" }, "validation"),
      this.valid,
    );
    this.where = h("span", { class: "knb-where" });
    this.grid = s("g", { class: "knb-grid" });
    this.stepLine = s("path", { class: "knb-steps" });
    this.trainLine = s("path", { class: "knb-line", "data-series": "train" });
    this.validLine = s("path", { class: "knb-line", "data-series": "valid" });
    this.trainDots = s("path", { class: "knb-dots", "data-series": "train" });
    this.validDots = s("path", { class: "knb-dots", "data-series": "valid" });
    this.bestRing = s("circle", { class: "knb-bestmark", r: 6.5 });
    this.rule = s("line", { class: "knb-rule" });
    this.trainSpot = s("circle", { class: "knb-spot", "data-series": "train", r: 4 });
    this.validSpot = s("circle", { class: "knb-spot", "data-series": "valid", r: 4 });
    const clip = `knb-clip-${Math.random().toString(36).slice(2)}`;
    this.window = s("rect", {});
    this.plot = s(
      "svg",
      {
        class: "knb-plot",
        height: HEIGHT,
        role: "slider",
        tabindex: 0,
        "aria-label": `${plan.name} curve`,
        "aria-orientation": "horizontal",
        pointermove: (event) => this.point(event),
        pointerleave: () => panel.point(null),
        keydown: (event) => this.key(event),
        blur: () => panel.point(null),
      },
      s("defs", {}, s("clipPath", { id: clip }, this.window)),
      this.grid,
      this.rule,
      s("g", { "clip-path": `url(#${clip})` }, this.stepLine, this.trainLine, this.validLine),
      this.trainDots,
      this.validDots,
      this.bestRing,
      this.trainSpot,
      this.validSpot,
    );
    this.root = h(
      "figure",
      { class: "knb-chart" },
      h(
        "figcaption",
        {},
        h("span", { class: "knb-chart-name" }, plan.name),
        this.best,
        this.toggle,
      ),
      h(
        "div",
        { class: "knb-legend" },
        h(
          "span",
          { class: "knb-key", "data-series": "train" },
          sample(false),
          h("span", { class: "knb-word" }, "train"),
          this.train,
        ),
        this.validKey,
        this.where,
      ),
      this.plot,
    );
  }

  /** @param {boolean} log */
  setLog(log) {
    this.log = log;
    set(this.toggle, "aria-pressed", String(log));
    this.draw();
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.plot.getBoundingClientRect();
    this.panel.point(this.toX(event.clientX - box.left), this.reach);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { record, cursor } = this.panel;
    const [first, last] = record.span;
    const known = record.epochs.length;
    const stride = known ? 1 : (last - first) / 20;
    const now = cursor ? cursor.x : known ? record.epochAt(known - 1) : last;
    /** @type {Object<string, number | null>} */
    const moves = {
      ArrowLeft: now - stride,
      ArrowRight: now + stride,
      Home: known ? record.epochAt(0) : first,
      End: known ? record.epochAt(known - 1) : last,
      Escape: null,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const x = moves[event.key];
    const at = cursor === null && x !== null && event.key.startsWith("Arrow") ? now : x;
    this.panel.point(at === null ? null : Math.min(Math.max(at, first), last), this.reach);
  }

  /** Width of the drawing between its margins. */
  get inner() {
    return Math.max(1, this.width - MARGIN.left - MARGIN.right);
  }

  /** How far, in epochs, a point catches the cursor: ten pixels. */
  get reach() {
    const [first, last] = this.panel.record.span;
    return ((last - first) * 10) / this.inner;
  }

  /** @param {number} pixel */
  toX(pixel) {
    const [first, last] = this.panel.record.span;
    const share = (pixel - MARGIN.left) / this.inner;
    return first + Math.min(Math.max(share, 0), 1) * (last - first);
  }

  draw() {
    const { record } = this.panel;
    if (!this.width || !record.facts) return;
    const { name } = this.plan;
    const train = record.epochs.get(name);
    const valid = record.epochs.get(`val_${name}`);
    const running = record.steps.get(name);
    const shown = thin(running, Math.max(50, Math.round(this.width / 2)));
    const level = shown.map((i) => running[i]);
    const frame = this.fit([...train, ...valid, ...level.slice(-1)], level);
    this.drawGrid(frame);
    this.drawSteps(frame, shown, running);
    this.drawEpochs(frame, train, valid);
    this.drawBest(frame);
    this.drawCursor(frame, latest(running) ?? latest(train), latest(valid));
  }

  /**
   * The axes: where a value lies on the picture.
   * @param {number[]} marked
   * @param {number[]} lines
   * @returns {Frame}
   */
  fit(marked, lines) {
    const [left, right] = [MARGIN.left, this.width - MARGIN.right];
    const [top, bottom] = [MARGIN.top, HEIGHT - MARGIN.bottom];
    const xs = this.panel.record.span;
    const ys = range(marked, lines, this.log);
    const bend = this.log ? Math.log10 : (/** @type {number} */ v) => v;
    const [b0, b1] = ys.map(bend);
    return {
      ...{ left, right, top, bottom, xs, ys },
      x: (v) => left + ((v - xs[0]) / (xs[1] - xs[0])) * (right - left),
      y: (v) =>
        this.log && !(v > 0) ? NaN : bottom - ((bend(v) - b0) / (b1 - b0)) * (bottom - top),
    };
  }

  /** @param {Frame} frame */
  drawGrid({ x, y, xs, ys, left, right, top, bottom }) {
    const whole = xs[1] - xs[0] < 1 ? 0 : 1;
    const rows = this.log ? logTicks(...ys) : ticks(...ys, 4);
    const columns = ticks(...xs, Math.min(10, (right - left) / 48), whole);
    const key = JSON.stringify([rows, columns, xs, ys, right]);
    if (key === this.gridKey) return;
    this.gridKey = key;
    const unit = this.panel.record.stepsPerEpoch ? "epoch" : "step";
    const under = bottom + 17;
    this.grid.replaceChildren(
      ...rows.flatMap((v) => [
        s("line", { x1: left, x2: right, y1: y(v), y2: y(v) }),
        s("text", { x: left - 8, y: y(v) + 3.5, "text-anchor": "end" }, tickLabel(v)),
      ]),
      s("line", { class: "knb-axis", x1: left, x2: right, y1: bottom, y2: bottom }),
      ...columns.flatMap((v) => [
        s("line", { class: "knb-axis", x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4 }),
        s("text", { x: x(v), y: under, "text-anchor": "middle" }, tickLabel(v)),
      ]),
      s("text", { x: left - 8, y: under, "text-anchor": "end" }, unit),
    );
    place(this.window, { x: left, y: top - 2, width: right - left, height: bottom - top + 4 });
  }

  /**
   * The running values; the line is lifted where an epoch begins and they start afresh.
   * @param {Frame} frame
   * @param {number[]} shown
   * @param {Float32Array} running
   */
  drawSteps({ x, y }, shown, running) {
    const { record } = this.panel;
    const step = record.steps.get("step");
    const per = record.stepsPerEpoch || Infinity;
    const epochOf = (/** @type {number} */ i) => Math.floor((step[i] - 1) / per);
    const places = shown.flatMap((i, k) =>
      k && epochOf(i) !== epochOf(shown[k - 1]) ? [NaN, i] : [i],
    );
    const toX = record.stepToX;
    const xs = places.map((i) => x(toX(step[i])));
    const ys = places.map((i) => y(running[i]));
    set(this.stepLine, "d", path(xs, ys));
  }

  /**
   * @param {Frame} frame
   * @param {Float32Array} train
   * @param {Float32Array} valid
   */
  drawEpochs({ x, y, left, right }, train, valid) {
    const { record } = this.panel;
    const sparse = (right - left) / Math.max(1, train.length) > 7;
    const buckets = Math.max(50, Math.round(this.width / 2));
    for (const [values, line, dots, radius] of /** @type {const} */ ([
      [train, this.trainLine, this.trainDots, 2.5],
      [valid, this.validLine, this.validDots, 2.75],
    ])) {
      const shown = thin(values, buckets);
      const xs = shown.map((i) => x(record.epochAt(i)));
      const ys = shown.map((i) => y(values[i]));
      set(line, "d", path(xs, ys));
      set(dots, "d", sparse ? rounds(xs, ys, radius) : "");
    }
    const held = record.epochs.names.some((name) => name.startsWith("val_"));
    set(this.validKey, "hidden", !held);
  }

  /** @param {Frame} frame */
  drawBest({ x, y }) {
    const { record } = this.panel;
    const row = record.best(this.plan);
    const values = record.judged(this.plan.name);
    const cy = row >= 0 && values.length > 1 ? y(values[row]) : NaN;
    place(this.bestRing, { cx: x(record.epochAt(row)), cy });
    const words = row < 0 ? "" : `best ${number(values[row])}, epoch ${record.epochAt(row)}`;
    write(this.best, words);
  }

  /**
   * The values above the curves: those under the cursor, else the latest.
   * @param {Frame} frame
   * @param {number | null} train
   * @param {number | null} valid
   */
  drawCursor({ x, y, xs, top, bottom }, train, valid) {
    const { record, cursor } = this.panel;
    const seen = cursor && reading(record, this.plan.name, cursor.x, cursor.reach);
    write(this.train, number(seen ? seen.train : train));
    write(this.valid, number(seen ? seen.valid : valid));
    write(this.where, seen ? seen.label : "");
    const within = (/** @type {number | null | undefined} */ v) => {
      const at = v === null || v === undefined ? NaN : y(v);
      return at > top - 4 && at < bottom + 4 ? at : NaN;
    };
    const at = seen ? x(seen.x) : NaN;
    place(this.rule, { x1: at, x2: at, y1: top, y2: bottom });
    place(this.trainSpot, { cx: at, cy: within(seen?.train) });
    place(this.validSpot, { cx: seen ? x(seen.validX) : NaN, cy: within(seen?.valid) });

    const known = record.epochs.length;
    const now = seen ? seen.x : known ? record.epochAt(known - 1) : xs[0];
    const other = this.validKey.hidden ? "" : `, validation ${this.valid.textContent}`;
    set(this.plot, "aria-valuemin", xs[0]);
    set(this.plot, "aria-valuemax", Number(xs[1].toFixed(3)));
    set(this.plot, "aria-valuenow", Number(now.toFixed(3)));
    const words = `${seen?.label ?? "latest"}: train ${this.train.textContent}${other}`;
    set(this.plot, "aria-valuetext", words);
  }
}

/**
 * Move a shape, or hide it where a coordinate is missing.
 * @param {Element} shape
 * @param {Object<string, number>} at
 */
function place(shape, at) {
  const known = Object.values(at).every(Number.isFinite);
  set(shape, "visibility", known ? "visible" : "hidden");
  if (!known) return;
  for (const [name, value] of Object.entries(at)) set(shape, name, value.toFixed(1));
}

/**
 * Little circles as one path: cheaper than an element each.
 * @param {number[]} xs
 * @param {number[]} ys
 * @param {number} r
 */
function rounds(xs, ys, r) {
  return xs
    .map((x, i) =>
      Number.isFinite(ys[i])
        ? `M${(x - r).toFixed(1)},${ys[i].toFixed(1)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`
        : "",
    )
    .join("");
}

/** The piece of line that stands for a series in the legend. @param {boolean} dashed */
function sample(dashed) {
  return s(
    "svg",
    {
      class: "knb-sample",
      width: 22,
      height: 10,
      viewBox: "0 0 22 10",
      "aria-hidden": "true",
    },
    s("path", {
      class: "knb-line",
      "data-series": dashed ? "valid" : "train",
      d: "M0,5H22",
    }),
    s("path", {
      class: "knb-dots",
      "data-series": dashed ? "valid" : "train",
      d: rounds([11], [5], 2.6),
    }),
  );
}
