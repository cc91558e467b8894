"""Which number formats layers use, beyond the plain ones: `keras.dtype_policies`.

The plain `DTypePolicy` is part of `core/dtypes.py`. Here are the quantised ones, named
`<mode>_from_<policy>`, and the map from the paths of layers to policies.
"""

import re
from collections import abc
from typing import Any, ClassVar

from kerasnb.core import configurable
from kerasnb.core.dtypes import QUANTIZED, get_policy, parse_policy
from kerasnb.core.dtypes import DTypePolicy as DTypePolicy
from kerasnb.core.dtypes import FloatDTypePolicy as FloatDTypePolicy
from kerasnb.core.dtypes import dtype_policy as _dtype_policy
from kerasnb.core.errors import check, show
from kerasnb.core.registry import custom_object_scope

QUANTIZATION_MODES = ("int8", "float8", "int4", "gptq", "awq")


class QuantizedDTypePolicy(DTypePolicy):
    """Weights kept in few bits, the rest as the policy `source_name` says.

    `mode` is one of `"int8"`, `"int4"`, `"float8"`, `"gptq"`, `"awq"`; `source_name`
    defaults to the policy in force.

    >>> QuantizedDTypePolicy("int8", "mixed_bfloat16")
    <QuantizedDTypePolicy "int8_from_mixed_bfloat16">
    """

    # What follows the mode's name, separated by slashes, and the values it may have.
    _fields: ClassVar[dict[str, tuple[abc.Callable[[int], bool], str]]] = {}
    _algorithm: ClassVar[str | None] = None

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        who = type(self).__name__
        name, *values = mode.split("/") if isinstance(mode, str) else [mode]
        if len(values) != len(self._fields) or self._algorithm not in (None, name):
            spelled = "/".join(
                [str(self._algorithm), *(f"<{f}>" for f in self._fields)]
            )
            check(not self._fields, who, "mode", mode, f'of the form "{spelled}"')
            name = mode
        check(name in QUANTIZATION_MODES, who, "mode", mode, _one_of_the_modes())
        for (field, (good, expected)), text in zip(
            self._fields.items(), values, strict=False
        ):
            number = int(text) if re.fullmatch(r"-?\d+", text) else None
            fine = number is not None and good(number)
            check(fine, who, f"{field}` in `mode", text, expected)
            setattr(self, field, number)
        self._source = _dtype_policy().name if source_name is None else source_name
        self._compute, self._variable = parse_policy(self._source)
        if name == "int8" and self._compute == "float16":
            raise ValueError(
                f"{who}: int8 weights do not work with float16, whose range is too "
                'small for the sums; use "mixed_bfloat16" or "float32" instead of '
                f'"{self._source}".'
            )
        self._mode, self._spelled = name, mode
        if self._fields:
            self.mode = name
        self._name = f"{mode}_from_{self._source}"

    @property
    def quantization_mode(self) -> str:
        """The quantisation in force, such as `"int8"`."""
        return self._mode

    def get_config(self) -> dict[str, Any]:
        """The mode as it was written, and the name of the policy it builds on."""
        return {"mode": self._spelled, "source_name": self._source}


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """Training with products of 8-bit floats.

    A scale for each array follows from its largest values in the last
    `amax_history_length` steps.

    >>> QuantizedFloat8DTypePolicy("float8", "mixed_bfloat16").amax_history_length
    1024
    """

    default_amax_history_length = 1024

    def __init__(
        self,
        mode: str,
        source_name: str | None = None,
        amax_history_length: int = 1024,
    ) -> None:
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise TypeError(
                f"{type(self).__name__}: `amax_history_length` must be an integer, not "
                f"{show(amax_history_length)}."
            )
        self._amax_history_length = amax_history_length

    @property
    def amax_history_length(self) -> int:
        """How many steps the scales look back."""
        return self._amax_history_length

    def get_config(self) -> dict[str, Any]:
        """The mode, the policy it builds on, and the length of the history."""
        length = {"amax_history_length": self.amax_history_length}
        return super().get_config() | length


_GROUP = (lambda n: n == -1 or n > 0, "-1 (one group) or a positive integer")


class Int4DTypePolicy(QuantizedDTypePolicy):
    """Weights of 4 bits, with a scale for each block: mode `"int4/<block_size>"`.

    >>> Int4DTypePolicy("int4/64", "float32").block_size
    64
    """

    _algorithm = "int4"
    _fields: ClassVar = {"block_size": _GROUP}


class GPTQDTypePolicy(QuantizedDTypePolicy):
    """Weights quantised by GPTQ: mode `"gptq/<weight_bits>/<group_size>"`.

    >>> GPTQDTypePolicy("gptq/4/128", "float32").weight_bits
    4
    """

    _algorithm = "gptq"
    _fields: ClassVar = {
        "weight_bits": (lambda n: n in (2, 3, 4, 8), "2, 3, 4 or 8"),
        "group_size": _GROUP,
    }


