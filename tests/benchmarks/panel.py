"""`fit` under the live panel against `fit` that shows nothing, in a real kernel.

It is a row of `run.py`. Run it alone: `python -m tests.benchmarks.panel [--rounds 7]`.
Both take turns, so that a busy machine slows both. The front end is a client that reads
every message and counts the bytes.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this Python

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
CODE = """
import json, sys, time
sys.path.insert(0, {root!r})
import kerasnb
from tests.benchmarks.workloads import TABLE, compiled

kerasnb.config.display("widget")
work = TABLE[{name!r}]
x, y = work.data()
model = compiled(kerasnb, work)

def fit(verbose, epochs):
    began, worked = time.perf_counter(), time.process_time()
    model.fit(x, y, batch_size=work.batch, epochs=epochs, verbose=verbose)
    # Of all threads, those that send included.
    return time.perf_counter() - began, time.process_time() - worked

for verbose in ("auto", 0):
    fit(verbose, 2)  # compiles
epochs = max(1, round({seconds} / (fit(0, 3)[0] / 3)))
rounds = dict(auto=[], none=[])
for number in range({rounds}):
    for name in sorted(rounds, reverse=number % 2):
        rounds[name].append(fit("auto" if name == "auto" else 0, epochs))
print("took", json.dumps(rounds))
"""


def measure(
    name: str, rounds: int, seconds: float = 4.0
) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Seconds and processor seconds of every fit, and the bytes sent a second."""
    printed, sent = [], [0]

    def hear(message: dict) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])
        if message["msg_type"] in ("comm_msg", "update_display_data"):
            size = len(json.dumps(message["content"]))
            sent[0] += size + sum(map(len, message["buffers"]))

    manager, client = start_new_kernel()
    try:
        code = CODE.format(root=str(ROOT), name=name, rounds=rounds, seconds=seconds)
        reply = client.execute_interactive(code, output_hook=hear, timeout=600)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    if (content := reply["content"])["status"] != "ok":
        raise RuntimeError(f"{content.get('ename')}: {content.get('evalue')}")
    line = next(x for x in "".join(printed).splitlines() if x.startswith("took "))
    took = json.loads(line.removeprefix("took "))
    return took, sent[0] / sum(wall for wall, _ in took["auto"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="MLP 784-128-10, batch 32")
    given = parser.parse_args()
    took, speed = measure(given.name, given.rounds)
    wall, work = (
        statistics.median(
            a[i] / b[i] for a, b in zip(took["auto"], took["none"], strict=True)
        )
        for i in (0, 1)
    )
    print(
        f"panel: {wall:.3f}x of {took['none'][0][0]:.2f} s (target 1.03x), "
        f"{work:.3f}x of the processor's work, {speed / 1000:.1f} kB a second"
    )


if __name__ == "__main__":
    sys.exit(main())
