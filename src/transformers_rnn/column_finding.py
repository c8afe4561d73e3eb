"""Which columns of a table are the input and the labels: told, found by usual names, or found by type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from .vector_columns import vector_rank

TEXT_NAMES = (
    *("text", "sentence", "content", "review", "message", "document", "comment", "tweet", "utterance", "query"),
    *("question", "body", "snippet", "sms", "name"),
)
PAIR_NAMES = (
    *(("text", "text_pair"), ("text_a", "text_b"), ("sentence1", "sentence2"), ("premise", "hypothesis")),
    *(("question1", "question2"), ("question", "sentence")),
)
VECTOR_NAMES = ("input_features", "features", "series", "vectors", "vector", "sequence", "x", "data", "values")
LABEL_NAMES = (
    *("label", "labels", "target", "targets", "class", "category", "y", "score", "rating", "sentiment", "intent"),
    *("emotion", "emotions", "topic", "language", "tag", "tags", "stars"),
)
ROW_NAMES = ("id", "idx", "index", "uid", "guid", "split", "__index_level_0__")  # never an input or a label

Columns = str | Sequence[str]


@dataclass(frozen=True)
class ColumnChoice:
    """The columns of each role; text or vectors are the input, never both."""

    text: tuple[str, ...]
    vectors: tuple[str, ...]
    labels: tuple[str, ...]
    decisions: tuple[str, ...] = ()

    @property
    def roles(self) -> dict[str, str | list[str]]:
        """Role -> column, as reports show it."""
        named: dict[str, str | list[str]] = dict(zip(("text", "text_pair"), self.text, strict=False))
        for role, names in (("input_features", self.vectors), ("labels", self.labels)):
            if names:
                named[role] = names[0] if len(names) == 1 else list(names)
        return named

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        return self.text + self.vectors + self.labels


def find_columns(
    schema: pa.Schema,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    vector_column: Columns | None = None,
    label_column: Columns | None = None,
) -> ColumnChoice:
    """Settle the columns, each as told or else by its name or type.

    Raises:
        ValueError: a column that is not there or holds another kind of value, one column in two roles, or no clear
            choice; the sentence lists the columns.
    """
    types = dict(zip(schema.names, schema.types, strict=True))
    text = tuple(name for name in (text_column, text_pair_column) if name is not None)
    vectors, labels = _tuple(vector_column), _tuple(label_column)
    told = text + vectors + labels
    _check_told(types, text, vectors, labels)
    if text_pair_column is not None and text_column is None:
        raise ValueError(f"text_pair_column={text_pair_column!r} needs text_column, the first text of the pair.")
    if text and vectors:
        raise ValueError(
            f"The input is text (column {text[0]!r}) or vectors (column {vectors[0]!r}), not both. Name one of them."
        )
    free = {name: kind for name, kind in types.items() if name not in told and name.lower() not in ROW_NAMES}
    said = []
    if not labels:
        labels = (_find_label(free, types, known_input=bool(text or vectors)),)
        said.append(f"Label column: `{labels[0]}`.")
        free.pop(labels[0])
    if not text and not vectors:
        text, vectors = _find_input(free, types)
        said.append(f"Input: `{'` and `'.join(text or vectors)}`.")
    return ColumnChoice(text, vectors, labels, tuple(said))


def _check_told(
    types: Mapping[str, pa.DataType], text: Sequence[str], vectors: Sequence[str], labels: Sequence[str]
) -> None:
    told = [*text, *vectors, *labels]
    for name in told:
        if name not in types:
            raise ValueError(f"There is no column {name!r}. The columns are {_list(types)}. Name one of them.")
        if told.count(name) > 1:
            raise ValueError(f"Column {name!r} cannot be two things at once. Name another column for one of them.")
    for name in text:
        if not is_text(types[name]):
            raise ValueError(
                f"Text column {name!r} holds {types[name]}, not strings. The columns are {_list(types)}. "
                "Name a column of strings, or convert it."
            )
    for name in vectors:
        rank = vector_rank(types[name])
        if rank != 1 and (rank != 2 or len(vectors) > 1):
            needed = "series of numbers (T_i,)" if len(vectors) > 1 else "vectors (T_i, F) or series (T_i,) of numbers"
            raise ValueError(
                f"Vector column {name!r} holds {types[name]}, not {needed}. The columns are {_list(types)}."
            )


def _find_label(free: Mapping[str, pa.DataType], types: Mapping[str, pa.DataType], known_input: bool) -> str:
    named = _by_name(free, LABEL_NAMES)
    if named:
        return named
    inputs = set() if known_input else {name for name in free if vector_rank(free[name]) == 2}
    if not known_input and _by_name(free, TEXT_NAMES):
        inputs.add(str(_by_name(free, TEXT_NAMES)))
    rest = [name for name in free if name not in inputs]
    if not known_input and not inputs:  # the only text of a table is its input
        texts = [name for name in rest if is_text(free[name])]
        rest = [name for name in rest if name not in texts] if len(texts) == 1 else rest
    if len(rest) == 1:
        return rest[0]
    raise ValueError(f"Which column holds the labels? The columns are {_list(types)}. Pass label_column.")


def _find_input(
    free: Mapping[str, pa.DataType], types: Mapping[str, pa.DataType]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    texts = {name: kind for name, kind in free.items() if is_text(kind)}
    vectors = {name: kind for name, kind in free.items() if vector_rank(kind) == 2}
    lower = {name.lower(): name for name in texts}
    for pair in PAIR_NAMES:
        if set(pair) <= lower.keys():
            return (lower[pair[0]], lower[pair[1]]), ()
    text = _by_name(texts, TEXT_NAMES) or (next(iter(texts)) if len(texts) == 1 else None)
    vector = _by_name(vectors, VECTOR_NAMES) or (next(iter(vectors)) if len(vectors) == 1 else None)
    series = (
        None
        if text or vector
        else _by_name({name: kind for name, kind in free.items() if vector_rank(kind) == 1}, VECTOR_NAMES)
    )
    if text and not vectors:
        return (text,), ()
    if (vector or series) and not texts:
        return (), (str(vector or series),)
    raise ValueError(f"Which column is the input? The columns are {_list(types)}. Pass text_column, or vector_column.")


def _by_name(types: Mapping[str, pa.DataType], usual: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(list(types))}
    return next((lower[name] for name in usual if name in lower), None)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's values are strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _list(types: Mapping[str, pa.DataType]) -> str:
    return ", ".join(f"{name!r} ({kind})" for name, kind in types.items())


def _tuple(names: Columns | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)
