"""`WeightedLayer`: weights described by constructor arguments, three for each."""

from typing import Any

from kerasnb import constraints, initializers, regularizers
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import Layer


class WeightedLayer(Layer):
    """A layer with arguments `<weight>_initializer`, `_regularizer`, `_constraint`.

    `__init__` describes a weight, `build` makes it by its name.
    """

    def _describe(
        self,
        weight: str,
        initializer: Any,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        """Keep what a weight is to be made of, under the names of the arguments."""
        # In this order: an initializer without a seed draws one here.
        setattr(self, f"{weight}_initializer", initializers.get(initializer))
        setattr(self, f"{weight}_regularizer", regularizers.get(regularizer))
        setattr(self, f"{weight}_constraint", constraints.get(constraint))

    def _make(
        self,
        weight: str,
        shape: tuple[int, ...],
        trainable: bool = True,
        autocast: bool = True,
        name: str | None = None,
        initializer: Any = None,
    ) -> Variable:
        """The weight described as `weight`, in the given shape, called `name`."""
        return self.add_weight(
            shape,
            initializer or getattr(self, f"{weight}_initializer"),
            trainable=trainable,
            autocast=autocast,
            regularizer=getattr(self, f"{weight}_regularizer"),
            constraint=getattr(self, f"{weight}_constraint"),
            name=name or weight,
        )
