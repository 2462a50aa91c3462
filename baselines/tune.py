"""Chooses how a method is trained, on a split of train: no test image is seen.

    python -m baselines.tune --study glyphs --method mrl --grid learning_rate=0.2,0.4,0.8
    python -m baselines.tune --study glyphs --method nested_dropout --grid rho=0.95,0.98 learning_rate=0.4

Each point of the grid trains the method's networks on four fifths of train; the other fifth scores their own
classifiers, and the mean top-1 over the sizes decides, the same rule for every method. Rows are kept in
results/search/<study>/<method>.csv as they come, so that the same call goes on where it was killed.
"""

import itertools
from argparse import ArgumentParser, RawDescriptionHelpFormatter

import numpy as np
import pandas as pd
import torch
import yaml

from baselines.probe import held_out
from baselines.training import threads_of, train
from baselines.training.batches import Normalise
from baselines.training.networks import build_learner
from splits.store import Dataset, Split
from suite import cli, files
from suite.errors import UserError, unknown
from suite.study import Method, Study, load_study

BLOCK = 1024  # images embedded at once
KEYS = ("learning_rate", "weight_decay", "epochs", "batch_size", "warmup", "momentum")


def tune(study: Study, method: Method, grid: dict[str, list], seed: int) -> pd.DataFrame:
    """Table network, seed, the grid's keys, dim, top1 (on the held-out fifth of train).

    grid: candidates by key, an option of the method or one of KEYS of `training`. Raises UserError for
    another key and for a method that is not trained.
    """
    if method.kind != "trained" or method.starts_from:
        raise UserError(f"{method.name} is not trained from fresh weights: there is nothing to tune")
    for key in grid:
        if key not in method.options and key not in KEYS:
            raise unknown(f"key of {method.name}", key, [*method.options, *KEYS], "python -m baselines.tune")
    points = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    dataset = Dataset(study.layout.data)
    split, data = dataset["train"], dataset.checksum[:12]
    held = held_out(len(split), np.random.default_rng([seed, 5]))
    path = study.layout.root / "search" / study.name / f"{method.name}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for network in method.networks:
        for point in points:
            key = {"data": data, "network": network.name, "seed": seed, **point}
            if len(found_before(table, key)):
                continue
            print(", ".join(f"{name} {value}" for name, value in key.items() if name != "data"), flush=True)
            settings = study.trained_with(network.name)
            for name, value in point.items():
                part = "options" if name in method.options else "training"
                settings = settings | {part: settings[part] | {name: value}}
            scores = score(settings, split, held, dataset.num_classes, seed)
            table = pd.concat([table, pd.DataFrame([key | {"dim": m, "top1": top1} for m, top1 in scores])])
            with files.write_aside(path) as aside:
                table.to_csv(aside, index=False)
    chosen = [found_before(table, {"data": data, "seed": seed, **point}) for point in points]
    return pd.concat(chosen, ignore_index=True)


def found_before(table: pd.DataFrame, key: dict) -> pd.DataFrame:
    """Rows of the table with these values; none where a column is not there yet."""
    if not set(key) <= set(table.columns):
        return table.iloc[:0]
    return table[np.logical_and.reduce([table[name] == value for name, value in key.items()])]


def score(
    settings: dict, split: Split, held: np.ndarray, num_classes: int, seed: int
) -> list[tuple[int, float]]:
    """(size, top-1 on the rows `held`) of a network trained on the other rows. held: bool [n]."""
    torch.set_num_threads(threads_of(settings))
    images, labels = np.asarray(split.images), split.labels
    normalise = Normalise.of(images[~held])
    learner = build_learner(settings, num_classes, images.shape[-1], seed)
    train(learner, images[~held], labels[~held], normalise, settings["training"], seed, progress=True)
    rows = np.flatnonzero(held)
    with torch.inference_mode():
        blocks = [normalise(images[rows[i : i + BLOCK]]) for i in range(0, len(rows), BLOCK)]
        z = torch.cat([learner.features(block) for block in blocks])
        scores = []
        for view in learner.views:
            for m in view.sizes:
                weight, bias = learner.classifier(m)
                logits = z[:, view.prefix(m)] @ weight.T + bias
                scores.append((m, float((logits.argmax(1).numpy() == labels[held]).mean())))
    return scores


def parse_grid(words: list[str]) -> dict[str, list]:
    """Candidates by key from words like learning_rate=0.2,0.4. Raises UserError for another form.

    >>> parse_grid(["rho=0.95,0.98", "window=0"])
    {'rho': [0.95, 0.98], 'window': [0]}
    """
    grid = {}
    for word in words:
        key, _, values = word.partition("=")
        if not values:
            raise UserError(f"--grid takes key=value,value …, not {word!r}")
        grid[key] = [yaml.safe_load(value) for value in values.split(",")]
    return grid


def main(argv: list[str] | None = None) -> None:
    """Try every point and print the table; the best one stands in the last line."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    cli.add_study(parser)
    parser.add_argument("--method", required=True, help="a trained method of the study")
    parser.add_argument("--grid", nargs="+", required=True, help="key=value,value … of options or training")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the trainings (default 0)")
    args = parser.parse_args(argv)
    study = load_study(args.study)
    grid = parse_grid(args.grid)
    found = tune(study, study.method(args.method), grid, args.seed)
    table = found.pivot_table(index=list(grid), columns="dim", values="top1")
    table["mean"] = table.mean(axis=1)
    print(table.to_string(float_format=lambda value: f"{100 * value:.1f}"))
    best = table["mean"].idxmax()
    best = best if isinstance(best, tuple) else (best,)
    print("best mean: " + ", ".join(f"{key} {value:g}" for key, value in zip(grid, best)))


if __name__ == "__main__":
    cli.run(main)