class AWQDTypePolicy(QuantizedDTypePolicy):
    """Weights quantised by AWQ: mode `"awq/4/<group_size>"`.

    >>> AWQDTypePolicy("awq/4/128", "float32").group_size
    128
    """

    _algorithm = "awq"
    _fields: ClassVar = {
        "weight_bits": (lambda n: n == 4, "4, the one number of bits of AWQ"),
        "group_size": _GROUP,
    }


class DTypePolicyMap(DTypePolicy, abc.MutableMapping):
    """Policies for layers by their paths: a table, and a default for all others.

    A key is a path or a regular expression that matches a whole path; an exact path
    goes first, and two expressions for one path are an error.

    >>> policies = DTypePolicyMap("float32", {"encoder/.*": DTypePolicy("bfloat16")})
    >>> policies["encoder/dense"].name, policies["decoder/dense"].name
    ('bfloat16', 'float32')
    """

    def __init__(
        self,
        default_policy: Any = None,
        policy_map: dict[str, DTypePolicy] | None = None,
    ) -> None:
        who = type(self).__name__
        plain = not isinstance(default_policy, DTypePolicyMap)
        check(plain, who, "default_policy", default_policy, "one policy, not a map")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(
                f"{who}: `policy_map` must be a dict, not {show(policy_map)}."
            )
        self._given, self._default = default_policy, get_policy(default_policy)
        self._policies = {k: get_policy(v) for k, v in (policy_map or {}).items()}

    @property
    def default_policy(self) -> DTypePolicy:
        """The policy of layers without an entry."""
        return self._default

    @property
    def name(self) -> str:
        """`map_` and the name of the default policy."""
        return f"map_{self._default.name}"

    @property
    def compute_dtype(self) -> str:
        """The default policy's dtype of the arithmetic."""
        return self._default.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The default policy's dtype of the weights."""
        return self._default.variable_dtype

    @property
    def quantization_mode(self) -> str | None:
        """The default policy's quantisation."""
        return self._default.quantization_mode

    def at(self, path: str | None) -> DTypePolicy:
        """The policy of the layer with this path; the default without a path."""
        return self[path] if path else self._default

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._policies:
            return self._policies[key]
        fitting = [pattern for pattern in self._policies if re.fullmatch(pattern, key)]
        if len(fitting) > 1:
            raise ValueError(
                f"DTypePolicyMap: the path '{key}' matches several keys, {fitting}; "
                "give it an entry of its own."
            )
        return self._policies[fitting[0]] if fitting else self._default

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._policies:
            raise ValueError(
                f"DTypePolicyMap: '{key}' already has the policy "
                f"{self._policies[key]!r}; delete that entry first."
            )
        self._policies[key] = get_policy(policy)

    def __delitem__(self, key: str) -> None:
        del self._policies[key]

    def __contains__(self, key: object) -> bool:
        return key in self._policies

    def __len__(self) -> int:
        return len(self._policies)

    def __iter__(self) -> abc.Iterator[str]:
        return iter(self._policies)

    def __repr__(self) -> str:
        policies = {path: policy.name for path, policy in self._policies.items()}
        return f"<DTypePolicyMap default={self._default.name}, {policies}>"

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "DTypePolicyMap":
        """The map whose `get_config` returned `config`."""
        with custom_object_scope(custom_objects):
            return super().from_config(config)

    def get_config(self) -> dict[str, Any]:
        """The default and the table.

        Without a default the policies in the table are written without their names:
        they follow the policy in force where the file is read.
        """
        policies = {path: serialize(policy) for path, policy in self._policies.items()}
        if self._given is None:
            for written in policies.values():
                for key in written["config"].keys() & {"name", "source_name"}:
                    written["config"][key] = None
        default = configurable.serialize(self._given)
        return {"default_policy": default, "policy_map": policies}


def _one_of_the_modes() -> str:
    return "one of " + ", ".join(f'"{mode}"' for mode in QUANTIZATION_MODES)


def _int4(mode: str, source_name: str) -> DTypePolicy:
    cls = Int4DTypePolicy if "/" in mode else QuantizedDTypePolicy
    return cls(mode, source_name)


QUANTIZED |= {
    "int8": QuantizedDTypePolicy,
    "int4": _int4,
    "float8": QuantizedFloat8DTypePolicy,
    "gptq": GPTQDTypePolicy,
    "awq": AWQDTypePolicy,
}


def get(identifier: Any) -> DTypePolicy:
    """The policy that a name, a dtype, a config or a policy stands for.

    >>> get("int8_from_float32").quantization_mode
    'int8'
    """
    return get_policy(identifier)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """The policy as plain data.

    >>> serialize(DTypePolicy("float32"))["config"]
    {'name': 'float32'}
    """
    return configurable.serialize(dtype_policy)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> DTypePolicy:
    """The policy that plain data stands for."""
    with custom_object_scope(custom_objects):
        return configurable.deserialize(config)
