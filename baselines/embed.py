"""Embeds every split of a study with one method: `python -m baselines.embed --study glyphs --method mrl`.

For a trained method that is a forward pass of its networks, for a fitted one a fit on the training
embeddings of its source (of a collection: on the vectors of its documents), for a folder of embeddings a
copy, for vectors that are part of the data a link and, where these have labels, the suite's probes. What
comes out is a representation (baselines/representation.py).
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from baselines.fitting import Fit, Source, probes
from baselines.probe import Probe
from baselines.representation import Representation, View, check_finite, check_unmasked, write_representation
from baselines.training import autocast, fitting_precision, loading
from baselines.training.batches import evaluation_batches
from baselines.training.networks import count_macs, identity, load_network
from splits.store import Dataset
from suite import cli, files
from suite.contracts import METHOD
from suite.machine import keep_freed_memory
from suite.provenance import provenance
from suite.study import Method, Study, load_study

BATCH = 512  # images of a forward pass
BLOCK = 65_536  # rows copied or transformed at once


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--method", required=True, help="a name under `methods` in the study's file")
    parser.add_argument("--threads", type=cli.THREADS, default=1, help="threads to compute with (default 1)")
    cli.add_run(parser)
    args = parser.parse_args(argv)
    study = load_study(args.study)
    torch.set_num_threads(args.threads)
    embed(study, study.method(args.method), args.seed, cli.device(args.device))


def embed(study: Study, method: Method, seed: int, device: str) -> None:
    """Write a method's arrays, which its kind decides on, its classifiers and, last, meta.json."""
    kinds = {"trained": trained, "fitted": fitted, "control": control, "ready": ready, "folder": from_folder}
    dataset, folder = Dataset(study.layout.data), study.layout.embeddings(method.name, seed)
    # Of the classifiers' parameters: how many by size, and of all sizes together, kept as that of size 0.
    facts = {"parameters": None, "parameters_all": None, "device": device}
    facts |= kinds[method.kind](study, method, seed, dataset, folder, device)
    counts, total = facts.pop("parameters"), facts.pop("parameters_all")
    if counts is None:
        counts = {m: int(w.size + b.size) for (_, m), (w, b) in facts["classifiers"].items()}
    total = sum(counts.values()) if total is None else total
    probed = {key: each for key, each in facts["classifiers"].items() if isinstance(each, Probe)}
    facts["notes"] = [*facts.get("notes", ()), *probe_notes(probed)]
    write_representation(
        folder,
        method=method.name,
        seed=seed,
        classifier_parameters={str(m): count for m, count in ({0: total} | counts).items()},
        data_checksum=dataset.checksum,
        probes={f"{view}_{m}": probe.facts for (view, m), probe in probed.items()},
        provenance=provenance(seed=seed, threads=torch.get_num_threads(), device=facts.pop("device")),
        **facts,
    )


def probe_notes(probed: dict[tuple[int, int], Probe]) -> list[str]:
    """What a reader has to know of the probes of a method, by (view, size)."""
    unsettled = sorted({m for (_, m), probe in probed.items() if not probe.converged})
    at_limit = sorted({m for (_, m), probe in probed.items() if probe.at_limit})
    notes = []
    if unsettled:
        notes.append(f"Its probes of sizes {unsettled} did not converge (`probes` in its meta.json).")
    if at_limit:
        notes.append(
            f"The penalty of its probes of sizes {at_limit} is the largest or smallest that is tried: it may "
            "not be the best."
        )
    return notes


def trained(study: Study, method: Method, seed: int, dataset: Dataset, folder: Path, device: str) -> dict:
    """Forward every split through the method's networks; their columns lie side by side."""
    keep_freed_memory()
    networks = [
        load_network(study.layout.network(name, seed), identity(study, name, seed, dataset.checksum))
        for name in (net.name for net in method.networks)
    ]
    views, classifiers, costs, columns = [], {}, [], []
    width = heads = 0
    for learner, _, meta in networks:
        start, width = width, width + max(view.stop for view in learner.views)
        columns.append(slice(start, width))
        for view in learner.views:
            nested = view.nested and not method.network_per_size
            views.append(replace(view, start=view.start + start, stop=view.stop + start, nested=nested))
            for m in view.sizes:
                parts = learner.classifier(m)
                classifiers[len(views) - 1, m] = tuple(part.detach().float().numpy() for part in parts)
        costs.append(network_cost(learner, meta))
        heads += learner.classifier_parameters
    clock = time.perf_counter()
    splits = embedded_images(study, dataset)
    for name, images in splits.items():
        with files.create_npy(folder / f"{name}.npy", (len(images), width), np.float32) as out:
            for (learner, normalise, meta), where in zip(networks, columns):
                with autocast(device, fitting_precision(meta["provenance"]["precision"], device)):
                    forward(learner.to(device), normalise, images, out[:, where], device, name)
            check_finite(out, f"{method.name}, split {name}")
    seconds, images = time.perf_counter() - clock, sum(map(len, splits.values()))
    return {
        "views": views,
        "splits": list(splits),
        "classifiers": classifiers,
        "cost": {"networks": costs, "embed_seconds": seconds, "embed_images": images},
        "parameters_all": heads,
    }


