"""Speed beside hand-written JAX, the released Keras, Flax NNX and PyTorch.

Run it: `make bench`, or `python -m tests.benchmarks.run [--only CNN] [--quick]`. It
takes 20 to 25 minutes on two quiet cores, and writes `tests/benchmarks/RESULTS.md`
anew after every row: what was measured stays when it is interrupted, `--resume` goes
on, and with `--only` the other rows of an earlier run stay as they are.

Every row is measured in a process of its own, so that one that fails or hangs says so
and the next one begins. The rows are in `rows.py`, how sides take turns in `turns.py`.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["KERASNB_COMPILATION_CACHE"] = "off"  # but in the processes that want it

from tests.benchmarks.rows import ALSO, ROOT, SECTIONS
from tests.benchmarks.turns import Budget, Figures, middle, one_line

RESULTS = Path(__file__).with_name("RESULTS.md")
KEPT = ROOT / "build" / "benchmarks.json"
TIMEOUT = 400.0  # seconds for a row
QUICK = Budget(most=2, fewest=2, seconds=1.0)
INTRODUCTION = """\
# Speed

Written by `make bench`; see `run.py` for how. A figure is our time divided by that of
the other side, the median over laps taken in turns, with the range of the middle half:
below 1 kerasnb is faster. "Load" is the machine's load at the begin and the end of a
row, and the part of all cores that other programs took meanwhile.
"""


# --- One row, in a process of its own -------------------------------------------------


def measured(title: str, quick: bool, also: str, timeout: float = TIMEOUT) -> Any:
    """What a row found, or why it failed, and what the machine did beside."""
    result: dict[str, Any] = {"load": [load()], "quick": quick}
    began, before = time.perf_counter(), worked()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        out, said = Path(folder) / "figures.json", Path(folder) / "errors"
        command = [sys.executable, "-m", "tests.benchmarks.run", "--row", title]
        command += ["--out", str(out), *["--quick"] * quick]
        # Not into pipes: a process that outlives the row would keep them open.
        with said.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {ALSO: also},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        try:
            process.wait(timeout)
            if out.exists():
                result |= json.loads(out.read_text(encoding="utf-8"))
            else:
                lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
                last = next((x for x in reversed(lines) if x.strip()), "")
                result["failed"] = f"ended with {process.returncode} {last}".strip()
        except subprocess.TimeoutExpired:
            result["failed"] = f"not done after {timeout:.0f} s"
        finally:
            ended(process)
    seconds = time.perf_counter() - began
    result["load"].append(load())
    result["seconds"] = seconds
    if before is not None and (after := worked()) is not None:
        others = (after[0] - before[0]) - (after[1] - before[1])
        result["others"] = max(0.0, others / seconds / (os.cpu_count() or 1))
    return result


def ended(process: subprocess.Popen) -> None:
    """End a process and what it started, gently at first."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
            os.killpg(process.pid, number)
            process.wait(20)


def measure(title: str, budget: Budget, out: Path) -> None:
    """Measure a row here."""
    if os.environ.get(ALSO):
        sys.path.append(os.environ[ALSO])
    row = {title: row for rows in SECTIONS.values() for title, row in rows.items()}
    found: dict[str, Any] = {}
    try:
        found["figures"] = row[title].measure(budget)
    except Exception as error:  # noqa: BLE001 (told on the page)
        found["failed"] = one_line(error)
    replace(out, json.dumps(found))


def load() -> float:
    """The load of the machine, of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def worked() -> tuple[float, float] | None:
    """Processor seconds of the machine, and of what we started; None without /proc."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft, *stolen = map(int, line.split()[1:9])
    busy = user + nice + system + irq + soft + sum(stolen[:1])
    times = os.times()
    ours = sum(times[:4])
    return busy / os.sysconf("SC_CLK_TCK"), ours


# --- The page -------------------------------------------------------------------------


def text_of(heading: str, values: Any) -> str:
    """A figure as it stands in a table; our own ones have a unit in their heading."""
    if isinstance(values, str):
        return values
    if heading.endswith((", ms", ", s", ", MB", ", programs")):
        return f"{min(values):.3g}" if min(values) < 1000 else f"{min(values):.0f}"
    low, median, high = middle(values)
    return f"**{median:.2f}** ({low:.2f} to {high:.2f})"


