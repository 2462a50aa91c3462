"""Trains one network of a study: `python -m baselines.train --study glyphs --network mrl --seed 0`.

On several GPUs: `--processes 4`, or `torchrun --nproc-per-node 4 -m baselines.train …`.
"""

import argparse
import os
import sys
from dataclasses import replace

import numpy as np
import torch

from baselines.training import DEFAULTS, train, untrained
from baselines.training.batches import IMAGENET_MEAN, IMAGENET_STD, Normalise
from baselines.training.distributed import Group, joined
from baselines.training.networks import build_learner, load_network, macs_per_image, save_network
from splits.store import Dataset
from suite import cli, files
from suite.contracts import METHOD
from suite.layout import Layout
from suite.provenance import provenance
from suite.study import Study, load_study


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--network", required=True, help="for example mrl, or fixed_feature_8")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes that train together, one per GPU; 0 and 1: one"
    )
    cli.add_run(parser)
    args = parser.parse_args(argv)
    study = load_study(args.study)
    study.network(args.network)
    if args.processes > 1 and "WORLD_SIZE" not in os.environ:
        launch(args.processes, sys.argv[1:] if argv is None else argv)
    device = cli.device(args.device)
    with joined(device) as (group, own_device):
        train_network(study, args.network, args.seed, device, group, own_device)


def launch(processes: int, argv: list[str]) -> None:
    """Become torchrun, which starts this command again in so many processes. Does not return."""
    runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [sys.executable, *runner, "-m", "baselines.train", *argv])


def train_network(study: Study, network: str, seed: int, device: str, group: Group, own_device: str) -> None:
    """Train one network and write it; of several processes the main one writes.

    device: what was asked for ("cuda"), own_device: this process's ("cuda:1").
    """
    layout = Layout(study.name)
    settings = study.trained_with(network)
    threads = settings["training"].get("threads", DEFAULTS["threads"])
    torch.set_num_threads(threads)

    dataset = Dataset(layout.data)
    split = dataset["train"]
    ready = METHOD.facts(settings["baseline"]).READY
    if ready or settings["backbone"].get("init_weights"):
        normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)  # weights from elsewhere expect their own
    else:
        normalise = Normalise.of(split.images)
    learner = build_learner(
        settings, dataset.num_classes, split.images.shape[-1], seed, seen_captions(dataset)
    )
    starts_from = study.methods[study.network(network).method].starts_from
    first = None
    if starts_from:
        first = layout.network(study.methods[starts_from].networks[-1].name, seed)
        started, normalise, _ = load_network(first)  # its inputs stay scaled as they were
        normalise = replace(normalise, crop=None)
        learner.start_from(started)

    start = files.sha256(first / "checkpoint.pt") if first else None
    conditions = files.config_hash([settings, seed, dataset.checksum, device, start])
    folder = layout.network(network, seed)
    # Outside the declared outputs: the workflow deletes those of a job that was killed.
    resume = folder.parent / ".unfinished" / f"{network}-{seed}.pt"
    # Before training, so that images the network cannot take are refused at once.
    crop = settings["training"].get("evaluation_crop")
    macs = macs_per_image(learner, replace(normalise, crop=crop)(split.images[:2]))
    if ready:
        trained = untrained(learner, settings["training"], device)
    else:
        trained = train(
            learner,
            split.images,
            split.labels,
            normalise,
            settings["training"],
            seed,
            device=own_device,
            resume=resume,
            conditions=conditions,
            progress=True,
            group=group,
        )
    if not group.main:
        return
    trained.log.insert(0, "network", network)
    with files.write_aside(folder / "log.csv") as path:
        trained.log.to_csv(path, index=False)
    save_network(
        folder,
        learner,
        normalise,
        {
            "network": network,
            "seed": seed,
            "settings": settings,
            "num_classes": dataset.num_classes,
            "channels": int(split.images.shape[-1]),
            "train_seconds": round(trained.seconds, 2),
            "train_images": trained.images,
            "parameters": sum(p.numel() for n, p in learner.named_parameters() if not n.startswith("head.")),
            **macs,
            "starts_from": str(first) if first else None,
            "data_checksum": dataset.checksum,
            "provenance": provenance(
                seed=seed,
                threads=threads,
                device=device,
                processes=group.size,
                precision=trained.precision,
            ),
        },
    )
    resume.unlink(missing_ok=True)


def seen_captions(dataset: Dataset) -> torch.Tensor | None:
    """What is written about each class that is trained on: int64 [num_classes, T]; of unseen ones nothing."""
    if "captions" not in dataset:
        return None
    return torch.from_numpy(dataset["captions"].images[: dataset.num_classes].astype(np.int64))


if __name__ == "__main__":
    cli.run(main)
