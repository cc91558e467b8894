"""`Config`: named values, for the settings of an experiment."""

import json
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from kerasnb.core.errors import suggest


class Config:
    """Named values, read and set as attributes or as items; freezable.

    >>> config = Config(learning_rate=0.1)
    >>> config.epochs = 5
    >>> config["learning_rate"], config.to_json()
    (0.1, '{"learning_rate": 0.1, "epochs": 5}')
    """

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(_config=kwargs, _frozen=False)

    @property
    def frozen(self) -> bool:
        """Whether values can no longer be changed."""
        return self._frozen

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self.__dict__["_frozen"] = True

    def unfreeze(self) -> None:
        """Allow changes again."""
        self.__dict__["_frozen"] = False

    def as_dict(self) -> dict[str, Any]:
        """The values in a dict of their own."""
        return dict(self._config)

    def to_json(self) -> str:
        """The values as JSON."""
        return json.dumps(self._config)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._config.keys()

    def values(self) -> ValuesView[Any]:
        """The values."""
        return self._config.values()

    def items(self) -> ItemsView[str, Any]:
        """The names with their values."""
        return self._config.items()

    def get(self, keyname: str, value: Any = None) -> Any:
        """The value of that name, `value` where there is none."""
        return self._config.get(keyname, value)

    def pop(self, *args: Any) -> Any:
        """Take a value out."""
        return self._changing().pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values, as in `dict.update`."""
        self._changing().update(*args, **kwargs)

    def _changing(self) -> dict[str, Any]:
        if self._frozen:
            raise ValueError("Config is frozen; `unfreeze()` allows changes again.")
        return self._config

    def __setattr__(self, name: str, value: Any) -> None:
        self._changing()[name] = value

    def __getattr__(self, name: str) -> Any:
        # Called when no attribute is found; a copy asks before there is a `_config`.
        values = self.__dict__.get("_config", {})
        if name in values:
            return values[name]
        raise AttributeError(f"Config has no value `{name}`.{suggest(name, values)}")

    def __setitem__(self, key: str, item: Any) -> None:
        self._changing()[key] = item

    def __getitem__(self, key: str) -> Any:
        return self._config[key]

    def __delitem__(self, key: str) -> None:
        del self._changing()[key]

    __delattr__ = __delitem__

    def __contains__(self, item: str) -> bool:
        return item in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)

    def __repr__(self) -> str:
        return f"<Config {self._config}>"
