// What a page knows of a run.
import assert from "node:assert/strict";
import test from "node:test";
import { RunRecord, reading } from "../../../kerasnb/notebook/record.js";

const view = (rows) => new DataView(Float32Array.from(rows.flat()).buffer);
const facts = (more = {}) => ({
  status: "running",
  first_epoch: 0,
  epochs: 8,
  step: 20,
  steps_per_epoch: 10,
  ...more,
});
const message = (at, more = {}) => ({
  op: "append",
  generation: 0,
  facts: facts(),
  steps: { at: at[0], names: ["step", "loss"] },
  epochs: { at: at[1], names: ["loss", "val_loss"] },
  ...more,
});

function filled() {
  const record = new RunRecord();
  const steps = Array.from({ length: 20 }, (_, i) => [i + 1, 2 - i / 10]);
  const epochs = [
    [1.5, 1.2],
    [0.6, 1.4],
  ];
  assert.ok(record.take(message([0, 0]), [view(steps), view(epochs)]));
  return record;
}

test("rows that follow are taken and rows with a gap before them are refused", () => {
  const record = filled();
  assert.equal(record.take(message([20, 2]), [view([[21, 0.5]]), view([])]), true);
  assert.equal(record.take(message([40, 2]), [view([[41, 0.5]]), view([])]), false);
  assert.equal(record.take(message([21, 1]), [view([]), view([])]), false);
  assert.equal(record.steps.length, 21);
});

test("another generation is refused unless it brings everything", () => {
  const record = filled();
  const other = { generation: 1 };
  assert.equal(record.take(message([20, 2], other), [view([]), view([])]), false);
  assert.equal(record.take(message([0, 0], other), [view([[1, 9]]), view([])]), true);
  assert.deepEqual([...record.steps.get("loss")], [9]);
  assert.equal(record.epochs.length, 0);
});

test("the best epoch is judged by validation and passes over gaps", () => {
  const record = filled();
  assert.equal(record.best({ name: "loss", better: "min" }), 0);
  assert.equal(record.best({ name: "loss", better: "max" }), 1);
  record.take(message([20, 2]), [view([]), view([[0.1, NaN]])]);
  assert.equal(record.best({ name: "loss", better: "min" }), 0);
  assert.equal(record.best({ name: "absent", better: "min" }), -1);
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
  record.epochs.put([], 0, new Float32Array(0));
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
