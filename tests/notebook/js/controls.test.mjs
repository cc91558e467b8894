// What a learning rate may be, and when a control makes sense.
import assert from "node:assert/strict";
import test from "node:test";
import { Controls, rateOf } from "../../../kerasnb/notebook/controls.js";

test("a learning rate is a number above zero, with a point or a comma", () => {
  assert.deepEqual(rateOf("0.01"), { value: 0.01 });
  assert.deepEqual(rateOf(" 1e-4 "), { value: 1e-4 });
  assert.deepEqual(rateOf("0,5"), { value: 0.5 });
  for (const text of ["", "  ", "fast", "1.2.3"]) assert.equal(rateOf(text).problem, "not a number");
  for (const text of ["0", "-1", "Infinity"]) assert.equal(rateOf(text).problem, "must be above 0");
});

const facts = (more = {}) => ({ status: "running", marks: [], stays: "", step: 5, refused: "", ...more });

/** Controls without a page: what they ask, and what they hold back. */
function controls(first) {
  const sent = [];
  const made = Object.create(Controls.prototype);
  Object.assign(made, { asked: new Map(), facts: first, draw() {}, send: (...all) => sent.push(all) });
  return { made, sent };
}

test("a request is not made twice, and again once it was met", (t) => {
  t.mock.timers.enable();
  const { made, sent } = controls(facts());
  made.ask("pause");
  made.ask("pause");
  assert.deepEqual(sent, [["pause", undefined]]);
  made.update(facts({ status: "paused" }));
  made.ask("pause");
  assert.deepEqual(sent[1], ["resume", undefined], "the same button resumes");
});

test("a step needs a pause, going back needs a mark, and after stop there is nothing", (t) => {
  t.mock.timers.enable();
  const { made } = controls(facts());
  assert.ok(made.blocked("step") && made.blocked("roll_back"));
  made.facts = facts({ status: "paused", marks: [{ name: "a" }] });
  assert.ok(!made.blocked("step") && !made.blocked("roll_back"));
  made.facts.stays = "batches come from an iterator";
  assert.ok(made.blocked("roll_back"));
  made.ask("stop");
  for (const op of ["pause", "step", "mark", "finish"]) assert.ok(made.blocked(op), op);
  made.update(facts({ status: "stopped" }));
  assert.equal(made.asked.size, 0);
});

test("a request that was refused may be made again, and the reason is told", (t) => {
  t.mock.timers.enable();
  const { made } = controls(facts({ marks: [{ name: "a" }] }));
  made.ask("roll_back", "a");
  assert.ok(made.blocked("roll_back"));
  made.update(facts({ marks: [{ name: "a" }], refused: "no mark a" }));
  assert.ok(!made.blocked("roll_back"));
  assert.equal(made.words(), "no mark a");
});
