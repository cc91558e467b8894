"""Several optimizers for one model: which weight follows which."""

import re
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from kerasnb.core import registry
from kerasnb.core.configurable import Configurable
from kerasnb.core.errors import check, show
from kerasnb.core.variable import Variable
from kerasnb.optimizers.optimizer import Optimizer
from kerasnb.optimizers.wrap import LossScaleOptimizer


class OptimizerMap(Configurable, MutableMapping):
    """Optimizers by the paths of weights, and one for all other weights.

    A key is a path, or a pattern that must match a path as a whole. A path that is a
    key itself needs no pattern; one that matches several patterns is an error.

    >>> from kerasnb.optimizers import SGD, Adam
    >>> rules = OptimizerMap(SGD(), {"encoder/.*": Adam()})
    >>> rules["encoder/dense/kernel"].name, rules["decoder/dense/kernel"].name
    ('adam', 'sgd')
    """

    def __init__(
        self,
        default_optimizer: Optimizer,
        optimizer_map: dict[str, Optimizer] | None = None,
    ) -> None:
        _check_part("OptimizerMap", "default_optimizer", default_optimizer)
        known = optimizer_map is None or isinstance(optimizer_map, dict)
        check(known, "OptimizerMap", "optimizer_map", optimizer_map, "a dict, or None")
        self._default_optimizer = default_optimizer
        self.optimizer_map: dict[str, Optimizer] = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    @property
    def default_optimizer(self) -> Optimizer:
        """The optimizer of all weights that no key matches."""
        return self._default_optimizer

    def __getitem__(self, key: str) -> Optimizer:
        """The optimizer of a path."""
        if key in self.optimizer_map:
            return self.optimizer_map[key]
        found = [k for k in self.optimizer_map if re.fullmatch(k, key)]
        if len(found) > 1:
            raise ValueError(
                f"OptimizerMap: several keys match the weight `{key}`: "
                f"{', '.join(map(show, found))}. Leave it to one of them."
            )
        return self.optimizer_map[found[0]] if found else self.default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        """Let the weights of a path or pattern follow an optimizer."""
        check(isinstance(key, str), "OptimizerMap", "key", key, "a path or a pattern")
        if key in self.optimizer_map:
            raise ValueError(
                f"OptimizerMap has the key {show(key)} already; delete it first."
            )
        _check_part("OptimizerMap", "optimizer", optimizer)
        self.optimizer_map[key] = optimizer

    def __delitem__(self, key: str) -> None:
        """Forget a key."""
        del self.optimizer_map[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.optimizer_map)

    def __len__(self) -> int:
        return len(self.optimizer_map)

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer of a weight."""
        return self[variable.path]

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "OptimizerMap":
        """A map like the one whose `get_config` returned `config`."""
        with registry.custom_object_scope(custom_objects):
            return super().from_config(config)


class MultiOptimizer(Optimizer):
    """Each weight follows the optimizer that a map or a function names for it.

    `optimizer_map` is an `OptimizerMap`, or a function from a weight to an optimizer.
    There is no `learning_rate`: ask those in `optimizers` for theirs.
    `loss_scale_factor` takes the place of that of every one of them.

    >>> from kerasnb.optimizers import SGD
    >>> a, b = Variable([1.0], name="a"), Variable([1.0], name="b")
    >>> both = MultiOptimizer(OptimizerMap(SGD(0.5), {"b": SGD(0.1)}))
    >>> both.apply([[1.0], [1.0]], [a, b])
    >>> a.value.item(), round(b.value.item(), 3)
    (0.5, 0.9)
    """

    def __init__(
        self,
        optimizer_map: OptimizerMap | Callable[[Variable], Optimizer],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        who, expected = "MultiOptimizer", "an OptimizerMap, or a function of a weight"
        check(callable(optimizer_map), who, "optimizer_map", optimizer_map, expected)
        self._parts: list[Optimizer] = []
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self.optimizer_map = optimizer_map
        if isinstance(optimizer_map, OptimizerMap):
            for part in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._add(part)

    def _add(self, part: Optimizer) -> None:
        _check_part("MultiOptimizer", "optimizer_map", part)
        if part not in self._parts:
            part.loss_scale_factor = self.loss_scale_factor
            self._parts.append(part)

    def build(self, var_list: Sequence[Variable]) -> None:
        """Ask for the optimizer of each weight, and build each for its weights."""
        if self.built:
            return
        self._part_of: dict[Variable, Optimizer] = {}
        for variable in var_list:
            self._part_of[variable] = self.optimizer_map(variable)
            self._add(self._part_of[variable])
        for part, variables in self._shares(var_list):
            part.build(variables)
        super().build(var_list)

    def _shares(
        self, variables: Sequence[Variable]
    ) -> Iterator[tuple[Optimizer, list[Variable]]]:
        """The optimizers that have something to do, each with its weights."""
        for part in self._parts:
            share = [v for v in variables if self._part_of[v] is part]
            if share:
                yield part, share

    def _apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        gradient_of = dict(zip(variables, grads, strict=True))
        for part, share in self._shares(variables):
            part._apply([gradient_of[v] for v in share], share)
        self._iterations.assign_add(1)

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers that are known so far; `build` may find more."""
        return self._parts

    @property
    def variables(self) -> list[Variable]:
        """Its own variables, then those of each optimizer."""
        return super().variables + [v for part in self._parts for v in part.variables]

    @property
    def _rates(self) -> list[Any]:
        return [
            *super()._rates,
            *(rate for part in self._parts for rate in part._rates),
        ]

    @property
    def learning_rate(self) -> Any:
        """An error: there are several."""
        raise AttributeError(self._NO_RATE)

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        raise AttributeError(self._NO_RATE)

    _NO_RATE = (
        "MultiOptimizer has no learning rate of its own; those of its optimizers are "
        "optimizer.optimizers[0].learning_rate and so on."
    )

    @property
    def loss_scale_factor(self) -> float | None:
        """What the loss is multiplied by, in all optimizers the same."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale_factor = value
        for part in self._parts:
            part.loss_scale_factor = value

    @property
    def _compiles(self) -> bool:
        return super()._compiles and all(part._compiles for part in self._parts)

    def _settings(self) -> tuple:
        return (super()._settings(), *(part._settings() for part in self._parts))

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Give the weights their final values, as their optimizers have them."""
        for part, share in self._shares(var_list) if self.built else ():
            part.finalize_variable_values(share)

    def get_config(self) -> dict[str, Any]:
        """The map, the factor and the name."""
        return {**Configurable.get_config(self), "name": self.name}


def _check_part(who: str, argument: str, value: Any) -> None:
    good = isinstance(value, Optimizer) and not isinstance(
        value, LossScaleOptimizer | MultiOptimizer
    )
    expected = "an optimizer of single weights, such as keras.optimizers.Adam()"
    check(good, who, argument, value, expected)
