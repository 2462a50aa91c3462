"""Embeds every split of a study with one method: `python -m baselines.embed --study glyphs --method mrl`.

For a trained method that is a forward pass of its networks, for a fitted one a fit on the training
embeddings of its source, for a folder of embeddings a copy. What comes out is a representation
(baselines/representation.py).
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from baselines.fitting import Source
from baselines.probe import choose_l2, fit_probe
from baselines.representation import Representation, View, check_finite, write_representation
from baselines.training import loading
from baselines.training.batches import evaluation_batches
from baselines.training.networks import count_macs, load_network
from baselines.training.precision import autocast
from splits.store import Dataset
from suite import cli, files
from suite.contracts import METHOD
from suite.provenance import provenance
from suite.study import Method, Study, load_study

BATCH = 512


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--method", required=True, help="a name under `methods` in the study's file")
    parser.add_argument("--threads", type=int, default=1, help="threads to compute with (default 1)")
    cli.add_run(parser)
    args = parser.parse_args(argv)
    study = load_study(args.study)
    method = study.method(args.method)
    torch.set_num_threads(args.threads)
    kinds = {
        "trained": embed_trained,
        "fitted": embed_fitted,
        "control": embed_control,
        "folder": embed_folder,
    }
    kinds[method.kind](study, method, args.seed, cli.device(args.device))


def embed_trained(study: Study, method: Method, seed: int, device: str) -> None:
    """Forward every split through the method's networks; their columns lie side by side."""
    dataset, folder = Dataset(study.layout.data), study.layout.embeddings(method.name, seed)
    networks = [load_network(study.layout.network(net.name, seed)) for net in method.networks]
    views, classifiers, costs, columns = [], {}, [], []
    start = heads = 0
    for learner, _, meta in networks:
        width = max(view.stop for view in learner.views)
        for view in learner.views:
            views.append(replace(view, start=view.start + start, stop=view.stop + start))
            views[-1] = replace(views[-1], nested=not method.network_per_size and view.nested)
            for m in view.sizes:
                weight, bias = learner.classifier(m)
                parts = weight.detach().float().numpy(), bias.detach().float().numpy()
                classifiers[len(views) - 1, m] = parts
        costs.append(network_cost(learner, meta))
        heads += learner.classifier_parameters
        columns.append(slice(start, start + width))
        start += width
    clock = time.perf_counter()
    splits = embedded_images(study, dataset)
    for name, images in splits.items():
        with files.create_npy(folder / f"{name}.npy", (len(images), start), np.float32) as out:
            for (learner, normalise, meta), where in zip(networks, columns):
                with autocast(device, meta["provenance"]["precision"]):
                    forward(learner.to(device), normalise, images, out[:, where], device, name)
            check_finite(out, f"{method.name}, split {name}")
    finish(
        study,
        method,
        seed,
        dataset,
        views=views,
        splits=list(splits),
        classifiers=classifiers,
        cost={
            "networks": costs,
            "embed_seconds": time.perf_counter() - clock,
            "embed_images": sum(map(len, splits.values())),
        },
        parameters_all=heads,
        device=device,
    )


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
    kept = ("network", "parameters", "macs", "macs_all_sizes")
    stages = [meta]
    while stages[-1]["starts_from"]:
        stages.append(files.read_json(Path(stages[-1]["starts_from"]) / "meta.json"))
    return {
        **{key: meta[key] for key in kept},
        "train_seconds": sum(stage["train_seconds"] for stage in stages),
        "train_images": sum(stage["train_images"] for stage in stages),
        "train_macs": sum(stage["train_images"] * stage["macs_training"] for stage in stages),
        "forwards": learner.forwards,
    }


def embed_fitted(study: Study, method: Method, seed: int, device: str) -> None:
    """Fit on the source's training embeddings, then transform every split in blocks."""
    dataset = Dataset(study.layout.data)
    folder, origin = (study.layout.embeddings(name, seed) for name in (method.name, method.source))
    representation = Representation(origin)
    source = Source.of(representation, dataset.labels("train"), dataset.num_classes)
    module = METHOD.load(method.baseline)
    fits = []
    clock = time.perf_counter()
    fit_macs = count_macs(
        lambda: fits.append(
            module.fit(source, method.nesting, method.options, np.random.default_rng([seed, 3]))
        )
    )
    fit_seconds = time.perf_counter() - clock
    fit = fits[0]
    column_macs = source.dim if fit.transform else 0  # the suite's transforms are linear maps
    if fit.transform is not None:
        for name in representation.splits:
            transform_split(fit.transform, representation, source.view, name, folder, method.name)
    finish(
        study,
        method,
        seed,
        dataset,
        views=fit.views,
        splits=representation.splits,
        classifiers=fit.classifiers,
        array_folder=None if fit.transform else origin,
        parameters=fit.parameters,
        parameters_all=fit.parameters_all,
        # Its own network is that of the size it starts from; the source's others are not needed.
        cost={
            "networks": representation.meta["cost"]["networks"][-1:],
            "fit_seconds": fit_seconds,
            "fit_macs": fit_macs,  # of gradient steps; a decomposition takes next to nothing
            "projection_macs": {str(m): m * column_macs for m in method.nesting},
            # Sizes of one view are prefixes of one projection.
            "projection_macs_all_sizes": sum(max(view.sizes) for view in fit.views) * column_macs,
        },
        fit=fit.facts,
        device=device,
    )


