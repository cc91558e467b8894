"""Vocabularies: words or whole numbers as indices, one-hot vectors or counts."""

from collections import Counter
from itertools import repeat
from pathlib import Path
from typing import Any, Self

import numpy as np

from kerasnb.core import budget, registry, settings
from kerasnb.core.configurable import deserialize
from kerasnb.core.errors import check
from kerasnb.layers.arguments import choice
from kerasnb.layers.host import (
    OUTPUT_MODES,
    HostLayer,
    adapt_batches,
    as_numpy,
    encode,
    output_mode_of,
)
from kerasnb.layers.tabular import hash_bins, salt_of

_MASKED, _MISSING = -2, -1
_FILE = "vocabulary.txt"


class IndexLookup(HostLayer):
    """The index of each token in a vocabulary.

    The vocabulary begins, for `output_mode="int"`, with `mask_token` if there is one,
    then come `num_oov_indices` places for tokens that are out of vocabulary, then the
    tokens, the most frequent ones first. A token among several places for the unknown
    is put by its hash, a number by its remainder.
    """

    # Long lists of plain values, in which there is no variable to be found.
    _UNTRACKED = HostLayer._UNTRACKED | {
        "_counts",
        "_documents",
        "_table",
        "_tokens",
        "input_idf_weights",
        "input_vocabulary",
    }

    vocabulary_dtype = "string"

    def __init__(
        self,
        *,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        salt: Any,
        name: str | None,
        oov_method: str = "floormod",
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        trainable: bool = True,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        who, modes = type(self).__name__, (*OUTPUT_MODES, "tf_idf")
        self.output_mode = output_mode_of(who, output_mode, sparse, modes)
        expected = "None or more than 1"
        check(
            max_tokens is None or max_tokens > 1,
            who,
            "max_tokens",
            max_tokens,
            expected,
        )
        expected = "given for `pad_to_max_tokens`"
        check(max_tokens or not pad_to_max_tokens, who, "max_tokens", None, expected)
        check(
            num_oov_indices >= 0, who, "num_oov_indices", num_oov_indices, "0 or more"
        )
        whole = self.output_mode == "int" or not invert
        check(whole, who, "output_mode", output_mode, '"int" with `invert`')
        weighs = self.output_mode == "tf_idf"
        unwanted = idf_weights is not None and not weighs
        missing = weighs and vocabulary is not None and idf_weights is None
        expected = 'given, with a vocabulary, exactly when output_mode="tf_idf"'
        check(not unwanted and not missing, who, "idf_weights", idf_weights, expected)
        budget.spend(f"{who}: {num_oov_indices} indices", (num_oov_indices,), 64)
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.sparse = invert, sparse
        self.pad_to_max_tokens = pad_to_max_tokens
        self.oov_method = choice(
            who, "oov_method", oov_method, ("floormod", "farmhash")
        )
        self.salt = salt_of(who, salt)
        self.input_vocabulary = None if isinstance(vocabulary, str) else vocabulary
        self.input_idf_weights = idf_weights
        self.idf_weights: np.ndarray | None = None
        self._width = vocabulary_size  # as a file says, before it brings the tokens
        self._given = bool(has_input_vocabulary or vocabulary is not None)
        self._tokens: list[Any] = []
        self._table: dict[Any, int] = {}
        self.reset_state()
        self._keep([])
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    @property
    def input_dtype(self) -> str:
        """The dtype of the tokens, or of indices with `invert`."""
        return "int64" if self.invert else self.vocabulary_dtype

    # --- The vocabulary ---------------------------------------------------------------

    @property
    def _masks(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _start(self) -> int:
        """The index of the first token that is in the vocabulary by itself."""
        return self._masks + self.num_oov_indices

    def _special(self) -> list[Any]:
        mask = [self.mask_token] * self._masks
        return mask + [self.oov_token] * self.num_oov_indices

    def _keep(self, tokens: list[Any]) -> None:
        self._tokens = tokens
        self._table = {token: i for i, token in enumerate(tokens, self._start)}
        if self.mask_token is not None:
            self._table[self.mask_token] = 0 if self._masks else _MASKED

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their indices."""
        return (self._special() if include_special_tokens else []) + self._tokens

    def vocabulary_size(self) -> int:
        """How many indices there are, special ones included."""
        return self._start + len(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a list of tokens, or a file with one on each line, as the vocabulary.

        The special tokens may stand at its beginning. `idf_weights` are the weights of
        the tokens for `output_mode="tf_idf"`.
        """
        weighs, who = self.output_mode == "tf_idf", self._who()
        expected = 'given exactly when output_mode="tf_idf"'
        check(
            (idf_weights is not None) == weighs,
            who,
            "idf_weights",
            idf_weights,
            expected,
        )
        if isinstance(vocabulary, str | Path):
            path = Path(vocabulary)
            check(path.is_file(), who, "vocabulary", vocabulary, "a file that exists")
            vocabulary = path.read_text("utf-8").splitlines()
        tokens = [self._token(item) for item in as_numpy(vocabulary).tolist()]
        check(tokens, who, "vocabulary", vocabulary, "not empty")
        special = self._special()
        has_special = bool(special) and tokens[: len(special)] == special
        tokens = tokens[len(special) :] if has_special else tokens
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        check(not twice, who, "vocabulary", twice[:5], "without repeated tokens")
        reserved = {self.mask_token} | ({self.oov_token} if self.invert else set())
        found = (reserved - {None}) & set(tokens)
        expected = f"without special tokens, or with just {special} at the beginning"
        check(not found, who, "vocabulary", sorted(found), expected)
        size = self._start + len(tokens)
        expected = f"of at most max_tokens={self.max_tokens}, special ones included"
        check(
            not self.max_tokens or size <= self.max_tokens,
            who,
            "vocabulary",
            vocabulary,
            expected,
        )
        if weighs:
            weights = np.asarray(idf_weights, settings.floatx())
            good = weights.shape == (len(tokens) + has_special * len(special),)
            expected = "one number for each token of the vocabulary"
            check(good, who, "idf_weights", idf_weights, expected)
            front = 0 if has_special else len(special)
            self._weigh(np.pad(weights, (front, 0), constant_values=weights.mean()))
        self._keep(tokens)

    def _token(self, item: Any) -> Any:
        return str(item) if self.vocabulary_dtype == "string" else int(item)

    def _weigh(self, weights: np.ndarray) -> None:
        """Keep the weights, filled up with zeros where the outputs are."""
        rest = self.max_tokens - len(weights) if self.pad_to_max_tokens else 0  # type: ignore[operator]
        budget.spend(f"{self._who()}: max_tokens={self.max_tokens}", (rest,), 16)
        self.idf_weights = np.pad(weights, (0, rest)).astype(settings.floatx())

    # --- Learning it ------------------------------------------------------------------

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary from an array or a dataset: the most frequent tokens."""
        self.reset_state()
        for batch in adapt_batches(data, steps, column=True):
            self.update_state(batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what `update_state` has counted; the vocabulary stays."""
        self._counts: Counter = Counter()
        self._documents: Counter = Counter()
        self._document_count = 0

    def update_state(self, data: Any) -> None:
        """Count the tokens of one more batch; each row is a document."""
        if self._given:
            raise ValueError(
                f"{self._who()} has a vocabulary that was given to it; make a layer "
                "without `vocabulary` to learn one by `adapt`."
            )
        rows = self._checked(as_numpy(data))
        rows = rows.reshape(1, -1) if rows.ndim < 2 else rows
        self._counts.update(rows.ravel().tolist())
        if self.output_mode == "tf_idf":
            for row in rows:
                self._documents.update(set(row.ravel().tolist()))
            self._document_count += len(rows)

    def finalize_state(self) -> None:
        """Make the vocabulary of what was counted."""
        if self._given or not self._counts:
            return
        for special in (self.mask_token, self.oov_token):
            self._counts.pop(special, None)
        # Ties go to the token that is last in the alphabet, of bytes as of code points.
        ranked = sorted(self._counts, reverse=True)
        ranked.sort(key=lambda token: -self._counts[token])
        most = self.max_tokens and max(0, self.max_tokens - self._start)
        tokens = ranked[:most]
        if self.output_mode == "tf_idf":
            documents = np.array([self._documents[token] for token in tokens])
            weights = np.log1p(self._document_count / (1 + documents))
            mean = weights.mean() if len(weights) else 0.0
            self._weigh(np.pad(weights, (self._start, 0), constant_values=mean))
        self._keep(tokens)
        self.reset_state()

    # --- Looking up -------------------------------------------------------------------

    def _checked(self, x: np.ndarray) -> np.ndarray:
        """Tokens of the right kind."""
        text = self.input_dtype == "string"
        good = x.size == 0 or (x.dtype.kind == "O") == text
        check(good, self._who(), "inputs", x, "strings" if text else "whole numbers")
        return x.astype(object if text else "int64")

    def compute(self, inputs: np.ndarray) -> np.ndarray:
        """The indices, or what they are encoded as; with `invert`, the tokens."""
        x = self._checked(inputs)
        mode, depth = self.output_mode, self._width
        if self._tokens:
            depth = self.vocabulary_size()
        if self.pad_to_max_tokens:
            depth = self.max_tokens
        if mode != "int" and depth is None:
            raise RuntimeError(
                f"{self._who()} has no vocabulary yet, so the width of its output is "
                "not known: call `adapt` on data, or pass `vocabulary`."
            )
        if self.invert:
            return self._tokens_at(x)
        default = self._masks if self.num_oov_indices == 1 else _MISSING
        tokens = x.ravel().tolist()
        each = map(self._table.get, tokens, repeat(default))
        found = np.fromiter(each, "int64", len(tokens)).reshape(x.shape)
        all_known = self.num_oov_indices == 1 or self._on_trial
        if not all_known and (found == _MISSING).any():
            unknown = found == _MISSING
            found[unknown] = self._places_of(x[unknown])
        if mode == "int":
            return found
        shown = "count" if mode == "tf_idf" else mode
        out = encode(found, shown, depth, settings.floatx())  # type: ignore[arg-type]
        weighs = mode == "tf_idf" and self.idf_weights is not None
        return out * self.idf_weights if weighs else out

    def _places_of(self, unknown: np.ndarray) -> np.ndarray:
        check(
            self.num_oov_indices,
            self._who(),
            "inputs",
            unknown[:5].tolist(),
            "in the vocabulary, since num_oov_indices=0",
        )
        if self.vocabulary_dtype == "string" or self.oov_method == "farmhash":
            return self._masks + hash_bins(unknown, self.num_oov_indices, self.salt)
        return self._masks + unknown % self.num_oov_indices

    def _tokens_at(self, indices: np.ndarray) -> np.ndarray:
        vocabulary = np.empty(self.vocabulary_size() + 1, object)
        vocabulary[:] = [*self.get_vocabulary(), self.oov_token]
        inside = (indices >= 0) & (indices < self.vocabulary_size())
        tokens = vocabulary[np.where(inside, indices, -1)]
        return tokens if self.vocabulary_dtype == "string" else tokens.astype("int64")

    # --- Files ------------------------------------------------------------------------

    def get_build_config(self) -> dict[str, Any]:
        """Nothing to note: there are no weights that depend on shapes."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, the size of the vocabulary too."""
        config = super().get_config()
        config.pop("has_input_vocabulary", None)
        return config | {
            "oov_method": self.oov_method,
            "salt": self.salt,
            "vocabulary": _plain(self.input_vocabulary),
            "idf_weights": _plain(self.input_idf_weights),
            "vocabulary_size": (
                self.vocabulary_size() if self._tokens else self._width
            ),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """The layer whose `get_config` gave `config`; a file brings its vocabulary."""
        refuse_path(cls.__name__, config)
        return super().from_config(config, custom_objects)

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put the weights of the tokens into `store`."""
        if self.output_mode == "tf_idf" and self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store: Any) -> None:
        """Take the weights of the tokens from `store`."""
        if self.output_mode == "tf_idf" and "idf_weights" in store:
            self.idf_weights = np.asarray(store["idf_weights"])

    def save_assets(self, dir_path: str) -> None:
        """Write a vocabulary that was learned to `vocabulary.txt`, a token a line."""
        if self.input_vocabulary is None:
            text = "\n".join(map(str, self.get_vocabulary()))
            Path(dir_path, _FILE).write_text(text, "utf-8")

    def load_assets(self, dir_path: str | None) -> None:
        """Read the vocabulary that `save_assets` wrote."""
        if self.input_vocabulary is not None:
            return
        path = Path(dir_path or "", _FILE)
        if dir_path is None or not path.is_file():
            raise ValueError(f"{self._who()}: there is no {_FILE} for it")
        lines = path.read_text("utf-8").split("\n")
        while lines and lines[-1] == "":
            lines.pop()
        self._keep([self._token(line) for line in lines[self._start :]])


def _plain(value: Any) -> Any:
    return value if value is None else as_numpy(value).tolist()


def refuse_path(who: str, config: dict[str, Any]) -> None:
    """A model file must not make its reader open another file, by its vocabulary."""
    # What a config says may stand for a string in a roundabout way.
    vocabulary = deserialize(config.get("vocabulary"))
    if isinstance(vocabulary, str | Path) and not registry.code_is_allowed():
        raise ValueError(
            f"{who}: the model asks for the vocabulary file {vocabulary!r} outside of "
            "it. If you trust where it comes from, load it with safe_mode=False."
        )


class StringLookup(IndexLookup):
    """The index of each string in a vocabulary, given or learned by `adapt`.

    `output_mode` may also be `"one_hot"`, `"multi_hot"`, `"count"` or `"tf_idf"`;
    `invert` goes from indices back to strings. Works on the host, before the compiled
    step of a model.

    Shapes: for `"int"` `s -> s`, else as `CategoryEncoding`.

    >>> layer = StringLookup(vocabulary=["a", "b"])
    >>> layer([["b", "z"]]).tolist(), layer.get_vocabulary()
    ([[2, 0]], ['[UNK]', 'a', 'b'])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            sparse=sparse,
            pad_to_max_tokens=pad_to_max_tokens,
            salt=salt,
            name=name,
            **kwargs,
        )


class IntegerLookup(IndexLookup):
    """The index of each whole number in a vocabulary, given or learned by `adapt`.

    As `StringLookup`, for numbers. With several places for the unknown ones a number
    goes to the one of its remainder, or of its hash for `oov_method="farmhash"`.

    Shapes: for `"int"` `s -> s`, else as `CategoryEncoding`.

    >>> layer = IntegerLookup(vocabulary=[12, 36])
    >>> layer([[36, 5]]).tolist(), layer.get_vocabulary()
    ([[2, 0]], [-1, 12, 36])
    """

    vocabulary_dtype = "int64"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        who, kind = "IntegerLookup", vocabulary_dtype
        check(kind == "int64", who, "vocabulary_dtype", kind, '"int64"')
        expected = 'None unless oov_method="farmhash"'
        check(salt is None or oov_method == "farmhash", who, "salt", salt, expected)
        super().__init__(
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
            mask_token=mask_token,
            oov_token=oov_token,
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            invert=invert,
            output_mode=output_mode,
            sparse=sparse,
            pad_to_max_tokens=pad_to_max_tokens,
            oov_method=oov_method,
            salt=salt,
            name=name,
            **kwargs,
        )
