// @ts-check
/** The panel's buttons, and the words about what they are waiting for. */
import { h, icon, set, write } from "./draw.js";

import { OVER } from "./record.js";

/** @typedef {import("./record.js").Facts} Facts */

const PATIENCE = 4000; // ms until an unanswered button is explained

/** What the buttons ask for; the kernel answers by the status of the run. */
export class Controls {
  /** @param {(op: string) => void} send */
  constructor(send) {
    this.send = send;
    /** @type {{op: string, since: number} | null} what was asked and not yet answered */
    this.asked = null;
    this.note = h("span", { class: "knb-note" });
    this.pause = this.button("pause", "Pause", icon("resume"));
    this.finish = this.button("finish", "Stop after epoch");
    this.stop = this.button("stop", "Stop now");
    this.pause.classList.add("knb-pause");
    this.root = h(
      "div",
      { class: "knb-actions", role: "group", "aria-label": "Training controls" },
      this.pause,
      this.finish,
      this.stop,
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

  /** @param {string} pressed */
  ask(pressed) {
    const op = pressed === "pause" && this.facts?.status === "paused" ? "resume" : pressed;
    if (this.blocked(op)) return;
    this.asked = { op, since: performance.now() };
    this.send(op);
    this.draw();
    setTimeout(() => this.draw(), PATIENCE + 50);
  }

  /** Whether pressing `op` would say again what was said. @param {string} op */
  blocked(op) {
    const waiting = this.asked?.op;
    if (waiting === "stop") return true;
    return op === waiting || (waiting === "pause" && op === "resume");
  }

  /** @param {Facts} facts */
  update(facts) {
    this.facts = facts;
    const wanted = { pause: "paused", resume: "running" }[this.asked?.op ?? ""];
    if (wanted === facts.status || OVER.has(facts.status)) this.asked = null;
    this.draw();
  }

  draw() {
    const paused = this.facts?.status === "paused";
    set(this.pause, "data-paused", paused);
    write(/** @type {Element} */ (this.pause.lastElementChild), paused ? "Resume" : "Pause");
    for (const [op, button] of Object.entries({
      [paused ? "resume" : "pause"]: this.pause,
      finish: this.finish,
      stop: this.stop,
    })) {
      // Not `disabled`: the button that was pressed must keep the keyboard's focus.
      set(button, "aria-disabled", this.blocked(op) ? "true" : null);
    }
    write(this.note, this.words());
    set(this.note, "title", this.note.textContent || null);
  }

  words() {
    if (!this.asked) return this.facts?.message ?? "";
    const late = performance.now() - this.asked.since > PATIENCE;
    if (this.asked.op === "finish") return "stops at the end of this epoch";
    if (late) return "no answer yet: the kernel's interrupt button (■) stops it, too";
    return "";
  }
}
