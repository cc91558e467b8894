"""Two real processes that train one model, over loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.distribution.two_processes import trained

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds; they take ten on an idle machine


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each of the two processes said."""
    folder, port = tmp_path_factory.mktemp("shared"), free_port()
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.distribution.two_processes", str(port)]
    errors = [(folder / f"errors{number}.txt").open("w+") for number in range(2)]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(folder)],
            stdout=subprocess.PIPE,
            stderr=errors[number],
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for number in range(2)
    ]
    try:
        texts = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        tails = []
        for file in errors:
            file.seek(0)
            tails.append(file.read()[-3000:])
            file.close()
    assert [p.returncode for p in processes] == [0, 0], "\n---\n".join(tails)
    return [json.loads(text.splitlines()[-1]) for text in texts]


def near(found, wanted, atol=1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("kind", ["data parallel", "model parallel"])
def test_two_processes_train_as_one_does(said, kind):
    _, wanted = trained()
    for one in said:
        near(one[kind], wanted)


def test_processes_see_all_devices_and_draw_the_same_numbers(said):
    assert [one["devices"] for one in said] == [2, 2]
    assert said[0]["draw"] == said[1]["draw"]


def test_rows_of_each_process_make_one_batch(said):
    _, wanted = trained(slice(80), shuffle=False)
    for one in said:
        near(one["own rows"]["history"], wanted["history"])
        near(one["own rows"]["weights"], wanted["weights"])


def test_files_are_written_once_and_loaded_everywhere(said):
    for one in said:
        near(one["loaded"], one["data parallel"]["evaluation"])


def test_weights_spread_over_processes_go_to_orbax_and_come_back(said):
    for one in said:
        assert not one["whole"]
        near(one["from orbax"], one["model parallel"]["evaluation"])


def test_what_is_asked_of_the_first_process_happens_in_all(said):
    assert said[0]["asked"] == said[1]["asked"]
    asked = said[0]["asked"]
    assert (asked["error"], asked["rate"]) == ("", 0.25) and asked["steps"] == 4 * 6


def test_an_interrupt_of_one_process_interrupts_all_at_one_step(said):
    assert said[0]["interrupted"] == said[1]["interrupted"]
    assert said[0]["interrupted"]["error"].startswith("KeyboardInterrupt")


def test_processes_hear_that_another_one_failed(said):
    assert said[1]["failed"]["error"] == "ZeroDivisionError: on purpose"
    assert "Process 1 of 2 stopped with an error" in said[0]["failed"]["error"]


def test_unequal_data_is_refused_before_anybody_waits(said):
    for one in said:
        assert "different numbers of rows: 40, 41" in one["unequal"]
