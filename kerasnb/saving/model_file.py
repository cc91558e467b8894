"""`.keras` files: a model, its weights and the state of its training in one zip file.

The members are `metadata.json`, `config.json` (what to build, `core/configurable.py`),
`model.weights.h5` (`saving/weights.py`) and, where a layer keeps files, `assets/`. With
`zipped=False` the same members are files in a folder.
"""

import contextlib
import datetime
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kerasnb.core.configurable import deserialize, serialize_shared, sharing
from kerasnb.core.errors import show
from kerasnb.core.placement import one_writer
from kerasnb.core.registry import custom_object_scope, safe_mode
from kerasnb.saving.files import (
    Archive,
    DamagedFileError,
    Replacing,
    may_write,
    require_file,
)
from kerasnb.saving.orbax import (
    WEIGHTS_ALONE,
    Checkpoint,
    asset_tree,
    is_checkpoint,
    paths_in_order,
    state_tree,
)
from kerasnb.saving.walk import places
from kerasnb.saving.weights import (
    WEIGHTS,
    Group,
    Stored,
    collect,
    open_member,
    open_weights,
    require_model,
    restore,
    write_image,
)

# The version of Keras whose files these are.
KERAS_VERSION = "3.15.1"

_CONFIG, _METADATA, _ASSETS = "config.json", "metadata.json", "assets"


def save_model(
    model: Any,
    filepath: str | Path,
    overwrite: bool = True,
    zipped: bool | None = None,
    **kwargs: Any,
) -> None:
    """Write a model, its weights and the state of its training to a `.keras` file.

    An existing file is replaced in one step when all is written, or stays as it was.
    With `zipped=False` the parts are written to a folder of that name.
    """
    who = "save"
    require_model(who, model)
    _check_old_arguments(who, kwargs)
    path = Path(filepath)
    zipped = True if zipped is None else zipped
    _check_name(who, path, zipped)
    if not getattr(model, "built", True):
        warnings.warn(
            f"{who}: {type(model).__name__} `{model.name}` is not built, so the file "
            "will have no weights. Call the model on data first to save them.",
            stacklevel=3,
        )
    # All that can fail on the side of the model comes before the first file.
    config, groups = config_text(model), collect(model)
    with one_writer(model.variables) as writes, contextlib.ExitStack() as stack:
        if not writes or not may_write(who, path, overwrite):
            return
        assets = _collect_assets(model, stack)
        files = stack.enter_context(Replacing(who))
        if zipped:
            with files.open(path) as file:
                _write_zip(file, path.parent, config, groups, assets)
        else:
            path.mkdir(exist_ok=True)
            for name, text in ((_METADATA, _metadata()), (_CONFIG, config)):
                with files.open(path / name) as file:
                    file.write(text.encode())
            with files.open(path / WEIGHTS) as file:
                write_image(groups, file, path)
            for name, source in assets.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                with files.open(path / name) as file, source.open("rb") as origin:
                    shutil.copyfileobj(origin, file)


def _check_old_arguments(who: str, kwargs: dict[str, Any]) -> None:
    kwargs.pop("include_optimizer", None)  # of the old `.h5` format only
    kwargs.pop("save_format", None)  # the name of the file says it
    for name in kwargs:
        raise ValueError(f"{who} has no argument `{name}`.")


def _check_name(who: str, path: Path, zipped: bool) -> None:
    if path.suffix in (".h5", ".hdf5"):
        raise ValueError(
            f"{who}: the old `.h5` format cannot be written yet; save the model as "
            f'"{path.stem}.keras".'
        )
    if zipped and path.suffix != ".keras":
        raise ValueError(
            f"{who}: the name of the file must end in `.keras`, not {show(path.name)}. "
            "(For other programs than Keras there is model.export.)"
        )
    if not zipped and path.suffix == ".keras":
        raise ValueError(
            f"{who}: with zipped=False the model goes to a folder, whose name must not "
            f"end in `.keras`, not {show(path.name)}."
        )


def config_text(model: Any) -> str:
    """What `config.json` holds: the model as Keras' files describe objects."""
    return json.dumps(serialize_shared(model), default=_unwritable)


def _unwritable(value: Any) -> Any:
    raise TypeError(
        f"A config holds {show(value)}, which a file cannot; let get_config() return "
        "numbers, strings, lists, dicts, or objects with a get_config() of their own."
    )


def _metadata() -> str:
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    return json.dumps({"keras_version": KERAS_VERSION, "date_saved": now})


def _write_zip(
    file: BinaryIO,
    folder: Path,
    config: str,
    groups: list[Group],
    assets: Mapping[str, Path],
) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in ((_METADATA, _metadata()), (_CONFIG, config)):
            with archive.open(name, "w") as member:
                member.write(text.encode())
        with archive.open(WEIGHTS, "w", force_zip64=True) as member:
            write_image(groups, member, folder)  # type: ignore[arg-type]
        for name, source in assets.items():
            archive.write(source, name)


def _collect_assets(model: Any, stack: contextlib.ExitStack) -> dict[str, Path]:
    """The files that layers keep beside their weights, by the names of the members."""
    keepers = [(p, obj) for p, obj in places(model) if hasattr(obj, "save_assets")]
    if not keepers:
        return {}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), _ASSETS)
    for place, obj in keepers:
        own = folder / place
        own.mkdir(parents=True, exist_ok=True)
        obj.save_assets(str(own))
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder.parent).as_posix(): path for path in found}


