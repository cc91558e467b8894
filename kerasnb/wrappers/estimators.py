"""Estimators: a model that does what scikit-learn expects of its own.

The three differ in what they make of the targets and of the model's outputs. Everything
between, the model for each fit included, is in `Estimator`.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import sklearn
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import metadata_routing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from kerasnb.core.errors import show
from kerasnb.core.naming import name_of
from kerasnb.models import Model, clone_model


class Estimator(BaseEstimator):
    """A model with scikit-learn's `fit` and `predict`.

    `model` is a compiled model, of which each fit trains a clone with weights of its
    own, or a function that makes one: it is called with `X`, `y` and `model_kwargs`.
    `fit_kwargs` go to the `fit` of the model; what is passed to the estimator's own
    `fit` goes before. With `warm_start` a second fit goes on with the weights of the
    first, and a given model is trained itself. Nothing is printed unless `verbose` is
    among the arguments of fit.

    A fit leaves `model_`, the trained model, and `history_`, what its `fit` returned.
    """

    def __init__(
        self,
        model: Model | Callable[..., Model],
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Self:
        """Train on the samples `X` and their targets `y`.

        Shapes: `X` is `(samples, features...)`, `y` is `(samples,)` or `(samples, d)`.
        """
        X, y = validate_data(self, X, y, allow_nd=True, multi_output=True)
        if y.ndim == 2 and y.shape[1] == 1:
            # In scikit-learn's words, for those who filter them.
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected; it is "
                "taken as y.ravel().",
                DataConversionWarning,
                stacklevel=2,
            )
            y = y.ravel()
        targets = self._targets(y)
        model = self._next_model(X, targets)
        targets = self._targets_for(model, targets)
        given = {"verbose": 0} | dict(self.fit_kwargs or {}) | kwargs
        self.history_ = model.fit(X, targets, **given)
        self.model_ = model
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The predictions for the samples `X`."""
        return self._from_outputs(self._outputs(X))

    @property
    def epoch_(self) -> int:
        """The number of epochs of the last fit, 0 before it."""
        return len(self.history_.epoch) if hasattr(self, "history_") else 0

    def set_fit_request(self, **kwargs: bool | str | None) -> Self:
        """Say which metadata, as `sample_weight=True`, a meta-estimator passes to fit.

        Raises a RuntimeError unless `sklearn.set_config(enable_metadata_routing=True)`.
        """
        if not sklearn.get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_fit_request needs metadata routing: call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        requests = metadata_routing.MetadataRequest(owner=self)
        for name, alias in kwargs.items():
            requests.fit.add_request(param=name, alias=alias)
        self._metadata_request = requests
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_clone__(self) -> Self:
        """An estimator that has learned nothing, with the same settings.

        A given model is shared, as no fit changes it, but for `warm_start`.
        """
        settings = self.get_params(deep=False)
        shared = settings.pop("model")
        if self.warm_start and isinstance(shared, Model):
            shared = copy.deepcopy(shared)
        return type(self)(shared, **copy.deepcopy(settings))

    # --- Between the two --------------------------------------------------------------

    def _next_model(self, X: np.ndarray, y: np.ndarray) -> Model:
        """The model that the next fit trains."""
        who = type(self).__name__
        if self.warm_start and hasattr(self, "model_"):
            model = self.model_
        elif isinstance(self.model, Model):
            model = self.model if self.warm_start else clone_model(self.model)
        elif callable(self.model):
            model = self.model(X=X, y=y, **(self.model_kwargs or {}))
        else:
            raise TypeError(
                f"{who}: `model` must be a compiled model, or a function of X and y "
                f"that makes one, not {show(self.model)}."
            )
        if not isinstance(model, Model):
            raise TypeError(
                f"{who}: the function given as `model` must return a compiled model, "
                f"not {show(model)}."
            )
        if not model.compiled or not model.loss or not model.optimizer:
            raise RuntimeError(
                f"{who}: the model `{model.name}` must be compiled, with a loss and an "
                'optimizer: model.compile("adam", loss=...).'
            )
        return model

    def _outputs(self, X: Any) -> np.ndarray:
        """What the model answers to `X`."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, allow_nd=True)
        return self.model_.predict(X, verbose=0)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """The targets as models learn them: rows."""
        _kind_of(y)
        self._flat = y.ndim == 1
        return y.reshape(len(y), -1)

    def _targets_for(self, model: Model, targets: np.ndarray) -> np.ndarray:
        """The same in the form that the loss of this model wants."""
        return targets

    def _from_outputs(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions in the form in which the targets came."""
        return outputs[:, 0] if self._flat and outputs.shape[1:] == (1,) else outputs


