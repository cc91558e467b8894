// @ts-check
/** What a page knows of a run: the rows it was sent, and what they mean on the axes. */
import { Columns, count, floats, nearest, roomFor } from "./draw.js";

/**
 * @typedef {{name: string, better: "min" | "max" | null, aside: boolean}} ChartPlan
 * @typedef {{name: string, step: number, epoch: number}} Mark
 * @typedef {{
 *   kind: string, sentence: string, hint: string, layer: string | null, step: number,
 * }} Alarm
 * @typedef {{name: string, lines: Object<string, [number[], (number | null)[]]>}} Earlier
 * @typedef {{
 *   name: string, status: string, message: string, refused: string, stays: string,
 *   epoch: number, epochs: number, first_epoch: number, generation: number,
 *   step: number, step_in_epoch: number, ending: boolean,
 *   steps_per_epoch: number | null, samples_per_second: number | null,
 *   seconds_left: number | null, elapsed: number, learning_rate: number | null,
 *   gradient_norm: number | null, memory: number | null, charts: ChartPlan[],
 *   marks: Mark[], alarms: Alarm[], earlier: Earlier[],
 * }} Facts
 */

export const OVER = new Set(["finished", "stopped", "interrupted", "failed"]);

const LIMIT = 1 << 17; // rows of steps that a page holds

/** The whole record of a run, as far as the kernel has told it. */
export class RunRecord {
  constructor() {
    this.steps = new Columns(LIMIT);
    this.epochs = new Columns();
    this.health = new Columns(LIMIT);
    this.part = 0;
    this.version = 0;
    /** @type {Facts | null} */
    this.facts = null;
    /** Whether the kernel is gone that would tell more. */
    this.gone = false;
  }

  /**
   * Take a message in; false when one before it is missing and a sync is needed.
   * @param {any} message
   * @param {DataView[]} buffers
   * @returns {boolean}
   */
  take({ part, whole, names, facts }, buffers) {
    if (!whole && (part !== this.part + 1 || !this.facts)) return false;
    this.part = part;
    this.version += 1;
    this.facts = whole ? facts : { ...this.facts, ...facts };
    for (const [i, table] of /** @type {const} */ (["steps", "epochs", "health"]).entries()) {
      if (whole) this[table].begin(names[table]);
      this[table].append(floats(buffers[i]));
    }
    return true;
  }

  /** Whether nothing more is to come. */
  get over() {
    return this.gone || OVER.has(this.facts?.status ?? "");
  }

  /**
   * The steps at which a metric was measured, and its values there.
   * @param {string} name
   */
  running(name) {
    const table = this.health.names.includes(name) ? this.health : this.steps;
    return { step: table.get("step"), values: table.get(name) };
  }

  /** Where row `i` of the epochs lies on the x axis. @param {number} i */
  epochAt(i) {
    return (this.facts?.first_epoch ?? 0) + i + 1;
  }

  /** Steps in an epoch; 0 while nobody knows. */
  get stepsPerEpoch() {
    return this.facts?.steps_per_epoch ?? 0;
  }

  /** Where a step lies on the x axis, in epochs (in steps while epochs are unknown). */
  get stepToX() {
    const per = this.stepsPerEpoch || 1;
    const first = this.stepsPerEpoch ? (this.facts?.first_epoch ?? 0) : 0;
    return (/** @type {number} */ step) => first + step / per;
  }

  /** First and last x that the axes show. @returns {[number, number]} */
  get span() {
    const facts = this.facts;
    if (!facts) return [0, 1];
    const first = this.stepsPerEpoch ? facts.first_epoch : 0;
    const reached = Math.max(
      this.epochs.length ? this.epochAt(this.epochs.length - 1) : first,
      this.stepToX(facts.step),
    );
    if (this.over) return [first, Math.max(reached, first + 1e-6)];
    const limit = this.stepsPerEpoch ? facts.epochs - first : Infinity;
    return [first, first + roomFor(reached - first, limit)];
  }

  /**
   * The row of the best epoch so far by validation, or by training without it; -1 if none.
   * @param {ChartPlan} plan
   */
  best(plan) {
    const column = this.judged(plan.name);
    let best = -1;
    if (!plan.better) return best; // nobody knows which way is better
    for (let i = 0; i < column.length; i++) {
      if (!Number.isFinite(column[i])) continue;
      const wins = plan.better === "max" ? column[i] > column[best] : column[i] < column[best];
      if (best < 0 || wins) best = i;
    }
    return best;
  }

  /** The column that decides which epoch is best. @param {string} name */
  judged(name) {
    const held = this.epochs.get(`val_${name}`);
    return held.length ? held : this.epochs.get(name);
  }
}

/**
 * What the cursor points at: an epoch near by, else a step with the validation before it.
 * Values are null where unknown.
 * @param {RunRecord} record
 * @param {string} name
 * @param {number} x
 * @param {number} reach how near, in x, an epoch's point catches the cursor
 */
export function reading(record, name, x, reach) {
  const { epochs } = record;
  const { step, values } = record.running(name);
  const row = Math.round(x - record.epochAt(0));
  const onEpoch = row >= 0 && row < epochs.get(name).length;
  const valid = (/** @type {number} */ i) => epochs.get(`val_${name}`)[i] ?? null;
  if (onEpoch && (Math.abs(record.epochAt(row) - x) <= reach || !step.length)) {
    const at = record.epochAt(row);
    return {
      label: `epoch ${at}`,
      x: at,
      validX: at,
      train: epochs.get(name)[row] ?? null,
      valid: valid(row),
    };
  }
  const toStep = record.stepsPerEpoch || 1;
  const i = nearest(step, (x - record.stepToX(0)) * toStep);
  if (i < 0) return null;
  const at = record.stepToX(step[i]);
  const before = Math.floor(at - record.epochAt(0));
  return {
    label: `step ${count(step[i])}`,
    x: at,
    train: values[i] ?? null,
    validX: record.epochAt(before),
    valid: valid(before),
  };
}

/**
 * What happened at single steps, marks and alarms, with where it lies on the x axis.
 * @param {RunRecord} record
 */
export function signs(record) {
  const { marks = [], alarms = [] } = record.facts ?? {};
  return [
    ...marks.map(({ name, step }) => ({ kind: "mark", words: name, step })),
    ...alarms.map(({ sentence, step }) => ({ kind: "alarm", words: sentence, step })),
  ].map((sign) => ({ ...sign, x: record.stepToX(sign.step) }));
}