def targets(results: dict[str, Any]) -> list[str]:
    """The table of what ought to be, and what is."""
    lines, met, count = [], 0, 0
    for rows in SECTIONS.values():
        for title, row in rows.items():
            result = results.get(title)
            for heading, most in row.targets.items() if result else ():
                values = result.get("figures", {}).get(heading, "not measured")
                verdict, good = "**missed**", False
                if not isinstance(values, str):
                    good = middle(values)[1] <= most
                verdict = "met" if good else "**missed**"
                if "failed" in result:
                    values = "failed"
                text = text_of(heading, values)
                lines.append(
                    f"| {title} | {heading} | {text} | {most:.2f} | {verdict} |"
                )
                met, count = met + good, count + 1
    head = ["", "## Targets", "", f"{met} of {count} are met.", ""]
    head += ["| | beside | figure | at most | |", "|---|---|---|---|---|"]
    return head + lines


def page(results: dict[str, Any], about: str) -> str:
    """The page of all rows."""
    lines = [INTRODUCTION, about, *targets(results)]
    for section, rows in SECTIONS.items():
        found = {title: results[title] for title in rows if title in results}
        names = [name for r in found.values() for name in r.get("figures", {})]
        names = list(dict.fromkeys(names))
        if not found:
            continue
        lines += ["", f"## {section}", ""]
        lines.append("| | " + "".join(f"{name} | " for name in names) + "load |")
        lines.append("|---" * (len(names) + 2) + "|")
        for title, result in found.items():
            figures: Figures = result.get("figures", {})
            texts = [text_of(n, figures[n]) if n in figures else "" for n in names]
            if "failed" in result:
                text = f"failed: {result['failed']}"
                texts = [text, *[""] * (len(names) - 1)] if names else []
                title += "" if names else f" {text}"
            texts.append(_loads(result))
            lines.append(f"| {title} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _loads(result: dict[str, Any]) -> str:
    text = " to ".join(f"{value:.1f}" for value in result["load"])
    if "others" in result:
        text += f", others {result['others']:.0%}"
    return text + (", few laps" if result.get("quick") else "")


def machine(also: str) -> str:
    """What it ran on."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("jax", "numpy", "keras", "flax", "torch"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [x.partition(":")[2].strip() for x in lines if x.startswith("model na")]
        model = names[0] if names else model
    except OSError:
        pass
    day = time.strftime("%Y-%m-%d")
    return f"{day}, {os.cpu_count()} cores ({model}); {', '.join(versions)}."


def replace(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def kept() -> dict[str, Any]:
    """The results of an earlier run."""
    try:
        found = json.loads(KEPT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    titles = {title for rows in SECTIONS.values() for title in rows}
    return {t: r for t, r in found.items() if t in titles and "load" in r}


# --- All of it ------------------------------------------------------------------------


def main() -> None:
    """Measure the rows that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows with this in them")
    parser.add_argument("--quick", action="store_true", help="two laps a row")
    parser.add_argument("--resume", action="store_true", help="rows not yet measured")
    parser.add_argument("--also", default="", help="a folder of further packages")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        measure(args.row, QUICK if args.quick else Budget(), args.out)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # The row is ended, too.
    also = str(Path(args.also).resolve()) if Path(args.also).is_dir() else ""
    if args.also and also:
        sys.path.append(also)
    results = kept() if args.only or args.resume else {}
    began = time.perf_counter()
    for section, rows in SECTIONS.items():
        for title in rows:
            done = title in results and "failed" not in results[title]
            if args.only.lower() not in f"{section} {title}".lower():
                continue
            if args.resume and done:
                continue
            results[title] = result = measured(title, args.quick, also)
            replace(KEPT, json.dumps(results, indent=1))
            replace(RESULTS, page(results, machine(also)))
            figures = result.get("figures", {})
            text = "; ".join(f"{n} {text_of(n, v)}" for n, v in figures.items())
            text = f"failed: {result['failed']}" if "failed" in result else text
            print(f"{title}: {text} [{result['seconds']:.0f} s]", flush=True)
    minutes = (time.perf_counter() - began) / 60
    print(f"{RESULTS.relative_to(ROOT)} is written, after {minutes:.0f} minutes.")


if __name__ == "__main__":
    main()
