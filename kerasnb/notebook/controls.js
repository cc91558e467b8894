// @ts-check
/** What the panel asks of a run, and the words about what it is waiting for. */
import { count, h, icon, set, tickLabel, write } from "./draw.js";

import { OVER } from "./record.js";

/** @typedef {import("./record.js").Facts} Facts */
/** @typedef {(op: string, value?: string | number) => void} Send */

const PATIENCE = 4000; // ms until an unanswered button is explained

/** How the facts show that a request was met. @type {Object<string, (now: Facts, then: Facts) => boolean>} */
const MET = {
  pause: (now) => now.status === "paused",
  resume: (now) => now.status === "running",
  step: (now, then) => now.step > then.step,
  mark: (now, then) => now.marks !== then.marks,
  roll_back: (now, then) => now.generation !== then.generation,
  rate: (now, then) => now.learning_rate !== then.learning_rate,
};

/**
 * Why a text is no learning rate, or the number that it is.
 * @param {string} text
 * @returns {{value: number} | {problem: string}}
 */
export function rateOf(text) {
  const value = Number(text.trim().replace(",", "."));
  if (!text.trim() || Number.isNaN(value)) return { problem: "not a number" };
  if (!Number.isFinite(value) || value <= 0) return { problem: "must be above 0" };
  return { value };
}

/** The buttons; the kernel answers by the facts of the run. */
export class Controls {
  /** @param {Send} send */
  constructor(send) {
    this.send = send;
    /** What was asked and not yet met. @type {Map<string, {since: number, then: Facts}>} */
    this.asked = new Map();
    /** @type {Facts | null} */
    this.facts = null;
    this.note = h("span", { class: "knb-note" });
    this.pause = this.button("pause", "Pause", icon("resume"));
    this.pause.classList.add("knb-pause");
    this.buttons = {
      step: this.button("step", "Step"),
      finish: this.button("finish", "Stop after epoch"),
      stop: this.button("stop", "Stop now"),
      mark: this.button("mark", "Mark"),
    };
    this.rate = new RateField((value) => this.ask("rate", value));
    this.back = new Menu("back", "Roll back", (name) => this.ask("roll_back", name));
    const { step, finish, stop, mark } = this.buttons;
    this.root = h(
      "div",
      { class: "knb-actions", role: "group", "aria-label": "Training controls" },
      ...[this.pause, step, finish, stop, mark, this.back.root],
    );
  }

  /**
   * @param {string} op
   * @param {string} label
   * @param {...Node} more
   */
  button(op, label, ...more) {
    const click = () => this.ask(op);
    return h(
      "button",
      { class: "knb-button", type: "button", click },
      icon(op),
      ...more,
      h("span", {}, label),
    );
  }

  /** @param {string} pressed @param {string | number} [value] */
  ask(pressed, value) {
    const op = pressed === "pause" && this.facts?.status === "paused" ? "resume" : pressed;
    if (!this.facts || this.blocked(op)) return;
    this.asked.set(op, { since: performance.now(), then: this.facts });
    this.send(op, value);
    this.draw();
    setTimeout(() => this.draw(), PATIENCE + 50);
  }

  /** Whether asking for `op` makes no sense now, or would say again what was said. @param {string} op */
  blocked(op) {
    const { status = "", marks = [], stays = "" } = this.facts ?? {};
    if (this.asked.has("stop") || this.asked.has(op)) return true;
    if (op === "step") return status !== "paused";
    if (op === "roll_back") return !marks.length || Boolean(stays);
    if (op === "finish") return Boolean(this.facts?.ending);
    return op === "resume" && this.asked.has("pause");
  }

  /** @param {Facts} facts */
  update(facts) {
    for (const [op, { then }] of this.asked) {
      const refused = facts.refused && facts.refused !== then.refused;
      if (refused || MET[op]?.(facts, then)) this.asked.delete(op);
    }
    if (OVER.has(facts.status)) this.asked.clear();
    this.facts = facts;
    this.draw();
  }

  draw() {
    if (!this.facts) return;
    const paused = this.facts.status === "paused";
    set(this.pause, "data-paused", paused);
    write(/** @type {Element} */ (this.pause.lastElementChild), paused ? "Resume" : "Pause");
    for (const [op, button] of Object.entries({
      [paused ? "resume" : "pause"]: this.pause,
      ...this.buttons,
      roll_back: this.back.button,
    })) {
      // Not `disabled`: the button that was pressed must keep the keyboard's focus.
      set(button, "aria-disabled", this.blocked(op) ? "true" : null);
    }
    set(this.buttons.step, "title", paused ? "One step, then paused again" : "Pause first");
    const back = this.facts.marks.length ? "Go back to a mark" : "Mark a step first";
    set(this.back.button, "title", this.facts.stays || back);
    this.back.update(
      this.facts.marks.map(({ name, step }) => ({ name, words: `step ${count(step)}` })).reverse(),
    );
    this.rate.update(this.facts);
    write(this.note, this.words());
    set(this.note, "title", this.note.textContent || null);
  }

  words() {
    if (!this.facts) return "";
    const [now, asked] = [performance.now(), [...this.asked.entries()]];
    const late = asked.some(([op, { since }]) => op !== "finish" && now - since > PATIENCE);
    if (late) return "no answer yet: the kernel's interrupt button (■) stops it, too";
    if (this.facts.ending || this.asked.has("finish")) return "stops at the end of this epoch";
    return this.facts.refused || this.facts.message;
  }
}

