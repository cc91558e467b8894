// @ts-check
/** What a page knows of a run: the rows it was sent, and what they mean on the axes. */
import { Columns, count, floats, nearest, roomFor } from "./draw.js";

/**
 * @typedef {{name: string, better: "min" | "max"}} ChartPlan
 * @typedef {{
 *   model: string, status: string, message: string, epoch: number, epochs: number,
 *   first_epoch: number, step: number, step_in_epoch: number,
 *   steps_per_epoch: number | null, samples_per_second: number | null,
 *   seconds_left: number | null, elapsed: number, learning_rate: number | null,
 *   device_memory: number | null, charts: ChartPlan[],
 * }} Facts
 */

export const OVER = new Set(["finished", "stopped", "interrupted", "failed"]);

/** The whole record of a run, as far as the kernel has told it. */
export class RunRecord {
  constructor() {
    this.steps = new Columns();
    this.epochs = new Columns();
    this.generation = -1;
    /** @type {Facts | null} */
    this.facts = null;
  }

  /**
   * Take a message in; false when rows before it are missing and a sync is needed.
   * @param {any} message
   * @param {DataView[]} buffers
   * @returns {boolean}
   */
  take(message, buffers) {
    const { steps, epochs } = message;
    const whole = steps.at === 0 && epochs.at === 0;
    const next =
      message.generation === this.generation &&
      steps.at === this.steps.length &&
      epochs.at === this.epochs.length;
    if (!whole && !next) return false;
    this.generation = message.generation;
    this.facts = message.facts;
    this.steps.put(steps.names, steps.at, floats(buffers[0]));
    this.epochs.put(epochs.names, epochs.at, floats(buffers[1]));
    return true;
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
    if (OVER.has(facts.status)) return [first, Math.max(reached, first + 1e-6)];
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
  const { epochs, steps } = record;
  const stepX = steps.get("step");
  const row = Math.round(x - record.epochAt(0));
  const onEpoch = row >= 0 && row < epochs.length;
  const valid = (/** @type {number} */ i) => epochs.get(`val_${name}`)[i] ?? null;
  if (onEpoch && (Math.abs(record.epochAt(row) - x) <= reach || !stepX.length)) {
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
  const i = nearest(stepX, (x - record.stepToX(0)) * toStep);
  if (i < 0) return null;
  const at = record.stepToX(stepX[i]);
  const before = Math.floor(at - record.epochAt(0));
  return {
    label: `step ${count(stepX[i])}`,
    x: at,
    train: steps.get(name)[i] ?? null,
    validX: record.epochAt(before),
    valid: valid(before),
  };
}
