"""The arguments that all optimizers share, and how a subclass takes them."""

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, TypedDict


class Options(TypedDict, total=False):
    """The arguments that every optimizer takes; `Optimizer` explains them."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


def spell_options(init: Callable, base: Callable) -> Callable:
    """`init(..., **options)` with the options of `base` written out in its signature.

    Tooltips, positional calls and configs then see what Keras' signatures have, while
    each class writes only its own arguments.
    """
    own = list(inspect.signature(init).parameters.values())
    taken = {p.name for p in own}
    shared = list(inspect.signature(base).parameters.values())[2:]
    spelled_out = [*own[:-1], *(p for p in shared if p.name not in taken)]
    signature = inspect.Signature(spelled_out)

    @functools.wraps(init)
    def spelled(*args: Any, **kwargs: Any) -> None:
        given = dict(signature.bind(*args, **kwargs).arguments)
        unknown = given.pop("kwargs", {})
        init(**given, **unknown)

    spelled.__signature__ = signature  # type: ignore[attr-defined]
    return spelled


def is_number(value: Any) -> bool:
    """Whether `value` can be a learning rate of its own: a number or a scalar array."""
    if isinstance(value, bool | str) or callable(value):
        return False
    return isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