def embedded_images(study: Study, dataset: Dataset) -> dict[str, np.ndarray]:
    """Images uint8 [n, H, W, C] by split; with `val_flip`, val mirrored, where the study trains with flips.

    Only such a study may sum the logits of an image and its mirror image (adaptive classification).
    """
    images = {name: dataset[name].images for name in dataset.splits}
    if study.training.get("augment", {}).get("flip", False) and "val" in images:
        images["val_flip"] = images["val"][:, :, ::-1]
    return images


@torch.inference_mode()
def forward(learner, normalise, images, out: np.ndarray, device: str, name: str) -> None:
    """Write the first columns of `learner.features` for images uint8 [n, H, W, C] into out [n, D]."""
    batches = list(evaluation_batches(len(images), BATCH))
    with tqdm(total=len(batches), desc=name, unit="batch", mininterval=2, disable=len(batches) < 40) as bar:
        for rows, x in loading.stream(images, batches, device):
            features = learner.features(normalise(x, device))
            out[rows] = features[:, : out.shape[1]].float().cpu().numpy()
            bar.update()


def network_cost(learner, meta: dict) -> dict:
    """What a network costs: training, parameters, multiply-accumulates per image, forward passes.

    Training includes that of the network it started from, where there is one.
    """
    stages = [meta]
    while stages[-1]["starts_from"]:
        stages.append(files.read_last(Path(stages[-1]["starts_from"]) / "meta.json", "network"))
    return {
        **{key: meta[key] for key in ("network", "parameters", "macs", "macs_all_sizes")},
        "train_seconds": sum(stage["train_seconds"] for stage in stages),
        "train_images": sum(stage["train_images"] for stage in stages),
        "train_macs": sum(stage["train_images"] * stage["macs_training"] for stage in stages),
        "forwards": learner.forwards,
    }


def fitted(study: Study, method: Method, seed: int, dataset: Dataset, folder: Path, device: str) -> dict:
    """Fit on the source's training embeddings, then transform every split in blocks.

    Where nothing is trained, on those of the documents: never on queries or judgements.
    """
    origin = study.layout.embeddings(method.source, seed)
    representation = Representation.of(study.layout, method.source, seed, dataset.checksum)
    view = representation.serving(representation.dim)[0]
    labelled = "train" in representation.splits
    on = "train" if labelled else "corpus"
    features = representation.features(on, view).astype(np.float32, copy=False)
    classifier = representation.classifier(view, representation.dim) if labelled else (None, None)
    known = ()
    if "train_queries" in representation.splits:
        queries = representation.features("train_queries", view).astype(np.float32, copy=False)
        known = queries, dataset.train_judgements
    source = Source(features, dataset.labels(on), dataset.num_classes, *classifier, view, *known)
    sizes = served(method.nesting, source.dim) if study.ready else method.nesting
    given = source, sizes, method.options, np.random.default_rng([seed, 3])
    clock = time.perf_counter()
    fit, fit_macs = counted_fit(method.baseline, given)
    fit_seconds = time.perf_counter() - clock
    column_macs = source.dim if fit.transform else 0  # most of the suite's transforms are linear maps
    for name in representation.splits if fit.transform else ():
        features = representation.features(name, view)
        width = fit.transform(np.asarray(features[:1], np.float32)).shape[1]
        with files.create_npy(folder / f"{name}.npy", (len(features), width), np.float32) as out:
            for rows in evaluation_batches(len(features), BLOCK):
                embedded = fit.transform(np.asarray(features[rows], np.float32))
                check_unmasked(embedded, f"{method.name}: transform")
                out[rows] = embedded
            check_finite(out, f"{method.name}, split {name}")
    clock, probed = time.perf_counter(), {}
    if labelled:
        array = folder / "train.npy"
        train = np.load(array, mmap_mode="r") if fit.transform else representation.array("train")
        given = train, fit.views, source.labels, source.num_classes, seed
        draws = fit.probe_draws if study.classifies(method.name) else 0
        probed = probes(*given, known=fit.classifiers, draws=draws, device=device)
    fit_seconds += time.perf_counter() - clock
    return {
        "views": fit.views,
        "splits": representation.splits,
        "classifiers": fit.classifiers | probed,
        "array_folder": None if fit.transform else origin,
        "parameters": fit.parameters,
        "parameters_all": fit.parameters_all,
        "cost": {
            # Its own network is that of the size it starts from; the source's others are not needed.
            "networks": representation.meta["cost"]["networks"][-1:],
            "fit_seconds": fit_seconds,
            # Of gradient steps; a decomposition takes next to nothing.
            "fit_macs": fit_macs + sum(probe.macs for probe in probed.values()),
            "projection_macs": {str(m): (fit.macs or {}).get(m, m * column_macs) for m in sizes},
            # Sizes of one view are prefixes of one projection.
            "projection_macs_all_sizes": max(fit.macs.values())
            if fit.macs
            else sum(max(view.sizes) for view in fit.views) * column_macs,
        },
        "fit": fit.facts if labelled else fit.facts | {"fitted_on": on},
    }


