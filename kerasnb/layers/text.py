"""Text as numbers: words are separated, and looked up in a vocabulary."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from kerasnb.core import budget
from kerasnb.core.errors import check
from kerasnb.layers.host import (
    OUTPUT_MODES,
    HostLayer,
    adapt_batches,
    as_numpy,
    output_mode_of,
)
from kerasnb.layers.lookup import StringLookup, refuse_path

_LETTERS = {ord(c): c.lower() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_MARKS = dict.fromkeys(map(ord, "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"))
# What a character becomes. Keras changes ASCII characters only, and so do we.
_STANDARDIZE = {
    "lower_and_strip_punctuation": _LETTERS | _MARKS,
    "lower": _LETTERS,
    "strip_punctuation": _MARKS,
}
_WORD = re.compile(r"[^ \t\n\v\f\r]+")


def _words(text: str) -> list[str]:
    return text.split() if text.isascii() else _WORD.findall(text)


_SPLIT: dict[str, Callable[[str], list[str]]] = {
    "whitespace": _words,
    "character": list,
}


class TextVectorization(HostLayer):
    """Text as the indices of its words, or as a count of them.

    Text is standardized (lower case, no punctuation), split into words, joined into
    `ngrams`, and looked up in a vocabulary, as by `StringLookup`; 0 is padding and 1 a
    word that is not in it. `adapt` learns the vocabulary. `standardize` may be a
    function of an array of strings, `split` one that gives a list of words for each.
    Works on the host, before the compiled step of a model.

    Shapes: `(batch,)` or `(batch, 1) -> (batch, output_sequence_length)`, without
    which the longest text decides; for `output_mode="multi_hot"`, `"count"` and
    `"tf_idf"` `(batch, vocabulary)`.

    >>> layer = TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["The cat sat.", "The dog!"])
    >>> layer(["the dog sat down"]).tolist()
    [[2, 4, 3, 1]]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        lookup = {
            key: kwargs.pop(key)
            for key in ("vocabulary_size", "has_input_vocabulary")
            if key in kwargs
        }
        super().__init__(name=name, **kwargs)
        who, modes = "TextVectorization", (*OUTPUT_MODES, "tf_idf")
        mode = output_mode_of(who, output_mode, sparse, modes)
        for argument, value, known in (
            ("standardize", standardize, _STANDARDIZE),
            ("split", split, _SPLIT),
        ):
            good = value is None or callable(value) or value in known
            check(good, who, argument, value, f"one of {[*known]}, None or a function")
        for size in (ngrams, output_sequence_length):
            budget.afford(f"{who}: a text of {size} words", (size,), 64)
        widths = range(1, ngrams + 1) if isinstance(ngrams, int) else ngrams or ()
        good = all(isinstance(width, int) for width in widths)
        check(good, who, "ngrams", ngrams, "None, a whole number or several")
        check(not ragged, who, "ragged", ragged, "False on JAX; texts are padded")
        length = output_sequence_length
        expected = 'a whole number with output_mode="int", else None'
        good = length is None or (isinstance(length, int) and mode == "int")
        check(good, who, "output_sequence_length", length, expected)
        self.standardize, self.split, self.ngrams = standardize, split, ngrams
        self._widths = tuple(widths)
        self.output_mode, self.output_sequence_length = mode, length
        self.sparse, self.ragged, self.encoding = sparse, ragged, encoding
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            pad_to_max_tokens=pad_to_max_tokens,
            mask_token="",
            output_mode=mode,
            encoding=encoding,
            **lookup,
        )

    @property
    def input_dtype(self) -> str:
        """Text."""
        return "string"

    # --- The vocabulary ---------------------------------------------------------------

    def adapt(
        self, data: Any, batch_size: int | None = None, steps: int | None = None
    ) -> None:
        """Learn the vocabulary from texts: an array, a list, or a dataset of them."""
        self.reset_state()
        for batch in adapt_batches(data, steps, column=True):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the words of one more batch."""
        self._lookup_layer.update_state(self._tokens(as_numpy(data, self.encoding)))

    def finalize_state(self) -> None:
        """Make the vocabulary of what was counted."""
        self._lookup_layer.finalize_state()

    def reset_state(self) -> None:
        """Forget what `update_state` has counted."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words in the order of their indices."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many indices there are, special ones included."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a list of words, or a file with one on each line, as the vocabulary."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)

    # --- From text to numbers ---------------------------------------------------------

    def _on_host(self, inputs: Any) -> np.ndarray:
        return self.compute(as_numpy(inputs, self.encoding))

    def compute(self, inputs: np.ndarray) -> np.ndarray:
        """The numbers."""
        if inputs.ndim == 0 and self.split is not None:
            return self.compute(inputs[None])[0]
        out = self._lookup_layer.compute(self._tokens(inputs))
        length = self.output_sequence_length
        if length is None:
            return out
        out = out[..., :length]
        return np.pad(out, [(0, 0)] * (out.ndim - 1) + [(0, length - out.shape[-1])])

    def _tokens(self, texts: np.ndarray) -> np.ndarray:
        """The words of each text, filled up with empty ones."""
        good = texts.dtype.kind == "O" or texts.size == 0
        check(good, self._who(), "inputs", texts, "strings")
        if callable(self.standardize):
            texts = as_numpy(self.standardize(texts.astype(str)))
        elif self.standardize is not None:
            table = _STANDARDIZE[self.standardize]
            flat = [text.translate(table) for text in texts.ravel()]
            texts = np.array(flat, object).reshape(texts.shape)
        rows: Any = texts if self.split is None else self._split_up(texts)
        if self._widths:
            rows = [_join(list(row), self._widths) for row in rows]
        return _padded(rows)

    def _split_up(self, texts: np.ndarray) -> Any:
        """A list of words for each text."""
        if texts.ndim > 1:
            expected = "of shape (batch,) or (batch, 1), a text in each row"
            check(texts.shape[-1] == 1, self._who(), "inputs", texts, expected)
            texts = texts[..., 0]
        if not callable(self.split):
            return list(map(_SPLIT[self.split], texts))
        rows = self.split(texts.astype(str))
        return rows.to_list() if hasattr(rows, "to_list") else rows

    # --- Files ------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, the size of the vocabulary too."""
        own, config = self._lookup_layer.get_config(), super().get_config()
        config.pop("has_input_vocabulary", None)
        names = ("max_tokens", "pad_to_max_tokens", "vocabulary", "idf_weights")
        config |= {name: own[name] for name in names}
        size = own["vocabulary_size"] or self.vocabulary_size()
        return config | {"vocabulary_size": size}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """The layer whose `get_config` gave `config`; a file brings its vocabulary."""
        refuse_path(cls.__name__, config)
        return super().from_config(config, custom_objects)

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put the weights of the words into `store`."""
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Take the weights of the words from `store`."""
        self._lookup_layer.load_own_variables(store)

    def save_assets(self, dir_path: str) -> None:
        """Write a vocabulary that was learned to `vocabulary.txt`, a word a line."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path: str | None) -> None:
        """Read the vocabulary that `save_assets` wrote."""
        self._lookup_layer.load_assets(dir_path)


def _join(words: list[str], widths: Sequence[int]) -> list[str]:
    """All runs of neighbouring words, of each width in turn."""
    return [
        " ".join(words[i : i + width])
        for width in widths
        for i in range(len(words) - width + 1)
    ]


def _padded(rows: Any) -> np.ndarray:
    """Rows of words as one array; one that is an array already stays as it is."""
    if isinstance(rows, np.ndarray):
        return as_numpy(rows)
    width = max(map(len, rows), default=0)
    table = np.empty((len(rows), width), object)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
        table[i, len(row) :] = ""
    return table
