"""Searches for the settings that a method is trained best with, on images that nothing else sees.

    python -m baselines.tune --study glyphs --method mrl --jobs 2
    python -m baselines.tune --study glyphs --method fixed_feature --per-size

Candidates are learning rates × head rates (`training.head_rate`), the same for every method, and so is what
is spent on them: successive halving, from all candidates with one seed to two with eight. Each training has
the study's length, and is scored by the mean top-1 of its own classifiers over the sizes that it optimises:
on images that the data source draws for this alone where it can, else by cross-validation within train. A
best rate at an end of the grid is no optimum: the grid then grows there by a factor of 2. Of the last
candidates within one standard error of the best, the one with the smallest rate is chosen. Seeds are from
1000 on, which no result has.

Trainings are kept in results/search/<study>/ as they come, so that the same call goes on where it was
killed; results/search/<study>.csv has those of all methods: freezing keeps it, and the figure rate_envelope
shows it. The last lines are what to copy into the study's section `tuned`.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from baselines.conditions import begun_from
from baselines.train import input_scale, seen_captions
from baselines.training import threads_of, train
from baselines.training.halving import Point, Rungs, search
from baselines.training.meter import Diverged
from baselines.training.networks import build_learner
from splits.store import Dataset, digest, shared_images, split_digests
from suite import cli, files
from suite.contracts import LARGEST, METHOD, SOURCE
from suite.errors import UserError
from suite.machine import keep_freed_memory
from suite.study import TUNED, Method, Study, load_study

BLOCK = 1024  # images scored at once
SEARCHED = ("learning_rate", "head_rate")
FIRST_SEED = 1000  # of a search; results have smaller ones
RATES = tuple(0.05 * 2**k for k in range(7))
HEAD_RATES = (1.0, 4.0)
RUNGS = ((None, 1), (4, 3), (2, 8))
FOLDS = 5
COLUMNS = ["method", "network", *SEARCHED, "rung", "seed", "scored_on", "n", "dim", "top1", "images_seen"]
COLUMNS += ["chosen", "conditions"]
KEY = ["network", *SEARCHED, "seed", "scored_on"]  # tells one training from others


# --- what it is measured on -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """What one training is scored on: images drawn for it, or rows of train, which it is then not trained on.

    images: uint8 [n, H, W, C], labels: int64 [n]; held: bool [images of train].
    """

    name: str
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    held: np.ndarray | None = None


def parts_of(study: Study, dataset: Dataset, count: int, folds: int | None, jobs: int) -> list[Part]:
    """What candidates are scored on: `count` drawn images where the source draws any, else folds of train.

    folds: how many, also where images could be drawn. Raises UserError when a drawn image stands in a split
    of the study.
    """
    if folds is None and SOURCE.facts(study.source).TUNES:
        drawn = Part("tune", *SOURCE.load(study.source).tune(study.source_options, count, threads=jobs))
        digests = {name: split_digests(dataset[name].folder) for name in dataset.splits}
        digests["tune"] = np.array([digest(image) for image in drawn.images], digests["train"].dtype)
        if shared := [pair for pair in shared_images(digests) if pair[0][0] == "tune"]:
            (_, row), (name, other) = shared[0]
            raise UserError(
                f"image {row} that was drawn to tune on is row {other} of {name}; draw fewer (--images)"
            )
        return [drawn]
    folds = folds or FOLDS
    n = len(dataset["train"])
    place = np.random.default_rng([FIRST_SEED, 5]).permutation(n) % folds
    return [Part(f"fold {fold + 1} of {folds}", held=place == fold) for fold in range(folds)]


def score(
    settings: dict, folder: Path, part: Part, seed: int, device: str, progress: bool = False
) -> tuple[dict[int, np.ndarray] | None, int]:
    """(by size that training optimises, hits bool [n] on `part`; None: it diverged), images seen.

    settings: Study.trained_with(network); folder: the study's data.
    """
    torch.set_num_threads(threads_of(settings))
    dataset = Dataset(folder)
    images, labels = dataset["train"].images, dataset["train"].labels
    asked, answers = part.images, part.labels
    if part.held is not None:
        images = np.asarray(images)
        asked, answers = images[part.held], labels[part.held]
        images, labels = images[~part.held], labels[~part.held]
    captions = seen_captions(dataset)
    learner = build_learner(settings, dataset.num_classes, images.shape[-1], seed, captions)
    normalise = input_scale(settings, images)
    given = learner, images, labels, normalise, settings["training"], seed
    try:
        seen = train(*given, device=device, progress=progress).images
    except Diverged:
        return None, 0
    whole = replace(normalise, crop=settings["training"].get("evaluation_crop"))
    hits: dict[int, list[np.ndarray]] = {}
    with torch.inference_mode():
        for start in range(0, len(asked), BLOCK):
            rows = slice(start, start + BLOCK)
            for m, logits in learner.trained_logits(whole(asked[rows], device)).items():
                hits.setdefault(m, []).append(logits.argmax(1).cpu().numpy() == answers[rows])
    return {m: np.concatenate(hits[m]) for m in sorted(hits)}, seen


# --- the trainings of a search --------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One training: a network with a candidate's settings and a seed, scored on a part."""

    network: str
    point: Point
    seed: int
    part: Part

    @property
    def key(self) -> tuple:
        """What tells it from others, as its rows in the table have it."""
        return (self.network, *map(float, self.point), self.seed, self.part.name)


