"""What Keras' layers on text and whole numbers answer, recorded with TensorFlow.

Keras computes these layers by TensorFlow, which the tests do without. The answers in
`tests/files/preprocessing.json` were written by this file, run as a program where
Keras 3.15.1 and tensorflow-cpu 2.21 are installed: `python -m tests.layers.recorded`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parents[1] / "files" / "preprocessing.json"

# A layer, its arguments, what it adapts to, what it is called on.
Row = tuple[str, dict[str, Any], Any, list]

WORDS = [["a", "z", "c"], [["a"], ["z"]], [["a", "z"], ["c", "c"]]]
LETTERS = ["b", "a", "d", "a", "c", "q", "c", ""]
NUMBERS = [[12, 0, 5], [[12], [7]], [[12, 0, 5, -7], [7, 1138, 42, 8]]]
TEXTS = ["The cat sat on the mat.", "A dog! A log?", "the   DOG\tsat  ", "ÉCOLE a\xa0b"]
ASKED = [TEXTS, [[text] for text in TEXTS], ["unknown words", "a dog"], ["", "a"]]
HASHED = [[["A"], ["B"]], ["A", "B", ""], [["A", "B"], ["C", "A"]], [[1, 2], [3, -1]]]
LONG = [["x" * n for n in (3, 4, 8, 16, 17, 33, 64, 65, 128, 300)]]
CROSSED = [
    [["A", "B", "A", "B"], [101, 101, 101, 102]],
    [[["A"], ["B"]], [["C"], ["D"]], [[1], [2]]],
]
MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


def rows() -> list[Row]:
    """All that is asked."""
    made: list[Row] = []
    for mode in MODES:
        given = {"vocabulary": ["a", "b", "c"], "output_mode": mode}
        padded = {"max_tokens": 9, "pad_to_max_tokens": mode != "int"}
        some = {"num_oov_indices": 2, "mask_token": "z"}
        if mode == "tf_idf":
            given["idf_weights"] = [0.25, 0.5, 0.75]
        made += [
            ("StringLookup", given, None, WORDS),
            ("StringLookup", given | padded | some, None, WORDS),
            ("StringLookup", given | {"num_oov_indices": 3, "salt": 7}, None, WORDS),
            ("StringLookup", {"output_mode": mode}, [["b", "a"], ["a", "a"]], WORDS),
            ("StringLookup", {"output_mode": mode} | padded | some, LETTERS, WORDS),
        ]
        if mode != "tf_idf":
            args = {"num_bins": 4, "output_mode": mode}
            made.append(("Hashing", args, None, HASHED))
            made.append(("Hashing", args | {"salt": [133, 137]}, None, HASHED))
    for args in (
        {},
        {"num_oov_indices": 3, "mask_token": 0},
        {"num_oov_indices": 3, "oov_method": "farmhash"},
        {"num_oov_indices": 4, "oov_method": "farmhash", "salt": [5, 6]},
        {"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True},
    ):
        vocabulary = {"vocabulary": [12, 36, 1138, 42]}
        made.append(("IntegerLookup", vocabulary | args, None, NUMBERS))
        made.append(("IntegerLookup", args, [[12, 5, 5], [7, 12, 5]], NUMBERS))
    args = {"vocabulary": [12, 36], "invert": True}
    made.append(("IntegerLookup", args, None, [[5, 1, 0, 2]]))
    for args in (
        {},
        {"output_sequence_length": 4},
        {"max_tokens": 5},
        {"output_mode": "multi_hot"},
        {"output_mode": "count", "max_tokens": 6},
        {"output_mode": "tf_idf", "max_tokens": 20, "pad_to_max_tokens": True},
        {"ngrams": 2},
        {"ngrams": [2, 3], "output_mode": "count"},
        {"split": "character"},
        {"split": None, "standardize": None},
        {"standardize": "lower"},
        {"standardize": "strip_punctuation"},
    ):
        made.append(("TextVectorization", args, TEXTS, ASKED))
    made.append(("TextVectorization", {"vocabulary": ["a", "dog"]}, None, ASKED))
    made.append(("Hashing", {"num_bins": 5, "mask_value": ""}, None, HASHED[:3]))
    made.append(("Hashing", {"num_bins": 999983}, None, LONG))
    made.append(("Hashing", {"num_bins": 999983, "salt": 9}, None, LONG))
    for mode in ("int", "one_hot"):
        args = {"num_bins": 5, "output_mode": mode}
        made.append(("HashedCrossing", args, None, CROSSED))
    values = np.round(np.random.default_rng(0).normal(3, 2, (100, 1)), 3).tolist()
    for bins, epsilon in ((4, 0.01), (10, 0.1), (3, 0.5)):
        args = {"num_bins": bins, "epsilon": epsilon}
        made.append(("Discretization", args, values, [values[:5]]))
    return made


def ask(library: Any, row: Row) -> dict[str, Any]:
    """What a library's layer answers."""
    name, args, data, calls = row
    args = {k: tuple(v) if k == "ngrams" and v != 2 else v for k, v in args.items()}
    layer = getattr(library, name)(name="it", **args)
    if data is not None:
        kind = "float32" if name == "Discretization" else None
        layer.adapt(np.array(data, kind))

    def inputs(call: Any) -> Any:
        return [*map(np.array, call)] if name == "HashedCrossing" else np.array(call)

    answer = {"outputs": [np.asarray(layer(inputs(call))).tolist() for call in calls]}
    if hasattr(layer, "get_vocabulary"):
        words = [*map(_plain, layer.get_vocabulary())]
        answer |= {"vocabulary": words, "size": layer.vocabulary_size()}
    config = dict(layer.get_config())
    dtype = config.pop("dtype")  # an object in Keras' own form
    answer["dtype"] = dtype if isinstance(dtype, str) else dtype["config"]["name"]
    return answer | {"config": json.loads(json.dumps(config, default=_plain))}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    from keras import layers

    answers = [ask(layers, row) for row in rows()]
    lines = ",\n".join(json.dumps(answer) for answer in answers)
    FILE.write_text(f"[\n{lines}\n]\n", "utf-8")
