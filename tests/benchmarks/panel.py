"""`fit` under the live panel against `fit` that shows nothing, in a real kernel.

Run it: `make bench`, or `python tests/benchmarks/panel.py [--rounds 7]`. Both take
turns, so that a busy machine slows both; the ratio of the best rounds counts. The front
end is a client that reads every message and counts the bytes.
"""

import argparse
import json

from jupyter_client.manager import start_new_kernel

CODE = """
import time
import kerasnb as keras
from kerasnb.datasets import digits28

keras.config.display("widget")
(x, y), _ = digits28.load_data()
model = keras.Sequential(
    [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
     keras.layers.Dense({units}, activation="relu"),
     keras.layers.Dense(10, activation="softmax")], name="digits")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
took = dict(auto=[], none=[])
work = dict(auto=0.0, none=0.0)  # of all threads, those that send included
for round in range({rounds} + 1):
    for name, verbose in (("none", 0), ("auto", "auto")):
        began, worked = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=32, epochs={epochs}, verbose=verbose)
        if round:  # the first compiles
            took[name].append(time.perf_counter() - began)
            work[name] += time.process_time() - worked
import json
print("took", json.dumps([took, work]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--units", type=int, default=256)
    given = parser.parse_args()
    printed, sent = [], [0]

    def hear(message: dict) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])
        if message["msg_type"] in ("comm_msg", "update_display_data"):
            size = len(json.dumps(message["content"]))
            sent[0] += size + sum(map(len, message["buffers"]))

    manager, client = start_new_kernel()
    try:
        code = CODE.format(**vars(given))
        reply = client.execute_interactive(code, output_hook=hear, timeout=900)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    line = next(text for text in printed if text.startswith("took"))
    took, work = json.loads(line.splitlines()[0].removeprefix("took "))
    best = {name: min(rounds) for name, rounds in took.items()}
    kilobytes = sent[0] / 1000 / sum(took["auto"])
    print(
        f"panel: {best['auto'] / best['none']:.3f}x of {best['none']:.2f} s "
        f"(target 1.03x), {work['auto'] / work['none']:.3f}x of the processor's work, "
        f"{kilobytes:.1f} kB a second"
    )


if __name__ == "__main__":
    main()
