"""Nearest neighbours of a representation: one prefix search per view, for all the sizes it serves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.search import prefix_search
from baselines.representation import Representation


def nearest_rows(
    representation: Representation,
    queries: np.ndarray,
    items: np.ndarray,
    sizes: Sequence[int],
    k: int,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> np.ndarray:
    """int32 [draws, sizes, n, ≤ k]: ids of the nearest items, one search per view for all its sizes.

    queries, items: rows of the representation's arrays [·, D]. device, resume_dir: see `prefix_search`; a
    view's blocks have a folder of their own.
    """
    k = min(k, len(items))
    ids = np.full((representation.draws, len(sizes), len(queries), k), -1, np.int32)
    for number, view in enumerate(representation.views):
        served = [place for place, m in enumerate(sizes) if view in representation.serving(m)]
        if served:
            dims = [view.length(sizes[place]) for place in served]
            folder = resume_dir and resume_dir / f"view-{number}"
            options = {"columns": view.columns, "device": device, "resume_dir": folder, "progress": True}
            ids[view.draw, served] = prefix_search(queries, items, dims, k, **options).ids
    return ids
