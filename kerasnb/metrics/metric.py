"""`Metric`: variables that are shown batches and a formula for what they say."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kerasnb import initializers
from kerasnb.core import dtypes, naming
from kerasnb.core.configurable import Configurable
from kerasnb.core.graph import leaves
from kerasnb.core.state import functional
from kerasnb.core.variable import Variable

Array = jax.Array


class Metric(Configurable):
    """A number about many batches, worked out one batch at a time.

    Subclasses make variables in the constructor, change them in `update_state` and
    compute the number in `result`. All three may run inside compiled code, so they must
    not ask what a value is in Python.

    >>> class Largest(Metric):
    ...     def __init__(self, name="largest", dtype=None):
    ...         super().__init__(name=name, dtype=dtype)
    ...         self.largest = self.add_variable((), "zeros", name="largest")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(jax.numpy.maximum(self.largest.value, y_pred.max()))
    ...     def result(self):
    ...         return self.largest.value
    >>> metric = Largest()
    >>> float(metric(None, np.array([1.0, 3.0])))
    3.0
    """

    # "up" when more is better, "down" when less is; callbacks ask.
    _direction: str | None = None

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        naming.check_name(type(self).__name__, name)
        self.name = name or naming.auto_name(self)
        self._policy = dtypes.get_policy(dtype or dtypes.standardize_dtype(None))
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The dtype the metric is computed in."""
        return self._policy.compute_dtype

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Make one of the variables that the metric keeps."""
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}: call super().__init__() before add_variable()."
            )
        with naming.name_scope(self.name.replace("/", ">")):
            variable = Variable(
                initializers.get(initializer),
                tuple(shape),
                dtype,
                trainable=False,
                aggregation=aggregation,
                synchronization="on_read",
                name=name,
            )
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """`add_variable`, by its older name."""
        initializer = "zeros" if initializer is None else initializer
        return self.add_variable(shape, initializer, dtype, name=name)

    def add_zeros(
        self, *names: str, shape: Sequence[int] = (), dtype: Any = None
    ) -> None:
        """Make variables that start at zero, as attributes of these names."""
        for name in names:
            setattr(self, name, self.add_variable(shape, "zeros", dtype, name=name))

    @property
    def variables(self) -> list[Variable]:
        """The metric's own variables, then those of metrics it is made of."""
        found = list(self._variables)
        parts = leaves(list(self.__dict__.values()))
        found += [part for part in parts if isinstance(part, Variable)]
        for part in parts:
            if isinstance(part, Metric):
                found += part.variables
        return list({id(v): v for v in found}.values())

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        """Make the variables whose shapes depend on the data; most metrics have none.

        The first `update_state` does this, too, but compiled code has to know all
        variables beforehand.
        """

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Show the metric a batch; subclasses write it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no `update_state` method."
        )

    def result(self) -> Any:
        """The number, or a dict of numbers by name; subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} has no `result` method.")

    def reset_state(self) -> None:
        """Forget all batches."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Show the metric a batch and return the number so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    # --- Without side effects ---------------------------------------------------------

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """The variables' new values after a batch; the variables stay as they are."""
        run = functional(self.update_state, self.variables)
        return run(self._checked(metric_variables), *args, **kwargs)[1]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The number for given values of the variables."""

        def result() -> Any:
            found = self.result()
            return found.value if isinstance(found, Variable) else found

        return functional(result, self.variables)(self._checked(metric_variables))[0]

    def stateless_reset_state(self) -> list[Any]:
        """The variables' values before the first batch."""
        values = [variable.raw for variable in self.variables]
        return functional(self.reset_state, self.variables)(values)[1]

    def _checked(self, values: Sequence[Any]) -> Sequence[Any]:
        if len(values) != len(self.variables):
            raise ValueError(
                f"{type(self).__name__}: `metric_variables` must hold "
                f"{len(self.variables)} values, one for each of `variables`, not "
                f"{len(values)}."
            )
        return values

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
