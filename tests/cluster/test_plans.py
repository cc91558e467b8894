"""kerasnb.cluster, as far as it needs no engines"""

import threading

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.cluster import EngineLostError
from kerasnb.cluster.cluster import _compare_versions, _environments
from kerasnb.cluster.engine import gpus, makes_data, versions
from kerasnb.cluster.launch import _counts
from kerasnb.cluster.parcel import pack, pack_each, unpack


def engine_on(host, cores=8, gpus=()):
    return {"host": host, "cores": cores, "gpus": list(gpus), "versions": versions()}


def test_engines_on_one_host_share_its_cores_and_have_gpus_of_their_own():
    facts = [engine_on("a", 8, "0123"), engine_on("b", 6), engine_on("a", 8, "0123")]
    first, alone, second = _environments(facts)
    assert [plan["NPROC"] for plan in (first, alone, second)] == ["4", "6", "4"]
    assert first["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert second["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "CUDA_VISIBLE_DEVICES" not in alone


def test_more_engines_than_gpus_are_refused():
    with pytest.raises(EngineLostError, match="2 engines on host a cannot share 1 GPU"):
        _environments([engine_on("a", gpus="0")] * 2)


def test_other_versions_are_told():
    other = engine_on("far")
    other["versions"] = versions() | {"jax": "0.1.2"}
    with pytest.warns(UserWarning, match="Engine 1 on host far has jax 0.1.2"):
        _compare_versions([engine_on("near"), other])


@pytest.mark.parametrize(
    ("visible", "platforms", "wanted"),
    [("2,5", "", ["2", "5"]), ("", "", []), ("-1", "", []), ("2,5", "cpu", [])],
)
def test_gpus_are_those_that_cuda_would_see(monkeypatch, visible, platforms, wanted):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert gpus() == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, None),
        ("anna", {"anna": 1}),
        (["anna", "bert", "bert"], {"anna": 1, "bert": 2}),
        ({"anna": 4}, {"anna": 4}),
    ],
)
def test_hosts_may_be_given_in_several_ways(given, wanted):
    assert _counts(given) == wanted


def test_large_arrays_travel_beside_the_pickle_and_models_whole():
    table = {"x": np.zeros((1024, 512), "float32"), "y": np.arange(5)}
    parcel = pack(table)
    assert len(parcel) == 2 and parcel[1].nbytes == table["x"].nbytes
    assert np.shares_memory(parcel[1], table["x"])
    back = unpack(parcel)
    assert back["x"].shape == (1024, 512) and back["y"].tolist() == [0, 1, 2, 3, 4]

    @keras.layer
    def Twice(x, *, by=2.0):
        return x * by

    model = keras.Sequential([keras.Input((3,)), Twice(), layers.Dense(2)])
    model.compile("adam", lambda y, p: keras.ops.mean((y - p) ** 2))
    x = np.ones((4, 3), "float32")
    np.testing.assert_array_equal(
        unpack(pack(model)).predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_what_cannot_travel_is_named():
    with pytest.raises(TypeError, match=r"fit: .*lock.* in `callbacks` cannot travel"):
        pack_each("fit", model=1, callbacks=[3, threading.Lock()])


def test_functions_that_make_data_are_told_from_data():
    assert makes_data(lambda: 1)
    assert not any(map(makes_data, (np.ones(2), [1], {"a": 1}, None, range(3))))
