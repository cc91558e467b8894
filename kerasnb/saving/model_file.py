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

from kerasnb.core.budget import budget_for
from kerasnb.core.configurable import (
    deserialize,
    serialize_shared,
    sharing,
    whose,
)
from kerasnb.core.errors import printable, show
from kerasnb.core.placement import one_writer
from kerasnb.core.registry import custom_object_scope
from kerasnb.core.registry import safe_mode as _safe_mode
from kerasnb.saving.files import (
    Archive,
    DamagedFileError,
    Replacing,
    may_write,
    read_json,
    require_beside,
    require_file,
    size_of,
)
from kerasnb.saving.legacy import ENDINGS, KERAS_VERSION, Legacy, save_legacy
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
    With `zipped=False` the parts are written to a folder of that name. A name that ends
    in `.h5` gives a file of the old format, without the state of the training where
    `include_optimizer=False`.
    """
    who = "save"
    require_model(who, model)
    include_optimizer = _check_old_arguments(who, kwargs)
    path = Path(filepath)
    zipped = True if zipped is None else zipped
    _check_name(who, path, zipped)
    if not getattr(model, "built", True):
        warnings.warn(
            f"{who}: {type(model).__name__} `{model.name}` is not built, so the file "
            "will have no weights. Call the model on data first to save them.",
            stacklevel=3,
        )
    if zipped and path.suffix in ENDINGS:
        save_legacy(who, model, path, overwrite, include_optimizer)
        return
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


def _check_old_arguments(who: str, kwargs: dict[str, Any]) -> bool:
    include_optimizer = kwargs.pop("include_optimizer", True)  # for `.h5` alone
    kwargs.pop("save_format", None)  # the name of the file says it
    for name in kwargs:
        raise ValueError(f"{who} has no argument `{name}`.")
    return bool(include_optimizer)


def _check_name(who: str, path: Path, zipped: bool) -> None:
    if zipped and path.suffix not in (".keras", *ENDINGS):
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
    """The model from a `.keras` or `.h5` file or an Orbax checkpoint, to go on from.

    Classes and functions of your own are found by the names that they were registered
    under (`keras.saving.register_keras_serializable`), or in `custom_objects`. With
    `compile=False` the state of the training is left out. A file that brings Python
    code along, reaches for other files or needs far more memory than it holds is
    refused. With `safe_mode=False` none of this is: its code (lambdas) runs with your
    rights when the model is called, so do that only where you know who wrote it.
    """
    who, path = "load_model", Path(filepath)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_safe_mode(safe_mode))
        if (path / _CONFIG).is_file():
            source: Source = _Folder(who, path, stack)
        elif is_checkpoint(path):
            source = Checkpoint(who, path)
        elif path.suffix in ENDINGS:
            source = Legacy(who, require_file(who, path), stack)
        elif path.suffix != ".keras":
            raise ValueError(
                f"{who}: {show(str(path))} is not a `.keras` or `.h5` file, nor a "
                f"folder with a {_CONFIG}; Keras models are kept in `.keras` files."
            )
        else:
            source = _Zip(who, require_file(who, path), stack)
        config = _parse(who, source)
        if not compile:
            config.pop("compile_config", None)
        stack.enter_context(budget_for(source.held))
        model = _build(source, config, custom_objects)
        if isinstance(source, Checkpoint | Legacy):
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
        self.held = self.archive.held
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
        self.held = size_of(path)

    def _part(self, name: str) -> Path:
        return require_beside(self.who, self.path / name, self.path / _CONFIG)

    def read(self, name: str) -> bytes:
        return self._part(name).read_bytes()

    def weights(self) -> Stored:
        path = self._part(WEIGHTS)
        return self.stack.enter_context(open_weights(self.who, path))

    def assets(self) -> Iterator[tuple[str, bytes]]:
        folder = self.path / _ASSETS
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path.read_bytes()


Source = _Zip | _Folder | Checkpoint | Legacy


def _parse(who: str, source: Source) -> dict[str, Any]:
    label = f"{source.label} is damaged: its {_CONFIG}"
    config = read_json(who, label, source.read(_CONFIG))
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise DamagedFileError(
            f"{who}: {source.label} does not describe a model: its {_CONFIG} has no "
            "`class_name`."
        )
    return config


def _build(
    source: Source, config: dict[str, Any], custom_objects: dict[str, Any] | None
) -> Any:
    with custom_object_scope(custom_objects), sharing():
        try:
            model = deserialize(config)
        except (TypeError, ValueError, NotImplementedError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            hint = ""
            with contextlib.suppress(RecursionError):  # deeper here than there
                hint = _function_hint(config, _line(error))
            raise kind(f"{source.label} cannot be loaded: {_line(error)}{hint}") from (
                error
            )
        except Exception as error:  # a class of the user's may raise anything
            raise ValueError(
                f"{source.label} cannot be loaded: its description of "
                f"{show(config['class_name'])[1:-1]} is not complete "
                f"({type(error).__name__}: {_line(error)})."
            ) from error
    if not hasattr(model, "load_own_variables"):
        raise DamagedFileError(
            f"{source.label} does not hold a model, but a {config['class_name']}."
        )
    return model


def _line(error: Exception) -> str:
    """What an error says, on one line, as much as one reads, with the layer's name."""
    text = str(error)
    kind, name = whose(error) or ("", "")
    if name and name not in text:
        rest = text.removeprefix(kind)
        text = f"{kind} `{name}`{rest if rest != text else f': {text}'}"
    text = printable(text)
    return text if len(text) <= 400 else f"{text[:397]}..."


def _function_hint(config: Any, message: str) -> str:
    """What to do when a message is about a function that a config names."""
    if isinstance(config, dict):
        name = str(config.get("config"))
        told = f'"{name}"' in message and name.isprintable()
        if config.get("class_name") == "function" and told:
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
        try:
            for name, content in source.assets():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            for place, obj in keepers:
                own = Path(folder, place)
                obj.load_assets(str(own) if own.exists() else None)
        except DamagedFileError:
            raise
        except (OSError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{source.label} is damaged: its {_ASSETS} do not fit the model "
                f"({_line(error)})."
            ) from error
