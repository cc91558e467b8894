// What a page knows of a run.
import assert from "node:assert/strict";
import test from "node:test";
import { RunRecord, reading, signs } from "../../../kerasnb/notebook/record.js";

const view = (rows) => new DataView(Float32Array.from(rows.flat()).buffer);
const names = { steps: ["step", "loss"], epochs: ["loss", "val_loss"], health: ["step", "gradient_norm"] };
const facts = (more = {}) => ({
  status: "running",
  first_epoch: 0,
  epochs: 8,
  step: 20,
  steps_per_epoch: 10,
  ...more,
});
const rows = (steps = [], epochs = [], health = []) => [view(steps), view(epochs), view(health)];
const whole = (more = {}) => ({ part: 1, whole: true, names, facts: facts(), ...more });
const next = (part, news = {}) => ({ part, whole: false, facts: news });

function filled() {
  const record = new RunRecord();
  const steps = Array.from({ length: 20 }, (_, i) => [i + 1, 2 - i / 10]);
  const epochs = [
    [1.5, 1.2],
    [0.6, 1.4],
  ];
  assert.ok(record.take(whole(), rows(steps, epochs, [[1, 7], [11, 3]])));
  return record;
}

test("messages that follow are taken, one with a gap before it is refused", () => {
  const record = filled();
  assert.equal(record.take(next(2, { step: 21 }), rows([[21, 0.5]])), true);
  assert.equal(record.steps.length, 21);
  assert.equal(record.facts.step, 21);
  assert.equal(record.facts.epochs, 8, "what did not change is still known");
  assert.equal(record.take(next(4), rows([[23, 0.5]])), false);
  assert.equal(record.take(next(2), rows([[21, 0.5]])), false);
  assert.equal(record.steps.length, 21);
  assert.equal(new RunRecord().take(next(1), rows()), false, "all must come first");
});

test("a message that brings everything takes the place of all", () => {
  const record = filled();
  assert.ok(record.take(whole({ part: 9 }), rows([[1, 9]])));
  assert.deepEqual([...record.steps.get("loss")], [9]);
  assert.equal(record.epochs.length, 0);
  assert.ok(record.take(next(10), rows([[2, 8]])));
});

test("what is measured at some steps is read at those", () => {
  const record = filled();
  const { step, values } = record.running("gradient_norm");
  assert.deepEqual([[...step], [...values]], [[1, 11], [7, 3]]);
  assert.equal(record.running("loss").values.length, 20);
  assert.equal(reading(record, "gradient_norm", 1.0, 0.2)?.label, "step 11");
});

test("marks and alarms lie on the axis at their steps", () => {
  const record = filled();
  record.facts = facts({
    marks: [{ name: "mark 1", step: 5, epoch: 0 }],
    alarms: [{ kind: "nan", sentence: "NaN.", hint: "", layer: null, step: 15 }],
  });
  assert.deepEqual(signs(record), [
    { kind: "mark", words: "mark 1", step: 5, x: 0.5 },
    { kind: "alarm", words: "NaN.", step: 15, x: 1.5 },
  ]);
});

test("when the kernel is gone the run is over, whatever its last word", () => {
  const record = filled();
  assert.equal(record.over, false);
  record.gone = true;
  assert.equal(record.over, true);
  assert.deepEqual(record.span, [0, 2]);
});

test("the best epoch is judged by validation and passes over gaps", () => {
  const record = filled();
  assert.equal(record.best({ name: "loss", better: "min" }), 0);
  assert.equal(record.best({ name: "loss", better: "max" }), 1);
  record.take(next(2), rows([], [[0.1, NaN]]));
  assert.equal(record.best({ name: "loss", better: "min" }), 0);
  assert.equal(record.best({ name: "absent", better: "min" }), -1);
  assert.equal(record.best({ name: "loss", better: null }), -1, "nobody knows what is better");
});

test("the axis leaves room while running and ends where the run ended", () => {
  const record = filled();
  assert.deepEqual(record.span, [0, 2]);
  record.facts = facts({ step: 21 });
  assert.deepEqual(record.span, [0, 5]);
  record.facts = facts({ step: 21, status: "stopped" });
  assert.deepEqual(record.span, [0, 2.1]);
  record.facts = facts({ first_epoch: 6 });
  assert.deepEqual(record.span, [6, 8]);
});

test("without a length of epochs the axis counts steps", () => {
  const record = filled();
  record.epochs.begin([]);
  record.facts = facts({ steps_per_epoch: null, step: 17 });
  assert.deepEqual(record.span, [0, 20]);
  assert.equal(record.stepToX(17), 17);
});

test("the cursor is caught by an epoch near by and reads steps elsewhere", () => {
  const record = filled();
  const near = reading(record, "loss", 1.04, 0.05);
  assert.equal(near?.label, "epoch 1");
  assert.ok(Math.abs(near?.train - 1.5) < 1e-6);
  assert.ok(Math.abs(near?.valid - 1.2) < 1e-6);
  const far = reading(record, "loss", 1.52, 0.05);
  assert.equal(far?.label, "step 15");
  assert.ok(Math.abs(far?.train - 0.6) < 1e-6);
  assert.ok(Math.abs(far?.valid - 1.2) < 1e-6, "the validation before it");
  assert.equal(reading(record, "loss", 0.3, 0.05)?.valid, null);
  assert.equal(reading(new RunRecord(), "loss", 0.3, 0.05), null);
});
