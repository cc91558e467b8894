"""The magics: each reads its line, calls one public function and shows the result."""

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

from kerasnb import callbacks, config, losses, metrics, optimizers
from kerasnb.models.code import to_code
from kerasnb.notebook.display import Facts
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
        a change without losing what is trained: --keep. `%config KerasNB` sets what is
        not said. In Python: kerasnb.notebook.build_model("Dense(10)", input=(4,)).
        """
        args = self._arguments(self.kmodel, line)
        if args is None:
            return
        if cell is None:
            raise UsageError(_NOT_A_LINE)
        read = Reader(self.shell.user_ns, "%%kmodel")
        old = read.new_model(args.name)
        model = build_model(
            cell,
            self.shell.user_ns,
            name=args.name,
            input=read.inputs(args.input),
            dtype=read.name(args.dtype),
            optimizer=read.name(args.optimizer, optimizers, optimizers.schedules),
            learning_rate=read.rate(args.learning_rate, optimizers.schedules),
            loss=read.name(args.loss, losses),
            target=None if args.target is None else read.expression(args.target),
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
    @line_magic
    def kfit(self, line: str) -> None:
        """Train a model and watch it learn; the curves stay in MODEL.history.

            %kfit digits x_train y_train --epochs 5 --validation x_test y_test
            %kfit digits x_train[:1000] y_train[:1000] --validation 0.2
            %kfit digits dataset --callbacks {[EarlyStopping(patience=3)]}

        The kernel's stop button ends the training and keeps what is learned; once more
        %kfit goes on from there. In Python: model.fit(x_train, y_train, epochs=5).
        """
        args = self._arguments(self.kfit, line)
        if args is None:
            return
        read = Reader(self.shell.user_ns, "%kfit")
        model = read.model(args.model)
        validation = _validation(args.validation, read)
        rate = read.rate(args.learning_rate, optimizers.schedules)
        with short_errors("%kfit"):
            if rate is not None:
                model.optimizer.learning_rate = rate
            model.fit(
                *read.several(args.data),
                epochs=read.number(args.epochs, int),
                batch_size=read.number(args.batch_size, int),
                callbacks=args.callbacks and read.expression(args.callbacks, callbacks),
                verbose=int(args.verbose) if args.verbose.isdigit() else args.verbose,
                **validation,
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


def _validation(texts: list[str], read: Reader) -> dict[str, Any]:
    """The arguments of `fit` for data, or a fraction, to validate with."""
    values = read.several(texts)
    if len(values) > 3:
        raise UsageError("%kfit: --validation takes x and y, a dataset or a fraction.")
    if not values:
        return {}
    if len(values) > 1:
        return {"validation_data": tuple(values)}
    if isinstance(values[0], float):
        return {"validation_split": values[0]}
    return {"validation_data": values[0]}
