// @ts-check
/**
 * What every picture shares: numbers as text, axis ticks, thinning, DOM building.
 *
 * The functions of the first half are pure and have a twin in `charts.py`; both
 * sides are tested on the same table, so a live and a saved picture agree.
 */

/**
 * A number in at most four significant digits.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    const [digits, power] = value.toExponential(3).split("e");
    return `${digits}e${Number(power)}`;
  }
  return size >= 1000 ? value.toFixed(0) : value.toPrecision(4);
}

/**
 * A count with thin groups of three: `12 340`.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function count(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/**
 * Seconds as a clock: `0:42`, `12:05`, `3:07:10`.
 * @param {number | null | undefined} seconds
 * @returns {string}
 */
export function clock(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) {
    return "–";
  }
  const whole = Math.max(0, Math.round(seconds));
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/**
 * A size in bytes with three significant digits: `1.21 MB`.
 * @param {number | null | undefined} size
 * @returns {string}
 */
export function bytes(size) {
  if (size === null || size === undefined || !Number.isFinite(size)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (power < units.length - 1 && size >= 999.5) {
    size /= 1000;
    power += 1;
  }
  return `${power ? size.toPrecision(3) : size} ${units[power]}`;
}

/**
 * Round values that divide [low, high] into about `wanted` parts.
 * @param {number} low
 * @param {number} high
 * @param {number} wanted
 * @param {number} [least] the smallest step allowed; 1 keeps ticks whole
 * @returns {number[]}
 */
export function ticks(low, high, wanted, least = 0) {
  if (!(high > low)) return [low];
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  // the nearest of 1, 2, 5, 10 as the eye compares: by ratio
  const factor = [1, 2, 5].find((f, i) => rough / power < Math.sqrt([2, 10, 50][i])) ?? 10;
  const step = Math.max(factor * power, least);
  const marks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    marks.push(Number((k * step).toPrecision(12)));
  }
  return marks;
}

/**
 * Ticks of a logarithmic axis: powers of ten, with 2 and 5 while there is room.
 * @param {number} low
 * @param {number} high
 * @returns {number[]}
 */
export function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades > 2.5 ? [1] : decades > 0.8 ? [1, 2, 5] : null;
  if (!factors) return ticks(low, high, 4);
  const every = Math.max(1, Math.ceil(decades / 5));
  const marks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++) {
    if (p % every) continue;
    for (const f of factors) {
      const mark = Number((f * 10 ** p).toPrecision(12));
      if (mark >= low * (1 - 1e-9) && mark <= high * (1 + 1e-9)) marks.push(mark);
    }
  }
  return marks;
}

/**
 * An axis label: as few digits as tell neighbouring ticks apart.
 * @param {number} mark
 * @returns {string}
 */
export function tickLabel(mark) {
  if (mark === 0) return "0";
  const size = Math.abs(mark);
  const plain = size >= 1e-3 && size < 1e5;
  if (plain) return String(Number(mark.toPrecision(6)));
  const [digits, power] = mark.toExponential(5).split("e");
  return `${Number(digits)}e${Number(power)}`;
}

/**
 * The end of an x axis that has reached `value`: 1, 2, 5, 10, ... but at most `limit`.
 * @param {number} value
 * @param {number} limit
 * @returns {number}
 */
export function roomFor(value, limit) {
  let end = 1;
  for (let i = 0; end < value; i++) end *= i % 3 === 1 ? 2.5 : 2;
  return Math.min(end, Math.max(limit, value));
}

/**
 * The places of a long series worth drawing: first, last, and in each of `buckets`
 * equal parts the least and the greatest value, so that no spike is lost.
 * @param {ArrayLike<number>} y
 * @param {number} buckets
 * @returns {number[]}
 */
export function thin(y, buckets) {
  const n = y.length;
  if (n <= 2 * buckets) return Array.from({ length: n }, (_, i) => i);
  const kept = [0];
  const put = (/** @type {number} */ i) => {
    if (i > kept[kept.length - 1]) kept.push(i);
  };
  for (let b = 0; b < buckets; b++) {
    const start = Math.floor((b * n) / buckets);
    const stop = Math.floor(((b + 1) * n) / buckets);
    let [least, most] = [start, start];
    for (let i = start + 1; i < stop; i++) {
      // A NaN is worth drawing as a gap: it counts as the least and the greatest.
      const gap = Number.isNaN(y[i]);
      if (y[i] < y[least] || (gap && !Number.isNaN(y[least]))) least = i;
      if (y[i] > y[most] || (gap && !Number.isNaN(y[most]))) most = i;
    }
    put(Math.min(least, most));
    put(Math.max(least, most));
  }
  put(n - 1);
  return kept;
}

/**
 * The range an axis should show: every marked point, and the lines but for the
 * wildest hundredth of their values (a first step or a burst must not flatten the rest).
 * @param {number[]} marked values that must be seen
 * @param {number[]} lines values of the lines
 * @param {boolean} log
 * @returns {[number, number]}
 */
export function range(marked, lines, log) {
  const usable = (/** @type {number} */ v) => Number.isFinite(v) && (!log || v > 0);
  const seen = marked.filter(usable);
  const sorted = lines.filter(usable).sort((a, b) => a - b);
  if (sorted.length) {
    const skipped = Math.floor(sorted.length / 100);
    seen.push(sorted[skipped], sorted[sorted.length - 1 - skipped]);
  }
  if (!seen.length) return log ? [0.1, 1] : [0, 1];
  let [low, high] = [Infinity, -Infinity];
  for (const v of seen) [low, high] = [Math.min(low, v), Math.max(high, v)];
  if (log) {
    const room = Math.max((high / low) ** 0.06, 1.02);
    return [low / room, high * room];
  }
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  const floor = low >= 0 ? 0 : -Infinity;
  return [Math.max(low - room, floor), high + room];
}

