"""Models as scikit-learn estimators; scikit-learn is imported when one is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from kerasnb.core.errors import optional

if TYPE_CHECKING:
    from kerasnb.wrappers.estimators import SKLearnClassifier as SKLearnClassifier
    from kerasnb.wrappers.estimators import SKLearnRegressor as SKLearnRegressor
    from kerasnb.wrappers.estimators import SKLearnTransformer as SKLearnTransformer

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`.")
    optional("sklearn", f"for {name}", "sklearn")
    return getattr(importlib.import_module("kerasnb.wrappers.estimators"), name)


def __dir__() -> list[str]:
    return __all__
