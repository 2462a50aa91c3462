"""A new method against saved baselines: differences with intervals, p and verdicts; `compare` is all of it.

Same items, same protocol: per evaluation and size the difference new − baseline on paired test items, with
its 95 % interval, Holm-adjusted p over the sizes, and better / worse / equivalent (inside the study's margin)
/ undecided, from the same model as every table (analysis/statistics.py): test items and trainings. What an
evaluation measures on each item it says itself (its `items`). Baselines are read from results/saved/, never
run.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.compare.freeze import collect, describe, kept_items
from analysis.compare.saved import SAVED, Saved, SavedRun, source_of
from analysis.metrics import metric_in_table, normalised_area
from analysis.run import Items, run_of
from analysis.statistics import RESAMPLES, compare_outcomes, interval_over_seeds
from baselines.representation import Representation
from splits.store import Dataset
from suite.contracts import MEASURE
from suite.errors import UserError
from suite.study import Method, Study

AGAINST = ("mrl", "fixed_feature", "pca")  # the default baselines, where they were saved
ONE = (
    "One training of one side or both: differences are of these networks (higher, lower, alike), not of the "
    "methods. Another training may turn them round; give `'seeds=[…]'` to train the new method more "
    "than once."
)
SEVERAL = (
    "Several trainings: intervals and tests allow for other test items and for another training, with t "
    "quantiles for as few trainings as there are."
)


@dataclass(frozen=True)
class Compared:
    """One method as it is compared: what was measured per item, and its conditions, by seed.

    outcomes: what `freeze.collect` returns. runs: sizes, costs, provenance. origin: the network that it
    starts from (`Study.origin`). withheld: why it is not compared, by evaluation.
    """

    name: str
    label: str
    outcomes: dict[int, dict[str, np.ndarray]]
    runs: dict[int, SavedRun]
    origin: str | None = None
    withheld: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.outcomes)

    def items(self, what: Items, seeds: Sequence[int]) -> dict[int, np.ndarray] | None:
        """Outcome of each item by size, averaged over draws: float64 [seeds, n]; None if not measured."""
        if any(what.array not in self.outcomes[seed] for seed in seeds):
            return None
        some = [self.outcomes[seed] for seed in seeds]
        by_seed = [what.sampled(arrays[what.array]).mean(0, dtype=np.float64) for arrays in some]
        sizes = some[0].get(f"{what.array}:sizes", some[0][f"{what.measure}/sizes"])
        return dict(zip(sizes.tolist(), np.stack(by_seed, axis=1)))


@dataclass
class Verdicts:
    """The whole comparison: what the page is made from.

    items: what was compared; margin: what counts as equivalent; seeds: of both sides, by baseline.
    differences: a row for each metric, baseline and size; areas: a row for each metric and baseline, of the
    normalised area under the curve; curves: values of each, by method and size. refused: what was not
    compared, and why.
    """

    new: Compared
    baselines: list[Compared]
    items: list[Items]
    seeds: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    differences: pd.DataFrame
    areas: pd.DataFrame
    curves: pd.DataFrame
    refused: list[tuple[str, str]]
    margin: float
    notes: list[str] = field(default_factory=list)
    saved: Saved | None = None


# --- may these be compared? -----------------------------------------------------------------------


def other_settings(saved: Saved, study: Study) -> set[str]:
    """Measures whose outcomes mean something else here: other labelled images, another update interval …

    The first neighbours are the same however many are kept.
    """
    given = saved.manifest["study"].get("measures", {})
    return {
        measure
        for measure in study.frozen_measures()
        if measure != "neighbours"
        and MEASURE.options(measure, given.get(measure))
        != MEASURE.options(measure, study.given_options(measure))
    }


def comparable(
    saved: Saved, dataset: Dataset, study: Study, items: Sequence[Items]
) -> tuple[list[Items], list[tuple[str, str]]]:
    """What of a method's items can be compared on this data with these settings, and what cannot."""
    changed, allowed, refused = saved.other_splits(dataset), [], []
    settings = other_settings(saved, study)
    for what in (each for each in items if each.compared):
        differing = [split for split in what.data if split in changed]
        if differing:
            there, here = saved.checksums(dataset, differing[0])
            why = (
                f"the data of {differing[0]} differ from those of the saved baselines (checksum {there} "
                f"there, {here} here)"
            )
            refused.append((what.name, why))
        elif what.measure in settings:
            why = f"the baselines were saved with other settings of {what.measure} than {study.path} has"
            refused.append((what.name, why))
        else:
            allowed.append(what)
    absent = [split for split in saved.manifest["data"]["splits"] if split not in dataset]
    return allowed, refused + [(f"everything on {split}", "the study has no such split") for split in absent]


