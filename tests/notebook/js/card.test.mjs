// The parts of card.js that need no page.
import assert from "node:assert/strict";
import test from "node:test";
import { step, words } from "../../../kerasnb/notebook/card.js";

test("arrows walk through the boxes and stop at the ends", () => {
  assert.equal(step("ArrowDown", 0, 3), 1);
  assert.equal(step("ArrowRight", 2, 3), 2);
  assert.equal(step("ArrowUp", 0, 3), 0);
  assert.equal(step("Home", 2, 3), 0);
  assert.equal(step("End", 0, 3), 2);
  assert.equal(step("a", 0, 3), null);
});

test("a box is told by kind, name, shape and source", () => {
  const box = { title: "Dense", note: "10 relu", small: "out · 90 parameters", source: "line 3: Dense(10)" };
  const row = { cells: ["Dense", "(None, 10)"] };
  assert.equal(words(box, row), "Dense 10 relu · out · 90 parameters · (None, 10) · line 3: Dense(10)");
  assert.equal(words({ ...box, source: "", note: "" }, undefined), "Dense · out · 90 parameters");
});