class Record:
    """Trainings of one method that were done, on disk: a row per size, and beside them the hits on each item.

    Rows of other data or settings are left out, since the table is of one search; so are those without hits.
    """

    def __init__(self, study: Study, method: Method, parts: Sequence[Part]):
        self.study, self.method = study, method
        self.folder = study.layout.search.with_suffix("")
        self.path = self.folder / f"{method.name}.csv"
        self.conditions = {net.name: conditions(study, net.name, parts) for net in method.networks}
        table = read(self.path) if self.path.exists() else pd.DataFrame(columns=COLUMNS)
        current = table["conditions"] == table["network"].map(self.conditions)
        if len(table) and not current.all():
            print(f"{self.path}: {(~current).sum()} rows of other data or settings are left out")
        rows = table[current].to_dict("records")
        self.rows = [row for row in rows if np.isnan(row["top1"]) or self.kept(key(row))]

    @property
    def done(self) -> set[tuple]:
        """Keys of the trainings that were done."""
        return set(map(key, self.rows))

    def items(self, key: tuple) -> Path:
        """The file with the hits of a training, bool [sizes, n]; none of one that diverged."""
        name = "-".join(map(str, key)).replace(" ", "_")
        return self.folder / "items" / f"{name}.npy"

    def kept(self, key: tuple) -> bool:
        """Whether the hits of a training are there, and whole."""
        try:
            return files.read_npy(self.items(key)).ndim == 2
        except (FileNotFoundError, UserError):
            return False

    def add(self, trial: Trial, rung: int, hits: dict[int, np.ndarray] | None, seen: int) -> None:
        """Keep a training; hits None: it diverged, and its one row has no size and no accuracy."""
        row = dict(zip(KEY, trial.key), rung=rung, images_seen=seen)
        row |= {"method": self.method.name, "chosen": False, "conditions": self.conditions[trial.network]}
        if hits is None:
            self.items(trial.key).unlink(missing_ok=True)  # of a search that this one replaces
            self.rows.append(row | {"n": 0, "dim": 0, "top1": np.nan})
        else:
            files.write_npy(self.items(trial.key), np.stack([*hits.values()]))
            self.rows += [row | {"n": len(hit), "dim": m, "top1": hit.mean()} for m, hit in hits.items()]
        self.write()

    def accuracies(self, trials: Sequence[Sequence[Trial]]) -> np.ndarray:
        """Accuracy on every item, mean over the sizes of all networks: float [seeds, n]; NaN: one diverged.

        trials: of one point, for each seed those of every network and part.
        """
        if not all(self.items(trial.key).exists() for some in trials for trial in some):
            return np.array([[np.nan]])
        return np.stack([self.accuracy(some) for some in trials])

    def accuracy(self, trials: Sequence[Trial]) -> np.ndarray:
        """The same of one seed: float [n]."""
        by_part: dict[str, list[np.ndarray]] = {}
        for trial in trials:
            by_part.setdefault(trial.part.name, []).append(np.load(self.items(trial.key)))
        return np.concatenate([np.concatenate(hits).mean(0) for hits in by_part.values()])

    def choose(self, networks: Iterable[str], point: Point) -> None:
        """Note which point was chosen for these networks."""
        networks = set(networks)
        for row in self.rows:
            if row["network"] in networks:
                row["chosen"] = tuple(row[key] for key in SEARCHED) == point
        self.write()

    def write(self) -> None:
        """Write the table."""
        with files.write_aside(self.path) as aside:
            # In an order that does not tell which of several jobs was done first.
            pd.DataFrame(self.rows)[COLUMNS].sort_values([*KEY, "dim"]).to_csv(aside, index=False)


def key(row: dict) -> tuple:
    """Which training a row of the table is of: as `Trial.key`."""
    return tuple(row[name] for name in KEY)


def read(path: Path) -> pd.DataFrame:
    """The table of a search, rates as they were written."""
    return files.read_table(path, converters=dict.fromkeys(SEARCHED, float))