# --- the comparison -------------------------------------------------------------------------------


def judge(
    new: Compared,
    baselines: list[Compared],
    allowed: Sequence[Items],
    nesting: Sequence[int],
    margin: float,
    resamples: int = RESAMPLES,
) -> Verdicts:
    """Compare `new` with every baseline on everything allowed, at the sizes of `nesting` that both have."""
    seeds = {base.name: compared_seeds(new, base) for base in baselines}
    differences, areas, refused = [], [], []
    for what in allowed:
        if new.items(what, new.seeds) is None:
            refused.append((what.name, f"not measured for {new.label}"))
            continue
        for base in baselines:
            mine, its = (each.items(what, some) for each, some in zip((new, base), seeds[base.name]))
            named = f"{what.name} against {base.label}"
            if its is None or what.task in base.withheld:
                refused.append((named, base.withheld.get(what.task, f"not measured for {base.label}")))
                continue
            dims = [m for m in nesting if m in mine and m in its]
            left = [m for m in nesting if m not in dims]
            if left:
                who = new.label if any(m not in mine for m in left) else base.label
                sizes = ", ".join(map(str, left))
                refused.append((f"{named}, sizes {sizes}", f"{who} does not have these sizes"))
            if not dims:
                continue
            keys = {"task": what.task, "split": what.split, "metric": what.metric, "baseline": base.name}
            pair = [np.stack([side[m] for m in dims]) for side in (mine, its)]  # [S, seeds, n]
            how = {
                "margin": margin,
                "paired": share_networks(new, base),
                "direction": metric_in_table(what.metric, what.task).direction,
                "resamples": resamples,
            }
            table = compare_outcomes(*pair, dims, rng=generator(keys), **how)
            table.insert(1, "new", pair[0].mean((1, 2)))
            table.insert(2, "base", pair[1].mean((1, 2)))
            differences.append(table.assign(**keys))
            if len(dims) > 1:
                areas.append(keys | compare_areas(*pair, dims, rng=generator(keys), **how))
    if not differences:
        raise UserError(
            f"nothing of {new.label} can be compared: " + "; ".join(f"{what}: {why}" for what, why in refused)
        )
    return Verdicts(
        new,
        baselines,
        list(allowed),
        seeds,
        pd.concat(differences, ignore_index=True),
        pd.DataFrame(areas),
        pd.DataFrame(curves(new, baselines, seeds, allowed)),
        refused,
        margin,
    )


def share_networks(new: Compared, base: Compared) -> bool:
    """Whether both start from one network, seed by seed: then what that has of luck is on both sides."""
    return new.origin is not None and new.origin == base.origin and bool({*new.seeds} & {*base.seeds})


