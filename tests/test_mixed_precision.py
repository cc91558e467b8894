"""kerasnb.mixed_precision."""

import keras

from kerasnb import config, dtype_policies, mixed_precision, optimizers


def test_its_names_are_those_of_other_rooms():
    names = {n for n in vars(keras.mixed_precision) if n[0] != "_"}
    assert names <= set(vars(mixed_precision))
    assert mixed_precision.Policy is dtype_policies.DTypePolicy
    assert mixed_precision.LossScaleOptimizer is optimizers.LossScaleOptimizer


def test_the_policy_in_force_can_be_set():
    mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert mixed_precision.global_policy() == config.dtype_policy()
        assert mixed_precision.dtype_policy().compute_dtype == "bfloat16"
    finally:
        mixed_precision.set_dtype_policy("float32")
