"""kerasnb.distribution on one device: meshes, layouts, maps, and what is refused."""

import contextlib

import jax
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import distribution, layers
from kerasnb.core.masks import get_mask
from kerasnb.core.variable import Variable
from kerasnb.distribution import (
    DataParallel,
    DeviceMesh,
    LayoutMap,
    ModelParallel,
    TensorLayout,
)

CPU = ["cpu:0"]


def mesh(*names):
    return DeviceMesh((1,) * len(names), list(names), CPU)


def test_devices_are_listed_as_keras_lists_them():
    assert distribution.list_devices() == keras.distribution.list_devices()
    assert distribution.get_device_count("CPU") == len(jax.devices("cpu"))


def test_a_map_finds_layouts_as_keras_does():
    paths = ("a/dense/kernel", "dense_1/kernel", "dense/bias", "x.kernel", "dense")
    found = []
    for library in (distribution, keras.distribution):
        layout_map = library.LayoutMap(
            library.DeviceMesh((1, 1), ["batch", "model"], CPU)
        )
        layout_map[".*dense.*kernel"] = (None, "model")
        layout_map["dense/bias"] = ("model",)
        layout_map["x.kernel"] = library.TensorLayout(["batch"])
        layouts = [layout_map[path] for path in paths]
        found.append([None if x is None else x.axes for x in layouts])
        assert layout_map["x.kernel"].device_mesh is layout_map.device_mesh
        assert len(layout_map) == 3 and "x.kernel" in list(layout_map)
        del layout_map["x.kernel"]
        assert len(layout_map) == 2
    assert found[0] == found[1]


def test_the_distribution_in_force_is_that_of_the_scope():
    assert distribution.distribution() is None
    outer, inner = DataParallel(devices=CPU), DataParallel(mesh("batch"))
    with outer.scope():
        with inner.scope():
            assert distribution.distribution() is inner
        assert distribution.distribution() is outer
    assert distribution.distribution() is None
    distribution.set_distribution(outer)
    distribution.set_distribution(None)
    assert distribution.distribution() is None


def test_layouts_of_data_and_variables():
    layout_map = LayoutMap(mesh("batch", "model"))
    layout_map[".*kernel"] = (None, "model")
    layout_map["dense/output"] = ("batch", "model")
    split = ModelParallel(layout_map=layout_map)
    assert split.get_data_layout((8, 3)).axes == ("batch", None)
    assert split.get_tensor_layout("dense/output").axes == ("batch", "model")
    assert split.num_model_replicas == 1 and split.data_shard_id == 0
    with split.scope():
        dense = layers.Dense(2, name="dense")
        y = dense(np.ones((4, 3), "float32"))
    assert dense.kernel.box.sharding.spec == jax.P(None, "model")
    assert dense.bias.box.sharding.is_fully_replicated
    assert y.sharding.spec == jax.P("batch", "model")
    own = Variable(np.ones(2), layout=TensorLayout(["model"], mesh("model")))
    assert DataParallel(mesh("model")).get_variable_layout(own).axes == ("model",)


def test_a_tensor_is_laid_out_also_inside_of_compiled_code():
    layout = TensorLayout(["batch"], mesh("batch"))
    wanted = layout.backend_layout
    assert distribution.distribute_tensor(np.ones(4), layout).sharding == wanted
    inside = jax.jit(lambda x: distribution.distribute_tensor(x, layout))(np.ones(4))
    assert inside.sharding.is_equivalent_to(wanted, 1)
    placeholder = kerasnb.Input((2,))
    assert distribution.distribute_tensor(placeholder, layout) is placeholder


def test_masks_stay_with_outputs_that_are_laid_out():
    layout_map = LayoutMap(mesh("batch"))
    layout_map["words/output"] = ("batch",)
    words = layers.Embedding(5, 3, mask_zero=True, name="words")
    with ModelParallel(layout_map=layout_map).scope():
        y = words(np.array([[1, 0], [2, 3]]))
    assert get_mask(y).tolist() == [[True, False], [True, True]]
    assert layers.GlobalAveragePooling1D()(y)[0].tolist() == y[0, 0].tolist()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: DeviceMesh((1, 1), ["batch"], CPU), "one name for each axis"),
        (lambda: DeviceMesh((3,), ["batch"], CPU), "takes 3 devices and there are 1"),
        (
            lambda: DeviceMesh((1,), ["a"], ["cpu:77"]).backend_mesh,
            "no device 'cpu:77'",
        ),
        (lambda: TensorLayout(["x"], mesh("batch")), "names of axes of the mesh"),
        (lambda: TensorLayout(["x"]).backend_layout, "no use before it has a"),
        (lambda: ModelParallel(), "`layout_map` must be a LayoutMap"),
        (
            lambda: ModelParallel(
                layout_map=LayoutMap(mesh("batch")), batch_dim_name="rows"
            ),
            "one of the axes of the mesh",
        ),
        (lambda: DataParallel("eight"), "`device_mesh` must be a DeviceMesh"),
        (lambda: distribution.set_distribution("all"), "a ModelParallel or None"),
        (lambda: ambiguous()["dense/kernel"], "matches several keys"),
        (lambda: ambiguous().update({".*kernel": ("a",)}), "is there already"),
        (
            lambda: distribution.initialize("a:1,b:1", num_processes=3),
            "the number of `job_addresses`, 2",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(wrong, sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong()
    assert sentence in str(caught.value)


def ambiguous():
    layout_map = LayoutMap(mesh("a"))
    layout_map[".*kernel"] = (None, "a")
    layout_map["dense/.*"] = ("a",)
    return layout_map


def test_a_mesh_of_two_axes_is_split_along_the_first_with_a_warning():
    with pytest.warns(UserWarning, match="along the first one, 'rows'"):
        found = DataParallel(mesh("rows", "columns"))
    assert found.batch_dim_name == "rows"


def test_initialize_reads_keras_environment(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda **x: given.update(x))
    monkeypatch.setattr(distribution, "get_random_seed", lambda: 7)
    monkeypatch.setattr(jax.config, "update", lambda *x: given.update([x]))
    for name, value in (
        ("JOB_ADDRESSES", "10.0.0.1:1234,10.0.0.2:2345"),
        ("NUM_PROCESSES", "2"),
        ("PROCESS_ID", "1"),
    ):
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    distribution.initialize()
    assert given == {
        "coordinator_address": "10.0.0.1:1234",
        "num_processes": 2,
        "process_id": 1,
        "jax_cpu_collectives_implementation": "gloo",
    }


@pytest.mark.parametrize("eager", [False, True])
def test_fit_on_a_mesh_of_one_device_is_fit(rng, eager):
    x, y = rng.normal(size=(20, 3)).astype("float32"), rng.normal(size=(20, 1))
    found = []
    for scope in (DataParallel(devices=CPU).scope(), contextlib.nullcontext()):
        kerasnb.utils.set_random_seed(1)
        with scope:
            model = kerasnb.Sequential([layers.Dense(1)])
            model.compile("adam", "mse", run_eagerly=eager)
            found.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
