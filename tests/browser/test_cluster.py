"""kerasnb.cluster, watched and steered in JupyterLab"""

import re

from playwright.sync_api import expect

from tests.browser.labrig import ROOT, write_notebook

FIT = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import numpy as np
import kerasnb as keras

random = np.random.default_rng(0)
x = random.normal(size=(4096, 64)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(64, activation="relu"),
     keras.layers.Dense(2, activation="softmax")], name="tiny")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
engines = keras.cluster.start(2, environment={{"JAX_PLATFORMS": "cpu"}})
history = engines.fit(
    model, x, y, epochs=5000, batch_size=256, validation_data=(x[:512], y[:512])
)
"""
RESULT = "print(model.run.status, 0 < len(history.history['loss']) < 5000)"


def test_a_fit_on_engines_is_seen_paused_resumed_and_stopped(lab, lab_server):
    cells = [FIT, RESULT, "engines", "engines.stop()"]
    write_notebook(lab_server.folder / "cluster.ipynb", cells)
    lab.open("cluster.ipynb").start_all()
    panel = lab.output(0).get_by_role("region", name="Training of tiny")
    panel.wait_for(timeout=180_000)
    status = panel.locator(".knb-status")
    expect(status).to_have_text("Training", timeout=60_000)
    line = panel.locator(".knb-steps").first
    expect(line).to_have_attribute("d", re.compile("^M.{200,}"), timeout=60_000)
    panel.get_by_role("button", name="Pause").click()
    expect(status).to_have_text("Paused", timeout=10_000)
    panel.get_by_role("button", name="Resume").click()
    expect(status).to_have_text("Training", timeout=10_000)
    panel.get_by_role("button", name="Stop now").click()
    expect(status).to_have_text("Stopped", timeout=10_000)
    lab.wait_until_done(60)
    assert lab.texts(1) == ["stopped True"]
    table = lab.output(2).get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("cell", name="idle")).to_have_count(2)
    assert lab.errors() == []
