"""Trains one network of a study: `python -m baselines.train --study glyphs --network mrl --seed 0`.

On several GPUs: `--processes 4`, or `torchrun --nproc-per-node 4 -m baselines.train …`.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from baselines.conditions import begun_from
from baselines.learner import Learner
from baselines.training import threads_of, train, untrained
from baselines.training.batches import IMAGENET_MEAN, IMAGENET_STD, Normalise
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group, joined
from baselines.training.networks import build_learner, identity, load_network, macs_per_image, save_network
from splits.store import Dataset, Split
from suite import cli, files
from suite.contracts import METHOD
from suite.errors import UserError
from suite.machine import keep_freed_memory
from suite.provenance import provenance
from suite.study import Study, load_study


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--network", required=True, help="for example mrl, or fixed_feature_8")
    parser.add_argument(
        "--processes",
        type=cli.whole(0, 1024),
        default=1,
        help="processes that train together, one per GPU; 0 and 1: one",
    )
    cli.add_run(parser)
    args = parser.parse_args(argv)
    study = load_study(args.study)
    study.network(args.network)
    if args.processes > 1 and "WORLD_SIZE" not in os.environ:
        # Become torchrun, which starts this command again in so many processes.
        runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={args.processes}"]
        again = [*runner, "-m", "baselines.train", *(sys.argv[1:] if argv is None else argv)]
        os.execv(sys.executable, [sys.executable, *again])
    device = cli.device(args.device)
    keep_freed_memory()
    with joined(device) as (group, own_device):
        train_network(study, args.network, args.seed, device, group, own_device)


def prepare(
    study: Study, network: str, seed: int, dataset: Dataset, images: np.ndarray
) -> tuple[Learner, Normalise, Path | None]:
    """(network before its training, how its inputs are scaled, folder of the network it starts from).

    Its weights are fresh, those of another network of the study, or ready ones. Raises UserError when the
    network it starts from is not there. images: uint8 [n, H, W, C], those it is trained on.
    """
    settings = study.trained_with(network)
    channels = images.shape[-1]
    learner = build_learner(settings, dataset.num_classes, channels, seed, seen_captions(dataset))
    starts_from = study.method(study.network(network).method).starts_from
    if starts_from:
        other = study.method(starts_from).networks[-1].name
        first = study.layout.network(other, seed)
        started, normalise, _ = load_network(first, identity(study, other, seed, dataset.checksum))
        learner.start_from(started)
        return learner, normalise, first  # its inputs stay scaled as they were
    return learner, input_scale(settings, images), None


def training_images(split: Split, training: dict) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) that a network is trained on: all, or the first so many of every class.

    Raises UserError where a class has fewer.
    """
    count = training.get("images_per_class")
    if count is None:
        return split.images, split.labels
    order = np.argsort(split.labels, kind="stable")
    sizes = np.bincount(split.labels)
    if (least := sizes.min()) < count:
        raise UserError(
            f"training.images_per_class is {count}, but a class of train has {least} images only; allowed: "
            f"1 to {least}, or more images in the study's `data`"
        )
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = np.sort(order[(first[:, None] + np.arange(count)).ravel()])
    return split.images[rows], split.labels[rows]


def check_images(images: np.ndarray, training: dict) -> None:
    """Raise UserError for settings of a training that its images cannot give."""
    batch, shift = training["batch_size"], training.get("augment", {}).get("shift", 0)
    if batch > len(images):
        raise UserError(
            f"training.batch_size is {batch}, but there are {len(images)} images to train on; allowed: 1 to "
            f"{len(images)}"
        )
    if images.ndim == 4 and shift >= (side := min(images.shape[1:3])):
        raise UserError(
            f"training.augment.shift is {shift}, but the images have {side} pixels: they would be moved out "
            f"of sight; allowed: 0 to {side - 1}"
        )


def input_scale(settings: dict, images: np.ndarray) -> Normalise:
    """How inputs are scaled of a network that starts from no other of the study.

    settings: Study.trained_with(network); images: uint8 [n, H, W, C], those it is trained on.
    """
    # Weights from elsewhere expect inputs scaled as theirs were.
    if METHOD.facts(settings["baseline"]).READY or settings["backbone"].get("init_weights"):
        return Normalise(IMAGENET_MEAN, IMAGENET_STD)
    return Normalise.of(images)


def train_network(study: Study, network: str, seed: int, device: str, group: Group, own_device: str) -> None:
    """Train one network and write it; of several processes the main one writes.

    device: what was asked for ("cuda"), own_device: this process's ("cuda:1").
    """
    settings, dataset = study.trained_with(network), Dataset(study.layout.data)
    training, split = settings["training"], dataset["train"]
    torch.set_num_threads(threads_of(settings))
    images, labels = training_images(split, training)
    if not METHOD.facts(settings["baseline"]).READY:
        check_images(images, training)
    learner, normalise, first = prepare(study, network, seed, dataset, images)
    # Before training, so that images the network cannot take are refused at once.
    whole = replace(normalise, crop=training.get("evaluation_crop"))
    macs = macs_per_image(learner, whole(images[:2]))
    folder = study.layout.network(network, seed)
    began = first and files.sha256(first / "checkpoint.pt")
    checkpoint = Checkpoint(
        # Outside the declared outputs: the workflow deletes those of a job that was killed.
        folder.parent / ".unfinished" / f"{network}-{seed}.pt",
        files.config_hash([settings, seed, dataset.checksum, device, began, *begun_from(study, network)]),
    )
    if METHOD.facts(settings["baseline"]).READY:
        trained = untrained(learner, training, device)
    else:
        given = learner, images, labels, normalise, training, seed
        trained = train(*given, device=own_device, group=group, checkpoint=checkpoint, progress=True)
    if not group.main:
        return
    trained.log.insert(0, "network", network)
    with files.write_aside(folder / "log.csv") as path:
        trained.log.to_csv(path, index=False)
    counted = (p.numel() for n, p in learner.named_parameters() if not n.startswith("head."))
    conditions = {"seed": seed, "threads": threads_of(settings), "device": device, "processes": group.size}
    meta = {
        "network": network,
        "seed": seed,
        "settings": settings,
        "num_classes": dataset.num_classes,
        "channels": int(split.images.shape[-1]),
        "train_seconds": round(trained.seconds, 2),
        "train_images": trained.images,
        "parameters": sum(counted),
        **macs,
        "starts_from": str(first) if first else None,
        "data_checksum": dataset.checksum,
        # CPU seconds are of this process: one that went on from a checkpoint does not know of those before.
        "provenance": provenance(
            **conditions, precision=trained.precision, cpu_seconds=round(time.process_time(), 1)
        ),
    }
    save_network(folder, learner, normalise, meta)
    checkpoint.remove()


def seen_captions(dataset: Dataset) -> torch.Tensor | None:
    """What is written about each class that is trained on: int64 [num_classes, T]; of unseen ones nothing."""
    if "captions" not in dataset:
        return None
    return torch.from_numpy(dataset["captions"].images[: dataset.num_classes].astype(np.int64))


if __name__ == "__main__":
    cli.run(main)