def conditions(study: Study, network: str, parts: Sequence[Part]) -> str:
    """A hash of what decides a search's trainings beside candidate and seed; their code is a part of it."""
    settings = study.trained_with(network)
    training = {key: value for key, value in settings["training"].items() if key not in SEARCHED}
    scored = [[part.name, None if part.images is None else digest(part.images).hex()] for part in parts]
    data = Dataset(study.layout.data).checksum
    begun = begun_from(study, network, "baselines/tune.py")
    return files.config_hash([settings | {"training": training}, data, scored, *begun])


@dataclass(frozen=True)
class Search:
    """What is done to choose the settings of some of a method's networks, together."""

    study: Study
    record: Record
    parts: Sequence[Part]
    networks: Sequence[str]
    jobs: int
    device: str

    def measure(self, rung: int, points: Sequence[Point], seeds: int) -> dict[Point, np.ndarray]:
        """Accuracy on each item with each seed, [seeds, n], by point; trains what was not trained yet."""
        trials = {point: [self.trials(point, FIRST_SEED + i) for i in range(seeds)] for point in points}
        before = self.record.done
        every = (trial for by_seed in trials.values() for some in by_seed for trial in some)
        wanted = [trial for trial in every if trial.key not in before]
        print(f"rung {rung}: {len(points)} candidates, {seeds} seeds each, {len(wanted)} trainings to do")
        for done, (trial, (hits, seen)) in enumerate(self.run(wanted), 1):
            self.record.add(trial, rung, hits, seen)
            shown = "diverged" if hits is None else f"{100 * np.mean([*hits.values()]):.1f} %"
            what = f"{trial.network}, {trial.point}, seed {trial.seed}, {trial.part.name}"
            print(f"{done}/{len(wanted)} {what}: {shown}", flush=True)
        return {point: self.record.accuracies(trials[point]) for point in points}

    def trials(self, point: Point, seed: int) -> list[Trial]:
        """The trainings that measure a point with one seed."""
        return [Trial(network, point, seed, part) for network in self.networks for part in self.parts]

    def run(
        self, trials: Sequence[Trial]
    ) -> Iterator[tuple[Trial, tuple[dict[int, np.ndarray] | None, int]]]:
        """Each trial with its `score`, as they come."""
        folder, device = self.study.layout.data, self.device
        work = {each: (self.settings(each), folder, each.part, each.seed, device) for each in trials}
        if self.jobs == 1:
            yield from ((trial, score(*given, progress=True)) for trial, given in work.items())
            return
        with ProcessPoolExecutor(self.jobs, mp_context=get_context("spawn")) as pool:
            waiting = {pool.submit(score, *given): trial for trial, given in work.items()}
            try:
                yield from ((waiting[future], future.result()) for future in as_completed(waiting))
            finally:  # of a search that ends early nothing more is begun
                pool.shutdown(cancel_futures=True)

    def settings(self, trial: Trial) -> dict:
        """What a trial trains its network by."""
        settings = self.study.trained_with(trial.network)
        return settings | {"training": settings["training"] | trial.point._asdict()}


def tune(
    study: Study,
    method: Method,
    rates: Sequence[float] = RATES,
    head_rates: Sequence[float] = HEAD_RATES,
    rungs: Rungs = RUNGS,
    *,
    per_size: bool = False,
    count: int = 10_000,
    folds: int | None = None,
    jobs: int = 1,
    device: str = "cpu",
) -> dict[str, Point]:
    """What is chosen for each of the method's networks: the same for all, or with per_size for each its own.

    count: images that are drawn to score on; folds: cross-validation instead; jobs: trainings side by side.
    Raises UserError for a method with nothing to tune, and for seeds that the study has.
    """
    check(study, method, head_rates)
    check_grid(study, method, rates, head_rates)
    for name, value, least in (("--images", count, 1), ("--folds", folds, 2), ("--jobs", jobs, 1)):
        if value is not None and value < least:
            raise UserError(f"{name} is {value}, allowed: whole numbers from {least}")
    parts = parts_of(study, Dataset(study.layout.data), count, folds, jobs)
    record = Record(study, method, parts)
    names = [net.name for net in method.networks]
    found = {}
    for networks in [[name] for name in names] if per_size else [names]:
        apart = Search(study, record, parts, networks, jobs, device)
        chosen = search(rates, head_rates, rungs, apart.measure)
        record.choose(networks, chosen)
        found |= dict.fromkeys(networks, chosen)
    collect(study, parts)
    return found


