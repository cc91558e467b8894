"""The magics: each reads its line, calls one public function and shows the result."""

import contextlib
import copy
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
)
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from kerasnb import callbacks, config, losses, metrics, optimizers, runs
from kerasnb.core import frontend
from kerasnb.models.code import to_code
from kerasnb.notebook import ahead
from kerasnb.notebook.display import Facts
from kerasnb.notebook.errors import warnings_in_words
from kerasnb.notebook.inspect import inspect
from kerasnb.notebook.kmodel import build_model
from kerasnb.notebook.mistakes import mistakes
from kerasnb.notebook.options import (
    HelpAsked,
    KerasNB,
    Reader,
    help_option,
    parse,
    short_errors,
    split_at_commas,
)


@magics_class
class KerasMagics(Magics):
    """`%%kmodel`, `%kfit` and their kin."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        # `%config` writes into the shell's settings; unloading puts these back.
        self.profile = copy.deepcopy(shell.config.get("KerasNB"))
        self.defaults = KerasNB(parent=shell)

    @no_var_expand
    @magic_arguments("%kmodel")
    @help_option
    @argument("name", nargs="?", default="model", help="the name of the model")
    @argument(
        "-i",
        "--input",
        metavar="SPEC",
        action="append",
        default=[],
        help="shape without the batch (28,28,1) or data (x_train); name=SPEC, "
        "repeated, for several inputs",
    )
    @argument("--dtype", help="dtype or policy of the layers: mixed_bfloat16")
    @argument("-o", "--optimizer", help="adam, or {Adam(0.01)}")
    @argument("-r", "--learning-rate", metavar="RATE", help="0.01, or a {schedule}")
    @argument("-l", "--loss", help="mse, {a loss}, or auto: by the last activation")
    @argument("-t", "--target", metavar="Y", help="the targets, for --loss auto")
    @argument(
        "-m",
        "--metrics",
        action="append",
        default=[],
        help="accuracy,auc or {a metric}; repeatable",
    )
    @argument("-s", "--seed", help="seed of weights, dropout and shuffling")
    @argument("--jit", dest="jit", action="store_true", default=None, help="compile")
    @argument("--no-jit", dest="jit", action="store_false", help="do not compile")
    @argument("-k", "--keep", action="store_true", help="unchanged layers keep weights")
    @argument("-q", "--quiet", action="store_true", help="do not show the model")
    @argument("--code", action="store_true", help="show it as a Keras script instead")
    @line_cell_magic
    @warnings_in_words()
    def kmodel(self, line: str, cell: str | None = None) -> None:
        """Define a model: each line that is just a layer means `x = layer(x)`.

        The cell is ordinary Python, in which `x` is the current tensor, the input at
        first. The layers of Keras are at hand by their names; everything else keeps its
        meaning. The model is what led to `x`, or to `outputs`, and gets the name NAME.

            %%kmodel digits --input 28,28,1 --optimizer adam --loss auto
            Rescaling(1 / 255)
            for filters in (16, 32):
                Conv2D(filters, 3, padding="same", activation="relu")
                MaxPooling2D()
            Flatten()
            Dense(10, activation="softmax")

        A branch is a name for a tensor, a join is a call:

            skip = x
            Dense(32, activation="relu")
            x = Add()([x, skip])

        Several inputs have names, several outputs are a list or a dict:

            %%kmodel pair --input image=images --input facts=4
            x = Flatten()(image)
            x = Concatenate()([x, facts])
            outputs = {"price": Dense(1)(x), "kind": Dense(3)(x)}

        A value may be Python in {braces}: --optimizer {Adam(0.01, beta_1=0.8)}. To try
        a change without losing what is trained: --keep. While you look at the model,
        training on `x_train` and `y_train` (or --target) is compiled behind the page.
        `%config KerasNB` sets what is not said. In Python:
        kerasnb.notebook.build_model("Dense(10)", input=(4,)).
        """
        args = self._arguments(self.kmodel, line)
        if args is None:
            return
        if cell is None:
            raise UsageError(_NOT_A_LINE)
        read = Reader(self.shell.user_ns, "%%kmodel")
        old = read.new_model(args.name)
        data = read.inputs(args.input)
        target = None if args.target is None else read.expression(args.target)
        model = build_model(
            cell,
            self.shell.user_ns,
            name=args.name,
            input=data,
            dtype=read.name(args.dtype),
            optimizer=read.name(args.optimizer, optimizers, optimizers.schedules),
            learning_rate=read.rate(args.learning_rate, optimizers.schedules),
            loss=read.name(args.loss, losses),
            target=target,
            metrics=read.names_or_values(args.metrics, metrics),
            seed=read.number(args.seed, int),
            jit=args.jit,
            keep=old if args.keep else None,
            header=f"%%kmodel {line}",
        )
        self.shell.user_ns[args.name] = model
        if args.keep:
            print(model._kept or "There was no model to keep weights of yet.")
        if args.code:
            print(to_code(model))
        elif not args.quiet:
            display(model)
        if self.defaults.compile_ahead and frontend.in_notebook():
            if target is None:
                target = ahead.target_of(args.input, self.shell.user_ns)
            ahead.expect_fit(model, data, target, self.defaults.batch_size)

    @no_var_expand
    @magic_arguments("kfit")
    @help_option
    @argument("model", help="name of a compiled model")
    @argument("data", nargs="+", help="x and y, or one dataset")
    @argument("-e", "--epochs", default="1", help="passes over the data")
    @argument("-b", "--batch-size", metavar="N", help="samples in a step (32)")
    @argument(
        "-v",
        "--validation",
        nargs="+",
        default=[],
        metavar="DATA",
        help="x and y to validate with, a dataset, or a fraction of the data",
    )
    @argument("-r", "--learning-rate", metavar="RATE", help="change it before training")
    @argument(
        "--callbacks", metavar="CALLBACKS", help="{a callback}, or a {list of them}"
    )
    @argument("--verbose", default="auto", help="auto, 0, 1 or 2")
    @argument("--background", action="store_true", help="go on while other cells run")
    @argument("--name", help="name of the run, here and in kerasnb.runs")
    @line_magic
    def kfit(self, line: str) -> None:
        """Train a model and watch it learn; the curves stay in MODEL.history.

            %kfit digits x_train y_train --epochs 5 --validation x_test y_test
            %kfit digits x_train[:1000] y_train[:1000] --validation 0.2
            %kfit digits dataset --callbacks {[EarlyStopping(patience=3)]}
            %kfit digits x_train y_train --epochs 50 --background --name long

        The kernel's stop button ends the training and keeps what is learned; once more
        %kfit goes on from there. With --background other cells run meanwhile, and the
        run gets the name NAME, or MODEL_run: long.pause(), long.stop(), long.wait().
        In Python: model.fit(x_train, y_train, epochs=5, background=True).
        """
        args = self._arguments(self.kfit, line)
        if args is None:
            return
        read = Reader(self.shell.user_ns, "%kfit")
        model = read.model(args.model)
        validation = _validation(args.validation, read)
        rate = read.rate(args.learning_rate, optimizers.schedules)
        name = args.name or f"{args.model}_run"
        if args.background and read.new_model(name, "run") is not None:
            raise UsageError(
                f"%kfit: a run of this name would hide the model `{name}`; --name "
                "gives it another one."
            )
        with short_errors("%kfit"):
            if rate is not None:
                model.optimizer.learning_rate = rate
            with runs.named(args.name) if args.name else contextlib.nullcontext():
                made = model.fit(
                    *read.several(args.data),
                    epochs=read.number(args.epochs, int),
                    batch_size=read.number(args.batch_size, int),
                    callbacks=args.callbacks
                    and read.expression(args.callbacks, callbacks),
                    verbose=(
                        int(args.verbose) if args.verbose.isdigit() else args.verbose
                    ),
                    background=args.background,
                    **validation,
                )
        if args.background:
            self.shell.user_ns[name] = made
            print(
                f"{name} trains `{args.model}` in the background; {name}.pause(), "
                f"{name}.stop() and {name}.wait() steer it."
            )

    @no_var_expand
    @magic_arguments("kmistakes")
    @help_option
    @argument("model", help="name of a model that tells classes apart")
    @argument("x", help="the samples")
    @argument("y", help="their classes: numbers or one-hot")
    @argument("-n", "--worst", default="12", help="how many of the worst to show")
    @argument("--names", help="names of the classes, a {list}")
    @line_magic
    def kmistakes(self, line: str) -> None:
        """Show what a model confuses, class by class, and where it is most wrong.

            %kmistakes digits x_test y_test --worst 20

        In Python: kerasnb.notebook.mistakes(model, x_test, y_test).
        """
        args = self._arguments(self.kmistakes, line)
        if args is None:
            return
        read = Reader(self.shell.user_ns, "%kmistakes")
        model = read.model(args.model)
        data = [read.expression(text) for text in (args.x, args.y)]
        names = args.names and read.expression(args.names)
        worst = read.number(args.worst, int)
        with short_errors("%kmistakes"):
            display(mistakes(model, *data, class_names=names, worst=worst))

    @no_var_expand
    @magic_arguments("kinspect")
    @help_option
    @argument("model", help="name of a model")
    @argument("layer", nargs="?", help="name of a layer; all of them without")
    @argument("--on", metavar="X", help="samples to look at the activations with")
    @line_magic
    def kinspect(self, line: str) -> None:
        """Look into a model: its weights and, with --on, its activations.

            %kinspect digits
            %kinspect digits conv2d --on x_test[:64]

        In Python: kerasnb.notebook.inspect(model, x_test[:64], layer="conv2d").
        """
        args = self._arguments(self.kinspect, line)
        if args is None:
            return
        read = Reader(self.shell.user_ns, "%kinspect")
        model = read.model(args.model)
        x = args.on and read.expression(args.on)
        with short_errors("%kinspect"):
            display(inspect(model, x, layer=args.layer))

    @no_var_expand
    @magic_arguments("kruns")
    @help_option
    @argument(
        "-c",
        "--compare",
        nargs="+",
        default=[],
        metavar="RUN",
        help="these runs alone: their names, or places such as -1; all without",
    )
    @argument(
        "--sort", metavar="NAME", help="best first, by val_loss, time, epochs or name"
    )
    @argument("--clear", action="store_true", help="forget all runs of this notebook")
    @line_magic
    def kruns(self, line: str) -> None:
        """Show the runs of this notebook side by side: every `fit` is one.

        The curves over one another, the results, and what differed in the code and in
        the settings.

            %kruns
            %kruns --sort val_accuracy
            %kruns --compare digits digits-2

        A click on the head of a column sorts. The button in a row puts the weights of
        that run's best epoch into the model; in Python that is
        kerasnb.runs["digits-2"].load_best(). A run has the name of its model; another
        one is given by `with kerasnb.runs.named("wide"): ...` around `fit`. In Python:
        kerasnb.runs.compare("digits", "digits-2").sorted("val_accuracy").
        """
        args = self._arguments(self.kruns, line)
        if args is None:
            return
        if args.clear:
            count = len(runs.session)
            runs.clear()
            print(f"{count} run{'' if count == 1 else 's'} forgotten.")
            return
        read = Reader(self.shell.user_ns, "%kruns")
        names = (part for text in args.compare for part in split_at_commas(text))
        try:
            found = runs.compare(*(_run(read.name(name)) for name in names))
        except LookupError as error:
            raise UsageError(f"%kruns: {error.args[0]}") from None
        with short_errors("%kruns"):
            display(found.sorted(args.sort) if args.sort else found)

    @no_var_expand
    @magic_arguments("kexport")
    @help_option
    @argument("model", help="name of a model")
    @argument("path", help="the file to write: digits.stablehlo")
    @argument("--to", metavar="FORMAT", help="stablehlo; by the ending of PATH without")
    @argument(
        "--batch", metavar="N", help="rows of each batch; any number where it can be"
    )
    @line_magic
    def kexport(self, line: str) -> None:
        """Write a model to a file that runs without it, and check the file.

            %kexport digits digits.stablehlo
            %kexport digits {folder / "digits.stablehlo"} --batch 8

        The file holds the forward pass and the weights as StableHLO; any process with
        JAX runs it: kerasnb.export.load("digits.stablehlo")(x). It is read back, and
        has to give the answers of the model. In Python:
        model.export("digits.stablehlo").
        """
        args = self._arguments(self.kexport, line)
        if args is None:
            return
        read = Reader(self.shell.user_ns, "%kexport")
        model, path = read.model(args.model), read.name(args.path)
        batch = read.number(args.batch, int)
        with short_errors("%kexport"):
            display(model.export(path, format=args.to, batch=batch))

    @magic_arguments("kinfo")
    @help_option
    @line_magic
    def kinfo(self, line: str) -> None:
        """Show devices, versions and settings. In Python: kerasnb.config.info()."""
        if self._arguments(self.kinfo, line) is not None:
            display(Facts("kerasnb on this machine", config.info()))

    def _arguments(self, magic: Any, line: str) -> Any:
        """The arguments of a magic; None when its help was asked for and shown."""
        try:
            return parse(magic, line, self.defaults.given(magic.parser))
        except HelpAsked as asked:
            print(asked)
            return None


_NOT_A_LINE = (
    "%%kmodel, with two %, is the first line of a cell; the layers follow below it. "
    "%%kmodel --help lists its options."
)


def _run(name: Any) -> Any:
    """The name of a run, or its place among them."""
    if not isinstance(name, str) or name in runs.session:
        return name
    return int(name) if name.lstrip("-").isdigit() else name


def _validation(texts: list[str], read: Reader) -> dict[str, Any]:
    """The arguments of `fit` for data, or a fraction, to validate with."""
    values = read.several(texts)
    if len(values) > 3:
        raise UsageError("%kfit: --validation takes x and y, a dataset or a fraction.")
    if not values:
        return {}
    if len(values) > 1:
        return {"validation_data": tuple(values)}
    if isinstance(values[0], int | float):
        return {"validation_split": float(values[0])}
    return {"validation_data": values[0]}
