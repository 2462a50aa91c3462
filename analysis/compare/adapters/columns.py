"""Columns of embeddings that tell nothing: of what was made elsewhere, and of a file's transform, alike."""

from collections.abc import Iterator

import numpy as np

from splits.given import some

SAMPLE = 2_000  # rows in which constant and duplicate columns are looked for first


def faults_of_columns(array: np.ndarray, split: str = "train") -> Iterator[tuple[str, str]]:
    """(check, what is wrong) of columns of a split, [n, D], that are constant or copies."""
    if constant := constant_columns(array):
        yield (
            "constant_columns",
            f"columns {some(constant, 5)} of {split} are constant and tell nothing apart",
        )
    if twice := [group for group in equal_columns(array) if group[0] not in constant]:
        yield "duplicate_columns", f"columns {some(twice, 5)} of {split} are copies of each other"


def constant_columns(array: np.ndarray) -> list[int]:
    """Columns of [n, D] with one value only; all rows are looked at only where the first ones agree."""
    candidates = np.flatnonzero(np.ptp(array[:SAMPLE], axis=0) == 0)
    return [int(c) for c in candidates if np.ptp(array[:, c]) == 0]


def equal_columns(array: np.ndarray) -> list[list[int]]:
    """Groups of columns of [n, D] that are the same number for number."""
    found = [list(range(array.shape[1]))]
    for rows in (array[:SAMPLE], array):  # all rows are looked at only where the first ones agree
        groups: dict[tuple[int, bytes], list[int]] = {}
        for place, group in enumerate(found):
            for column in group:
                groups.setdefault((place, rows[:, column].tobytes()), []).append(column)
        found = [group for group in groups.values() if len(group) > 1]
    return found