def check(study: Study, method: Method, head_rates: Sequence[float]) -> None:
    """Raise UserError for a method with nothing to tune, and for a search with seeds of results."""
    facts = METHOD.facts(method.baseline)
    if method.kind != "trained" or method.starts_from or facts.READY or method.group == TUNED:
        raise UserError(f"{method.name} is not trained from fresh weights: there is nothing to tune")
    if not facts.HEADS and set(head_rates) != {1}:
        raise UserError(
            f"{method.name} has no classifiers apart from its network, so no head rate; give --head-rates 1"
        )
    if taken := [seed for seed in study.seeds if seed >= FIRST_SEED]:
        raise UserError(f"{study.path}: seeds {taken} are kept for searches, allowed: below {FIRST_SEED}")


def check_grid(study: Study, method: Method, rates: Sequence[float], head_rates: Sequence[float]) -> None:
    """Raise UserError for a candidate that the study's file could not name."""
    for name, flag, values in zip(SEARCHED, ("--rates", "--head-rates"), (rates, head_rates)):
        for value in values:
            tuned = study.config.get(TUNED, {}) | {method.name: {"learning_rate": 1} | {name: value}}
            try:
                if not np.isfinite(value):
                    raise UserError(f"{value} is no number")
                Study(study.config | {TUNED: tuned}, study.path)
            except UserError as error:
                raise UserError(f"{flag} {value:g} cannot be trained with: {error}") from error


def collect(study: Study, parts: Sequence[Part]) -> None:
    """Write the table of all methods that were searched under the present settings, on the same images."""
    tables = [
        Record(study, method, parts).rows for method in study.methods.values() if recorded(study, method)
    ]
    with files.write_aside(study.layout.search) as aside:
        pd.DataFrame([row for rows in tables for row in rows])[COLUMNS].to_csv(aside, index=False)


def recorded(study: Study, method: Method) -> bool:
    """Whether anything was trained to tune a method."""
    return (study.layout.search.with_suffix("") / f"{method.name}.csv").exists()


def snippet(method: Method, chosen: dict[str, Point]) -> str:
    """What to copy into the section `tuned` of the study's file.

    chosen: by network.
    """

    def words(point: Point) -> str:
        return ", ".join(f"{key}: {value:g}" for key, value in point._asdict().items())

    if len({*chosen.values()}) == 1:
        return f"{method.name}: {{{words(next(iter(chosen.values())))}}}"
    sizes = (f"{net.sizes[-1]}: {{{words(chosen[net.name])}}}" for net in method.networks)
    return f"{method.name}: {{by_size: {{{', '.join(sizes)}}}}}"


def rung(word: str) -> tuple[int | None, int]:
    """A rung from its words: candidates and seeds.

    >>> rung("all:1"), rung("4:3")
    ((None, 1), (4, 3))
    """
    count, _, seeds = word.partition(":")
    found = (None if count == "all" else int(count)), int(seeds)
    if found[1] < 1 or found[0] == 0:
        raise ValueError(word)
    return found


def main(argv: list[str] | None = None) -> None:
    """Search, and print what to copy into the study's file."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    cli.add_study(parser)
    parser.add_argument("--method", required=True, help="a method of the study that is trained")
    shown = ", ".join(f"{rate:g}" for rate in RATES)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help=f"learning rates: {shown}")
    text = "the classifiers' rate over the network's: 1 and 4"
    parser.add_argument("--head-rates", type=float, nargs="+", default=HEAD_RATES, help=text)
    text = "candidates:seeds, for each rung: all:1 4:3 2:8; seeds of earlier rungs count"
    parser.add_argument("--rungs", type=rung, nargs="+", default=RUNGS, help=text)
    text = "choose for each size apart, of methods with a network for each"
    parser.add_argument("--per-size", action="store_true", help=text)
    text = "images drawn to score on, at least (10000), where the data source draws any"
    parser.add_argument("--images", type=cli.whole(1, LARGEST), default=10_000, help=text)
    text = f"cross-validate within train instead; the default ({FOLDS}) where none are drawn"
    parser.add_argument("--folds", type=cli.whole(2, 1000), help=text)
    parser.add_argument("--jobs", type=cli.whole(1, 1024), default=1, help="trainings side by side (1)")
    cli.add_device(parser)
    args = parser.parse_args(argv)
    keep_freed_memory()
    study = load_study(args.study)
    method = study.method(args.method)
    given = {"per_size": args.per_size, "count": args.images, "folds": args.folds, "jobs": args.jobs}
    given["device"] = cli.device(args.device)
    chosen = tune(study, method, args.rates, args.head_rates, args.rungs, **given)
    print(f"tuned:  # in {study.path}\n  {snippet(method, chosen)}")


if __name__ == "__main__":
    cli.run(main)
