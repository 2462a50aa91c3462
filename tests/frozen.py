"""A finished study of random numbers with everything that freezing and comparing read; made in a second.

Below the working directory, as every command expects it: tests change into a folder of their own first.
Embeddings are planted (tests/synthetic.py), networks have random weights: good for what is restored and run
again, not for accuracy.

`export` and `run` bring a new method to it, as a user and as the workflow would.
"""

import shutil
from pathlib import Path

import numpy as np
import synthetic
import yaml

import analysis.measure
from analysis.compare import own_methods
from analysis.compare.judge import compare
from analysis.compare.saved import source_of
from analysis.tabulate import main as tabulate
from baselines import embed, train
from baselines.representation import Representation, marks
from baselines.training.batches import Normalise
from baselines.training.networks import build_learner, macs_per_image, save_network
from splits.store import Dataset
from suite import files
from suite.layout import Layout
from suite.provenance import provenance
from suite.study import Study, load_study

METHODS = {"mrl": None, "fixed_feature": None, "pca": None, "control_random": {"seeds": 1}}
TASKS = dict.fromkeys(("linear", "knn", "retrieval", "robustness", "cost", "longtail"))
BACKBONE = {"name": "small_resnet", "dim": 16, "widths": [4, 4]}
STUDY = "synthetic.yaml"
NEW_STUDY = "new.yaml"


def build(seeds: tuple[int, ...] = (0,)) -> tuple[Study, Layout]:
    """Write data, networks, embeddings, outcomes, tables and the study's file below the working directory."""
    given = {"methods": METHODS, "tasks": TASKS, "figures": [], "backbone": BACKBONE, "seeds": list(seeds)}
    training = {"epochs": 1, "batch_size": 40, "learning_rate": 0.1, "augment": {}, "precision": "float32"}
    study, layout = synthetic.build(Path(), **given, training=training)
    Path(STUDY).write_text(yaml.safe_dump(study.config))
    dataset = Dataset(layout.data)
    for seed in study.seeds:
        for method in study.methods.values():
            finish(layout.embeddings(method.name, seed), seed)
        for network in ("mrl", "fixed_feature_16"):
            write_network(study, layout, dataset, network, seed)
    synthetic.measure(study, layout)
    for task in study.tasks:
        tabulate(["--study", STUDY, "--task", task])
    return study, layout


def finish(folder: Path, seed: int) -> None:
    """Give embeddings a provenance, and make every row unlike all others: planted noise is reused."""
    rng = np.random.default_rng(seed)
    for path in sorted(folder.glob("*.npy")):
        array = np.load(path)
        files.write_npy(path, array + 1e-3 * rng.standard_normal(array.shape, dtype=np.float32))
    meta = folder / "meta.json"
    facts = files.read_json(meta) | {"provenance": provenance(seed=seed)}
    files.write_json(meta, facts | {"files": marks(folder, facts["splits"], facts["array_folder"])})


def write_network(study: Study, layout: Layout, dataset: Dataset, network: str, seed: int) -> None:
    """An untrained network, saved as trained ones are."""
    settings, images = study.trained_with(network), dataset["train"].images
    learner = build_learner(settings, dataset.num_classes, images.shape[-1], seed).eval()
    normalise = Normalise.of(images)
    meta = {
        "network": network,
        "seed": seed,
        "settings": settings,
        "num_classes": dataset.num_classes,
        "channels": int(images.shape[-1]),
        "train_seconds": 1.0,
        "train_images": 10,
        "parameters": 1,
        **macs_per_image(learner, normalise(images[:2])),
        "starts_from": None,
        "provenance": provenance(seed=seed, precision="float32"),
    }
    save_network(layout.network(network, seed), learner, normalise, meta)


def export(layout, method, folder, splits=("train", "val", "v2", "query", "database", "sketch", "stream")):
    """A method's full-size embeddings as someone else would hand them in, ids beside them."""
    folder.mkdir(exist_ok=True)
    dataset, representation = Dataset(layout.data), Representation(layout.embeddings(method, 0))
    for split in splits:
        array = np.array(representation.features(split, representation.serving(representation.dim)[-1]))
        np.save(folder / f"{split}.npy", array)
        (folder / f"{split}.ids.txt").write_text("\n".join(dataset[split].items["id"]) + "\n")
    return folder


def run(layout, name, given, against=("mrl",)):
    """What the workflow does for a new method; returns the verdicts and the study with the method."""
    text = yaml.safe_dump(given, default_flow_style=True) if isinstance(given, dict) else str(given)
    own_methods.main(["add", "--study", STUDY, "--name", name, "--out", NEW_STUDY, "--method", text])
    study = load_study(NEW_STUDY)
    method = study.methods[name]
    shutil.rmtree(layout.embeddings(name, 0), ignore_errors=True)
    if method.kind == "fitted":
        own_methods.main(["embed", "--study", STUDY, "--source", source_of(method)])
    for network in method.networks:
        train.main(["--study", NEW_STUDY, "--network", network.name])
    embed.main(["--study", NEW_STUDY, "--method", name])
    for measure in study.frozen_measures():
        analysis.measure.main(["--study", NEW_STUDY, "--method", name, "--measure", measure])
    return compare(study, name, against), study
