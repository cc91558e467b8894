"""`@layer`: a layer from a plain function.

`Plan` reads from the function's signature what each parameter is; `layer` makes the
class, whose constructor, `build` and `call` follow the plan.
"""

import ast
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, overload

import numpy as np

from kerasnb import initializers
from kerasnb.core.errors import check, show, suggest
from kerasnb.core.graph import leaves, map_structure
from kerasnb.core.registry import register_keras_serializable
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import Layer
from kerasnb.random import SeedGenerator

Size = int | None
T = TypeVar("T")

# --- What marks a parameter -----------------------------------------------------------


class Weight:
    """A weight that training changes: `kernel=Weight("features units", "zeros")`.

    Each word is the size of an axis: a setting of the layer (one that is a tuple brings
    several sizes), an axis of an input (`features` is the last one, `Axes` names the
    others), a number, or arithmetic without blanks: `2*units`. `Weight("")` is a single
    number. The other arguments are those of `Layer.add_weight`.
    """

    trainable = True
    first_values = "glorot_uniform"

    def __init__(
        self,
        shape: str | int | Iterable[str | int] | None = None,
        initializer: Any = None,
        *,
        dtype: Any = None,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        if shape is None:
            kind = type(self).__name__
            raise TypeError(
                f"A {kind} needs a shape: name its axes, as in "
                f'{kind}("features units"), or write {kind}("") for a single number.'
            )
        self.sizes = [_compile(word) for word in _words(shape)]
        self.initializer = self.first_values if initializer is None else initializer
        self.options = {
            "dtype": dtype,
            "autocast": autocast,
            "regularizer": regularizer,
            "constraint": constraint,
        }

    def __class_getitem__(cls, shape: Any) -> Self:
        return cls(shape)

    def shape(self, who: str, name: str, known: dict[str, Any]) -> tuple[Size, ...]:
        """The shape, from what is known of the inputs and the settings."""
        shape: list[Size] = []
        for text, code in self.sizes:
            try:
                size = _compute(code, known)
            except KeyError:
                raise ValueError(
                    f"{who}: the axis `{text}` of the weight `{name}` is not known. "
                    f"An axis is one of {', '.join(known)}, or a number."
                    f"{suggest(text, known)}"
                ) from None
            except TypeError:
                size = None  # arithmetic with an axis that is not known
            sizes = size if isinstance(size, list | tuple) else [size]
            good = all(d is None or _is_size(d) for d in sizes)
            check(good, who, text, size, f"an integer, for an axis of `{name}`")
            shape.extend(sizes)
        return tuple(shape)


class State(Weight):
    """A weight that training leaves alone and the layer itself changes, by `.assign`.

    It begins with zeros: `mean=State("features")`, `count=State("", dtype="int32")`.
    """

    trainable = False
    first_values = "zeros"


class Axes:
    """Names for the axes of an input, as its type: `x: Axes["batch time features"]`.

    Weights may use the names, and an input of another rank is refused. `...` stands for
    any number of axes, `_` for one without a name.
    """

    def __init__(self, names: str | Iterable[str]) -> None:
        self.names = [str(word) for word in _words(names)]

    def __class_getitem__(cls, names: Any) -> Self:
        return cls(names)

    def sizes(self, who: str, argument: str, shape: Any) -> list[tuple[str, Size]]:
        """The sizes after their names, for an input of that shape."""
        names, shape = self.names, tuple(shape)
        if "..." in names:
            gap = names.index("...")
            more = len(shape) - len(names) + 1
            names = [*names[:gap], *["_"] * more, *names[gap + 1 :]]
        if len(names) != len(shape):
            expected = f"an array with the axes ({', '.join(self.names)})"
            raise _misfit(who, argument, expected, shape)
        return [(n, d) for n, d in zip(names, shape, strict=True) if n != "_"]


# --- The decorator --------------------------------------------------------------------


@overload
def layer(function: Callable[..., Any]) -> type["FunctionLayer"]: ...
@overload
def layer(
    *, supports_masking: bool = False, package: str | None = None
) -> Callable[[Callable[..., Any]], type["FunctionLayer"]]: ...
def layer(
    function: Callable[..., Any] | None = None,
    *,
    supports_masking: bool = False,
    package: str | None = None,
) -> Any:
    """Make a subclass of `Layer` from a function.

    What a parameter of the function is can be read off it:

    - without a default, before the `*`: an **input**, an array or a list or dict of
      them; `x: Axes["batch time features"]` names its axes;
    - with a `Weight` or `State` as its default: a **weight**, by the names of its axes
      and what fills it at first (a name, a number, an array, an initializer). Under its
      name the class takes other first values. `bias: Weight["units"] = "zeros"` says
      the same as a type;
    - with another default, or after the `*`: a **setting**, an argument of the class. A
      layer as a default is a pattern, of which each new layer gets its own copy;
    - `training`, `mask` (or `<input>_mask`), `rng`: **given** to a function that asks:
      the mode, the mask of the input, a fresh random key. With `rng` the class takes a
      `seed`.

    A `Weight` arrives as an array, so the function can be tested as it is (the class
    keeps it as `.function`). A `State` arrives as its variable, to be read like an
    array and changed with `.assign`. Files know the class as `package>name`, by default
    the function's module. `supports_masking=True` hands the mask of the input on.

    >>> import jax.numpy as jnp
    >>> @layer
    ... def Project(x, kernel=Weight("features units"), *, units, power=1.0):
    ...     return (x @ kernel) ** power
    >>> project = Project(3, power=2.0, kernel="ones", name="squares")
    >>> project(jnp.array([[1.0, 2.0]])).tolist()
    [[9.0, 9.0, 9.0]]
    >>> project.kernel
    <Variable path=squares/kernel, shape=(2, 3), dtype=float32>
    """
    if function is None:
        return functools.partial(
            layer, supports_masking=supports_masking, package=package
        )
    plan = Plan.of(function)
    body = {
        "__doc__": inspect.getdoc(function)
        or f"A layer from the function `{plan.name}`.",
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__init__": _signed("__init__", _init, plan.constructor()),
        "build": _signed("build", _build, plan.shapes()),
        "call": _signed("call", _call, plan.given),
        "function": staticmethod(function),
        "supports_masking": supports_masking,
        "_plan": plan,
    }
    made = type(plan.name, (FunctionLayer,), body)
    return register_keras_serializable(package or function.__module__)(made)


class FunctionLayer(Layer):
    """The base of the classes that `kerasnb.layer` makes."""

    _plan: "Plan"
    _initializers: dict[str, Any]
    function: Callable[..., Any]
    seed_generator: SeedGenerator


def _init(self: FunctionLayer, *args: Any, **kwargs: Any) -> None:
    plan = self._plan
    try:
        bound = plan.constructor().bind(self, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{plan.name}: {error}.") from None
    bound.apply_defaults()
    Layer.__init__(self, **bound.arguments.pop("kwargs"))
    values = bound.arguments
    for name, default in plan.settings.items():
        if values[name] is default:
            values[name] = self._config[name] = _copy_pattern(self, name, default)
        setattr(self, name, values[name])
    self._initializers = {name: _initializer(values[name]) for name in plan.weights}
    if plan.draws:
        self.seed_generator = SeedGenerator(values["seed"])


def _build(self: FunctionLayer, *args: Any, **kwargs: Any) -> None:
    plan = self._plan
    shapes = plan.shapes().bind(self, *args, **kwargs).arguments
    known = plan.sizes([*shapes.values()][1:])
    known |= {name: getattr(self, name) for name in plan.settings}
    for name, weight in plan.weights.items():
        variable = self.add_weight(
            weight.shape(plan.name, name, known),  # type: ignore[arg-type]
            self._initializers[name],
            trainable=weight.trainable,
            name=name,
            **weight.options,
        )
        setattr(self, name, variable)


def _call(self: FunctionLayer, *args: Any, **kwargs: Any) -> Any:
    plan = self._plan
    bound = plan.given.bind(self, *args, **kwargs)
    bound.apply_defaults()
    values = bound.arguments
    for name, weight in plan.weights.items():
        variable: Variable = getattr(self, name)
        values[name] = variable.value if weight.trainable else variable
    for name in plan.settings:
        values[name] = getattr(self, name)
    if plan.draws:
        values["rng"] = self.seed_generator.next()
    arguments = {name: values[name] for name in plan.signature.parameters}
    ordered = inspect.BoundArguments(plan.signature, arguments)
    return self.function(*ordered.args, **ordered.kwargs)


# --- Reading the function -------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The parameters of a function by kind; `given` is the signature of the call."""

    name: str
    signature: inspect.Signature
    inputs: dict[str, Axes | None]
    weights: dict[str, Weight]
    settings: dict[str, Any]
    given: inspect.Signature
    draws: bool

    @classmethod
    def of(cls, function: Any) -> "Plan":
        """Read a function's signature; a sentence for what cannot be a layer."""
        name = getattr(function, "__name__", "")
        if inspect.isclass(function) or not name.isidentifier():
            raise TypeError(
                "@layer goes on a function made with `def`, whose name becomes that of "
                f"the layer, not on {show(function)}."
            )
        try:  # annotations are text under `from __future__ import annotations`
            signature = inspect.signature(function, eval_str=True)
        except (NameError, SyntaxError) as error:
            raise TypeError(
                f"{name}: its annotations cannot be read ({error}). The names in them "
                "must be known where the module begins; axes are written as "
                '`x: Axes["batch features"]`.'
            ) from None
        inputs: dict[str, Axes | None] = {}
        weights: dict[str, Weight] = {}
        settings: dict[str, Any] = {}
        given = []
        for p in signature.parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(
                    f"{name}: a layer names its arguments; replace `{p}` by a list or "
                    "a dict as one input, or by settings with defaults."
                )
            if (weight := _weight_of(p)) is not None:
                weights[p.name] = weight
            elif p.name in ("training", "mask") or (
                p.name.endswith("_mask") and p.name.removesuffix("_mask") in inputs
            ):
                default = None if p.default is p.empty else p.default
                given.append(p.replace(kind=p.KEYWORD_ONLY, default=default))
            elif p.name == "rng":
                continue
            elif p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
                settings[p.name] = p.default
            else:
                axes = p.annotation
                inputs[p.name] = axes if isinstance(axes, Axes) else None
        if not inputs:
            raise TypeError(
                f"{name}: the function of a layer takes its input first, as in "
                f"`def {name}(x, ...)`."
            )
        for taken in [*weights, *settings]:
            if hasattr(FunctionLayer, taken) or taken in _TAKEN:
                raise TypeError(
                    f"{name}: `{taken}` is something that every layer has already; "
                    "give the argument another name."
                )
        call = inspect.Signature([_parameter("self"), *map(_parameter, inputs), *given])
        draws = "rng" in signature.parameters
        return cls(name, signature, inputs, weights, settings, call, draws)

    def constructor(self) -> inspect.Signature:
        """The signature of `__init__`: settings, then initializers of the weights."""
        parameters = [_parameter("self")]
        keyword_only = False
        for name, default in self.settings.items():
            p = _parameter(name, default)
            # Python wants required arguments before those with defaults.
            required_late = p.default is p.empty and any(
                q.default is not q.empty for q in parameters
            )
            keyword_only = keyword_only or required_late
            kind = p.KEYWORD_ONLY if keyword_only else p.kind
            parameters.append(p.replace(kind=kind))
        named = {name: weight.initializer for name, weight in self.weights.items()}
        if self.draws and "seed" not in self.settings:
            named["seed"] = None
        last = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
        only = inspect.Parameter.KEYWORD_ONLY
        parameters += [_parameter(n, d).replace(kind=only) for n, d in named.items()]
        return inspect.Signature([*parameters, last])

    def shapes(self) -> inspect.Signature:
        """The signature of `build`."""
        names = [f"{name}_shape" for name in self.inputs]
        if len(names) == 1:
            names = ["input_shape"]
        return inspect.Signature([_parameter(name) for name in ("self", *names)])

    def sizes(self, shapes: list[Any]) -> dict[str, Size]:
        """The sizes of the axes of the inputs, by name."""
        known: dict[str, Size] = {}
        for (argument, axes), shape in zip(self.inputs.items(), shapes, strict=False):
            for axis, size in axes.sizes(self.name, argument, shape) if axes else ():
                before = known.get(axis)
                if None not in (before, size) and before != size:
                    expected = f"as long as before along `{axis}` ({before})"
                    raise _misfit(self.name, argument, expected, shape)
                known[axis] = size if before is None else before
        if first := _first_shape(shapes[0]):
            known.setdefault("features", first[-1])
        return known


_TAKEN = {"name", "seed_generator", "activity_regularizer", "autocast", "self"}


def _weight_of(p: inspect.Parameter) -> Weight | None:
    if isinstance(p.default, Weight):
        return p.default
    if inspect.isclass(p.annotation) and issubclass(p.annotation, Weight):
        return p.annotation()  # which says that a shape is missing
    if not isinstance(p.annotation, Weight):
        return None
    # The marker itself may be used again for another parameter.
    weight = object.__new__(type(p.annotation))
    weight.__dict__.update(p.annotation.__dict__)
    if p.default is not p.empty and p.default is not None:
        weight.initializer = p.default
    return weight


def _initializer(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return initializers.Constant(value)
    return initializers.get(value)


def _copy_pattern(self: Layer, name: str, default: T) -> T:
    """A default with fresh layers in the place of those it holds, if any."""
    found = [x for x in leaves(default) if isinstance(x, Layer)]
    if not found:
        return default

    def copy(x: Any) -> Any:
        if not isinstance(x, Layer):
            return x
        own_name = name if len(found) == 1 else f"{name}_{found.index(x)}"
        config = {**x.get_config(), "name": own_name}
        if x._config.get("dtype") is None:
            config["dtype"] = self.dtype_policy
        return type(x).from_config(config)

    return map_structure(copy, default)


def _parameter(name: str, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default)


def _signed(name: str, function: Callable, signature: inspect.Signature) -> Callable:
    """The same code as a method of its own, which shows that signature."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = name
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def _words(shape: Any) -> list[str | int]:
    if isinstance(shape, str):
        return [*shape.replace(",", " ").split()]
    return [*shape] if isinstance(shape, Iterable) else [shape]


# The arithmetic that sizes may be made of.
_OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def _compile(word: str | int) -> tuple[str, ast.expr]:
    text = str(word)
    try:
        parsed = ast.parse(text, mode="eval").body
        _compute(parsed, _AnyName())
    except SyntaxError:
        raise ValueError(
            f"`{text}` is not the size of an axis: write a name, a number or "
            "arithmetic (+ - * // **) without blanks, as in `2*units`."
        ) from None
    return text, parsed


def _compute(size: ast.expr, known: Mapping[str, Any]) -> Any:
    match size:
        case ast.Name(id=name):
            return known[name]
        case ast.Constant(value=int(value)):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_compute(left, known), _compute(right, known))
    raise SyntaxError(ast.unparse(size))


class _AnyName(dict):
    """Every name stands for 1, to try out arithmetic."""

    def __missing__(self, name: str) -> int:
        return 1


def _misfit(who: str, argument: str, expected: str, shape: Any) -> ValueError:
    shape = tuple(shape)
    return ValueError(
        f"{who}: `{argument}` must be {expected}, not one of shape {shape}."
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(value >= 0)


def _first_shape(shape: Any) -> tuple[Size, ...]:
    """The shape of the first array of an input that may be a list or dict of them."""
    while isinstance(shape, dict):
        shape = next(iter(shape.values()), ())
    nested = isinstance(shape, list | tuple) and any(
        isinstance(item, list | tuple | dict) for item in shape
    )
    return _first_shape(shape[0]) if nested else tuple(shape or ())
