"""The labels of a file as a task needs them: classes, by name where the file has names, or scores in a range."""

from collections.abc import Sequence

from datasets import ClassLabel, Dataset, Value

from experiments.data.assets import values
from experiments.errors import UserError

REMEDY = "use a labelled split, or correct that row"


def as_classes(rows: Dataset, column: str, names: Sequence[str], file: str) -> Dataset:
    """The rows of a file, as `read_rows` gives them, with their labels as a ClassLabel of `names`.

    A file holds names (as text, or as numbers with their own names, in any order) or numbers in the order of `names`.
    Raises UserError for another label, and for true and false, which do not name a class, with file, row and column;
    and for a file with other names, with these.
    """
    own, names = rows.features[column], list(names)
    if isinstance(own, ClassLabel):
        if set(own.names) != set(names):
            raise UserError(f"{file}: the classes of {column} are {own.names}, want {names}, in any order; rename them")
        known = {number: names.index(name) for number, name in enumerate(own.names)}
    else:
        known = {label: number for number, name in enumerate(names) for label in (number, name)}
    labels = list(values(rows.data.column(column)))
    for row, label in enumerate(labels):
        if type(label) not in (int, float, str) or label not in known:
            wanted = names if isinstance(label, str) else f"0..{len(names) - 1}"
            raise UserError(f"{file}, row {row}: {column} is {label!r:.80}, want one of {wanted}; {REMEDY}")
    numbers = [known[label] for label in labels]
    return rows.remove_columns(column).add_column(column, numbers, feature=ClassLabel(names=names))


def as_scores(rows: Dataset, column: str, top: float, file: str) -> Dataset:
    """The rows of a file with their labels as numbers in 0..top, float32.

    Raises UserError, with file, row and column, for any other label: null, NaN, out of range, or of another type.
    """
    for row, label in enumerate(values(rows.data.column(column))):
        if type(label) not in (int, float) or not 0 <= label <= top:
            raise UserError(f"{file}, row {row}: {column} is {label!r:.80}, want a number in 0..{top:g}; {REMEDY}")
    return rows.cast_column(column, Value("float32"))
