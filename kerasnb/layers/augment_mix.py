"""Layers that mix images with each other, or other layers with each other."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kerasnb import random
from kerasnb.core.configurable import serialize
from kerasnb.core.errors import check
from kerasnb.core.masks import set_mask
from kerasnb.layers.arguments import choice, positive_int
from kerasnb.layers.augment import Augmentation, Batch, Transformation, per_image
from kerasnb.layers.augment_color import (
    AutoContrast,
    Equalization,
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    RandomPosterization,
    RandomSharpness,
    Solarization,
    rectangles,
)
from kerasnb.layers.augment_geometry import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
)
from kerasnb.layers.layer import Layer
from kerasnb.ops.image import ORDERS
from kerasnb.random import SeedGenerator

Range = Sequence[float]


class _Mixing(Augmentation):
    """Each image and another one of the batch; the labels are mixed like the images."""

    mixes_samples = True

    def _labels(self, labels: Any, drawn: Transformation) -> Any:
        labels = jnp.asarray(labels)
        share = per_image(drawn["mix_weight"], labels.ndim)
        return share * labels + (1.0 - share) * _others(labels, drawn)


def _others(x: jax.Array, drawn: Transformation) -> jax.Array:
    """What each image is mixed with."""
    return jnp.take(x, jnp.asarray(drawn["permutation_order"]), axis=0)


class CutMix(_Mixing):
    """A rectangle of each image replaced by that of another one (Yun et al., 2019).

    Its share of the area comes from `Beta(a, a)` with `a` from `factor`; labels are
    mixed by the shares of the area. Shapes: `(batch, height, width, channels)`,
    unchanged; a single image stays.

    >>> data = {"images": jnp.ones((2, 4, 4, 3)), "labels": jnp.eye(2)}
    >>> CutMix()(data)["labels"].shape
    (2, 2)
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._settle(factor=factor, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        if len(batch.shape) == 3:
            return None
        dtype = self.compute_dtype
        alpha = random.uniform((), *self.factor, dtype, seed) + 1e-6
        kept = random.beta((batch.size,), alpha, alpha, dtype, seed)
        sides = jnp.sqrt(1.0 - kept)[:, None]
        sides = jnp.broadcast_to(sides, (batch.size, 2))
        inside, area = rectangles(batch, sides, seed, self.data_format)
        order = random.shuffle(jnp.arange(batch.size), seed=seed)
        drawn = {"permutation_order": order, "batch_masks": inside}
        return {**drawn, "mix_weight": 1.0 - area}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        return jnp.where(drawn["batch_masks"], _others(images, drawn), images)

    def _masks(self, masks: jax.Array, drawn: Transformation) -> jax.Array:
        return self._apply(masks, drawn)

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        raise NotImplementedError(
            "CutMix cannot transform bounding boxes; leave them out, or use MixUp."
        )


class MixUp(_Mixing):
    """Each image as a weighted mean with another one in training (Zhang et al., 2018).

    `y = w x + (1 - w) x'` with `w` from `Beta(alpha, alpha)`; labels likewise, boxes
    are those of both. Shapes: `(batch, height, width, channels)`, unchanged.

    >>> data = {"images": jnp.ones((2, 4, 4, 3)), "labels": jnp.eye(2)}
    >>> MixUp()(data)["labels"].shape
    (2, 2)
    """

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        check(alpha > 0, "MixUp", "alpha", alpha, "a positive number")
        self.alpha = alpha
        self._settle(seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        order = random.shuffle(jnp.arange(batch.size), seed=seed)
        weight = random.beta((batch.size,), self.alpha, self.alpha, seed=seed)
        return {"mix_weight": weight, "permutation_order": order}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        share = per_image(drawn["mix_weight"]).astype(images.dtype)
        return share * images + (1.0 - share) * _others(images, drawn)

    def _masks(self, masks: jax.Array, drawn: Transformation) -> jax.Array:
        return self._labels(masks, drawn)

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        both = {
            key: jnp.concatenate([x, _others(x, drawn)], 1)
            for key, x in boxes.items()
            if key in ("boxes", "labels")
        }
        return {**boxes, **both}


# --- Layers chosen at random ----------------------------------------------------------

_MOVING = ("random_shear", "random_translation", "random_rotation")
_SHARED = (*_MOVING, "random_posterization", "solarization", "auto_contrast")
_COLORING = (
    *("random_brightness", "random_color_degeneration"),
    *("random_contrast", "random_sharpness"),
)


class _Chosen(Augmentation):
    """A layer that applies others, chosen by numbers drawn at run time.

    The choice is a branch of the compiled program: only what is chosen is computed.
    """

    mixes_samples = True  # one of the layers does
    factor_bounds = (0, 1)
    names: tuple[str, ...]

    def _make_layers(
        self, names: tuple[str, ...], interpolation: str, value_range: Range
    ) -> None:
        choice(type(self).__name__, "interpolation", interpolation, tuple(ORDERS))
        self.interpolation, self.names = interpolation, names
        factor, bits = self.factor, max(1, int(8 * self.factor[1]))
        plain: dict[str, Any] = {
            "dtype": self.dtype_policy,
            "data_format": self.data_format,
            "bounding_box_format": self.bounding_box_format,
        }
        ranged = {**plain, "value_range": value_range}
        seeded = {**ranged, "seed": self.seed}
        moving = {**plain, "seed": self.seed, "interpolation": interpolation}
        makers: dict[str, tuple[Any, tuple, dict]] = {
            "random_shear": (RandomShear, (factor, factor), moving),
            "random_translation": (RandomTranslation, (factor, factor), moving),
            "random_rotation": (RandomRotation, (factor,), moving),
            "random_brightness": (RandomBrightness, (factor,), seeded),
            "random_color_degeneration": (RandomColorDegeneration, (factor,), seeded),
            "random_contrast": (RandomContrast, (factor,), seeded),
            "random_sharpness": (RandomSharpness, (factor,), seeded),
            "random_posterization": (RandomPosterization, (bits,), seeded),
            "solarization": (Solarization, (factor, factor), seeded),
            "auto_contrast": (AutoContrast, (), ranged),
            "equalization": (Equalization, (), ranged),
        }
        for name in names:
            kind, args, how = makers[name]
            setattr(self, name, kind(*args, **how))

    def _layers(self) -> list[Augmentation]:
        return [getattr(self, name) for name in self.names]

    def _masks(self, masks: jax.Array, drawn: Transformation) -> jax.Array:
        return _compiled(_Alike(self), masks, drawn, "transform_segmentation_masks")

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        return _compiled(_Alike(self), images, drawn, "transform_images")

    def _choose(self, value: Any, drawn: Transformation, kind: str) -> Any:
        """`value` after the chosen layers; `kind` is the method of theirs to call."""
        raise NotImplementedError(f"{type(self).__name__} has no `_choose`.")


class _Alike:
    """A layer that is equal to all of the same configuration, whatever their names."""

    def __init__(self, layer: _Chosen) -> None:
        self.layer = layer
        config = {**layer.get_config(), "name": None, "seed": None}
        self.key = (type(layer), repr(config))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Alike) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@partial(jax.jit, static_argnums=(0, 3))
def _compiled(alike: _Alike, value: Any, drawn: Transformation, kind: str) -> Any:
    # Compiled once, also for calls outside of compiled programs.
    return alike.layer._choose(value, drawn, kind)


class RandAugment(_Chosen):
    """`num_ops` layers of eleven, chosen at random, in training (Cubuk et al., 2019).

    They shear, move, turn, and change brightness, colour, contrast, sharpness and
    values; `factor` says how strongly. The choice is one for the whole batch.
    Shapes: `(..., height, width, 3)`, unchanged.

    >>> RandAugment()(jnp.ones((1, 4, 4, 3))).shape
    (1, 4, 4, 3)
    """

    def __init__(
        self,
        value_range: Range = (0, 255),
        num_ops: int = 2,
        factor: float | Range = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        good = isinstance(num_ops, int) and num_ops >= 0
        check(good, "RandAugment", "num_ops", num_ops, "a number of layers, 0 or more")
        self.num_ops = num_ops
        self._settle(factor=factor, value_range=value_range, seed=seed)
        values = (
            "random_posterization",
            "solarization",
            "auto_contrast",
            "equalization",
        )
        self._make_layers((*_MOVING, *_COLORING, *values), interpolation, value_range)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        chosen = random.randint((self.num_ops,), 0, len(self.names), seed=seed)
        drawn = {
            name: layer._draw(batch, seed)
            for name, layer in zip(self.names, self._layers(), strict=True)
        }
        return {"transforms": drawn, "layer_idxes": chosen}

    def _choose(self, value: Any, drawn: Transformation, kind: str) -> Any:
        branches = [
            partial(_like, getattr(layer, kind), drawn=drawn["transforms"][name])
            for name, layer in zip(self.names, self._layers(), strict=True)
        ]

        def step(value: Any, index: jax.Array) -> tuple[Any, None]:
            return lax.switch(index, branches, value), None

        return lax.scan(step, value, drawn["layer_idxes"])[0]

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        self._check_box_format()
        return _compiled(_Alike(self), boxes, drawn, "transform_bounding_boxes")


def _like(transform: Callable, value: Any, drawn: Transformation) -> Any:
    """What `transform` makes of `value`, in the dtypes of `value`."""
    out = transform(value, drawn)
    return jax.tree.map(lambda new, old: new.astype(old.dtype), out, value)


class _Keys(SeedGenerator):
    """Keys that follow from a first one, inside a branch of a compiled program."""

    def __init__(self, key: jax.Array) -> None:
        self._key, self._count = key, 0

    def next(self, ordered: bool = True) -> jax.Array:
        """Another key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count)


class AugMix(_Chosen):
    """A mean of the images and of chains of random layers (Hendrycks et al., 2020).

    `y = w x + (1 - w) sum_i w_i chain_i(x)` in training. Each of the `num_chains`
    chains has up to `chain_depth` layers; the `w_i` come from a Dirichlet distribution
    and `w` from a Beta distribution, both of parameter `alpha`. With `all_ops=False`
    the layers for brightness, colour, contrast and sharpness are left out. The chains
    are drawn anew for each batch. Shapes: `(..., height, width, 3)`, unchanged.

    >>> AugMix(chain_depth=1)(jnp.ones((1, 4, 4, 3))).shape
    (1, 4, 4, 3)
    """

    def __init__(
        self,
        value_range: Range = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: float | Range = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.num_chains = positive_int("AugMix", "num_chains", num_chains)
        self.chain_depth = positive_int("AugMix", "chain_depth", chain_depth)
        check(alpha > 0, "AugMix", "alpha", alpha, "a positive number")
        self.alpha, self.all_ops = alpha, all_ops
        self._settle(factor=factor, value_range=value_range, seed=seed)
        names = (*_SHARED, "equalization", *(_COLORING if all_ops else ()))
        self._make_layers(names, interpolation, value_range)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        parts = random.gamma((self.num_chains,), self.alpha, seed=seed)
        weight = random.beta((), self.alpha, self.alpha, seed=seed)
        links = (self.num_chains, self.chain_depth)
        # One number more than there are layers: nothing is done.
        chosen = random.randint(links, 0, len(self.names) + 1, seed=seed)
        keys = jax.random.split(_raw(random.draw_seed(seed)), links)
        return {
            "chain_mixing_weights": parts / jnp.sum(parts),
            "weight_sample": weight,
            "chain_transforms": {"layer": chosen, "key": jax.random.key_data(keys)},
        }

    def _choose(self, value: Any, drawn: Transformation, kind: str) -> Any:
        def branch(layer: Augmentation) -> Callable[[Any, jax.Array], Any]:
            def run(value: Any, key: jax.Array) -> Any:
                drawn = layer.get_random_transformation(value, seed=_Keys(key))
                return _like(getattr(layer, kind), value, drawn)

            return run

        branches = [*map(branch, self._layers()), lambda value, key: value]
        weight = drawn["weight_sample"].astype(self.compute_dtype)
        start = value.astype(self.compute_dtype)

        def link(value: Any, drawn: dict[str, jax.Array]) -> tuple[Any, None]:
            return lax.switch(drawn["layer"], branches, value, drawn["key"]), None

        def chain(total: Any, drawn: tuple) -> tuple[Any, None]:
            share, links = drawn
            end, _ = lax.scan(link, value, links)
            return total + share.astype(total.dtype) * end.astype(total.dtype), None

        shares = drawn["chain_mixing_weights"]
        links = drawn["chain_transforms"]
        mixed, _ = lax.scan(chain, jnp.zeros_like(start), (shares, links))
        mixed = weight * start + (1 - weight) * mixed
        if kind == "transform_images":
            mixed = jnp.clip(mixed, *self.value_range)
        return mixed


def _raw(key: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(key))


# --- Boxes, and layers in a row -------------------------------------------------------


class MaxNumBoundingBoxes(Augmentation):
    """As many boxes for every image: the first `max_number`, filled up with nothing.

    Boxes that fill up are of `fill_value`, and so are their labels.
    Shapes: boxes `(batch, n, 4) -> (batch, max_number, 4)`; images stay.

    >>> layer = MaxNumBoundingBoxes(3, bounding_box_format="xyxy")
    >>> boxes = {"boxes": jnp.ones((1, 2, 4)), "labels": jnp.ones((1, 2))}
    >>> out = layer({"images": jnp.ones((1, 2, 2, 3)), "bounding_boxes": boxes})
    >>> out["bounding_boxes"]["labels"].tolist()
    [[1.0, 1.0, -1.0]]
    """

    always = True
    keeps_dtype = True

    def __init__(self, max_number: int, fill_value: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_number = positive_int(type(self).__name__, "max_number", max_number)
        self.fill_value = int(fill_value)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        return images

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        def cut(x: jax.Array) -> jax.Array:
            x = jnp.asarray(x)[:, : self.max_number]
            pads = [(0, 0)] * x.ndim
            pads[1] = (0, self.max_number - x.shape[1])
            return jnp.pad(x, pads, constant_values=self.fill_value)

        return {**boxes, **{key: cut(boxes[key]) for key in ("boxes", "labels")}}


class Pipeline(Layer):
    """Layers one after the other, on arrays or on dicts of them.

    Like a Sequential model for what has no weights to train, such as augmentations.

    >>> double = Pipeline([Solarization(), MixUp()])
    >>> double(jnp.ones((2, 4, 4, 3))).shape
    (2, 4, 4, 3)
    """

    def __init__(self, layers: Sequence[Layer], name: str | None = None) -> None:
        super().__init__(name=name)
        self.autocast = False
        self._pipeline_layers = list(layers)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return self._pipeline_layers

    def call(self, inputs: Any, training: bool | None = True, mask: Any = None) -> Any:
        """The inputs after all layers, which are in training when this one is."""
        if mask is not None and hasattr(inputs, "shape"):
            set_mask(inputs, mask)
        for layer in self._pipeline_layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The layers and the name."""
        return {"layers": serialize(self._pipeline_layers), "name": self.name}

    def get_build_config(self) -> dict[str, Any] | None:
        """Nothing to note, as in Keras, which would warn of layers not built."""
        return None

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "Pipeline":
        """The pipeline whose `get_config` returned `config`."""
        layers = config.get("layers")
        good = isinstance(layers, list | tuple)
        check(good, "Pipeline", 'config["layers"]', layers, "a list of layers")
        return super().from_config(config, custom_objects)
