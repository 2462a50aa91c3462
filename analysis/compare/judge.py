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
from analysis.compare.saved import SAVED, Saved, SavedRun, source_of, vectors_known_by
from analysis.metrics import metric_in_table, normalised_area
from analysis.run import Items, run_of
from analysis.statistics import RESAMPLES, compare_outcomes, interval_over_seeds
from baselines.representation import Representation
from splits.store import Dataset
from suite.contracts import EVALUATION, MEASURE
from suite.errors import UserError
from suite.study import Method, Study

AGAINST = ("mrl", "fixed_feature", "pca")  # the default baselines, where they were saved
OTHERS = 0.1  # of test items: vectors on which more of them differ are others, not rounded ones
ONE = (
    "One training of one side or both: differences are of these networks (higher, lower, alike), not of the "
    "methods. Another training may turn them round; give `'seeds=[…]'` to train the new method more "
    "than once."
)
SEVERAL = (
    "Several trainings: intervals and tests allow for other test items and for another training, with t "
    "quantiles for as few trainings as there are."
)
READY = (
    "No network is trained: differences are of these vectors and maps (higher, lower, alike), and intervals "
    "allow for other test items."
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
    normalised area under the curve; largest: the same of each side at its own largest size, where these
    differ; curves: values of each, by method and size. refused: what was not compared, and why. ready:
    whether these are vectors that people bring, and maps of them, rather than networks.
    """

    new: Compared
    baselines: list[Compared]
    items: list[Items]
    seeds: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    differences: pd.DataFrame
    areas: pd.DataFrame
    largest: pd.DataFrame
    curves: pd.DataFrame
    refused: list[tuple[str, str]]
    margin: float
    notes: list[str] = field(default_factory=list)
    saved: Saved | None = None
    ready: bool = False


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
    nesting: Sequence[int] | None,
    margin: float,
    resamples: int = RESAMPLES,
) -> Verdicts:
    """Compare `new` with every baseline on everything allowed, at the sizes of `nesting` that both have.

    Without a nesting, at all that both have, and nothing is said of others.
    """
    seeds = {base.name: compared_seeds(new, base) for base in baselines}
    differences, areas, largest, refused = [], [], [], []
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
            keys = {"task": what.task, "split": what.split, "metric": what.metric, "baseline": base.name}
            how = {
                "margin": margin,
                "paired": share_networks(new, base),
                "direction": metric_in_table(what.metric, what.task).direction,
                "resamples": resamples,
            }
            if max(mine) != max(its):
                ends = max(mine), max(its)
                found = compare_one(mine[ends[0]], its[ends[1]], rng=generator(keys), **how)
                largest.append(keys | {"sizes": f"{ends[0]} against {ends[1]}"} | found)
            dims = [m for m in nesting or mine if m in mine and m in its]
            left = [m for m in nesting or () if m not in dims]
            if left:
                who = new.label if any(m not in mine for m in left) else base.label
                sizes = ", ".join(map(str, left))
                refused.append((f"{named}, sizes {sizes}", f"{who} does not have these sizes"))
            if not dims:
                continue
            pair = [np.stack([side[m] for m in dims]) for side in (mine, its)]  # [S, seeds, n]
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
        pd.DataFrame(largest),
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
    return {"sizes": f"{dims[0]}–{dims[-1]}"} | compare_one(mine, its, **how)


def compare_one(new: np.ndarray, base: np.ndarray, **how: object) -> dict:
    """Means and difference of one number per item, [K, n] and [L, n]. how: as `compare_outcomes` takes it."""
    (row,) = compare_outcomes(new[None], base[None], [0], **how).to_dict("records")
    kept = {key: row[key] for key in ("difference", "low", "high", "p", "verdict", "detectable", "scope")}
    return {"new": float(new.mean()), "base": float(base.mean()), **kept}


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
    origin = shared_by(study, name)
    return Compared(name, method.label, outcomes, runs, origin, notes=tuple(dict.fromkeys(notes))), items


def origin_of(study: Study, name: str) -> str | None:
    """The network or vectors that a method starts from, as `Study.origin`, also of one that is frozen."""
    found = study.origin(name) if name in study.methods else None
    return found and found.removeprefix(SAVED)


def shared_by(study: Study, name: str) -> str | None:
    """The network whose luck a method shares with others of it: vectors that people bring have none."""
    return None if study.ready else origin_of(study, name)


def saved_method(saved: Saved, study: Study, name: str) -> Compared:
    """A frozen baseline."""
    seeds = saved.methods[name]
    runs = {seed: saved.run(name, seed) for seed in seeds}
    outcomes = {seed: saved.outcomes(name, seed) for seed in seeds}
    origin, withheld = shared_by(study, name), saved.withheld(name)
    return Compared(name, runs[seeds[0]].label, outcomes, runs, origin, withheld)


def chosen(saved: Saved, against: Sequence[str] | None) -> list[str]:
    """Baselines to compare with; raises UserError for one that was not saved."""
    if against:
        saved.require(against)
        return list(against)
    return [name for name in AGAINST if name in saved.methods] or [
        name for name in saved.methods if saved.runs[name, saved.methods[name][0]].kind != "control"
    ]


def chosen_of_vectors(saved: Saved, study: Study, new: Compared, allowed: Sequence[Items]) -> list[str]:
    """Default baselines where data come with embeddings: a model's vectors and the strongest map of them.

    Of a map those of the model that it starts from, of other vectors those of every frozen model. The
    strongest has the largest area under the curve, of the first main evaluation.
    """
    models = [name for name, (seed, *_) in saved.methods.items() if saved.runs[name, seed].kind == "ready"]
    main = next((what for what in allowed if what.main), None)
    found, own = [], origin_of(study, new.name)
    for model in [own] if own in models else models:
        maps = [name for name in saved.methods if name != model and origin_of(study, name) == model]
        heights = {name: mean_height(saved_method(saved, study, name), main) for name in maps if main}
        found += [model, *sorted(heights, key=heights.get)[-1:]]
    return found


def mean_height(method: Compared, what: Items) -> float:
    """Of a frozen method, the area under its curve or, of a single size, its value there."""
    values = method.items(what, method.seeds) or {0: np.zeros(1)}
    means = np.array([each.mean() for each in values.values()])
    return float(normalised_area(list(values), means)) if len(means) > 1 else means[0]


def conditions(study: Study, method: Method, saved: Saved, verdicts: Verdicts) -> list[str]:
    """What a reader has to know about how this was made."""
    notes = list(verdicts.new.notes)
    if study.ready:
        return [*notes, *conditions_of_vectors(study, method, verdicts)]
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


def conditions_of_vectors(study: Study, method: Method, verdicts: Verdicts) -> Iterator[str]:
    """The same where data come with embeddings."""
    if method.kind == "fitted":
        on = "documents" if "corpus" in study.written else "training items"
        yield (
            f"It is fitted on the vectors that {method.source} has of the {on} below "
            f"{study.source_options['root']}, never on what is measured."
        )
        if len(verdicts.new.seeds) == 1:
            yield "It was run once; `'seeds=[…]'` runs a map that draws at random more often."
    if (verdicts.differences["task"] == "linear").any():
        yield "Linear classifiers are the suite's probes, one per size, fitted on train."
    yield from (
        note
        for scope, note in (("methods", SEVERAL), ("networks", READY))
        if scope in set(verdicts.differences["scope"])
    )


def chosen_as_best(study: Study, bases: Sequence[Compared]) -> list[str]:
    """What there is to know of baselines that `chosen_of_vectors` chose."""
    labels = {base.name: base.label for base in bases}
    return [
        f"{base.label} is the frozen map of {labels[origin]} with the largest area under the curve on these "
        "very items: chosen as the best, it looks a little better than it is."
        for base in bases
        if (origin := origin_of(study, base.name)) != base.name
    ]


def not_itemised(study: Study) -> list[tuple[str, str]]:
    """Evaluations of the study of which nothing is compared: they keep no outcome of each test item."""
    left = [task for task in study.tasks if EVALUATION.facts(task).MEASURES and task not in study.itemised]
    return [(task, "nothing of it is frozen item by item") for task in left]


def sizes_of_one(new: Compared, base: Compared) -> Iterator[tuple[str, str]]:
    """Sizes that only one of two has, as what could not be compared."""
    for one, other in ((new, base), (base, new)):
        mine, its = (next(iter(each.runs.values())).sizes for each in (one, other))
        if left := ", ".join(str(m) for m in mine if m not in its):
            yield f"{new.label} and {base.label} at size {left}", f"{other.label} has no such size"


def known_again(saved: Saved, study: Study, dataset: Dataset, method: Method) -> list[str]:
    """What is found here with the vectors that a map starts from, beside what is frozen of them.

    Raises UserError where these are others, so that no baseline is of the vectors that are here.
    """
    task = vectors_known_by(study, method)
    if task is None or method.source not in saved.methods:
        return []
    source = study.methods[method.source]
    what = run_of(study, study.layout, dataset, source, study.seeds[0]).main_items(task)
    frozen = saved_method(saved, study, source.name)
    here, there = what.mean_of_draws(), frozen.items(what, frozen.seeds[:1]) or {}
    m = max(here)
    differ = ~np.isclose(here[m], there[m][0]) if m in there else np.ones(len(here[m]), bool)
    told = f"{what.name} at size {m} differs on {differ.sum():,} of {len(differ):,} items"
    if differ.mean() > OTHERS:
        raise UserError(
            f"the vectors of {source.name} that are here are not those that are frozen: {told}; give those, "
            "or freeze the study with these (docs/compare.md)"
        )
    return [f"What is frozen of {frozen.label} was found again with the vectors that are here: {told}."]


def compare(study: Study, name: str, against: Sequence[str] | None = None) -> Verdicts:
    """The verdict on method `name` of a study that `own_methods` wrote."""
    saved, dataset = Saved(study.layout.saved), Dataset(study.layout.data)
    saved.refuse(dataset)
    new, items = new_method(study, dataset, name)
    allowed, refused = comparable(saved, dataset, study, items)
    embedded = Representation.of(study.layout, name, study.seeds[0], dataset.checksum).splits
    asked = [
        split for split in saved.manifest["data"]["splits"] if split != "train_queries"
    ]  # never measured
    left = [split for split in asked if split in dataset and split not in embedded]
    refused += [(f"everything on {split}", f"not measured for {new.label}") for split in left]
    refused += not_itemised(study)
    known = known_again(saved, study, dataset, study.methods[name])
    usual = study.ready and not against
    names = chosen_of_vectors(saved, study, new, allowed) if usual else chosen(saved, against)
    baselines = [saved_method(saved, study, base) for base in names]
    nesting = saved.manifest["study"]["nesting"]
    if study.ready:  # each model has its own
        nesting = None
        refused += [left for base in baselines for left in sizes_of_one(new, base)]
    verdicts = judge(new, baselines, allowed, nesting, study.margin)
    verdicts.saved, verdicts.ready = saved, study.ready
    verdicts.refused = refused + verdicts.refused
    verdicts.notes = known + (chosen_as_best(study, baselines) if usual else [])
    verdicts.notes += conditions(study, study.method(name), saved, verdicts)
    return verdicts
