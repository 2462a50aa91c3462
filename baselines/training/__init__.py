"""How a network is trained: one learning-rate cycle, a log per size and epoch, resumable at any step.

batches         images as normalised, augmented float batches in an order that the seed decides
loading         stored images on the device early enough
recorded        steps recorded once on a GPU, and replayed
meter           loss and accuracy per size: the log
checkpoint      the state of an unfinished run
distributed     several processes that compute what one would
halving         which of several settings is best, from a few trainings each
networks        trained networks on disk, and what they cost
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from baselines.learner import Learner
from baselines.training.batches import Normalise, training_batches
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group, objective, synchronised_batch_norm
from baselines.training.meter import Meter
from baselines.training.recorded import recordable, replayed
from suite.errors import UserError

# Values of a study's `training` section that it may leave out.
DEFAULTS = {
    "warmup": 0.15,  # share of the steps in which the learning rate rises
    "optimizer": "sgd",  # the paper's for ResNet50; adamw for transformers
    "momentum": 0.9,  # the paper's; of sgd
    "nesterov": True,  # the paper's recipe has plain momentum
    "head_rate": 1,  # the classifiers' learning rate over that of the network below; the paper's is 1
    "weight_decay": 5e-4,  # not on batch norm or biases, as in the paper
    "label_smoothing": 0.1,  # the paper's
    "precision": "auto",  # bfloat16 where the device computes in it, else float32
    "threads": 1,  # changes the weights in the last bits; small networks run best side by side
    "augment": {},  # shift: pixels, flip: yes or no, crop: random-resized; see baselines/training/batches.py
    "evaluation_crop": None,  # side of the centre square that is embedded; None: the whole image
    "images_per_class": None,  # train on the first so many of every class; None: on all
    "compile": False,  # compile the network, its classifiers and loss where there is a GPU
    "recorded": True,  # on one GPU, record a step once and replay it, where every step does the same
    "sync_batch_norm": True,  # over all processes, so that their number does not change the result
}
ADAM_BETAS = (0.9, 0.98)  # as transformers are commonly trained


@dataclass
class Trained:
    """A finished training: the log (tidy: epoch, dim, loss, top1, lr, seconds) and what it cost."""

    log: pd.DataFrame
    seconds: float
    images: int
    precision: str


def train(
    learner: Learner,
    images: np.ndarray,
    labels: np.ndarray,
    normalise: Normalise,
    settings: dict,
    seed: int,
    *,
    device: str = "cpu",
    group: Group = Group(),  # noqa: B008  # frozen
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> Trained:
    """Train `learner` in place; every process of `group` calls this with the same arguments.

    images: uint8 [n, H, W, C] (may be memory-mapped); labels: int64 [n]; settings: a study's `training`.
    checkpoint: where an unfinished run is kept and continued from; the caller removes it when the network is
    written. progress: whether to show a bar.

    Raises Diverged when the loss stops being finite.
    """
    settings = DEFAULTS | settings
    check_labels(labels, len(images))
    checkpoint = checkpoint or Checkpoint()
    batch = min(settings["batch_size"], len(images))
    share = group.share(batch)
    per_epoch = len(images) // batch
    steps = settings["epochs"] * per_epoch
    precision = resolve_precision(settings["precision"], device)
    learner.to(device, memory_format=torch.channels_last)
    optimiser = make_optimiser(learner, settings)
    meter = Meter(learner.sizes, group, device)
    parts = {"learner": learner, "optimiser": optimiser, "meter": meter}
    start, seconds = checkpoint.resume(parts, group)
    learner.train()
    if settings["compile"] and torch.device(device).type == "cuda":
        compile_loss(learner)
    loss_of = objective(learner, group, settings["sync_batch_norm"])
    shared_norms = synchronised_batch_norm(learner, group) if settings["sync_batch_norm"] else nullcontext()
    rate = partial(one_cycle, steps=steps, warmup=settings["warmup"])
    given = images, labels, normalise, settings, seed, range(start, steps)

    def learn(x: Tensor, y: Tensor, rng: np.random.Generator | None = None) -> None:
        with autocast(device, precision):
            loss, outcomes = loss_of(x, y, settings["label_smoothing"], rng)
        descend(optimiser, loss)
        meter.add(loss, outcomes, y)

    def one_by_one() -> Iterator[int]:
        for step, x, y in training_batches(*given, device, share):
            for part in optimiser.param_groups:
                part["lr"] = part["peak"] * rate(step)
            learn(x, y, np.random.default_rng([seed, step, 2]))
            learner.after_step(step + 1, steps)
            yield step

    if recordable(learner, images, settings, device, group.size):
        done = replayed(learn, [*learner.state_dict().values(), meter.sums], optimiser, *given, rate, device)
    else:
        done = one_by_one()
    clock = time.perf_counter() - seconds
    look = {"unit": "step", "mininterval": 2, "dynamic_ncols": True, "disable": not (progress and group.main)}
    with shared_norms, tqdm(total=steps, initial=start, **look) as bar:
        for step in done:
            bar.update()
            epoch, rest = divmod(step + 1, per_epoch)
            if rest == 0:
                lr = optimiser.param_groups[0]["peak"] * rate(step + 1)
                meter.close_epoch(epoch, lr, time.perf_counter() - clock)
                bar.set_postfix_str(meter.summary())
            if checkpoint.due(step):
                checkpoint.save(step + 1, time.perf_counter() - clock)
    learner.eval()
    seconds = time.perf_counter() - clock
    if start < steps:
        checkpoint.save(steps, seconds)
    return Trained(pd.DataFrame(meter.rows), seconds, steps * batch, precision)


def compile_loss(learner: Learner, **options) -> None:
    """Have torch compile what a step computes: the whole loss where it draws nothing, else the backbone.

    Every size has a classifier and a loss of small kernels: nine take 2.5 % longer than one with the backbone
    compiled alone, 1.2 % with all of it (ResNet50, 224 pixels, batches of 256, one H100).
    options: of torch.compile.
    """
    if not learner.loss_is_recordable:
        learner.backbone.compile(**options)
        return
    whole = learner.loss

    def without_draws(images: Tensor, labels: Tensor, label_smoothing: float):
        return whole(images, labels, label_smoothing, None)

    compiled = torch.compile(without_draws, **options)
    learner.loss = lambda images, labels, label_smoothing, rng: compiled(images, labels, label_smoothing)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of the optimiser down the gradient of `loss`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def untrained(learner: Learner, settings: dict, device: str) -> Trained:
    """What training a network that comes with its weights gives: an empty log, no cost."""
    learner.eval()
    log = pd.DataFrame(columns=["epoch", "dim", "loss", "train_top1", "lr", "seconds"])
    return Trained(log, 0.0, 0, resolve_precision((DEFAULTS | settings)["precision"], device))


def resolve_precision(asked: str, device: str) -> str:
    """`auto` made definite: bfloat16 where the device multiplies in it, else float32."""
    return fitting_precision("bfloat16", device) if asked == "auto" else asked


def fitting_precision(trained: str, device: str) -> str:
    """What a network that was trained in some precision is computed in on another device.

    That of its training, but float32 where the device has no multiplication in bfloat16: imitated it takes
    many times as long.
    """
    if trained != "bfloat16":
        return trained
    if str(device).startswith("cuda"):
        return trained if torch.cuda.is_bf16_supported() else "float32"
    native = torch.cpu.get_capabilities()
    return trained if native.get("avx512_bf16") or native.get("amx_bf16") else "float32"


def autocast(device: str, precision: str):
    """The context in which forward passes run."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, precision))


