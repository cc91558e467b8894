// The parts of kruns.js that need no page.
import assert from "node:assert/strict";
import test from "node:test";
import { sorted } from "../../../kerasnb/notebook/kruns.js";

const rows = [
  { id: "a", keys: [0, 0.5] },
  { id: "b", keys: [1, null] },
  { id: "c", keys: [2, 0.1] },
  { id: "d", keys: [3, 0.5] },
];
const order = (column, down) =>
  sorted(rows, column, down)
    .map((row) => row.id)
    .join("");

test("rows are sorted either way, equal ones as they were", () => {
  assert.equal(order(1, false), "cadb");
  assert.equal(order(1, true), "adcb");
  assert.equal(order(0, true), "dcba");
  assert.equal(rows[0].id, "a");
});

test("rows without a value are last in both directions", () => {
  assert.equal(order(1, false).at(-1), "b");
  assert.equal(order(1, true).at(-1), "b");
});
