"""A tiny finished study of random numbers, for tests of everything that comes after the embeddings.

    study, layout = synthetic.build(tmp_path)           every registered evaluation and figure
    synthetic.measure(study, layout)                    raw outcomes of all of them
    synthetic.tabulated(study, layout)                  their tables
    study, layout = synthetic.finish(tmp_path)          all three

Twelve seen classes in four superclasses, six unseen ones, all splits; MRL, MRL-E, a network per size and ten
draws of random features, for two seeds. It is trained with flips, so that val_flip exists.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import analysis.measure
from analysis.benchmark import planted
from analysis.tabulate import tabulate
from baselines.training.batches import Normalise
from baselines.training.networks import build_learner, save_network
from suite import files
from suite.contracts import EVALUATION, FIGURE, MEASURE
from suite.layout import Layout
from suite.study import Study

COUNTS = {"train": 240, "val": 120, "v2": 60, "sketch": 48, "r": 30, "a": 30}
COUNTS |= {"database": 60, "query": 24, "stream": 160}

PAIRS = [["val", "train"], ["query", "database"]]
INDEXES = {
    "exact": {"factory": "Flat", "refine": True},
    "hnsw": {"factory": "HNSW8", "search": ["efSearch=4", "efSearch=40"], "refine": True},
    "pq2": {"factory": "PQ4x4np"},
    "binary": {"factory": "Binary"},
}


def tasks() -> list[str]:
    """Every registered evaluation of images and labels; those that NEED more have studies of their own."""

    def needs(task: str) -> bool:
        facts = EVALUATION.facts(task)
        return bool(facts.NEEDS) or (isinstance(facts.READS, tuple) and any(map(needs, facts.READS)))

    return [task for task in EVALUATION.names() if not needs(task)]


def figures() -> list[str]:
    """Every registered figure of these evaluations, with the first argument it can have."""
    study = Study(config(figures=[]))
    names = [name for name in FIGURE.names() if {*FIGURE.facts(name).TABLES} <= {*tasks()}]
    return [f"{name}_{study.figure_arguments(name)[0]}".removesuffix("_") for name in names]


def config(**overrides) -> dict:
    """The configuration of the tiny study, with every evaluation and figure there is for its data."""
    config = {
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
            "random_features": None,
            "mrl_8boost": {"baseline": "mrl", "label": "8boost", "group": "ablation_loss_weights"},
        },
        "tasks": dict.fromkeys(tasks()),
        "measures": {
            "classmeans": {"shots": [1, 3], "choices": 3, "interval": 20},
            "neighbours": {"k": 20},
            "reranking": {"shortlist": 20, "lengths": [10, 30], "keep": 10},
            "indexes": {"splits": PAIRS, "queries": 40, "seconds": 0, "shortlist": 20, "indexes": INDEXES},
        },
        **overrides,
    }
    if "methods" not in overrides:
        config = {"recipes": ["paper", "tuned"], "tuned": {"mrl": {"learning_rate": 0.2}}} | config
    return config if "figures" in config else config | {"figures": figures()}


def build(folder: Path, seed: int = 0, **overrides) -> tuple[Study, Layout]:
    """Write data, logs and embeddings below `folder`/results. overrides: keys of the configuration."""
    study = Study(config(**overrides))
    layout = Layout(study.name, Path(folder) / "results")
    rng = np.random.default_rng(seed)
    dataset = planted.write_dataset(layout, COUNTS, rng, seen=12, unseen=6, superclasses=4)
    labels = {name: dataset.labels(name) for name in dataset.splits}
    if study.training["augment"].get("flip"):
        labels["val_flip"] = labels["val"]
    for run_seed in study.seeds:
        codes = planted.plant(dataset, study.dim, rng)
        for method in study.methods.values():
            planted.write_method(layout, method, run_seed, dataset, codes, rng, splits=labels)
            for network in method.networks:
                write_log(layout.network(network.name, run_seed) / "log.csv", network.sizes)
    if "mrl" in study.methods:
        write_network(study, layout, "mrl", dataset["val"].images)
    if "tuned" in study.recipes:
        write_search(layout)
    return study, layout


def write_network(study: Study, layout: Layout, network: str, images: np.ndarray) -> None:
    """A network with fresh weights as if it were trained, of the first seed."""
    settings, channels = study.trained_with(network), images.shape[-1]
    learner = build_learner(settings, 12, channels, study.seeds[0])
    meta = {"settings": settings, "num_classes": 12, "channels": channels, "seed": study.seeds[0]}
    save_network(layout.network(network, study.seeds[0]), learner, Normalise.of(images), meta)


def write_search(layout: Layout) -> None:
    """A search for MRL's rate, with networks of two sizes, in which 0.2 is chosen."""
    table = pd.DataFrame(
        product((0.1, 0.2, 0.4), (1000, 1001), (2, 16)), columns=["learning_rate", "seed", "dim"]
    )
    table = table.assign(method="mrl", network="mrl", head_rate=1.0, scored_on="tune", n=COUNTS["val"])
    table = table.assign(top1=0.5 + table["seed"] % 10 / 10, chosen=table["learning_rate"] == 0.2)
    with files.write_aside(layout.search) as aside:
        table.to_csv(aside, index=False)


def write_log(path: Path, sizes: tuple[int, ...]) -> None:
    """Two epochs of a training log."""
    log = pd.DataFrame(product((1, 2), sizes), columns=["epoch", "dim"])
    with files.write_aside(path) as aside:
        log.assign(loss=1 / log["epoch"], train_top1=1 - 0.5 / log["epoch"]).to_csv(aside, index=False)


def measure(study: Study, layout: Layout, *measures: str) -> None:
    """Save the raw outcomes of the given measures (default: all that the evaluations need)."""
    pairs = [pair for pair in dict.fromkeys(study.measured()) if not measures or pair[1] in measures]
    # Those that read what other measures saved come last.
    pairs = sorted(pairs, key=lambda pair: bool(MEASURE.facts(pair[1]).READS))
    for (method, name), seed in product(pairs, study.seeds):
        found = analysis.measure.measure(study, layout, method, seed, name)
        files.write_npz(layout.outcomes(method, seed, name), found)


def tabulated(study: Study, layout: Layout) -> None:
    """Write the table of every evaluation where figures look for it."""
    for task in study.tasks:
        with files.write_aside(layout.table(task)) as aside:
            tabulate(study, task, layout).to_csv(aside, index=False)


def finish(folder: Path, **overrides) -> tuple[Study, Layout]:
    """Data, logs, embeddings, raw outcomes and tables. overrides: keys of the configuration."""
    study, layout = build(folder, **overrides)
    measure(study, layout)
    tabulated(study, layout)
    return study, layout