class SKLearnClassifier(ClassifierMixin, Estimator):
    """A model that tells classes apart, as an estimator of scikit-learn.

    The classes may be numbers or words; `classes_` lists them in order. A model learns
    them as one-hot rows, with `"categorical_crossentropy"`; as indices where its loss
    is a sparse one, and as 0 and 1 where it has a single output for two classes.

    The arguments are those of every estimator here: `model`, a compiled model or a
    function of `X`, `y` and `model_kwargs` that makes one; `fit_kwargs` for its `fit`;
    and `warm_start`, to go on with the weights of the fit before.

    >>> import kerasnb as keras
    >>> def reader(X, y, width=8):
    ...     layers = [keras.Input(X.shape[1:]), keras.layers.Dense(width, "relu")]
    ...     layers.append(keras.layers.Dense(y.shape[1], "softmax"))
    ...     model = keras.Sequential(layers)
    ...     model.compile("adam", "categorical_crossentropy")
    ...     return model
    >>> X, y = np.eye(4), ["no", "yes", "no", "yes"]
    >>> estimator = SKLearnClassifier(reader, model_kwargs={"width": 16})
    >>> estimator.fit(X, y, epochs=2).decision_function(X).shape
    (4, 2)
    """

    def decision_function(self, X: Any) -> np.ndarray:
        """The outputs of the model: a number for each class."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _targets(self, y: np.ndarray) -> np.ndarray:
        kind = _kind_of(y)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"Unknown label type: {kind}. {type(self).__name__} takes one class "
                "for each sample, a number or a word."
            )
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(
                f"{type(self).__name__}: `y` holds only one class, "
                f"{self.classes_.tolist()[0]!r}; there is nothing to tell it from."
            )
        return np.eye(len(self.classes_), dtype="float32")[indices]

    def _targets_for(self, model: Model, targets: np.ndarray) -> np.ndarray:
        loss = model.loss if isinstance(model.loss, str) else name_of(model.loss)
        if loss.startswith("sparse") or _is_single(model, targets):
            return targets.argmax(axis=1)
        return targets

    def _from_outputs(self, outputs: np.ndarray) -> np.ndarray:
        if outputs.shape[1:] == (1,):
            middle = 0.0 if getattr(self.model_.loss, "from_logits", False) else 0.5
            return self.classes_[(outputs[:, 0] > middle).astype(int)]
        return self.classes_[outputs.argmax(axis=1)]


class SKLearnRegressor(RegressorMixin, Estimator):
    """A model that predicts numbers, as an estimator of scikit-learn.

    The arguments are those of every estimator here: `model`, a compiled model or a
    function of `X`, `y` and `model_kwargs` that makes one; `fit_kwargs` for its `fit`;
    and `warm_start`, to go on with the weights of the fit before.

    >>> import kerasnb as keras
    >>> line = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> line.compile(keras.optimizers.Adam(0.1), "mse")
    >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> estimator = SKLearnRegressor(line, fit_kwargs={"epochs": 300}).fit(X, y)
    >>> estimator.predict([[3.0]]).round(1)
    array([7.], dtype=float32)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, Estimator):
    """A model that turns samples into features, as an estimator of scikit-learn.

    The arguments are those of every estimator here: `model`, a compiled model or a
    function of `X`, `y` and `model_kwargs` that makes one; `fit_kwargs` for its `fit`;
    and `warm_start`, to go on with the weights of the fit before.

    >>> import kerasnb as keras
    >>> coder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> coder.compile("adam", "mse")
    >>> SKLearnTransformer(coder).fit(np.eye(4), np.zeros((4, 2))).transform(np.eye(4))
    array([[...]], dtype=float32)
    """

    def transform(self, X: Any) -> np.ndarray:
        """The outputs of the model for the samples `X`."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


def _kind_of(y: np.ndarray) -> str:
    """What scikit-learn calls targets like these: "binary", "continuous", ..."""
    kind = type_of_target(y, input_name="y")
    if kind == "unknown":
        raise ValueError(f"Unknown label type: {show(y)}.")
    return kind


def _is_single(model: Model, targets: np.ndarray) -> bool:
    """Whether a model answers with one number where there are two classes."""
    shape = getattr(model, "output_shape", None)
    return targets.shape[1] == 2 and isinstance(shape, tuple) and shape[-1:] == (1,)