def threads_of(settings: dict) -> int:
    """Threads that a network is trained with. settings: Study.trained_with(network)."""
    return settings["training"].get("threads", DEFAULTS["threads"])


def check_labels(labels: np.ndarray, images: int) -> None:
    """Raise unless there is one int64 label ≥ 0 per image."""
    if labels.dtype != np.int64:
        raise TypeError(f"labels must be int64, not {labels.dtype}: narrower types merge classes")
    if len(labels) != images:
        raise ValueError(f"{len(labels)} labels for {images} images")
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError("labels must be ≥ 0 and there must be at least one")


def make_optimiser(learner: Learner, settings: dict) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; weight decay on matrices and filters only, as in the paper's recipe.

    Each group's `peak` is the rate that its `lr` reaches when the cycle is highest.

    Raises UserError for a head_rate other than 1 where there are no classifiers that it could be of.
    """
    rate, momentum, faster = settings["learning_rate"], settings["momentum"], settings["head_rate"]
    trainable = [p for p in learner.parameters() if p.requires_grad]
    groups = by_decay(trainable, settings["weight_decay"])
    if faster != 1:
        heads = {id(p) for p in learner.head_parameters}
        if not heads:
            raise UserError(
                f"training.head_rate is {faster}, but {type(learner).__name__} has no classifiers apart from "
                "its network; allowed: 1"
            )
        # The network's groups stay first: the log's rate is that of the first group.
        groups = by_decay([p for p in trainable if id(p) not in heads], settings["weight_decay"])
        own = by_decay([p for p in trainable if id(p) in heads], settings["weight_decay"])
        groups += [group | {"lr": rate * faster} for group in own]
    groups = [{"lr": rate} | group for group in groups]
    groups = [group | {"peak": group["lr"]} for group in groups]
    if settings["optimizer"] == "adamw":
        return torch.optim.AdamW(groups, betas=ADAM_BETAS, fused=True)
    nesterov = settings["nesterov"] and momentum > 0
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=True)


def by_decay(parameters: list[nn.Parameter], weight_decay: float) -> list[dict]:
    """Two groups for an optimiser: what decays, and what does not (batch norm, biases)."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise over `warmup` of the steps, a linear fall to 0.

    >>> [one_cycle(step, 10, 0.2) for step in (0, 1, 6, 10)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return max(0.0, (steps - step) / max(1, steps - rise))
