"""What a call costs: the operations in the program that JAX makes of it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax


def count_flops(call: Callable, *inputs: Any) -> int:
    """Multiplications and additions in the matrix products and convolutions of a call.

    Each number of a kernel is used once for each place that it visits: twice as many
    operations, one multiplication and one addition. `inputs` are arrays or their specs.

    >>> x = jax.ShapeDtypeStruct((1, 7), "float32")
    >>> count_flops(lambda x: x @ jax.numpy.ones((7, 5)), x)
    70
    """
    return _in_program(jax.make_jaxpr(call)(*inputs).jaxpr)


def _in_program(program: Any) -> int:
    return sum(_in_step(step) for step in program.eqns)


def _in_step(step: Any) -> int:
    name, settings = step.primitive.name, step.params
    shapes = [
        tuple(getattr(v.aval, "shape", ())) for v in (*step.invars, *step.outvars)
    ]
    if name == "dot_general":
        (contracted, _), _ = settings["dimension_numbers"]
        return 2 * math.prod(shapes[-1]) * math.prod(shapes[0][i] for i in contracted)
    if name == "keras_conv":
        # Of images, kernel and outputs, two are at hand; all three count alike.
        kernel = shapes[1] if settings["wanted"] != "kernel" else shapes[-1]
        outputs = shapes[0] if settings["wanted"] == "inputs" else shapes[-1]
        outputs = shapes[1] if settings["wanted"] == "kernel" else outputs
        return 2 * math.prod(outputs[:-1]) * math.prod(kernel)
    if name == "conv_general_dilated":
        numbers = settings["dimension_numbers"]
        kernel, features = shapes[1], numbers.out_spec[1]
        places = math.prod(n for i, n in enumerate(shapes[-1]) if i != features)
        return 2 * places * math.prod(kernel)
    inside = sum(_in_program(p) for p in _programs(settings.values()))
    return inside * settings["length"] if name == "scan" else inside


def _programs(values: Iterable[Any]) -> Iterable[Any]:
    """The programs among the settings of a step; of branches, the longest counts."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from sorted(_programs(value), key=_in_program)[-1:]
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr
        elif hasattr(value, "eqns"):
            yield value