def counted_fit(baseline: str, given: tuple) -> tuple[Fit, int]:
    """What a fitted method hands back, and the multiply-accumulates of its fit.

    They are watched where the method does not count them: of many small products that takes several times
    as long as the fit.
    """
    fit = METHOD.load(baseline).fit
    if METHOD.facts(baseline).COUNTS_FIT:
        found = fit(*given)
        return found, found.fit_macs
    fits = []
    macs = count_macs(lambda: fits.append(fit(*given)))
    return fits[0], macs


def ready(study: Study, method: Method, seed: int, dataset: Dataset, folder: Path, device: str) -> dict:
    """Vectors that are part of the data: links to their files, copies of what cannot be searched there."""
    module = METHOD.load(method.baseline)
    # Of vectors from elsewhere, which nobody has looked at yet.
    facts = module.facts(dataset, method.options) if hasattr(module, "facts") else {}
    given = module.arrays(dataset, method.options)
    for split, (vectors, rows) in given.items():
        path = folder / f"{split}.npy"
        if rows is None and vectors.as_stored:
            files.write_link(path, vectors.path)
            continue
        chosen = np.arange(len(vectors)) if rows is None else rows
        dtype = vectors.rows(slice(1)).dtype
        with files.create_npy(path, (len(chosen), vectors.dim), dtype) as out:
            for block in evaluation_batches(len(chosen), BLOCK):
                out[block] = vectors.rows(chosen[block])
    dim = next(iter(given.values()))[0].dim
    views, classifiers = [View(served(method.nesting, dim), 0, dim)], {}
    if "train" in given:
        train = np.load(folder / "train.npy", mmap_mode="r")
        known = dataset.labels("train"), dataset.num_classes
        classifiers = probes(train, views, *known, seed, device=device)
    return {
        "views": views,
        "splits": list(given),
        "classifiers": classifiers,
        "cost": {"networks": []} | facts.get("cost", {}),
        "notes": facts.get("notes", []),
    }


def served(nesting: tuple[int, ...], dim: int) -> tuple[int, ...]:
    """Sizes of a study at which vectors of `dim` dimensions are evaluated: those they have, and all of them.

    >>> served((8, 64, 512), 256)
    (8, 64, 256)
    """
    return (*(m for m in nesting if m < dim), dim)


def control(study: Study, method: Method, seed: int, dataset: Dataset, folder: Path, device: str) -> dict:
    """Embeddings made from the labels (ceiling) or from nothing (floor)."""
    rng = np.random.default_rng([seed, 4])
    codes = label_codes(len(dataset.classes), study.dim, method.nesting[0], rng)
    for name in dataset.splits:
        embedded = METHOD.load(method.baseline).embed(dataset.labels(name), codes, rng)
        check_finite(embedded, f"{method.name}, split {name}")
        files.write_npy(folder / f"{name}.npy", embedded)
    # A classifier that scores each class by the distance to its code.
    seen = codes[: dataset.num_classes]
    return {
        "views": [View(method.nesting, 0, study.dim)],
        "splits": dataset.splits,
        "classifiers": {(0, m): (seen[:, :m], -0.5 * (seen[:, :m] ** 2).sum(1)) for m in method.nesting},
        "cost": {"networks": []},
    }


def label_codes(num_classes: int, dim: int, smallest: int, rng: np.random.Generator) -> np.ndarray:
    """A code per class: Gaussian float32 [C, dim] of unit length in its first `smallest` columns.

    Unit length, so that distances and cosines agree on which code is nearest.
    """
    codes = rng.standard_normal((num_classes, dim)).astype(np.float32)
    return codes / np.linalg.norm(codes[:, :smallest], axis=1, keepdims=True)


def from_folder(study: Study, method: Method, seed: int, dataset: Dataset, folder: Path, device: str) -> dict:
    """Embeddings made elsewhere, and a linear probe per size: a folder has no classifier of its own."""
    given = METHOD.load(method.baseline).Folder(method.options["path"], study, dataset)
    for split in given.splits:
        n = len(dataset.labels(split))
        with files.create_npy(folder / f"{split}.npy", (n, given.width), np.float32) as out:
            for rows in evaluation_batches(n, BLOCK):
                out[rows] = given.rows(split, rows)
    known = dataset.labels("train"), dataset.num_classes
    return {
        "views": given.views,
        "splits": given.splits,
        "classifiers": probes(given.rows("train"), given.views, *known, seed, device=device),
        "cost": {"networks": [], "stated": given.description.get("cost", {})},
        "notes": given.notes,
    }


if __name__ == "__main__":
    cli.run(main)
