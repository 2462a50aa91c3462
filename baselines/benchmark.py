"""How fast a study's network trains, beside a plain loop and what the machine can multiply at most.

    python -m baselines.benchmark --study glyphs                 the study's own network on random images
    python -m baselines.benchmark --study glyphs --profile       and where the time of a step goes

All rates come from one run, in turns, with the same number of threads: their ratios can be compared between
machines, images per second cannot. Other networks and devices are other studies and options:
`--study imagenet --side 256 --channels 3 --classes 1000 --device cuda` is ResNet50 as the paper trains it;
`--stored` takes the study's own images from the disk instead, so that "loader only" is what reading them
allows. "one classifier" is the same step with the largest size alone: what nesting costs is the difference,
`--only "compute only" "one classifier"` that alone.

The glyph network is small (3.4 million multiply-accumulates an image) and gains less than its precision
promises: on two cores with AVX-512 bfloat16, one thread, about 1.3 times the images a second of the plain
loop (3,400 against 2,600) at 32 % of the peak of matrix products. `--profile` shows why: convolutions of 16
to 64 channels are 55 % of a step, and too thin for the wide instructions; batch norm and ReLU are 22 %, bound
by memory and by their 16 channels at 16×16; the rest is heads, losses and the start of small operators.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from baselines.training import (
    DEFAULTS,
    autocast,
    compile_loss,
    descend,
    make_optimiser,
    resolve_precision,
    train,
)
from baselines.training.batches import Normalise, training_batches
from baselines.training.networks import build_learner, macs_per_image
from splits.store import Dataset
from suite import cli, files
from suite.errors import UserError
from suite.provenance import provenance
from suite.study import load_study
from suite.timing import gemm_rate, timed

# The machine's peak is the best of these; a GPU needs large ones.
GEMM_SIDES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}

Rate = Callable[[], float]  # images per second, measured anew each time


@dataclass(frozen=True)
class Setting:
    """What is timed: a network's settings, random images to train it on, and where."""

    settings: dict  # `training` with its defaults filled in
    images: np.ndarray  # uint8 [n, side, side, channels], may be memory-mapped
    labels: np.ndarray  # int64 [n]
    num_classes: int
    normalise: Normalise
    device: str
    precision: str

    def learner(self) -> torch.nn.Module:
        """A fresh network in training mode on the device."""
        channels = self.images.shape[-1]
        return build_learner(self.settings, self.num_classes, channels, 0).to(self.device).train()

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of normalised, augmented batches on the device."""
        training = self.settings["training"]
        steps = range(len(self.images) // training["batch_size"])
        given = self.images, self.labels, self.normalise, training, 0, steps, self.device
        return ((x, y) for _, x, y in training_batches(*given))


def whole(setting: Setting) -> Rate:
    """Images per second, as of the four below: the suite's own training, start to end."""
    training = setting.settings["training"] | {"epochs": 1}
    given = setting.images, setting.labels, setting.normalise, training, 0

    def rate() -> float:
        done = train(setting.learner(), *given, device=setting.device)
        return done.images / done.seconds

    return rate


def plain(setting: Setting) -> Rate:
    """The same network, batches and loss in a loop as one writes it first: eager float32, NCHW, plain SGD."""
    training = setting.settings["training"]
    options = {name: training[name] for name in ("momentum", "weight_decay")}

    def rate() -> float:
        learner = setting.learner()
        optimiser = torch.optim.SGD(
            learner.parameters(), training["learning_rate"], **options, foreach=False, fused=False
        )
        batches = ((x.contiguous(), y) for x, y in setting.batches())
        return run_steps(learner, optimiser, batches, setting.device, "float32")

    return rate


def compute_only(setting: Setting) -> Rate:
    """The suite's step on one batch again and again: nothing is read. Compiled once, where it is."""
    learner = setting.learner().to(memory_format=torch.channels_last)
    if setting.settings["training"]["compile"] and setting.device.startswith("cuda"):
        compile_loss(learner)
    batch = next(setting.batches())
    steps = len(setting.images) // len(batch[1])
    optimiser = make_optimiser(learner, setting.settings["training"])

    def rate() -> float:
        return run_steps(learner, optimiser, [batch] * steps, setting.device, setting.precision)

    return rate


def one_classifier(setting: Setting) -> Rate:
    """`compute_only` of the network with the classifier of its largest size alone."""
    alone = setting.settings | {"sizes": setting.settings["sizes"][-1:]}
    return compute_only(replace(setting, settings=alone))


def loader_only(setting: Setting) -> Rate:
    """Reading, normalising and augmenting alone."""
    return lambda: timed_rate(lambda: sum(len(y) for _, y in setting.batches()), setting.device)


def run_steps(learner, optimiser, batches, device: str, precision: str) -> float:
    """Train on `batches` with nothing around it."""
    smoothing, rng = DEFAULTS["label_smoothing"], np.random.default_rng(0)

    def steps() -> int:
        images = 0
        for x, y in batches:
            with autocast(device, precision):
                loss, _ = learner.loss(x, y, smoothing, rng)
            descend(optimiser, loss)
            images += len(y)
        return images

    return timed_rate(steps, device)


def timed_rate(work: Callable[[], int], device: str) -> float:
    """What `work` returns (a number of images) per second, with all of it finished."""
    count, (seconds, _) = timed(work, device)
    return count / seconds


