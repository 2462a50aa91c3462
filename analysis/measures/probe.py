"""Predictions of the suite's linear probe at every size, on val: the same classifier for every method.

Where a method's classifiers are the suite's probes they are asked; to all others, which have classifiers of
their own, probes are fitted on the training features (docs/protocols.md, "Probes"). Saves `val/top1` int32
[draws, sizes, n], the predicted class, and how the probes were fitted, float64 [draws, sizes]: `penalty`,
`gap` (about how far the objective is above its minimum) and `at_limit` (1 where the penalty is). Of a method
that has classifiers of its own and gets no second ones nothing but `sizes`.
"""

from pathlib import Path

import numpy as np

from analysis.measures import empty
from baselines.fitting import probes
from baselines.representation import Representation
from splits.store import Dataset

SEARCHES = True
CLASSIFIES = True
OPTIONS = {
    # Whether methods with classifiers of their own get a probe as well; of a thousand classes it takes far
    # longer on a CPU than all else.
    "second": True,
}


def measure(
    representation: Representation,
    dataset: Dataset,
    options: dict,
    *,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines. Nothing is kept in resume_dir."""
    labels, sizes = dataset.labels("train"), representation.sizes
    views, known = representation.classified, representation.meta.get("probes", {})
    if not known and not options["second"]:
        return {"sizes": np.array(sizes, np.int64)}
    train = representation.array("train")
    given = train, views, labels, dataset.num_classes, representation.seed
    fitted = {} if known else probes(*given, device=device)
    draws, n = len({view.draw for view in views}), len(dataset.labels("val"))
    top1 = empty(representation, n, dtype=np.int32, draws=draws)
    facts = {name: empty(representation, dtype=float, draws=draws) for name in ("l2", "gap", "at_limit")}
    for place, view in enumerate(views):
        for m in view.sizes:
            weight, bias = fitted.get((place, m)) or representation.classifier(view, m)
            where = view.draw, sizes.index(m)
            features = representation.features("val", view, m).astype(np.float32, copy=False)
            top1[where] = (features @ weight.T + bias).argmax(1)
            how = fitted[place, m].facts if fitted else known[f"{place}_{m}"]
            for name, values in facts.items():
                values[where] = how[name]
    facts["penalty"] = facts.pop("l2")
    return {"sizes": np.array(sizes, np.int64), "val/top1": top1, **facts}
