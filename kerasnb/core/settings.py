"""Settings that hold for the whole process: number formats, display, tracebacks.

`kerasnb.config` is the public face of this file.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kerasnb.core.errors import check

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_DISPLAYS = ("auto", "widget", "html", "text", "none")
ALARMS = (
    *("nan", "scale", "labels", "learning_rate", "exploding", "dead", "vanishing"),
    *("plateau", "overfitting"),
)

_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "display": None,
    "tracebacks": "short",
    "alarms": None,
    "runs_dir": ...,
    "best_weights": 256,
    "interactive_logging": True,
    "flash_attention": None,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


def floatx() -> str:
    """The default float dtype, `"float32"` unless `set_floatx` said otherwise."""
    return _settings["floatx"]


def set_floatx(value: str) -> None:
    """Make `value` the dtype of everything created without one."""
    check(value in _FLOATS, "set_floatx", "value", value, f"one of {_FLOATS}")
    _settings["floatx"] = str(value)


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, `1e-7`."""
    return _settings["epsilon"]


def set_epsilon(value: float) -> None:
    """Replace the small number returned by `epsilon`."""
    _settings["epsilon"] = value


def image_data_format() -> str:
    """Where images keep their channels: `"channels_last"` or `"channels_first"`."""
    return _settings["image_data_format"]


def set_image_data_format(data_format: str) -> None:
    """Choose where images keep their channels when a layer is not told."""
    data_format = str(data_format).lower()
    check(
        data_format in ("channels_last", "channels_first"),
        "set_image_data_format",
        "data_format",
        data_format,
        '"channels_last" or "channels_first"',
    )
    _settings["image_data_format"] = data_format


def standardize_data_format(data_format: str | None) -> str:
    """`data_format`, or the process-wide choice when it is None."""
    if data_format is None:
        return image_data_format()
    data_format = str(data_format).lower()
    check(
        data_format in ("channels_last", "channels_first"),
        None,
        "data_format",
        data_format,
        '"channels_last" or "channels_first"',
    )
    return data_format


def backend() -> str:
    """The name of the array library underneath, always `"jax"`."""
    return "jax"


def display(
    mode: Literal["auto", "widget", "html", "text", "none"] | None = None,
) -> str:
    """How models and runs show themselves; called with a `mode`, sets it.

    `"auto"` draws widgets in a notebook and text elsewhere. The environment
    variable `KERASNB_DISPLAY` holds the choice until this is called.
    """
    if mode is not None:
        check(mode in _DISPLAYS, "display", "mode", mode, f"one of {_DISPLAYS}")
        _settings["display"] = mode
    if _settings["display"] is not None:
        return _settings["display"]
    wanted = os.environ.get("KERASNB_DISPLAY", "auto")
    check(wanted in _DISPLAYS, None, "KERASNB_DISPLAY", wanted, f"one of {_DISPLAYS}")
    return wanted


def tracebacks(mode: Literal["short", "full"] | None = None) -> str:
    """Whether a notebook shows `"short"` errors or `"full"` ones with every frame."""
    if mode is not None:
        check(
            mode in ("short", "full"), "tracebacks", "mode", mode, '"short" or "full"'
        )
        _settings["tracebacks"] = mode
    return _settings["tracebacks"]


