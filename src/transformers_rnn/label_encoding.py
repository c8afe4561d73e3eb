"""Label columns -> numbers: the problem type is settled here, once, and the names of the labels are learned."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Features
from numpy.typing import NDArray

from .losses import IGNORED, ProblemType

Where = Callable[[int], str]  # row -> how an error names it
# How a row holds its labels: one value, a list of values, L zeros and ones, or numbers to be met.
Form = Literal["value", "list", "indicators", "numbers"]
SINGLE: Final = "single_label_classification"
MULTI: Final = "multi_label_classification"
REGRESSION: Final = "regression"
PROBLEMS: dict[Form, ProblemType] = {"value": SINGLE, "list": MULTI, "indicators": MULTI, "numbers": REGRESSION}
UNLABELLED = -1  # what `datasets` gives the rows of a hidden test set


@dataclass(frozen=True)
class LabelEncoder:
    """How the label columns of one table become numbers.

    Attributes:
        columns: the label columns.
        problem_type: the host's name of the problem.
        names: of the L labels, in the order of their indices; of the targets in a regression.
        form: how a row holds its labels.
        ids: raw value -> index, for values and lists of them.
        separator: what stands between the labels of one string.
        decisions: what was settled without being told, as sentences.
    """

    columns: tuple[str, ...]
    problem_type: ProblemType
    names: tuple[str, ...]
    form: Form
    ids: Mapping[Any, int]
    separator: str | None = None
    decisions: tuple[str, ...] = ()

    def encode(self, table: pa.Table, where: Where) -> NDArray[Any]:
        """Whole numbers (rows,), or float32 (rows, L); regression on one target: float32 (rows,).

        Args:
            table: has the label columns, none of whose rows is missing.
            where: tells how an error names a row.

        Raises:
            ValueError: a label that the training set does not have, a row of another width, or a number that cannot
                be learned.
        """
        kind = _kind(table, self.columns, self.separator)
        if len(table) and self.form in ("value", "list") and (self.form == "list") != kind.startswith("list"):
            raise ValueError(
                f"{where(0)}, column {self._column} holds {kind} values, but the training set has "
                f"{'lists of labels' if self.form == 'list' else 'one label a row'}. Give every split the same kind."
            )
        values = raw_labels(table, self.columns, self.separator)
        if self.form == "value":
            return np.array([self._index(value, row, where) for row, value in enumerate(values)], np.int64)
        if self.form == "list":
            encoded = np.zeros((len(values), len(self.names)), np.float32)
            for row, labels in enumerate(values):
                for label in labels:
                    encoded[row, self._index(label, row, where)] = 1
            return encoded
        return self._numbers(values, where)

    def _index(self, value: Any, row: int, where: Where) -> int:
        index = self.ids.get(value)
        if index is None:
            known = ", ".join(map(repr, list(self.ids)[:20])) + (", ..." if len(self.ids) > 20 else "")
            raise ValueError(
                f"{where(row)}, column {self._column}: the label {value!r} is unknown; the known labels are {known}. "
                "Correct it, leave the row out, or name all labels with label_names."
            )
        return index

    def _numbers(self, values: list[Any], where: Where) -> NDArray[np.float32]:
        width = len(self.names)
        for row, value in enumerate(values):
            numbers = value if isinstance(value, list | tuple) else (value,)
            if len(numbers) != width:
                raise ValueError(
                    f"{where(row)}, column {self._column}: {len(numbers)} numbers, but the first row has {width}. "
                    "Give every row one number a label."
                )
            for number in numbers:
                self._check_number(number, where, row)
        encoded = np.array(values, np.float32).reshape(len(values), width)
        return encoded[:, 0] if self.problem_type == REGRESSION and width == 1 else encoded

    def _check_number(self, number: Any, where: Where, row: int) -> None:
        advice = None
        if isinstance(number, str):
            advice = "A number is needed, as in the training set."
        elif number is None or not np.isfinite(np.float32(number)):
            advice = "Fill it in, or leave the row out."
        elif self.form == "indicators" and not 0 <= number <= 1:
            advice = "Several labels a row are given from 0 (absent) to 1 (present)."
        elif self.problem_type == REGRESSION and number == IGNORED:
            advice = "The host takes exactly this number for a missing label: shift or rescale the targets."
        if advice:
            raise ValueError(f"{where(row)}, column {self._column} is {number}. {advice}")

    @property
    def _column(self) -> str:
        return " and ".join(map(repr, self.columns))


def raw_labels(table: pa.Table, columns: Sequence[str], separator: str | None = None) -> list[Any]:
    """The labels of each row as Python values; those of several columns as a tuple."""
    lists: list[list[Any]] = [table.column(name).to_pylist() for name in columns]
    if len(lists) > 1:
        return list(zip(*lists, strict=True))
    if separator is not None:
        return [[label.strip() for label in str(value).split(separator) if label.strip()] for value in lists[0]]
    return lists[0]


def learn_labels(
    table: pa.Table,
    features: Features,
    columns: Sequence[str],
    where: Where,
    *,
    problem_type: ProblemType | None = None,
    label_names: Sequence[str] | None = None,
    separator: str | None = None,
) -> LabelEncoder:
    """Settle the problem type and learn the label names from the training set.

    Strings, booleans, whole numbers and `ClassLabel` are one label a row; lists of them, or several columns of zeros
    and ones, are several; numbers with a fraction point are targets of a regression. Names are sorted (numbers as
    numbers), those of a `ClassLabel` keep their order.

    Args:
        table: the label columns of the training set, no row missing.
        features: their types in `datasets`.
        columns: which columns.
        where: tells how an error names a row.
        problem_type: the host's name of the problem; `None`: told from the type and the values.
        label_names: all labels in the order of their indices; `None`: learned. Labels that are strings are found
            among them; whole numbers (also as strings, where no label is a name) are indices into them.
        separator: what stands between the labels of one string, such as `","`.

    Raises:
        ValueError: labels that do not fit the problem type or the names, fewer than two classes, or mixed types.
    """
    if problem_type is not None and problem_type not in get_args(ProblemType):
        raise ValueError(f"problem_type must be one of {', '.join(get_args(ProblemType))}, got {problem_type!r}.")
    told = label_names is not None or problem_type is not None
    kind = _kind(table, columns, separator)
    values = raw_labels(table, columns, separator)
    stored = _stored_names(features, columns)
    form = _settle(kind, values, problem_type, columns, label_names or stored, bool(stored))
    said = [] if problem_type else [f"The problem type is {PROBLEMS[form]}: {_reason(form, kind, columns)}."]
    if form in ("numbers", "indicators"):
        names = tuple(label_names or (columns if len(columns) > 1 else ()))
        if not names:
            width = len(values[0]) if kind.startswith("list") else 1
            names = tuple(columns) if form == "numbers" and width == 1 else tuple(map(str, range(width)))
            names = tuple(f"{columns[0]}_{name}" for name in names) if form == "numbers" and width > 1 else names
        ids: dict[Any, int] = {}
    else:
        if kind.endswith("string") and not told:
            _refuse_mixed(values, columns, where)
        names, ids, sentence = _learn_names(kind, values, form, tuple(label_names or stored or ()))
        said += [sentence] if sentence else []
    if form != "numbers" and len(names) < 2:
        raise ValueError(
            f"Column {columns[0]!r} holds one label only ({', '.join(map(repr, names)) or 'none at all'}), so there "
            "is nothing to tell apart. Give rows with another label, or name all labels with label_names."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"Every label needs a name of its own, got {list(names)}. Rename those that are equal.")
    return LabelEncoder(tuple(columns), PROBLEMS[form], names, form, ids, separator, tuple(said))


def _kind(table: pa.Table, columns: Sequence[str], separator: str | None) -> str:
    """`"string"`, `"boolean"`, `"integer"`, `"float"`, `"list of ..."` of one, or `"columns of ..."` numbers."""
    kinds = [_plain_kind(table.column(name).type) for name in columns]
    for name, kind in zip(columns, kinds, strict=True):
        usable = ("boolean", "integer", "float") if len(columns) > 1 else ("string", "boolean", "integer", "float")
        if kind.removeprefix("list of " if len(columns) == 1 else "") not in usable:
            raise ValueError(
                f"Label column {name!r} holds {table.column(name).type}. Labels are strings, whole numbers, booleans, "
                "numbers, or lists of them; several label columns are numbers or booleans."
            )
    if len(columns) > 1:
        return "columns of " + ("float" if "float" in kinds else "integer" if "integer" in kinds else "boolean")
    if separator is not None:
        if kinds[0] not in ("string", "integer"):  # a file in which no row has two numbers is one of integers
            raise ValueError(
                f"label_separator={separator!r} takes strings apart, but column {columns[0]!r} holds {kinds[0]} values"
                ". Leave it out."
            )
        return "list of string"
    return kinds[0]


def _plain_kind(kind: pa.DataType) -> str:
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list of {_plain_kind(kind.value_type)}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_null(kind):
        return "string"  # a column or list without any value
    return "integer" if pa.types.is_integer(kind) else "float" if pa.types.is_floating(kind) else str(kind)


def _settle(
    kind: str,
    values: list[Any],
    problem_type: ProblemType | None,
    columns: Sequence[str],
    names: Sequence[str],
    indices: bool,
) -> Form:
    """How rows hold their labels, from the type, the values and what was told."""
    several = kind.startswith(("list", "columns"))
    fitting: list[Form] = []
    if not several:
        fitting = ["numbers", "value"] if kind.endswith("float") else ["value", "numbers"]
        if kind.endswith("float") and not all(float(value).is_integer() for value in values):
            fitting = ["numbers"]
    else:
        number = kind.endswith(("integer", "float", "boolean"))
        widths = {len(value) for value in values}
        indicators = number and len(widths) == 1 and widths <= {len(names)} | (widths if not names else set())
        indicators = indicators and not indices  # a list of `ClassLabel` holds indices
        binary = indicators and all(label in (0, 1) for value in values for label in value)
        shares = indicators and all(0 <= (label or 0) <= 1 for value in values for label in value)
        if binary and widths != {1}:
            fitting.append("indicators")
        if kind.startswith("list") and not kind.endswith(("float", "boolean")):
            fitting.append("list")
        if number and not kind.endswith("boolean"):
            fitting.append("numbers")
        if shares and "indicators" not in fitting:
            fitting.append("indicators")
    fitting = [form for form in fitting if form != "numbers" or not kind.endswith(("string", "boolean"))]
    for form in fitting:
        if problem_type in (None, PROBLEMS[form]):
            return form
    raise ValueError(
        f"problem_type={problem_type!r} does not fit the labels of column {' and '.join(map(repr, columns))} "
        f"({kind} values), which fit {' or '.join(dict.fromkeys(PROBLEMS[form] for form in fitting)) or 'no problem'}"
        ". Pass a problem_type that fits, leave it out, or convert the labels."
    )


def _reason(form: Form, kind: str, columns: Sequence[str]) -> str:
    if form == "numbers":
        return f"the labels are numbers ({kind}); for classes pass problem_type='{SINGLE}' with whole numbers"
    if form == "value":
        return f"each row has one label ({kind})"
    return f"each row has any number of the labels ({kind if form == 'list' else f'{kind}, zeros and ones'})"


def _stored_names(features: Features, columns: Sequence[str]) -> tuple[str, ...]:
    """The names that a `ClassLabel`, alone or in a list, brings along."""
    feature = features.get(columns[0]) if len(columns) == 1 else None
    feature = getattr(feature, "feature", feature)
    return tuple(feature.names) if isinstance(feature, ClassLabel) and feature.names else ()


def _learn_names(
    kind: str, values: list[Any], form: Form, known: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[Any, int], str]:
    """Names in order, raw value -> index, and a sentence where there was something to settle."""
    if known:
        raw: list[Any] = list(range(len(known)))
        if kind.endswith("string"):
            labels = {label for row in values for label in (row if form == "list" else (row,))}
            digits = labels.isdisjoint(known) and all(map(_is_digits, labels))  # a file keeps indices as strings
            raw = list(map(str, raw)) if digits else list(known)
        return known, {value: index for index, value in enumerate(raw)}, ""
    found = Counter(label for row in values for label in row) if form == "list" else Counter(values)
    if kind.endswith("boolean"):
        found = Counter({False: found[False], True: found[True]})
    numeric = all(isinstance(value, int | float) or _is_digits(value) for value in found)
    raw = sorted(found, key=(lambda value: (int(value), str(value))) if numeric else None)
    sentence = ""
    if kind.endswith(("integer", "float")) and raw != list(range(len(raw))):
        sentence = f"The labels are not 0 to {len(raw) - 1}, so they are numbered in their order: {_few(raw)}."
    names = tuple(str(int(value)) if isinstance(value, float) else str(value) for value in raw)
    return names, {value: index for index, value in enumerate(raw)}, sentence


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _few(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")


def _refuse_mixed(values: list[Any], columns: Sequence[str], where: Where) -> None:
    """A text file makes strings of a column of numbers as soon as one of them is none."""
    if not values or isinstance(values[0], list):
        return
    words = [row for row, value in enumerate(values) if not _is_number(value)]
    if words and len(words) < len(values) / 2:
        row = words[0]
        raise ValueError(
            f"{where(row)}, column {columns[0]!r} is {values[row]!r}, but most of the column are numbers. Correct it, "
            f"or pass problem_type='{SINGLE}' if it is a label."
        )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