def compared_seeds(new: Compared, base: Compared) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Trainings of each side: all of them; those that both have where they share networks."""
    if share_networks(new, base):
        both = tuple(seed for seed in new.seeds if seed in base.seeds)
        return both, both
    return new.seeds, base.seeds


def generator(keys: dict) -> np.random.Generator:
    """The same resamples for the same question, whatever else is compared."""
    return np.random.default_rng(zlib.crc32("/".join(keys.values()).encode()))


def compare_areas(new: np.ndarray, base: np.ndarray, dims: list[int], **how: object) -> dict:
    """Normalised area under the curve against log₂ size, new − base. new: [S, K, n]; base: [S, L, n].

    The area is linear in the outcomes, so each item has one, and areas are paired like anything else.
    how: as `compare_outcomes` takes it.
    """
    mine, its = normalised_area(dims, new.T).T, normalised_area(dims, base.T).T
    (row,) = compare_outcomes(mine[None], its[None], dims[:1], **how).to_dict("records")
    kept = {key: row[key] for key in ("difference", "low", "high", "p", "verdict", "detectable", "scope")}
    return {"sizes": f"{dims[0]}–{dims[-1]}", "new": float(mine.mean()), "base": float(its.mean()), **kept}


def curves(
    new: Compared, baselines: list[Compared], seeds: dict[str, tuple], allowed: Sequence[Items]
) -> Iterator[dict]:
    """Mean per method and size of everything compared, over the seeds that were compared, with its interval.

    low, high: 95 % over test items and trainings (`interval_over_seeds`).
    """
    mine = tuple(dict.fromkeys(seed for ours, _ in seeds.values() for seed in ours))
    drawn = [(new, mine), *((base, seeds[base.name][1]) for base in baselines)]
    for what in allowed:
        keys = {"task": what.task, "split": what.split, "metric": what.metric}
        for each, some in drawn:
            for dim, values in (each.items(what, some) or {}).items():
                errors = values.std(-1, ddof=1) / np.sqrt(values.shape[-1])
                found = interval_over_seeds(values.mean(-1), errors)
                interval = {"value": found.estimate, "low": found.low, "high": found.high}
                yield keys | {"method": each.name, "dim": dim} | interval


# --- from files -----------------------------------------------------------------------------------


def new_method(study: Study, dataset: Dataset, name: str) -> tuple[Compared, list[Items]]:
    """The new method from what was just measured, and that. Raises UserError when it saw other data."""
    method, outcomes, runs, notes = study.methods[name], {}, {}, []
    for seed in study.seeds:
        run = run_of(study, study.layout, dataset, method, seed)
        items = list(kept_items(run, study.frozen_measures()))
        outcomes[seed], runs[seed] = collect(items), describe(run)
        notes += run.representation.meta.get("notes", [])
    origin = network_of(study, name)
    return Compared(name, method.label, outcomes, runs, origin, notes=tuple(dict.fromkeys(notes))), items


def network_of(study: Study, name: str) -> str | None:
    """The network that a method starts from, as `Study.origin`, also of one that is frozen."""
    found = study.origin(name) if name in study.methods else None
    return found and found.removeprefix(SAVED)


def saved_method(saved: Saved, study: Study, name: str) -> Compared:
    """A frozen baseline."""
    seeds = saved.methods[name]
    runs = {seed: saved.run(name, seed) for seed in seeds}
    outcomes = {seed: saved.outcomes(name, seed) for seed in seeds}
    origin, withheld = network_of(study, name), saved.withheld(name)
    return Compared(name, runs[seeds[0]].label, outcomes, runs, origin, withheld)


def chosen(saved: Saved, against: Sequence[str] | None) -> list[str]:
    """Baselines to compare with; raises UserError for one that was not saved."""
    if against:
        saved.require(against)
        return list(against)
    return [name for name in AGAINST if name in saved.methods] or [
        name for name in saved.methods if saved.runs[name, saved.methods[name][0]].kind != "control"
    ]


def conditions(study: Study, method: Method, saved: Saved, verdicts: Verdicts) -> list[str]:
    """What a reader has to know about how this was made."""
    notes = list(verdicts.new.notes)
    trained_alike = all(saved.manifest["study"][key] == study.config[key] for key in ("backbone", "training"))
    if method.kind == "trained" and not trained_alike:
        notes.append(
            "The saved baselines were trained with other settings (backbone or training) than "
            f"{study.path} has now, so differences are not of the method alone."
        )
    if method.kind == "fitted":
        notes.append(
            f"It starts from embeddings of the saved {source_of(method)} network, computed again here; on "
            "another machine these may differ in the last bits."
        )
    if method.kind in ("fitted", "folder"):
        notes.append("Its linear classifiers are the suite's probes, one per size, fitted on train.")
    scopes = set(verdicts.differences["scope"])
    notes += [note for scope, note in (("methods", SEVERAL), ("networks", ONE)) if scope in scopes]
    knn = verdicts.curves.query("task == 'knn' and method == @verdicts.new.name")
    chance = 1 / saved.manifest["data"]["seen_classes"]
    if method.kind == "folder" and len(knn) and knn["value"].max() < 2 * chance:
        notes.append(
            "Its 1-NN accuracy is near chance at every size: are rows in the order of the splits' items.csv?"
        )
    return notes


def compare(study: Study, name: str, against: Sequence[str] | None = None) -> Verdicts:
    """The verdict on method `name` of a study that `own_methods` wrote."""
    saved, dataset = Saved(study.layout.saved), Dataset(study.layout.data)
    saved.refuse(dataset)
    new, items = new_method(study, dataset, name)
    allowed, refused = comparable(saved, dataset, study, items)
    embedded = Representation.of(study.layout, name, study.seeds[0], dataset.checksum).splits
    left = [split for split in saved.manifest["data"]["splits"] if split in dataset and split not in embedded]
    refused += [(f"everything on {split}", f"not measured for {new.label}") for split in left]
    baselines = [saved_method(saved, study, base) for base in chosen(saved, against)]
    verdicts = judge(new, baselines, allowed, saved.manifest["study"]["nesting"], study.margin)
    verdicts.saved = saved
    verdicts.refused = refused + verdicts.refused
    verdicts.notes = conditions(study, study.method(name), saved, verdicts)
    return verdicts
