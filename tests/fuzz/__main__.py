"""Load many mutated files: `python -m tests.fuzz --count 20000`.

Each case follows from its number, so that a run can be taken up with `--seed` and a
case be looked at again with `--seed N --count 1`. Files at fault are kept.
"""

import argparse
import collections
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

# Before jax is imported.
os.environ |= {"JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax"}

from tests.fuzz import cases

PATIENCE = 120.0  # seconds on the clock, for a case that no signal reaches


class Worker:
    """A process that judges one case at a time."""

    def __init__(self, context: Any, seeds: Path) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=cases.work, args=(other, seeds), daemon=True
        )
        self.process.start()
        other.close()
        self.seed: int | None = None
        self.since = time.monotonic()

    def give(self, seed: int | None) -> None:
        self.seed, self.since = seed, time.monotonic()
        self.pipe.send(seed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="the first number")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    seeds = options.keep / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    cases.write_seeds(seeds)
    context = multiprocessing.get_context("spawn")
    waiting = iter(range(options.seed, options.seed + options.count))
    workers = [Worker(context, seeds) for _ in range(options.workers)]
    tally: collections.Counter[str] = collections.Counter()
    faults, done, slowest, started = 0, 0, 0.0, time.monotonic()

    def report(verdict: Any) -> None:
        nonlocal faults, done, slowest
        done += 1
        slowest = max(slowest, verdict.seconds)
        tally[verdict.outcome if not verdict.fault else "AT FAULT"] += 1
        if verdict.fault:
            faults += 1
            name, content = cases.make_case(verdict.seed, seeds)
            kept = options.keep / f"{verdict.seed}-{name}"
            kept.write_bytes(content)
            print(f"--seed {verdict.seed} ({kept}): {verdict.fault}", flush=True)
        if done % 500 == 0:
            rate = (time.monotonic() - started) / done
            print(f"{done} files, {dict(tally)}, {rate * 1000:.0f} ms each", flush=True)

    while workers:
        ready = wait([worker.pipe for worker in workers], timeout=1.0)
        for worker in list(workers):
            late = time.monotonic() - worker.since > PATIENCE
            if worker.pipe not in ready and not late:
                continue
            try:
                if late:
                    raise EOFError
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.kill()
                worker.process.join()
                why = "no answer" if late else f"died ({worker.process.exitcode})"
                if worker.seed is None:
                    print(f"a worker cannot start: {why}", flush=True)
                    return 2
                report(cases.Verdict(worker.seed, "", "died", why))
                workers.remove(worker)
                workers.append(Worker(context, seeds))
                continue
            if answer is not None:
                report(answer)
            seed = next(waiting, None)
            worker.give(seed)
            if seed is None:
                worker.process.join()
                workers.remove(worker)
    print(
        f"{done} files from number {options.seed} on: {dict(tally)}; "
        f"the slowest took {slowest:.1f} s of computing"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