def checkpoint_parts(
    model: Any, weights_only: bool, stack: contextlib.ExitStack
) -> dict[str, Any]:
    """What an Orbax checkpoint of a model is made of, by the names of its parts."""
    tree = state_tree(model)
    if weights_only:
        tree = {kind: tree[kind] for kind in WEIGHTS_ALONE}
    paths = json.dumps(paths_in_order(model))
    parts: dict[str, Any] = {"pytree": tree, "variables": {"paths": paths}}
    if weights_only:
        return parts
    parts["model_config"] = {"config": config_text(model)}
    if assets := _collect_assets(model, stack):
        prefix = f"{_ASSETS}/"
        parts["assets"] = asset_tree(
            {name.removeprefix(prefix): path for name, path in assets.items()}
        )
    return parts


# --- Loading --------------------------------------------------------------------------


def load_model(
    filepath: str | Path,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """The model from a `.keras` file or an Orbax checkpoint, to go on where it was.

    Classes and functions of your own are found by the names that they were registered
    under (`keras.saving.register_keras_serializable`), or in `custom_objects`. With
    `compile=False` the state of the training is left out. A file that brings Python
    code along is refused unless `safe_mode=False`; then it may do anything it likes.
    """
    who, path = "load_model", Path(filepath)
    if path.suffix in (".h5", ".hdf5"):
        raise ValueError(
            f"{who}: {path.name} is a file of Keras' old `.h5` format, which cannot be "
            "read yet. Load it with Keras 3 and save it as `.keras`."
        )
    with contextlib.ExitStack() as stack:
        if (path / _CONFIG).is_file():
            source: Source = _Folder(who, path, stack)
        elif is_checkpoint(path):
            source = Checkpoint(who, path)
        elif path.suffix != ".keras":
            raise ValueError(
                f"{who}: {show(str(path))} is not a `.keras` file, nor a folder with a "
                f"{_CONFIG}; Keras models are kept in `.keras` files."
            )
        else:
            source = _Zip(who, require_file(who, path), stack)
        config = _parse(who, source)
        if not compile:
            config.pop("compile_config", None)
        model = _build(source, config, custom_objects, safe_mode)
        if isinstance(source, Checkpoint):
            source.restore(model)
        else:
            restore(model, source.weights(), source.label)
        _load_assets(model, source)
    return model


class _Zip:
    """A `.keras` file."""

    def __init__(self, who: str, path: Path, stack: contextlib.ExitStack) -> None:
        self.archive, self.label, self.stack = Archive(who, path), str(path), stack
        stack.callback(self.archive.close)
        if _METADATA in self.archive.names():
            self.archive.read(_METADATA)  # of no use here, but it should be whole

    def read(self, name: str) -> bytes:
        return self.archive.read(name)

    def weights(self) -> Stored:
        return open_member(self.archive, self.stack)

    def assets(self) -> Iterator[tuple[str, bytes]]:
        for name in self.archive.names():
            if name.startswith(f"{_ASSETS}/"):
                yield name.removeprefix(f"{_ASSETS}/"), self.archive.read(name)


class _Folder:
    """The same parts as files in a folder."""

    def __init__(self, who: str, path: Path, stack: contextlib.ExitStack) -> None:
        self.who, self.path, self.label, self.stack = who, path, str(path), stack

    def read(self, name: str) -> bytes:
        return require_file(self.who, self.path / name).read_bytes()

    def weights(self) -> Stored:
        path = require_file(self.who, self.path / WEIGHTS)
        return self.stack.enter_context(open_weights(self.who, path))

    def assets(self) -> Iterator[tuple[str, bytes]]:
        folder = self.path / _ASSETS
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path.read_bytes()


Source = _Zip | _Folder | Checkpoint


def _parse(who: str, source: Source) -> dict[str, Any]:
    text = source.read(_CONFIG)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"{who}: {source.label} is damaged: its {_CONFIG} is not JSON ({error})."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise DamagedFileError(
            f"{who}: {source.label} does not describe a model: its {_CONFIG} has no "
            "`class_name`."
        )
    return config


def _build(
    source: Source,
    config: dict[str, Any],
    custom_objects: dict[str, Any] | None,
    safe: bool,
) -> Any:
    with custom_object_scope(custom_objects), safe_mode(safe), sharing():
        try:
            model = deserialize(config)
        except (KeyError, IndexError, AttributeError, RecursionError) as error:
            what = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"{source.label} cannot be loaded: its description of "
                f"{config['class_name']} is not complete ({what})."
            ) from error
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            hint = _function_hint(config, str(error))
            raise kind(f"{source.label} cannot be loaded: {error}{hint}") from error
    if not hasattr(model, "load_own_variables"):
        raise DamagedFileError(
            f"{source.label} does not hold a model, but a {config['class_name']}."
        )
    return model


def _function_hint(config: Any, message: str) -> str:
    """What to do when a message is about a function that a config names."""
    if isinstance(config, dict):
        name = config.get("config")
        if config.get("class_name") == "function" and f'"{name}"' in message:
            return (
                f" If `{name}` is a function of yours, pass custom_objects={{'{name}': "
                f"{name}}}."
            )
        config = list(config.values())
    if not isinstance(config, list):
        return ""
    return next((hint for x in config if (hint := _function_hint(x, message))), "")


def _load_assets(model: Any, source: Source) -> None:
    keepers = [(p, obj) for p, obj in places(model) if hasattr(obj, "load_assets")]
    if not keepers:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, content in source.assets():
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        for place, obj in keepers:
            own = Path(folder, place)
            obj.load_assets(str(own) if own.exists() else None)
