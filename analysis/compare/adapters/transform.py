"""A file with `fit` and `transform`, or one class that has both, as a fitted method.

    fit(features, labels, sizes, rng) -> anything     float32 [n, d], int64 [n]: the training split alone;
                                                      of a text collection its documents, all labels -1
    transform(fitted, features)       -> [b, D]       prefixes of the D columns are the sizes
                                      or {size: [b, size]} where smaller ones are no prefixes of larger ones

Every size gets the suite's linear probe, as for the suite's own methods on frozen embeddings.
"""

import inspect
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np

from analysis.compare.adapters.columns import faults_of_columns
from baselines.fitting import Fit
from baselines.representation import View, check_finite, check_unmasked
from suite import modules
from suite.contracts import TRANSFORM
from suite.errors import UserError

KIND = "fitted"
LABEL = "transform"
SOURCE = "fixed_feature"
LABELS = False  # whether it needs them only the file knows
OPTIONS = {
    "path": "required",
}
ALLOWED = {
    "path": {"type": "string"},
}
BLOCK = 65_536  # rows transformed at once, as when embedding


def fit(source, sizes, options, rng):
    """Fit the file's method on the training features [n, d] of `source`."""
    path, split = Path(options["path"]), "train" if source.num_classes else "corpus"
    fit_one, transform_one = functions(path)
    fitted = fit_one(source.features.copy(), source.labels.copy(), tuple(sizes), rng)
    layout: dict[int | None, int] = {}

    def transform(block):
        return side_by_side(transform_one(fitted, np.array(block)), layout, len(block), path)

    embedded = np.concatenate(
        [transform(source.features[start : start + BLOCK]) for start in range(0, len(source.features), BLOCK)]
    )
    check_finite(embedded, f"{path}: transform of {split}")
    check_rowwise(transform, source.features, embedded, path)
    views = views_of(layout, sizes, path)
    for view in views:
        check_columns(embedded[:, view.start : view.stop], path, split)
    kept = numbers_in(fitted)
    probe = {m: (m + 1) * source.num_classes for view in views for m in view.sizes}
    return Fit(
        views,
        transform=transform,
        parameters={m: kept + count for m, count in probe.items()},
        parameters_all=kept + sum(probe.values()),
    )


def numbers_in(fitted: object) -> int:
    """How many numbers are kept in arrays and tensors, however deep: what a map costs beside its probes.

    Which of them a single size needs only the file knows, so that each size is said to need all.
    """
    found, seen, waiting = 0, {}, [fitted]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType)):
            continue
        seen[id(each)] = each  # kept, or a later one might have its id
        if isinstance(each, np.ndarray) and each.dtype != object:
            found += each.size
        elif hasattr(each, "detach"):  # a torch tensor
            found += each.numel()
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple, set, frozenset, np.ndarray)):
            waiting += list(each)
        else:
            waiting += getattr(each, "__dict__", {}).values()
    return found


def check_columns(embedded, path, split):
    """Raise UserError for columns [n, D] that are constant or copies, unless the file's ALLOW names them."""
    for check, told in faults_of_columns(embedded, split):
        if check not in TRANSFORM.facts(str(path)).ALLOW:
            raise UserError(
                f'{path}: transform: {told}; if that is meant, say ALLOW = ("{check}",) in the file'
            )


def functions(path):
    """(fit(features, labels, sizes, rng), transform(fitted, features)) of a file.

    Raises UserError when it has neither both functions nor exactly one class with both methods, or when they
    take other arguments.
    """
    module = modules.load("baselines", str(path))
    if callable(getattr(module, "fit", None)) and callable(getattr(module, "transform", None)):
        check_arguments(module.fit, 4, path)
        check_arguments(module.transform, 2, path)
        return module.fit, module.transform
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and hasattr(value, "fit")
        and hasattr(value, "transform")
    ]
    if len(classes) != 1:
        raise UserError(
            f"{path}: a method has the functions fit and transform, or one class with both; found "
            f"{[value.__name__ for value in classes] or 'neither'} (docs/compare.md)"
        )
    method = classes[0]()
    check_arguments(method.fit, 4, path)
    check_arguments(method.transform, 1, path)

    def fit_one(*given):
        method.fit(*given)
        return method

    return fit_one, lambda fitted, features: fitted.transform(features)


def check_arguments(function, count, path):
    """Raise UserError unless `function` can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError as error:
        wanted = {4: "features, labels, sizes, rng", 2: "fitted, features", 1: "features"}[count]
        raise UserError(f"{path}: {function.__name__}({wanted}) is called, but {error}") from error


def side_by_side(output, layout, rows, path):
    """transform's output as one float32 array [rows, D]; `layout` keeps the widths by size (None: all).

    Raises UserError for what is no embedding of these rows, or not shaped like that of other rows.
    """
    parts = dict(sorted(output.items())) if isinstance(output, dict) else {None: output}
    parts = {size: plain_array(part, path) for size, part in parts.items()}
    for size, part in parts.items():
        if part.ndim != 2 or len(part) != rows or part.dtype.kind != "f":
            raise UserError(
                f"{path}: transform must give floats [{rows}, D] for {rows} rows, not {part.dtype} "
                f"{list(part.shape)}"
            )
        if size is not None and part.shape[1] != size:
            raise UserError(f"{path}: transform gives {part.shape[1]} columns for size {size}")
    widths = {size: part.shape[1] for size, part in parts.items()}
    if layout and layout != widths:
        raise UserError(f"{path}: transform gives widths {widths} and, for other rows, {layout}")
    layout.update(widths)
    return np.hstack([np.asarray(part, np.float32) for part in parts.values()])


def plain_array(part, path):
    """What transform gives as a numpy array, of a torch tensor its numbers.

    Raises UserError for an array with masked entries, whose mask would be lost.
    """
    check_unmasked(part, f"{path}: transform")
    if hasattr(part, "detach"):  # a torch tensor, perhaps with a gradient, on a GPU, or of bfloat16
        part = part.detach().cpu()
        part = part.float() if part.is_floating_point() else part
    return np.asarray(part)


def check_rowwise(transform, features, embedded, path):
    """Raise UserError when a row's embedding depends on the rows beside it: test items would leak."""
    few = embedded[:3]
    alone = np.concatenate([transform(features[row : row + 1]) for row in range(len(few))])
    scale = np.abs(embedded).max()
    if not np.allclose(alone, few, rtol=1e-3, atol=1e-4 * scale):
        raise UserError(
            f"{path}: transform gives a row another embedding when it is alone (largest difference "
            f"{np.abs(alone - few).max():.3g}): it must not use statistics of the rows it is given; "
            "compute them in fit"
        )


def views_of(layout, sizes, path):
    """Views over the columns of `side_by_side`. Raises UserError when no size of the study is served."""
    if None in layout:
        served = tuple(m for m in sizes if m <= layout[None])
        if not served:
            raise UserError(
                f"{path}: transform gives {layout[None]} columns, the smallest size is {sizes[0]}"
            )
        return [View(served, 0, layout[None])]
    wrong = [m for m in layout if m not in sizes]
    if wrong:
        raise UserError(f"{path}: transform gives sizes {wrong}; the study has {list(sizes)}")
    return View.side_by_side(list(layout))
