"""A tiny finished study of random numbers, for tests of everything that comes after the embeddings.

    study, layout = synthetic.build(tmp_path)           every registered evaluation and figure
    synthetic.measure(study, layout)                    raw outcomes of all of them

Twelve seen classes in four superclasses, six unseen ones, all splits; MRL, MRL-E, a network per size and two
draws of random features, for two seeds. It is trained with flips, so that val_flip exists.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import analysis.measure
from analysis import synthetic
from suite import files, modules
from suite.layout import Layout
from suite.study import Study

COUNTS = {
    "train": 240,
    "val": 120,
    "v2": 60,
    "sketch": 48,
    "r": 30,
    "a": 30,
    "database": 60,
    "query": 24,
    "stream": 160,
}
ARGUMENTS = {"contact_sheet": "_val", "ablation": "_loss_weights", "pareto": "_linear"}  # that figures want


def tasks() -> list[str]:
    """Every registered evaluation of images and labels; those that NEED more have studies of their own."""
    every = modules.names("analysis", "MEASURES")
    return [task for task in every if "NEEDS" not in modules.constants(modules.locate("analysis", task))]


def figures() -> list[str]:
    """Every registered figure of these evaluations."""

    def tables(figure: str) -> set[str]:
        return set(modules.declared("analysis/figures", figure, "TABLES", "figure")["TABLES"])

    names = modules.names("analysis/figures", "TABLES")
    return [name + ARGUMENTS.get(name, "") for name in names if tables(name) <= set(tasks())]


def config(**overrides) -> dict:
    """The configuration of the tiny study, with every evaluation and figure there is for its data."""
    return {
        "name": "synthetic",
        "title": "synthetic: 12 planted classes",
        "data": {"source": "glyphs"},
        "nesting": [2, 4, 8, 16],
        "interpolated": [3, 12],
        "seeds": [0, 1],
        "backbone": {"name": "small_resnet", "dim": 16, "widths": [4, 4]},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "augment": {"flip": True}},
        "methods": {
            "mrl": None,
            "mrl_e": None,
            "fixed_feature": None,
            "random_features": {"draws": 2},
            "mrl_8boost": {"baseline": "mrl", "group": "ablation_loss_weights"},
        },
        "tasks": dict.fromkeys(tasks()),
        "measures": {
            "classmeans": {"shots": [1, 3], "choices": 3, "interval": 20},
            "neighbours": {"k": 20},
            "reranking": {"shortlist": 20, "lengths": [10, 30], "keep": 10},
            "indexes": {
                "queries": 40,
                "seconds": 0,
                "shortlist": 20,
                "indexes": {
                    "exact": {"factory": "Flat", "refine": True},
                    "hnsw": {"factory": "HNSW8", "refine": True},
                    "pq2": {"factory": "PQ4x4np"},
                    "binary": {"factory": "Binary"},
                },
            },
        },
        "figures": figures(),
        **overrides,
    }


def build(folder: Path, seed: int = 0, **overrides) -> tuple[Study, Layout]:
    """Write data, logs and embeddings below `folder`/results. overrides: keys of the configuration."""
    study = Study(config(**overrides))
    layout = Layout(study.name, Path(folder) / "results")
    rng = np.random.default_rng(seed)
    world = synthetic.write_world(layout, COUNTS, rng, seen=12, unseen=6, superclasses=4)
    labels = {name: world.labels(name) for name in world.splits}
    if study.training["augment"].get("flip"):
        labels["val_flip"] = labels["val"]
    for run_seed in study.seeds:
        planted = synthetic.plant(world, study.dim, rng)
        for method in study.methods.values():
            synthetic.write_method(layout, method, run_seed, world, planted, rng, splits=labels)
            for network in method.networks:
                write_log(layout.network(network.name, run_seed) / "log.csv", network.sizes)
    return study, layout


def write_log(path: Path, sizes: tuple[int, ...]) -> None:
    """Two epochs of a training log."""
    rows = [
        {"epoch": epoch, "dim": m, "loss": 1 / epoch, "train_top1": 1 - 0.5 / epoch}
        for epoch in (1, 2)
        for m in sizes
    ]
    with files.write_aside(path) as aside:
        pd.DataFrame(rows).to_csv(aside, index=False)


def measure(study: Study, layout: Layout, *measures: str) -> None:
    """Save the raw outcomes of the given measures (default: all that the evaluations need)."""
    pairs = dict.fromkeys(study.measured())
    # Those that read what other measures saved come last.
    order = sorted(pairs, key=lambda pair: "READS" in modules.constants(modules.locate("analysis", pair[1])))
    for method, name in order:
        if not measures or name in measures:
            for seed in study.seeds:
                found = analysis.measure.measure(study, layout, method, seed, name)
                files.write_npz(layout.outcomes(method, seed, name), found)