def transform_split(
    transform, source: Representation, view: View, name: str, folder: Path, method: str
) -> None:
    """Write transform(features) of one split, in blocks of bounded memory."""
    features = source.features(name, view)
    width = transform(np.asarray(features[:1], np.float32)).shape[1]
    with files.create_npy(folder / f"{name}.npy", (len(features), width), np.float32) as out:
        for rows in evaluation_batches(len(features), 65_536):
            out[rows] = transform(np.asarray(features[rows], np.float32))
        check_finite(out, f"{method}, split {name}")


def embed_control(study: Study, method: Method, seed: int, device: str) -> None:
    """Embeddings made from the labels (ceiling) or from nothing (floor)."""
    dataset, folder = Dataset(study.layout.data), study.layout.embeddings(method.name, seed)
    module = METHOD.load(method.baseline)
    rng = np.random.default_rng([seed, 4])
    codes = label_codes(len(dataset.classes), study.dim, method.nesting[0], rng)
    for name in dataset.splits:
        embedded = module.embed(dataset.labels(name), codes, rng)
        check_finite(embedded, f"{method.name}, split {name}")
        files.write_npy(folder / f"{name}.npy", embedded)
    # A classifier that scores each class by the distance to its code.
    seen = codes[: dataset.num_classes]
    classifiers = {(0, m): (seen[:, :m], -0.5 * (seen[:, :m] ** 2).sum(1)) for m in method.nesting}
    finish(
        study,
        method,
        seed,
        dataset,
        views=[View(method.nesting, 0, study.dim)],
        splits=dataset.splits,
        classifiers=classifiers,
        cost={"networks": []},
        device=device,
    )


def label_codes(num_classes: int, dim: int, smallest: int, rng: np.random.Generator) -> np.ndarray:
    """A code per class: Gaussian float32 [C, dim] of unit length in its first `smallest` columns.

    Unit length, so that distances and cosines agree on which code is nearest.
    """
    codes = rng.standard_normal((num_classes, dim)).astype(np.float32)
    return codes / np.linalg.norm(codes[:, :smallest], axis=1, keepdims=True)


def embed_folder(study: Study, method: Method, seed: int, device: str) -> None:
    """Embeddings made elsewhere, and a linear probe per size: a folder has no classifier of its own."""
    dataset, target = Dataset(study.layout.data), study.layout.embeddings(method.name, seed)
    folder = METHOD.load(method.baseline).Folder(method.options["path"], study, dataset)
    for split in folder.splits:
        n = len(dataset.labels(split))
        with files.create_npy(target / f"{split}.npy", (n, folder.width), np.float32) as out:
            for rows in evaluation_batches(n, 65_536):
                out[rows] = folder.rows(split, rows)
    rng = np.random.default_rng([seed, 3])
    train = folder.rows("train")
    classifiers = {}
    for place, view in enumerate(folder.views):
        features, known = train[:, view.columns], (dataset.labels("train"), dataset.num_classes)
        l2 = choose_l2(features, *known, rng)
        classifiers |= {(place, m): fit_probe(features[:, :m], *known, l2) for m in view.sizes}
    finish(
        study,
        method,
        seed,
        dataset,
        views=folder.views,
        splits=folder.splits,
        classifiers=classifiers,
        cost={"networks": [], "stated": folder.description.get("cost", {})},
        notes=folder.notes,
        device="cpu",
    )


def finish(
    study: Study,
    method: Method,
    seed: int,
    dataset: Dataset,
    *,
    classifiers: dict,
    parameters: dict[int, int] | None = None,
    parameters_all: int | None = None,
    device: str,
    **facts,
) -> None:
    """Write the classifiers and, last, meta.json.

    parameters: of the classifier by size, those of the arrays by default; parameters_all: of all sizes
    together, their sum by default. It is kept as that of size 0, as costs of a whole method are.
    """
    if parameters is None:
        parameters = {m: int(w.size + b.size) for (view, m), (w, b) in classifiers.items()}
    total = sum(parameters.values()) if parameters_all is None else parameters_all
    write_representation(
        study.layout.embeddings(method.name, seed),
        method=method.name,
        seed=seed,
        classifiers=classifiers,
        classifier_parameters={str(m): count for m, count in ({0: total} | parameters).items()},
        data_checksum=dataset.checksum,
        provenance=provenance(seed=seed, threads=torch.get_num_threads(), device=device),
        **facts,
    )


if __name__ == "__main__":
    cli.run(main)
