"""How the gap between two methods depends on the length of their training and on the number of images.

Methods that are trained alike, as long and on as many images, are compared pair by pair: each of baseline
`new` with that of baseline `base`. Small sizes are those up to d/8, large ones above.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.findings.rules import every, large, small
from analysis.run import Run, by_method, by_seed
from analysis.statistics import compare_methods, mean_interval
from suite import files
from suite.errors import UserError

READS = ("linear",)
ALL_METHODS = True
OPTIONS = {
    "new": "mrl",  # baselines, of which a study has methods of several lengths
    "base": "fixed_feature",
    "seed": 0,  # of the bootstrap, where each was trained once
}
RANGES = {"small": small, "large": large, "all": every}


def compare(runs: list[Run]) -> Iterator[dict]:
    """Rows gap and train_gap per pair and `range` of sizes: new − base, val and training top-1 of own heads.

    Keys: images_seen by each network, train_images it saw them from, sizes, scope, detectable, baseline.
    low and high of train_gap are over trainings alone. Raises UserError where no two are trained alike.
    """
    options = runs[0].options
    groups = [trained_alike(runs, options[side]) for side in ("new", "base")]
    shared = [key for key in groups[0] if key in groups[1]]
    if not shared:
        raise UserError(
            f"tasks.training_length: no method of {options['new']} is trained as long and on as many images "
            f"as one of {options['base']}; give both the same `training`, in the study's `methods`"
        )
    for seen, images in sorted(shared):
        yield from gaps(*(group[seen, images] for group in groups), images_seen=seen, train_images=images)


def trained_alike(runs: list[Run], baseline: str) -> dict[tuple[int, int], list[Run]]:
    """(images seen, images seen from) → runs, one per seed, of the methods of a baseline."""
    found = {}
    for some in by_method(runs).values():
        if some[0].method.baseline == baseline:
            network = some[0].representation.meta["cost"]["networks"][-1]
            per_class = some[0].method.training.get("images_per_class")
            labels = some[0].dataset.labels("train")
            images = len(labels) if per_class is None else per_class * len(np.unique(labels))
            found.setdefault((int(network["train_images"]), images), some)
    return found


def gaps(new: list[Run], base: list[Run], **keys: int) -> Iterator[dict]:
    """The rows of one pair, which are runs, one per seed."""
    run = new[0]
    mine, its = (by_seed(some, lambda each: each.main_items("linear")) for some in (new, base))
    trained, its_trained = (train_accuracy(some) for some in (new, base))
    sizes = [m for m in mine if m in its]
    for name, chosen in RANGES.items():
        if not (dims := chosen(sizes)):
            continue
        pair = [np.mean([side[m] for m in dims], axis=0)[None] for side in (mine, its)]
        rng = np.random.default_rng(run.options["seed"])
        found = compare_methods(*pair, margin=run.study.margin, rng=rng)
        about = {"range": name, "sizes": " ".join(map(str, dims)), "baseline": base[0].method.name, **keys}
        interval = {"low": found.low[0], "high": found.high[0]}
        facts = {"detectable": found.detectable[0], "scope": found.scope}
        yield run.row(0, "val", "gap", found.difference[0], found.n, **interval, **about, **facts)
        both = min(len(new), len(base))
        difference = trained[dims].mean(axis=1)[:both] - its_trained[dims].mean(axis=1)[:both]
        value, low, high = mean_interval(difference.to_numpy())
        yield run.row(0, "train", "train_gap", value, both, low=low, high=high, **about, scope=found.scope)


def train_accuracy(runs: list[Run]) -> pd.DataFrame:
    """Training top-1 of the last epoch, a mean over its batches: a row per seed, a column per size."""
    rows = []
    for run in runs:
        logs = [
            files.read_table(run.layout.network(network.name, run.seed) / "log.csv")
            for network in run.method.networks
        ]
        last = pd.concat([log[log["epoch"] == log["epoch"].max()] for log in logs])
        rows.append(last.set_index("dim")["train_top1"])
    return pd.DataFrame(rows)
