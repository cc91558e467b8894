"""kerasnb.dtype_policies, beside Keras'."""

import copy
import pickle

import keras
import pytest

from kerasnb import config, dtype_policies

NAMES = [
    "float32",
    "mixed_float16",
    "int8_from_float32",
    "int4_from_mixed_bfloat16",
    "int4/32_from_float32",
    "float8_from_mixed_bfloat16",
    "gptq/4/128_from_float32",
    "awq/4/-1_from_mixed_bfloat16",
]
FACTS = ("name", "compute_dtype", "variable_dtype", "quantization_mode")


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_agrees_with_keras(name):
    ours, theirs = dtype_policies.get(name), keras.dtype_policies.get(name)
    assert [getattr(ours, f) for f in FACTS] == [getattr(theirs, f) for f in FACTS]
    assert repr(ours) == repr(theirs)
    assert type(ours).__name__ == type(theirs).__name__
    stored = keras.dtype_policies.serialize(theirs)
    assert dtype_policies.serialize(ours) == stored
    assert dtype_policies.deserialize(stored) == ours == dtype_policies.get(stored)
    assert keras.dtype_policies.deserialize(stored) == theirs
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other == ours and hash(other) == hash(ours)


@pytest.mark.parametrize("field", ["weight_bits", "group_size", "block_size", "mode"])
@pytest.mark.parametrize("name", NAMES[4:])
def test_the_fields_of_a_mode_agree_with_keras(name, field):
    ours, theirs = dtype_policies.get(name), keras.dtype_policies.get(name)
    assert getattr(ours, field, None) == getattr(theirs, field, None)


def test_policies_are_equal_by_kind_and_name():
    plain = dtype_policies.DTypePolicy("float32")
    assert plain == dtype_policies.FloatDTypePolicy("float32")
    assert plain != dtype_policies.DTypePolicy("bfloat16")
    int4 = dtype_policies.get("int4/32_from_float32")
    assert int4 != dtype_policies.get("int4/64_from_float32")
    assert int4 != plain and plain != "float32"
    float8 = [dtype_policies.QuantizedFloat8DTypePolicy("float8", "float32", n)
              for n in (8, 16)]  # fmt: skip
    assert float8[0] != float8[1]


def test_a_policy_without_a_source_follows_the_one_in_force():
    config.set_dtype_policy("mixed_bfloat16")
    try:
        for cls, mode in (("Quantized", "int8"), ("Int4", "int4/8")):
            policy = getattr(dtype_policies, f"{cls}DTypePolicy")(mode)
            assert policy.name == f"{mode}_from_mixed_bfloat16"
        assert dtype_policies.DTypePolicy().name == "mixed_bfloat16"
    finally:
        config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int7_from_float32", 'Unknown dtype policy "int7_from_float32"'),
        ("int8_from_", "named after another one"),
        ("int8_from_mixed_bfloat15", 'Did you mean "mixed_bfloat16"'),
        ("int8_from_mixed_float16", "int8 weights do not work with float16"),
        ("int8/4_from_float32", "`mode` must be one of"),
        ("int4/0_from_float32", "`block_size` in `mode` must be -1"),
        ("gptq/5/128_from_float32", "`weight_bits` in `mode` must be 2, 3, 4 or 8"),
        ("awq/4_from_float32", "awq/<weight_bits>/<group_size>"),
        (123, 'Unknown dtype "123"'),
    ],
)
def test_unknown_policies_are_told(name, message):
    with pytest.raises(ValueError, match=message):
        dtype_policies.get(name)
    with pytest.raises(TypeError, match="`amax_history_length` must be an integer"):
        dtype_policies.QuantizedFloat8DTypePolicy("float8", "float32", 1.5)
    with pytest.raises(ValueError, match="set_dtype_policy: `policy` must be a name"):
        config.set_dtype_policy(None)


# --- Maps --------------------------------------------------------------------------


def maps(*arguments):
    """The same map in both libraries; a dict of names becomes one of policies."""
    made = []
    for library in (dtype_policies, keras.dtype_policies):
        own = [
            {k: library.get(v) for k, v in a.items()} if isinstance(a, dict) else a
            for a in arguments
        ]
        made.append(library.DTypePolicyMap(*own))
    return made


TABLE = {"encoder/a": "mixed_bfloat16", "encoder/.*": "int8_from_float32"}


@pytest.mark.parametrize("arguments", [(), ("bfloat16",), ("bfloat16", TABLE)])
def test_a_map_agrees_with_keras(arguments):
    ours, theirs = maps(*arguments)
    assert [getattr(ours, f) for f in FACTS] == [getattr(theirs, f) for f in FACTS]
    for path in ("encoder/a", "encoder/b", "decoder", "encoder"):
        assert ours[path].name == theirs[path].name
    stored = keras.dtype_policies.serialize(theirs)
    assert dtype_policies.serialize(ours) == stored
    assert dtype_policies.deserialize(stored) == ours
    assert dict(dtype_policies.get(stored)) == dict(ours)


def test_a_map_without_a_default_is_stored_without_names():
    ours, theirs = maps(None, TABLE)
    stored = dtype_policies.serialize(ours)
    assert stored == keras.dtype_policies.serialize(theirs)
    assert ours["encoder/a"].name == "mixed_bfloat16"
    assert dtype_policies.deserialize(stored)["encoder/a"].name == "float32"


def test_a_map_is_a_dictionary():
    policies = dtype_policies.DTypePolicyMap("float32")
    policies["a"] = "bfloat16"
    assert "a" in policies and len(policies) == 1 and [*policies] == ["a"]
    with pytest.raises(ValueError, match="'a' already has the policy"):
        policies["a"] = "float32"
    del policies["a"]
    assert policies["a"].name == "float32" and "a" not in policies
    with pytest.raises(KeyError):
        del policies["a"]


def test_mistakes_in_maps_are_told():
    policies = dtype_policies.DTypePolicyMap("float32", {"a.*": "bfloat16"})
    policies[".*b"] = "float16"
    with pytest.raises(ValueError, match="'ab' matches several keys"):
        policies["ab"]
    with pytest.raises(ValueError, match="`default_policy` must be one policy"):
        dtype_policies.DTypePolicyMap(policies)
    with pytest.raises(TypeError, match="`policy_map` must be a dict, not 3"):
        dtype_policies.DTypePolicyMap("float32", 3)
