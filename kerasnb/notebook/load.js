// @ts-check
/**
 * What each widget runs first: it fetches the widget's code, which a page reads once.
 *
 * A page never forgets a module, not even that of a cell which is run again and again.
 */
const KEY = Symbol.for("kerasnb.code");

/** The module with this text. @param {string} text @returns {Promise<any>} */
function read(text) {
  /** @type {Map<string, Promise<any>>} */
  const known = (/** @type {any} */ (window)[KEY] ??= new Map());
  const found = known.get(text);
  if (found) return found;
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const made = import(url).finally(() => URL.revokeObjectURL(url));
  known.set(text, made);
  return made;
}

export default () => {
  /** @type {any} */
  let widget;
  return {
    /** @param {{model: any, signal?: AbortSignal}} context */
    async initialize(context) {
      const { model, signal } = context;
      widget = (await read(model.get("_code"))).default();
      if (signal?.aborted) return; // closed already
      widget.initialize(context);
      // JupyterLab keeps a closed model: it need not keep these.
      model.on("destroy", () => {
        model.set("_code", "");
        model.set("_style", "");
      });
    },
    /** @param {{el: HTMLElement}} context */
    render: (context) => widget.render(context),
  };
};
