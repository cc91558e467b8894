// The pure half of draw.js, on the table that test_charts.py puts to Python as well.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import * as draw from "../../../kerasnb/notebook/draw.js";

const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf8"));
const special = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };
const revive = (value) =>
  Array.isArray(value) ? value.map(revive) : (special[value] ?? value);

for (const [name, table] of Object.entries(cases)) {
  test(`${name} answers as its twin in Python does`, () => {
    for (const [given, expected] of table) {
      assert.deepEqual(draw[name](...revive(given)), expected, `${name}(${given})`);
    }
  });
}

test("a path lifts the pen at a gap", () => {
  assert.equal(draw.path([0, 1, 2, 3], [5, NaN, 7, 8]), "M0.0,5.0M2.0,7.0L3.0,8.0");
});

test("thinning a hundred thousand points keeps a single spike and is quick", () => {
  const y = new Float32Array(100_000).fill(1);
  y[54_321] = 9;
  const began = performance.now();
  const kept = draw.thin(y, 400);
  assert.ok(performance.now() - began < 200);
  assert.ok(kept.includes(54_321));
  assert.ok(kept.length <= 802);
  assert.equal(kept[0], 0);
  assert.equal(kept.at(-1), 99_999);
});

test("columns grow past their room and begin anew", () => {
  const columns = new draw.Columns();
  const rows = Float32Array.from({ length: 2000 }, (_, i) => i);
  columns.begin(["step", "loss"]);
  columns.append(rows);
  assert.equal(columns.length, 1000);
  columns.append(Float32Array.of(7, 8));
  assert.deepEqual([...columns.get("loss").slice(-2)], [1999, 8]);
  columns.begin(["step", "loss"]);
  columns.append(Float32Array.of(1, 2));
  assert.deepEqual([...columns.get("step")], [1]);
  assert.equal(columns.get("no such").length, 0);
});

test("columns beyond their limit are thinned in place and keep a spike", () => {
  const columns = new draw.Columns(1000);
  columns.begin(["step", "loss"]);
  for (let part = 0; part < 100; part++) {
    const rows = Array.from({ length: 50 }, (_, i) => [50 * part + i, part === 3 && i === 7 ? 9 : 1]);
    columns.append(Float32Array.from(rows.flat()));
    assert.ok(columns.length <= 1000);
  }
  assert.equal(Math.max(...columns.get("loss")), 9);
  assert.equal(columns.get("step").at(-1), 4999);
  assert.deepEqual([...columns.get("step")], [...columns.get("step")].sort((a, b) => a - b));
});

test("a smooth line follows the level, passes over gaps and starts at once", () => {
  const noisy = Float32Array.from({ length: 400 }, (_, i) => 5 + (i % 2 ? 1 : -1));
  const line = draw.smooth(noisy, 20);
  assert.equal(line[0], 4);
  assert.ok(Math.abs(line[399] - 5) < 0.2);
  const gap = draw.smooth([1, NaN, 1], 5);
  assert.deepEqual([...gap], [1, NaN, 1]);
  assert.equal(draw.smooth([], 5).length, 0);
});

test("floats are read from the middle of a buffer that is not aligned", () => {
  const bytes = new Uint8Array(11);
  bytes.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 3);
  assert.deepEqual([...draw.floats(new DataView(bytes.buffer, 3, 8))], [1.5, -2]);
});

test("the nearest place is found in sorted values", () => {
  assert.equal(draw.nearest([], 1), -1);
  assert.equal(draw.nearest([5], 1), 0);
  assert.equal(draw.nearest([0, 10, 20], 14), 1);
  assert.equal(draw.nearest([0, 10, 20], 16), 2);
  assert.equal(draw.nearest([0, 10, 20], 99), 2);
});