RATES = {
    "suite": whole,
    "plain": plain,
    "compute only": compute_only,
    "one classifier": one_classifier,
    "loader only": loader_only,
}


def measure(setting: Setting, rounds: int, names: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row per rate with the median over rounds: images_per_second, gmacs (10⁹ a second), of_peak; and
    images per second of every round, a column per rate).

    names: of RATES.
    """
    macs = macs_per_image(setting.learner(), next(setting.batches())[0][:2].cpu())["macs_training"]
    # Each is held against matrix products in the precision it computes in.
    dtypes = {name: "float32" if name == "plain" else setting.precision for name in names}
    peaks, found = dict.fromkeys(dtypes.values(), 0.0), []
    ready = {name: RATES[name](setting) for name in names}
    sides = GEMM_SIDES[setting.device.partition(":")[0]]
    for _ in range(1 + rounds):
        for dtype in peaks:
            peaks[dtype] = max(peaks[dtype], gemm_rate(setting.device, dtype, sides, 5)[0])
        found.append({name: rate() for name, rate in ready.items()})
    turns = pd.DataFrame(found[1:])  # the first round warms up
    rates = turns.median()
    computed = (rates * macs).where(rates.index != "loader only")
    peak = pd.Series({name: peaks[dtype] for name, dtype in dtypes.items()}).where(computed.notna())
    table = {
        "images_per_second": rates,
        "against_plain": rates / rates.get("plain", np.nan),
        "gmacs": computed / 1e9,
        "peak_gmacs": peak / 1e9,
        "of_peak": computed / peak,
    }
    return pd.DataFrame(table).rename_axis("what").reset_index(), turns


def nesting_cost(turns: pd.DataFrame) -> str:
    """How much longer a step takes with all classifiers than with one: median [least, most] over rounds."""
    longer = 100 * (turns["one classifier"] / turns["compute only"] - 1)
    low, middle, high = longer.quantile([0, 0.5, 1])
    spread = f"{middle:+.1f} % [{low:+.1f}, {high:+.1f}]"
    return f"a step with the classifiers of all sizes takes {spread} longer than with the largest's alone"


def profile(setting: Setting) -> str:
    """Operators of the suite's step with the most time of their own, as a table."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    rate = compute_only(setting)
    rate()
    activities = [ProfilerActivity.CPU]
    if setting.device.startswith("cuda"):
        activities.append(ProfilerActivity.CUDA)
    with record(activities=activities) as recorded:
        rate()
    key = "self_cuda_time_total" if setting.device.startswith("cuda") else "self_cpu_time_total"
    return recorded.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=40)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    cli.add_study(parser)
    parser.add_argument("--network", default="mrl", help="a network of the study (default mrl)")
    parser.add_argument("--side", type=int, default=32, help="pixels of the square images (default 32)")
    parser.add_argument("--channels", type=int, default=1, help="of the images (default 1)")
    parser.add_argument("--classes", type=int, default=100, help="default 100")
    parser.add_argument("--images", type=int, default=6400, help="images of a timed epoch (default 6400)")
    parser.add_argument("--stored", action="store_true", help="the study's own images, from the disk")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; medians are shown (default 3)")
    parser.add_argument(
        "--only", nargs="+", choices=RATES, default=[*RATES], metavar="RATE", help="of: " + ", ".join(RATES)
    )
    parser.add_argument("--threads", type=cli.THREADS, help="default: the study's training.threads")
    parser.add_argument(
        "--device", type=cli.device_name, default="auto", help="cpu, cuda …; auto (default) takes a GPU"
    )
    parser.add_argument("--profile", action="store_true", help="also show the operators of a step")
    parser.add_argument("--out", type=Path, help="also write the table and its conditions as .json")
    args = parser.parse_args(argv)
    if args.out and args.out.suffix != ".json":
        raise UserError(f"--out {args.out}: the name must end in .json")
    device = cli.device(args.device)
    study = load_study(args.study)
    settings = study.trained_with(args.network)
    settings["training"] = training = DEFAULTS | settings["training"]
    threads = args.threads or training["threads"]
    torch.set_num_threads(threads)
    if args.images < (batch := training["batch_size"]):
        raise UserError(f"--images {args.images} is less than a batch of {batch}")
    if args.stored:
        dataset = Dataset(study.layout.data)
        images, labels = (part[: args.images] for part in (dataset["train"].images, dataset["train"].labels))
        classes = dataset.num_classes
    else:
        rng, classes = np.random.default_rng(0), args.classes
        shape = (args.images, args.side, args.side, args.channels)
        images, labels = rng.integers(0, 256, shape, np.uint8), rng.integers(0, classes, args.images)
    precision = resolve_precision(training["precision"], device)
    setting = Setting(settings, images, labels, classes, Normalise.of(images), device, precision)
    table, turns = measure(setting, args.rounds, args.only)
    print(f"{args.study}, {args.network}: {device}, {precision}, {threads} threads")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep=""))
    if {"one classifier", "compute only"} <= set(args.only):
        print(nesting_cost(turns))
    if args.profile:
        print(profile(setting))
    if args.out:
        conditions = provenance(seed=0, threads=threads, device=device, precision=precision)
        files.write_json(
            args.out,
            {"conditions": conditions, "table": table.to_dict("records"), "rounds": turns.to_dict("list")},
        )


if __name__ == "__main__":
    cli.run(main)
