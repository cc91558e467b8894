"""Whether the rows of a batch hear of one another, read off the traced program.

A batch can be padded to a size that is compiled already if every row of the outputs
depends on the same row of the inputs and on no other, nor on how many there are. The
program is traced for an unknown number of rows, which JAX then writes as a symbol into
the shape of every array that has a place for each row. The rows stay apart if every
instruction leaves that axis alone; one that is not known here is taken to mix them.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.export import symbolic_shape
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bitcast_convert_type
    bessel_i0e bessel_i1e cbrt ceil clamp complex conj convert_element_type copy copy_p
    cos cosh custom_lin digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag
    integer_pow is_finite le lgamma log log1p logistic lt max min mul name ne neg
    nextafter not optimization_barrier or pow real reduce_precision rem round rsqrt
    select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt
    square stop_gradient sub tan tanh xor
    """.split()
)
MOVES = frozenset({"broadcast_in_dim", "expand_dims", "iota", "squeeze", "transpose"})
AROUND = frozenset(
    """
    checkpoint closed_call cond core_call custom_jvp_call custom_vjp_call
    custom_vjp_call_jaxpr jit pjit remat remat2 scan while
    """.split()
)
_OTHERS = ("cond", "while")  # hand only some of their operands on
# Instructions that work along axes, and the parameter that names these.
ALONG = {
    **dict.fromkeys("cumsum cumprod cummax cummin cumlogsumexp split".split(), "axis"),
    **dict.fromkeys("concatenate sort".split(), "dimension"),
    "rev": "dimensions",
    **{f"reduce_{kind}": "axes" for kind in "sum max min prod and or xor".split()},
    "argmax": "axes",
    "argmin": "axes",
}


def stay_apart(fn: Callable, batch: Any) -> bool:
    """Whether each row of `fn(batch)` depends on that row of `batch` alone.

    False stands for "not that I know". `batch` is nested arrays with rows on axis 0.
    """
    (count,) = symbolic_shape("rows", constraints=["rows >= 2"])
    specs = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), a.dtype), batch
    )
    try:
        program = jax.make_jaxpr(fn)(specs).jaxpr
        return _apart(program) and all(_axis(v) == 0 for v in program.outvars)
    except Exception:  # noqa: BLE001 (whatever it is, it needs a number)
        return False


class _Mixed(Exception):
    """An array has more than one axis of rows, or one of another length."""


def _axis(v: Any) -> int | None:
    """Which axis of an array has a place for each row."""
    found = [i for i, n in enumerate(v.aval.shape) if not isinstance(n, int)]
    if len(found) > 1 or any(str(v.aval.shape[i]) != "rows" for i in found):
        raise _Mixed
    return found[0] if found else None


def _apart(program: Jaxpr) -> bool:
    return not program.effects and all(map(_keeps_apart, program.eqns))


def _keeps_apart(eqn: JaxprEqn) -> bool:
    name, how = eqn.primitive.name, eqn.params
    given, made = [_axis(v) for v in eqn.invars], [_axis(v) for v in eqn.outvars]
    if name in AROUND:
        # A loop over the rows would hand its body arrays without them.
        count = sum(axis is not None for axis in given)
        return isinstance(how.get("length", 0), int) and all(
            _apart(inner)
            and (name in _OTHERS or sum(map(_has_rows, inner.invars)) == count)
            for inner in jaxprs_in_params(how)
        )
    if all(axis is None for axis in given):
        return name in MOVES or (all(axis is None for axis in made) and bool(given))
    if any(axis is None for axis in made):
        return False
    axis = next(axis for axis in given if axis is not None)
    if name in ELEMENTWISE:
        return all(a in (None, made[0]) for a in given)
    if name in MOVES:
        return True
    if name in ALONG:
        along = how[ALONG[name]]
        return axis not in (along if isinstance(along, tuple) else (along,))
    return name in RULES and RULES[name](eqn, given, made)


def _shape(v: Any) -> tuple:
    return v.aval.shape


def _has_rows(v: Any) -> bool:
    return _axis(v) is not None


def _dot(eqn: JaxprEqn, given: list, made: list) -> bool:
    summed, _ = eqn.params["dimension_numbers"]
    return all(a not in dims for a, dims in zip(given, summed, strict=True))


def _convolution(eqn: JaxprEqn, given: list, made: list) -> bool:
    numbers = eqn.params["dimension_numbers"]
    single = eqn.params["batch_group_count"] == 1
    return given == [numbers.lhs_spec[0], None] and single


def _window(eqn: JaxprEqn, given: list, made: list) -> bool:
    how, axis = eqn.params, given[0]
    one = all(
        how[name][axis] == 1
        for name in (
            "window_dimensions",
            "window_strides",
            "base_dilation",
            "window_dilation",
        )
    )
    return one and tuple(how["padding"][axis]) == (0, 0)


def _reshape(eqn: JaxprEqn, given: list, made: list) -> bool:
    before = _shape(eqn.invars[0])[: given[0]]
    after = _shape(eqn.outvars[0])[: made[0]]
    return eqn.params["dimensions"] is None and math.prod(before) == math.prod(after)


def _slice(eqn: JaxprEqn, given: list, made: list) -> bool:
    # All rows came out again, so that they begin with the first; forwards.
    steps = eqn.params["strides"]
    return steps is None or steps[given[0]] == 1


def _update(eqn: JaxprEqn, given: list, made: list) -> bool:
    return given[0] == given[1]


def _pad(eqn: JaxprEqn, given: list, made: list) -> bool:
    return tuple(eqn.params["padding_config"][given[0]]) == (0, 0, 0)


def _gather(eqn: JaxprEqn, given: list, made: list) -> bool:
    operand, indices = given
    if operand is None:  # a table of embeddings, say
        return True
    numbers = eqn.params["dimension_numbers"]
    if indices is None:  # the same places of every row
        return (
            operand not in numbers.collapsed_slice_dims
            and str(eqn.params["slice_sizes"][operand]) == "rows"
        )
    paired = zip(
        numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
    )
    return (operand, indices) in paired


RULES: dict[str, Callable[[JaxprEqn, list, list], bool]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot,
    "dynamic_slice": lambda eqn, given, made: True,  # all rows came out again
    "dynamic_update_slice": _update,
    "fft": lambda eqn, given, made: (
        given[0] < len(_shape(eqn.invars[0])) - len(eqn.params["fft_lengths"])
    ),
    "gather": _gather,
    "keras_conv": lambda eqn, given, made: (
        given == [0, None] and eqn.params["wanted"] != "kernel"
    ),
    "pad": _pad,
    **{f"reduce_window{kind}": _window for kind in ("_max", "_min", "_sum")},
    "reshape": _reshape,
    "slice": _slice,
    "top_k": lambda eqn, given, made: (
        given[0] != eqn.params.get("axis", len(_shape(eqn.invars[0])) - 1)
    ),
}