/**
 * A path through points; a gap (NaN) lifts the pen.
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys
 * @returns {string}
 */
export function path(xs, ys) {
  let out = "";
  let down = false;
  for (let i = 0; i < xs.length; i++) {
    if (!Number.isFinite(ys[i])) {
      down = false;
      continue;
    }
    out += `${down ? "L" : "M"}${xs[i].toFixed(1)},${ys[i].toFixed(1)}`;
    down = true;
  }
  return out;
}

/**
 * A series as its trend: each value drawn towards those before it, about `window` of
 * them. Gaps (NaN) stay gaps and are passed over.
 * @param {ArrayLike<number>} y
 * @param {number} window
 * @returns {Float32Array}
 */
export function smooth(y, window) {
  const keep = 1 - 2 / (window + 1);
  const out = new Float32Array(y.length);
  let [sum, weight] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    if (!Number.isFinite(y[i])) {
      out[i] = NaN;
      continue;
    }
    sum = keep * sum + y[i];
    weight = keep * weight + 1;
    out[i] = sum / weight;
  }
  return out;
}

/**
 * A table of rows that only grows, held as one typed column per name. Beyond `limit`
 * rows it is thinned in place, spikes kept.
 */
export class Columns {
  /** @param {number} [limit] */
  constructor(limit = Infinity) {
    this.limit = limit;
    /** @type {string[]} */
    this.names = [];
    this.length = 0;
    /** @type {Map<string, Float32Array>} */
    this.data = new Map();
  }

  /** Be empty, with these columns. @param {string[]} names */
  begin(names) {
    this.names = names;
    this.length = 0;
    this.data = new Map(names.map((name) => [name, new Float32Array(256)]));
  }

  /** Append rows, given one after the other. @param {Float32Array} values */
  append(values) {
    const width = this.names.length;
    const rows = width ? values.length / width : 0;
    const at = this.length;
    this.length += rows;
    this.names.forEach((name, c) => {
      let column = /** @type {Float32Array} */ (this.data.get(name));
      if (column.length < this.length) {
        const grown = new Float32Array(Math.max(this.length, 2 * column.length));
        grown.set(column);
        this.data.set(name, (column = grown));
      }
      for (let r = 0; r < rows; r++) column[at + r] = values[r * width + c];
    });
    if (this.length > this.limit) this.thin();
  }

  /** Half as many rows, in which all columns keep their spikes. */
  thin() {
    const buckets = Math.floor(this.limit / (4 * this.names.length));
    const kept = new Set(this.names.flatMap((name) => thin(this.get(name), buckets)));
    const rows = [...kept].sort((a, b) => a - b);
    for (const column of this.data.values()) rows.forEach((row, i) => (column[i] = column[row]));
    this.length = rows.length;
  }

  /**
   * The values of one column so far; empty when there is none.
   * @param {string} name
   * @returns {Float32Array}
   */
  get(name) {
    const column = this.data.get(name);
    return column ? column.subarray(0, this.length) : new Float32Array(0);
  }
}

/**
 * The floats in a message's buffer, wherever it lies in memory.
 * @param {DataView} view
 * @returns {Float32Array}
 */
export function floats(view) {
  const { buffer, byteOffset, byteLength } = view;
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/**
 * The place in ascending `values` nearest to `wanted`, or -1.
 * @param {ArrayLike<number>} values
 * @param {number} wanted
 * @returns {number}
 */
export function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1];
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle;
    else high = middle;
  }
  return Math.abs(values[low] - wanted) <= Math.abs(values[high] - wanted) ? low : high;
}

/**
 * The last value of a series, null when there is none.
 * @param {ArrayLike<number>} values
 */
export function latest(values) {
  return values.length ? values[values.length - 1] : null;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | Node | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes
 */

/**
 * Give `node` attributes (functions become listeners) and children.
 * @template {Element} T
 * @param {T} node
 * @param {Attributes} attributes
 * @param {Child[]} children
 * @returns {T}
 */
function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else set(node, name, value);
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/**
 * Build an HTML element. Text is always a text node: nothing is parsed as markup.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/**
 * Build an SVG element.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  const node = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  return dress(node, attributes, children);
}

/**
 * Write an attribute only when it changed: an idle panel costs the browser nothing.
 * @param {Element} node
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function set(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/**
 * Write text only when it changed.
 * @param {Element} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A name for a message to the kernel, different from all others. */
export function newId() {
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
}

/** @type {Record<string, string>} */
const ICONS = {
  pause: "M5 3h2v10H5zM9 3h2v10H9z",
  resume: "M5 3l8 5-8 5z",
  finish: "M3 3l6 5-6 5zM10.5 3h2v10h-2z",
  stop: "M4 4h8v8H4z",
  step: "M3 3h2v10H3zM7 3l6 5-6 5z",
  mark: "M3.5 2H5v12H3.5zM5 2.5h8l-2.5 3L13 8.5H5z",
  back: "M7 1.5L2 5.5 7 9.5V6.9c3.2 0 5.2 1.3 6.5 5.6C13.5 7.5 11.5 4.3 7 4.1z",
  alarm: "M8 1.5L15 14.5H1zM7.2 6v4.5h1.6V6zM7.2 11.7v1.5h1.6v-1.5z",
};

/**
 * A small drawing for a button; the words beside it carry the meaning.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  return s(
    "svg",
    {
      class: "knb-icon",
      viewBox: "0 0 16 16",
      width: 14,
      height: 14,
      "aria-hidden": "true",
    },
    s("path", { d: ICONS[name], fill: "currentColor", "fill-rule": "evenodd" }),
  );
}
