"""What `%%kmodel --code` writes, built in the released Keras: the same model"""

import re

import keras as real
import numpy as np
import pytest
from IPython.utils.capture import capture_output

from tests.notebook.cells_table import GOOD, SETUP, rows

pytestmark = [
    pytest.mark.parity,
    # Keras' advice on what a cell may well do.
    pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
]


@pytest.fixture
def prepared(shell):
    """The shell in which the names of the cells mean something."""
    for cell, _ in rows(SETUP):
        with capture_output():
            shell.run_cell(cell).raise_error()
    return shell


def summary(model):
    """What a summary says of each layer, and its totals."""
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=120)
    totals = [
        line.strip() for line in "\n".join(lines).splitlines() if "params" in line
    ]
    # Keras cuts the columns of its table to the width of a terminal.
    layers = [
        (re.sub(r"_\d+$", "", x.name), type(x).__name__, x.count_params())
        for x in model.layers
    ]
    return layers, [tuple(t.shape) for t in model.outputs], totals


def inputs_of(model, rng):
    """Rows for each input; small whole numbers are good for an Embedding too."""
    made = [
        rng.integers(0, 9, (3, *t.shape[1:])).astype(str(t.dtype)) for t in model.inputs
    ]
    return made if len(made) > 1 else made[0]


@pytest.mark.parametrize("cell", [cell for cell, _ in rows(GOOD)])
def test_the_script_of_a_cell_is_the_same_model_in_keras(prepared, rng, cell):
    with capture_output() as shown:
        line, _, body = cell.partition("\n")
        prepared.run_cell(f"{line} --code\n{body}").raise_error()
    code = shown.stdout[shown.stdout.index("import ") :]
    model = prepared.user_ns["net"]
    code = code.replace("import kerasnb as keras", "import keras")
    code = code.replace("from kerasnb import layers", "from keras import layers")
    assert "kerasnb" not in code
    names = {}
    real.utils.clear_session()
    exec(code, names)
    theirs = names["net"]
    assert isinstance(theirs, real.Model)

    assert summary(model) == summary(theirs)
    for mine, their in zip(model.weights, theirs.weights, strict=True):
        assert tuple(mine.shape) == tuple(their.shape)
        value = rng.uniform(-0.5, 0.5, mine.shape)
        mine.assign(value)
        their.assign(value)
    x = inputs_of(model, rng)
    mine, expected = (
        real.tree.flatten(one(x, training=False)) for one in (model, theirs)
    )
    for a, b in zip(mine, expected, strict=True):
        assert a.dtype == b.dtype
        limit = 2e-2 if "bfloat16" in cell else 1e-5
        np.testing.assert_allclose(
            np.asarray(a, "float32"), np.asarray(b, "float32"), limit, limit
        )