def alarms(mode: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """The kinds of alarms that may ring in `fit`; called with a mode, chooses them.

    `"on"` stands for all of them, `"off"` for none, `"nan, overfitting"` or a list for
    those named. The environment variable `KERASNB_ALARMS` holds the choice until this
    is called. `model.run.silence(kind)` silences one in a single run.

    >>> alarms("nan, overfitting")
    ('nan', 'overfitting')
    >>> alarms("on")  # doctest: +ELLIPSIS
    ('nan', 'scale', 'labels', 'learning_rate', ..., 'overfitting')
    """
    if mode is not None:
        _settings["alarms"] = _kinds_of_alarms("mode", mode)
    if _settings["alarms"] is None:
        told = os.environ.get("KERASNB_ALARMS", "on")
        _settings["alarms"] = _kinds_of_alarms("KERASNB_ALARMS", told)
    return _settings["alarms"]


def _kinds_of_alarms(argument: str, mode: Any) -> tuple[str, ...]:
    expected = f'"on", "off", or names among {", ".join(ALARMS)}'
    text = isinstance(mode, str)
    check(text or isinstance(mode, Sequence), "alarms", argument, mode, expected)
    names = mode.replace(",", " ").split() if text else list(mode)
    if names in (["on"], ["off"]):
        return ALARMS if names == ["on"] else ()
    for name in names:
        check(name in ALARMS, "alarms", argument, name, expected)
    return tuple(name for name in ALARMS if name in names)


def runs_dir(path: str | os.PathLike[str] | None = ...) -> Path | None:  # type: ignore[assignment]
    """Where each `fit` keeps its record, None for nowhere; called with a path, sets it.

    Each run gets a folder there, with its settings, curves and the weights it began
    with: `kerasnb.runs.load()` reads them, `record.rerun(x, y)` trains again. The
    environment variable `KERASNB_RUNS_DIR` holds the path until this is called.
    """
    if path is not ...:
        good = path is None or (isinstance(path, str | os.PathLike) and os.fspath(path))
        check(good, "runs_dir", "path", path, "the path of a folder, or None")
        # Absolute: a notebook that changes its folder must not split its runs.
        _settings["runs_dir"] = None if path is None else Path(path).absolute()
    if _settings["runs_dir"] is not ...:
        return _settings["runs_dir"]
    wanted = os.environ.get("KERASNB_RUNS_DIR")
    return Path(wanted).absolute() if wanted else None


def best_weights(megabytes: float | None = None) -> float:
    """How many MB of weights the records of runs keep; called with a number, sets it.

    Each record keeps the weights of its best epoch, for `record.load_best()`. Beyond
    256 MB, unless this says otherwise, the oldest records lose theirs, and a model that
    is larger by itself keeps none; with 0 nothing is kept.
    """
    if megabytes is not None:
        good = isinstance(megabytes, int | float) and megabytes >= 0
        check(good, "best_weights", "megabytes", megabytes, "a number from 0 up")
        _settings["best_weights"] = megabytes
    return _settings["best_weights"]


def is_interactive_logging_enabled() -> bool:
    """Whether progress is drawn as a bar (True) or as plain lines."""
    return _settings["interactive_logging"]


def enable_interactive_logging() -> None:
    """Draw progress as a bar that updates in place."""
    _settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Write progress as plain lines, as a log file wants it."""
    _settings["interactive_logging"] = False


def enable_flash_attention() -> None:
    """Let attention layers use the device's fused kernel where it fits; the default."""
    _settings["flash_attention"] = None


def disable_flash_attention() -> None:
    """Let attention layers compute with plain products, also where a kernel fits."""
    _settings["flash_attention"] = False


def is_flash_attention_enabled() -> bool | None:
    """False when switched off; None when used wherever the device and inputs allow."""
    return _settings["flash_attention"]


def enable_traceback_filtering() -> None:
    """Show short errors in a notebook; `tracebacks("short")` by Keras' name."""
    tracebacks("short")


def disable_traceback_filtering() -> None:
    """Show errors with every frame; `tracebacks("full")` by Keras' name."""
    tracebacks("full")


def is_traceback_filtering_enabled() -> bool:
    """Whether a notebook shows short errors."""
    return tracebacks() == "short"


def max_epochs() -> int | None:
    """The most epochs that any `fit` trains, None without a limit.

    The environment variable `KERAS_MAX_EPOCHS` holds it until `set_max_epochs`.
    """
    return _limit("max_epochs")


def set_max_epochs(max_epochs: int | None) -> None:
    """Let no `fit` train for more epochs than this, to try a script out quickly."""
    _set_limit("max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """The most batches in one pass over any data, None without a limit.

    The environment variable `KERAS_MAX_STEPS_PER_EPOCH` holds it until
    `set_max_steps_per_epoch`.
    """
    return _limit("max_steps_per_epoch")


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Let no pass of `fit`, `evaluate` or `predict` take more batches than this."""
    _set_limit("max_steps_per_epoch", max_steps_per_epoch)


def limited(count: int | None, limit: int | None, what: str) -> int | None:
    """`count` cut to `limit`, with a warning that says so; None stands for no end."""
    if limit is None or (count is not None and count <= limit):
        return count
    warnings.warn(f"Limiting {what} to {limit}, as keras.config asks.", stacklevel=3)
    return limit


def _limit(name: str) -> int | None:
    if _settings[name] is None and (told := os.environ.get(f"KERAS_{name.upper()}")):
        _set_limit(name, int(told) if told.isdigit() else told)
    return _settings[name]


def _set_limit(name: str, value: Any) -> None:
    good = value is None or (isinstance(value, int) and value > 0)
    check(good, None, name, value, "a positive whole number or None")
    _settings[name] = value
