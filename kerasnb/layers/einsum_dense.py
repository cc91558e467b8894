"""A matrix product of any form, told by an equation: `EinsumDense`."""

import math
import re
from collections.abc import Sequence
from itertools import islice
from string import ascii_letters
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kerasnb import activations
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.initializers import VarianceScaling
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.lora import adapted_weight
from kerasnb.layers.quantized import Layout, QuantizedProduct

Shape = Sequence[int | None]


class EinsumDense(QuantizedProduct):
    """Product of the inputs and a kernel along named axes, a bias and an activation.

        y = activation(einsum(equation, x, kernel) + bias)

    `equation` is `"ab,bc->ac"`, with letters for the axes of the input, the kernel and
    the output; `...` before or after the letters of both input and output stands for
    any further axes. `output_shape` lists the lengths of the output's lettered axes but
    the first of the batch, None where the input's is to be used. `bias_axes` are the
    letters of the output along which the bias differs; without them there is none.

    Shapes: as the equation says; `kernel` has the lengths of its letters.

    >>> layer = EinsumDense("abc,cd->abd", output_shape=(None, 64), bias_axes="d")
    >>> layer(jnp.ones((2, 32, 128))).shape, layer.kernel.shape, layer.bias.shape
    ((2, 32, 64), (128, 64), (64,))
    >>> EinsumDense("...x,xy->...y", output_shape=64)(jnp.ones((2, 3, 4, 5))).shape
    (2, 3, 4, 64)
    """

    kernel = adapted_weight("kernel")
    kernel_initializer: Any

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
            **kwargs,
        )
        _parse(equation)  # a mistake fails here, not in `build`
        self.equation = equation
        if isinstance(output_shape, int):
            output_shape = (output_shape,)
        self.partial_output_shape = tuple(output_shape)
        # The attribute `output_shape` is not set: in Keras it belongs to models.
        self._config["output_shape"] = self.partial_output_shape
        self._config.setdefault("activity_regularizer", None)
        self.bias_axes = bias_axes
        self.activation = activations.get(activation)
        self._describe(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint
        )
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.gptq_unpacked_column_size = gptq_unpacked_column_size
        self.bias: Variable | None = None

    def build(self, input_shape: Shape) -> None:
        """Make `kernel` and `bias` with the lengths of their letters."""
        form = _lengths(
            self._who(),
            self.equation,
            input_shape,
            self.partial_output_shape,
            self.bias_axes,
        )
        start = self.kernel_initializer
        if isinstance(start, VarianceScaling) and (
            start.input_axes is None or start.output_axes is None
        ):
            config = {
                **start.get_config(),
                "seed": start._source,
                "input_axes": form.input_axes,
                "output_axes": form.output_axes,
            }
            start = type(start).from_config(config)
        self._letters = _lettered(self.equation, len(input_shape))
        self._kernel_shape = form.kernel
        self._make_adapted(form.kernel, initializer=start)
        if form.bias is not None:
            self.bias = self._make("bias", form.bias)
        self.input_spec = InputSpec(ndim=len(input_shape))
        self._start_lora()

    def _product(self, inputs: Any, kernel: Any) -> jax.Array:
        whole = "int32" if inputs.dtype == "int8" else None
        return jnp.einsum(self.equation, inputs, kernel, preferred_element_type=whole)

    def _layout(self, name: str) -> Layout:
        _, kernel, outputs = self._letters
        summed = tuple(i for i, x in enumerate(kernel) if x not in outputs)
        rows = math.prod(self._kernel_shape[i] for i in summed)
        return Layout(
            self._kernel_shape,
            summed,
            axis=0,
            matrix=(rows, math.prod(self._kernel_shape) // rows),
            align=lambda scale: _aligned(scale, kernel, outputs),
            back=lambda scale: _aligned(scale, outputs, kernel),
        )

    @property
    def _input_axes(self) -> tuple[int, ...]:
        inputs, _, outputs = self._letters
        return tuple(i for i, x in enumerate(inputs) if x not in outputs)

    def _added(self, inputs: jax.Array) -> jax.Array:
        _, kernel, outputs = self._letters
        if kernel[-1] == outputs[-1]:
            return super()._added(inputs)
        return self._product(inputs, self._addition())

    def _align_inputs(self, scale: jax.Array) -> jax.Array:
        inputs, _, outputs = self._letters
        return _aligned(scale, inputs, outputs)


class _Equation(NamedTuple):
    """The letters of an equation, and on which side of them others are left out."""

    inputs: str
    kernel: str
    outputs: str
    dots: str  # "left", "right" or ""


class _Form(NamedTuple):
    """Shapes of the weights, and the kernel's axes by their use."""

    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None
    input_axes: list[int]
    output_axes: list[int]


def _parse(equation: str) -> _Equation:
    """The parts of an equation; ValueError for one of another form."""
    pattern = r"(\.{3})?([a-zA-Z]+)(\.{3})?,([a-zA-Z]+)->(\.{3})?([a-zA-Z]+)(\.{3})?"
    found = re.fullmatch(pattern, equation) if isinstance(equation, str) else None
    if found:
        left, inputs, right, kernel, left_too, outputs, right_too = found.groups()
        paired = (left, right) == (left_too, right_too) and not (left and right)
        if paired and not (right and len(inputs) < 2):
            dots = "left" if left else "right" if right else ""
            return _Equation(inputs, kernel, outputs, dots)
    raise ValueError(
        f"EinsumDense: `equation` must look like 'ab,bc->ac', '...b,bc->...c' or "
        f"'ab...,bc->ac...', not {equation!r}."
    )


def _lettered(equation: str, ndim: int) -> tuple[str, str, str]:
    """The letters of input, kernel and output, with new ones for the dots."""
    inputs, kernel, outputs, dots = _parse(equation)
    unused = (x for x in ascii_letters if x not in inputs + kernel + outputs)
    more = "".join(islice(unused, ndim - len(inputs)))
    if dots == "left":
        return more + inputs, kernel, more + outputs
    return inputs + more, kernel, outputs + more


def _aligned(array: Any, letters: str, wanted: str) -> Any:
    """An array whose axes have `letters`, with the `wanted` ones.

    New axes have the length 1, as those must have that are left out.
    """
    kept = [letters.index(x) for x in wanted if x in letters]
    left = [i for i, x in enumerate(letters) if x not in wanted]
    shape = [array.shape[letters.index(x)] if x in letters else 1 for x in wanted]
    return array.transpose(kept + left).reshape(shape)


def _lengths(
    who: str,
    equation: str,
    input_shape: Shape,
    given: Shape,
    bias_axes: str | None,
) -> _Form:
    """The shapes of the weights for an input of that shape."""
    inputs, kernel, outputs, dots = _parse(equation)
    more = len(input_shape) - len(inputs)
    if more < 0 or (more and not dots):
        raise ValueError(
            f"{who} has the equation '{equation}' for inputs with {len(inputs)} axes "
            f"{'or more ' if dots else ''}and got the shape {tuple(input_shape)}."
        )
    before = more if dots == "left" else 0
    after = more if dots == "right" else 0
    full = (
        *input_shape[: max(before, 1)],
        *given,
        *input_shape[len(input_shape) - after :],
    )
    if len(full) != len(outputs) + more:
        raise ValueError(
            f"{who}: `output_shape` must list the {len(outputs) - (before == 0)} axes "
            f"of '{outputs}' {'' if before else 'after the batch '}and is "
            f"{tuple(given)}."
        )
    incoming = dict(zip(inputs, input_shape[before:], strict=False))
    outgoing = {
        letter: incoming.get(letter) if length is None else length
        for letter, length in zip(outputs, full[before:], strict=False)
    }
    for letter in inputs:
        wanted = outgoing.get(letter)
        if wanted is not None and wanted != incoming[letter]:
            raise ValueError(
                f"{who}: the axis '{letter}' of '{equation}' has length "
                f"{incoming[letter]} in the input of shape {tuple(input_shape)} and "
                f"{wanted} in `output_shape`; write None there."
            )
    for letter in outputs:
        if letter not in inputs + kernel:
            raise ValueError(
                f"{who}: the axis '{letter}' of the output in '{equation}' is neither "
                "one of the input nor of the kernel."
            )
    for letter in kernel:
        if letter not in inputs + outputs:
            raise ValueError(
                f"{who}: the axis '{letter}' of the kernel in '{equation}' is neither "
                "one of the input nor of the output."
            )
    shape = tuple({**incoming, **outgoing}[letter] for letter in kernel)
    if None in shape:
        raise ValueError(
            f"{who} needs to know the axes of its kernel '{kernel}', which the input "
            f"of shape {tuple(input_shape)} and output_shape={tuple(given)} leave "
            f"open: {shape}."
        )
    return _Form(
        shape,  # type: ignore[arg-type]
        _bias_shape(who, outputs, outgoing, bias_axes, after),
        [i for i, letter in enumerate(kernel) if letter not in outputs],
        [i for i, letter in enumerate(kernel) if letter in outputs],
    )


def _bias_shape(
    who: str,
    outputs: str,
    lengths: dict[str, int | None],
    bias_axes: str | None,
    after: int,
) -> tuple[int, ...] | None:
    """The bias' shape: from its first letter on, 1 where it does not differ."""
    if not bias_axes:
        return None
    known = all(lengths.get(letter) is not None for letter in bias_axes)
    expected = f"letters out of '{outputs}' with known lengths"
    check(known, who, "bias_axes", bias_axes, expected)
    first = min(outputs.index(letter) for letter in bias_axes)
    own = (lengths[x] if x in bias_axes else 1 for x in outputs[first:])
    return (*own, *(1,) * after)  # type: ignore[arg-type]
