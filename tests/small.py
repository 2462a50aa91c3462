"""Small data sets and studies: built, trained and measured in a moment, for tests of what they lead to."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from analysis.plotting import Drawing
from analysis.tabulate import tabulate
from baselines.embed import embed
from baselines.representation import Representation
from baselines.train import train_network
from baselines.training.distributed import Group
from baselines.training.networks import build_learner
from splits.store import Dataset, DatasetWriter
from suite import files
from suite.contracts import FIGURE, MEASURE, METHOD, SOURCE
from suite.layout import Layout
from suite.study import Study

ENCODER = {"name": "text_encoder", "dim": 8, "depth": 1, "heads": 2}
LANGUAGE = {"loss_weights": None, "masked": 0.15}
TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}
TRAINING |= {"optimizer": "adamw", "precision": "float32"}


def bright(n=64, channels=1, seed=0):
    """(images, labels) of four classes that brightness tells apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.integers(0, 40, (n, 16, 16, channels)) + 50 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def learner(name, sizes, backbone, channels=1, seed=0, classes=4, **given):
    """A network of a method with fresh weights."""
    settings = {"backbone": backbone, "baseline": name, "options": options(METHOD, name, **given)}
    return build_learner(settings | {"sizes": list(sizes)}, classes, channels, seed)


def weights(model):
    """Everything a network knows, as one vector."""
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def without_marks(folder):
    """Let a network's or a method's files be exchanged, as they could before meta.json had marks of them."""
    meta = files.read_json(folder / "meta.json")
    files.write_json(folder / "meta.json", {key: meta[key] for key in meta if key != "files"})


class Killed(Exception):
    """What stops a training, as if its process had been killed."""


def kill(*given, **more):
    raise Killed


def killed_after(step, model):
    """The network, whose training is killed after so many steps."""
    model.after_step = lambda done, steps: kill() if done == step else None
    return model


def options(contract, name, **given):
    """The OPTIONS of a method or source, with some given."""
    return contract.facts(name).OPTIONS | given


def name_of(source):
    """A source's name in a study's file."""
    return source.__name__.rpartition(".")[2]


def build(source, folder, **given):
    """The dataset that a data source writes with these options."""
    chosen = options(SOURCE, name_of(source), **given)
    writer = DatasetWriter(folder, name_of(source), chosen)
    source.build(writer, chosen, threads=1)
    writer.finish()
    return Dataset(folder)


@contextmanager
def finished(root, source, given, methods, tasks, **config):
    """A study trained, embedded and measured in a folder of its own: (study, layout, dataset)."""
    usual = {"name": "tiny", "title": "tiny", "nesting": [4, 8], "seeds": [0], "figures": []}
    usual |= {"data": {"source": name_of(source), **given}, "training": TRAINING}
    study = Study(usual | {"methods": methods, "tasks": dict.fromkeys(tasks)} | config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        layout = Layout(study.name)
        build(source, layout.data, **given)
        for network in study.networks:
            train_network(study, network, 0, "cpu", Group(), "cpu")
        for method in study.methods.values():
            embed(study, method, 0, "cpu")
        for method, name in set(study.measured()):
            found = MEASURE.load(name).measure(
                Representation(layout.embeddings(method, 0)),
                Dataset(layout.data),
                study.measure_options(name) | ({"k": 5} if name != "predict" else {}),
            )
            files.write_npz(layout.outcomes(method, 0, name), found)
        yield study, layout, Dataset(layout.data)


def tables_and_figures(study, layout, figures):
    """Every task's table, written where figures look for it; each figure is drawn."""
    tables = {}
    for task in study.tasks:
        tables[task] = table = tabulate(study, task, layout)
        with files.write_aside(layout.table(task)) as path:
            table.to_csv(path, index=False)
        both = table.dropna(subset=["low", "high"])
        assert len(table) and (both["low"] <= both["value"]).all() and (both["value"] <= both["high"]).all()
        keys = [column for column in table if column not in ("value", "low", "high")]
        assert not table.duplicated(keys).any()
    for figure in figures:
        drawn = FIGURE.load(figure).draw(Drawing(study, layout))
        assert all(axes.has_data() for axes in drawn.axes)
        drawn.canvas.draw()
    return tables


def sizes_are_apart(make):
    """Check make(sizes) → (learner, loss): terms add up, and the learner starts the same for any sizes."""
    (whole, both), (few, first), (_, last) = make((2, 6)), make((2,)), make((6,))
    assert both == pytest.approx(first + last, rel=1e-6)
    for one, other in zip(whole.state_dict().values(), few.state_dict().values(), strict=True):
        assert torch.equal(one, other)