/** A button that opens a list to choose from. */
export class Menu {
  /**
   * @param {string} sign
   * @param {string} label
   * @param {(name: string) => void} choose
   */
  constructor(sign, label, choose) {
    this.choose = choose;
    /** @type {HTMLElement[]} */
    this.items = [];
    this.key = "";
    this.button = h(
      "button",
      {
        class: "knb-button",
        type: "button",
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        click: () => this.show(!this.open),
        keydown: (event) => {
          if (event.key !== "ArrowDown") return;
          event.preventDefault();
          this.show(true);
        },
      },
      icon(sign),
      h("span", {}, label),
    );
    this.list = h("div", {
      class: "knb-menu",
      role: "menu",
      "aria-label": label,
      hidden: true,
      keydown: (event) => this.key_(event),
    });
    this.root = h(
      "div",
      {
        class: "knb-choice",
        focusout: (event) => {
          if (!this.root.contains(event.relatedTarget)) this.show(false);
        },
      },
      this.button,
      this.list,
    );
  }

  get open() {
    return this.button.getAttribute("aria-expanded") === "true";
  }

  /** @param {{name: string, words: string}[]} choices */
  update(choices) {
    const key = JSON.stringify(choices);
    if (key === this.key) return;
    this.key = key;
    const choose = (/** @type {string} */ name) => () => {
      this.close();
      this.choose(name);
    };
    this.items = choices.map(({ name, words }) =>
      h(
        "button",
        { class: "knb-item", type: "button", role: "menuitem", tabindex: -1, click: choose(name) },
        h("span", {}, name),
        h("span", { class: "knb-word" }, words),
      ),
    );
    this.list.replaceChildren(...this.items);
    if (!choices.length) this.show(false);
  }

  /** @param {boolean} open */
  show(open) {
    const shown = open && this.button.getAttribute("aria-disabled") !== "true";
    set(this.button, "aria-expanded", String(shown));
    set(this.list, "hidden", !shown);
    if (shown) this.items[0]?.focus();
  }

  close() {
    this.button.focus();
    this.show(false);
  }

  /** @param {KeyboardEvent} event */
  key_(event) {
    const at = this.items.indexOf(/** @type {HTMLElement} */ (event.target));
    const last = this.items.length - 1;
    /** @type {Object<string, number>} */
    const moves = { ArrowDown: at < last ? at + 1 : 0, ArrowUp: at ? at - 1 : last, Home: 0, End: last };
    if (event.key === "Escape") this.close();
    else if (event.key in moves) this.items[moves[event.key]].focus();
    else return;
    event.preventDefault();
  }
}

/** The learning rate, which can be changed where it stands. */
export class RateField {
  /** @param {(value: number) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.shown = "";
    this.editing = false;
    this.problem = "";
    /** @type {number | null} */
    this.rate = null;
    /** What was the rate when another was asked for. @type {number | null} */
    this.before = null;
    this.label = h("span", { id: "knb-rate" }, "Learning rate");
    this.input = /** @type {HTMLInputElement} */ (
      h("input", {
        class: "knb-rate",
        type: "text",
        inputmode: "decimal",
        autocomplete: "off",
        spellcheck: "false",
        "aria-label": "Learning rate",
        title: "Enter sets it, Escape leaves it",
        input: () => {
          this.editing = true;
          this.say("");
        },
        keydown: (event) => this.key(event),
        // The notebook may draw its output anew: then the focus is back at once.
        blur: () => setTimeout(() => this.focused || this.leave(), 100),
      })
    );
    this.root = h("div", {}, h("dt", {}, this.label), h("dd", {}, this.input));
  }

  get focused() {
    const shadow = /** @type {ShadowRoot} */ (this.input.getRootNode());
    return shadow.activeElement === this.input;
  }

  /** @param {Facts} facts */
  update(facts) {
    const rate = facts.learning_rate;
    this.shown = rate === null ? "–" : tickLabel(rate);
    this.rate = rate;
    if (this.before !== null && rate === this.before) return; // the new one is on its way
    this.before = null;
    this.input.readOnly = rate === null || OVER.has(facts.status);
    if (!this.editing && this.input.value !== this.shown) this.input.value = this.shown;
  }

  /** Say what is wrong with what was typed, where the name of the field stood. @param {string} problem */
  say(problem) {
    this.problem = problem;
    write(this.label, problem || "Learning rate");
    set(this.label, "role", problem ? "alert" : null);
    set(this.input, "aria-invalid", problem ? "true" : null);
    set(this.input, "aria-describedby", problem ? "knb-rate" : null);
  }

  leave() {
    this.editing = false;
    if (this.before === null) this.input.value = this.shown;
    this.say("");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape") {
      this.leave();
      this.input.blur();
    }
    if (event.key !== "Enter" || this.input.readOnly) return;
    event.preventDefault();
    const found = rateOf(this.input.value);
    if ("problem" in found) return this.say(found.problem);
    this.editing = false;
    this.say("");
    this.before = found.value === this.rate ? null : this.rate;
    this.choose(found.value);
  }
}
