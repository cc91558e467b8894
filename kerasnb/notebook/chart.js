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
  smooth,
  thin,
  tickLabel,
  ticks,
  write,
} from "./draw.js";
import { RunRecord, reading, signs } from "./record.js";

/** @typedef {import("./record.js").ChartPlan} ChartPlan */

/** Names that are no metric's of the user's read as words. @type {Object<string, string>} */
const TITLES = { gradient_norm: "gradient norm" };
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
    this.log = this.smooth = false;
    this.width = 0;
    this.gridKey = this.trendKey = "";
    this.trend = new Float32Array(0);
    /** @type {Frame | null} */
    this.frame = null;
    this.title = TITLES[plan.name] ?? plan.name;
    this.best = h("span", { class: "knb-best" });
    const toggle = (/** @type {"log" | "smooth"} */ what, /** @type {string} */ words) =>
      h(
        "button",
        {
          class: "knb-toggle",
          type: "button",
          "aria-pressed": "false",
          "aria-label": `${words} for ${this.title}`,
          title: words,
          click: (event) => {
            this[what] = !this[what];
            set(event.currentTarget, "aria-pressed", String(this[what]));
            this.draw();
          },
        },
        what,
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
    this.past = s("g", { class: "knb-past" });
    this.signs = s("g", { class: "knb-signs" });
    this.trendLine = s("path", { class: "knb-trend" });
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
        "aria-label": `${this.title} curve`,
        "aria-orientation": "horizontal",
        pointermove: (event) => this.point(event),
        pointerleave: () => panel.point(null),
        keydown: (event) => this.key(event),
        blur: () => panel.point(null),
      },
      s("defs", {}, s("clipPath", { id: clip }, this.window)),
      this.grid,
      this.signs,
      this.rule,
      s(
        "g",
        { "clip-path": `url(#${clip})` },
        ...[this.past, this.stepLine, this.trendLine, this.trainLine, this.validLine],
      ),
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
        h("span", { class: "knb-chart-name", title: this.title }, this.title),
        this.best,
        toggle("smooth", "Smooth line"),
        toggle("log", "Logarithmic axis"),
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
    const { step, values } = record.running(name);
    const buckets = Math.max(50, Math.round(this.width / 2));
    const shown = thin(values, buckets);
    const level = shown.map((i) => values[i]);
    const past = this.behind();
    const seen = past.flatMap(({ x, y }) => y.filter((_, i) => x[i] <= record.span[1]));
    const frame = this.fit([...train, ...valid, ...level.slice(-1)], [...level, ...seen]);
    this.frame = frame;
    this.drawGrid(frame);
    this.drawPast(frame, past);
    this.drawSigns(frame);
    this.drawSteps(frame, shown, step, values);
    const trend = this.smooth ? this.trendOf(values) : this.trend.subarray(0, 0);
    const bends = thin(trend, buckets);
    set(this.stepLine, "data-faint", this.smooth);
    set(
      this.trendLine,
      "d",
      path(
        bends.map((i) => frame.x(record.stepToX(step[i]))),
        bends.map((i) => frame.y(trend[i])),
      ),
    );
    this.drawEpochs(frame, train, valid);
    this.drawBest(frame);
    this.drawCursor();
  }

  /** The smooth line, worked out anew only when there is more of it. @param {Float32Array} values */
  trendOf(values) {
    const key = `${this.panel.record.version} ${values.length}`;
    if (key !== this.trendKey) this.trend = smooth(values, Math.max(5, values.length / 50));
    this.trendKey = key;
    return this.trend;
  }

  /** Earlier runs' lines of this metric; they are by epoch, so the axis must be, too. */
  behind() {
    const { record } = this.panel;
    if (!record.stepsPerEpoch) return [];
    return (record.facts?.earlier ?? []).flatMap(({ lines }) =>
      [this.plan.name, `val_${this.plan.name}`]
        .filter((part) => part in lines)
        .map((part) => ({
          late: part.startsWith("val_"),
          x: lines[part][0],
          y: lines[part][1].map((v) => v ?? NaN),
        })),
    );
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
   * @param {Frame} frame
   * @param {{late: boolean, x: number[], y: number[]}[]} lines
   */
  drawPast({ x, y }, lines) {
    while (this.past.childElementCount < lines.length) this.past.append(s("path"));
    [...this.past.children].forEach((line, i) => {
      set(line, "data-late", lines[i]?.late);
      set(line, "d", lines[i] ? path(lines[i].x.map(x), lines[i].y.map(y)) : "");
    });
  }

  /** A hairline where something happened: flags for marks, triangles for alarms. @param {Frame} frame */
  drawSigns({ x, xs, top, bottom }) {
    const found = signs(this.panel.record).filter((sign) => sign.x >= xs[0] && sign.x <= xs[1]);
    const drawn = found.flatMap(({ kind, x: place }) => {
      const at = x(place).toFixed(1);
      const head = kind === "mark" ? "v-8h9l-2.5,4l2.5,4z" : "l-4.5,-8h9z";
      return [
        { kind, d: `M${at},${bottom}V${top}` },
        { kind: `${kind}-head`, d: `M${at},${top}${head}` },
      ];
    });
    while (this.signs.childElementCount > drawn.length) this.signs.lastElementChild?.remove();
    while (this.signs.childElementCount < drawn.length) this.signs.append(s("path"));
    drawn.forEach(({ kind, d }, i) => {
      set(this.signs.children[i], "data-kind", kind);
      set(this.signs.children[i], "d", d);
    });
  }

  /**
   * The running values; the line is lifted where an epoch begins and they start afresh.
   * @param {Frame} frame
   * @param {number[]} shown
   * @param {Float32Array} step
   * @param {Float32Array} running
   */
  drawSteps({ x, y }, shown, step, running) {
    const { record } = this.panel;
    const per = (record.steps.names.includes(this.plan.name) && record.stepsPerEpoch) || Infinity;
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
    set(this.validKey, "hidden", !record.epochs.names.includes(`val_${this.plan.name}`));
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

  /** The values above the curves: those under the cursor, else the latest. */
  drawCursor() {
    if (!this.frame) return;
    const { x, y, xs, top, bottom } = this.frame;
    const { record, cursor } = this.panel;
    const { name } = this.plan;
    const seen = cursor && reading(record, name, cursor.x, cursor.reach);
    const train = latest(record.running(name).values) ?? latest(record.epochs.get(name));
    const valid = latest(record.epochs.get(`val_${name}`));
    write(this.train, number(seen ? seen.train : train));
    write(this.valid, number(seen ? seen.valid : valid));
    const near = cursor
      ? signs(record).filter((sign) => Math.abs(sign.x - cursor.x) <= cursor.reach)
      : [];
    const what = near.map((sign) => (sign.kind === "alarm" ? "alarm" : sign.words));
    write(this.where, seen ? [seen.label, ...what].join(" · ") : "");
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
    const told = near.map((sign) => `; ${sign.kind}: ${sign.words}`).join("");
    set(this.plot, "aria-valuetext", words + told);
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
