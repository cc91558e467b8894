"""Callbacks see and set learning rates here; a model may have several optimizers."""

from typing import Any


def optimizers_of(model: Any) -> dict[str, Any]:
    """The optimizers of a model under the names that their rates have in the logs."""
    inner = getattr(model.optimizer, "optimizers", None)
    if inner is None:
        return {"learning_rate": model.optimizer}
    return {f"learning_rate_{optimizer.name}": optimizer for optimizer in inner}


def learning_rates(model: Any, needed: bool = True) -> dict[str, float]:
    """The learning rates of a model, as the logs hold them.

    Optimizers that keep theirs to themselves, as those of optax may, raise a sentence
    about it, or are left out when the rates are not `needed`.
    """
    return {
        name: float(optimizer.learning_rate)
        for name, optimizer in optimizers_of(model).items()
        if needed or hasattr(optimizer, "learning_rate")
    }
