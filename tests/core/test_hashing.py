"""Hashes; their bins beside TensorFlow's are checked in `layers/test_lookup.py`."""

import numpy as np

from kerasnb.core.hashing import combine64, fingerprint64, siphash64


def test_strings_of_every_length_are_hashed_as_published():
    # The table of the authors of SipHash: the bytes 0, 1, 2, ... under such a key.
    key = [int.from_bytes(range(i, i + 8), "little") for i in (0, 8)]
    strings = [bytes(range(n)) for n in (0, 1, 7, 8, 15, 63)]
    wanted = [
        0x726FDB47DD0E0E31,
        0x74F839C593DC67FD,
        0xAB0200F58B01D137,
        0x93F5F5799A932462,
        0xA129CA6149BE45E5,
        0x958A324CEB064572,
    ]
    assert siphash64(strings, key).tolist() == wanted


def test_many_strings_are_hashed_as_each_alone():
    rng = np.random.default_rng(0)
    strings = [rng.bytes(n) for n in [*range(0, 140, 3), 5, 5, 64, 64]]
    for found, make in (
        (fingerprint64(strings), fingerprint64),
        (siphash64(strings, (1, 2)), lambda s: siphash64(s, (1, 2))),
    ):
        assert found.tolist() == [make([s])[0] for s in strings]
        assert len(set(found.tolist())) >= len(set(strings))


def test_the_order_of_a_combination_matters():
    a, b = fingerprint64([b"a", b"b"])
    assert combine64(a, b) != combine64(b, a)


def test_no_strings_have_no_hashes():
    assert fingerprint64([]).shape == siphash64([], (0, 0)).shape == (0,)
