"""Trains one network: one learning-rate cycle, a log per size and epoch, resumable at any step."""

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from baselines.learner import Learner
from baselines.training import loading
from baselines.training.batches import Normalise, augment, epoch_order, training_batch
from baselines.training.distributed import Group, objective, synchronised_batch_norm
from baselines.training.precision import autocast, resolve_precision
from suite import files
from suite.errors import UserError

# Values of a study's `training` section that it may leave out.
DEFAULTS = {
    "warmup": 0.15,  # share of the steps in which the learning rate rises
    "optimizer": "sgd",  # the paper's for ResNet50; adamw for transformers
    "momentum": 0.9,  # the paper's; of sgd
    "nesterov": True,  # the paper's recipe has plain momentum
    "weight_decay": 5e-4,  # not on batch norm or biases, as in the paper
    "label_smoothing": 0.1,  # the paper's
    "precision": "auto",  # bfloat16 where the device computes in it, else float32
    "threads": 1,  # changes the weights in the last bits; small networks run best side by side
    "augment": {},  # shift: pixels, flip: yes or no, crop: random-resized; see baselines/training/batches.py
    "evaluation_crop": None,  # side of the centre square that is embedded; None: the whole image
    "compile": False,  # compile the network where there is a GPU
    "sync_batch_norm": True,  # over all processes, so that their number does not change the result
}
ADAM_BETAS = (0.9, 0.98)  # as transformers are commonly trained
CHECKPOINT_SECONDS = 60  # a killed run loses at most this much
AGREE_STEPS = 20  # several processes ask each other that often whether to save their state


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
    resume: Path | None = None,
    conditions: str = "",
    progress: bool = False,
    group: Group = Group(),  # noqa: B008  # frozen
) -> Trained:
    """Train `learner` in place; every process of `group` calls this with the same arguments.

    images: uint8 [n, H, W, C] (may be memory-mapped); labels: int64 [n]; settings: a study's `training`.
    resume: file that holds the state of an unfinished run; it is only continued when `conditions` (a hash
    of everything that decides the result) is the same. The state of the last step stays there: the caller
    removes it when the network is written.

    Raises UserError when the loss stops being finite.
    """
    settings = DEFAULTS | settings
    check_labels(labels, len(images))
    batch = min(settings["batch_size"], len(images))
    share = group.share(batch)
    per_epoch = len(images) // batch
    steps = settings["epochs"] * per_epoch
    precision = resolve_precision(settings["precision"], device)
    normalise = replace(normalise, crop=None)  # that is for evaluation
    learner.to(device, memory_format=torch.channels_last)
    optimiser = make_optimiser(learner, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: one_cycle(step, steps, settings["warmup"])
    )
    state = _State(learner, optimiser, schedule, resume, conditions)
    meter = _Meter(learner.sizes, state.rows, group)
    start = state.restore(meter)
    learner.train()
    if settings["compile"] and torch.device(device).type == "cuda":
        learner.backbone.compile()
    loss_of = objective(learner, group, settings["sync_batch_norm"])
    clock = time.perf_counter() - state.seconds
    saved = time.perf_counter()
    bar = tqdm(
        total=steps,
        initial=start,
        disable=not (progress and group.main),
        unit="step",
        mininterval=2,
        dynamic_ncols=True,
    )
    rows_of = training_rows(len(images), batch, seed, range(start, steps), share)
    in_common = synchronised_batch_norm(learner, group) if settings["sync_batch_norm"] else nullcontext()
    with in_common:
        for step, (rows, x) in enumerate(loading.stream(images, rows_of, device), start):
            epoch, index = divmod(step, per_epoch)
            x = augment(
                normalise(x, device),
                settings["augment"],
                seed,
                step,
                epoch=epoch,
                total=batch,
                share=share,
            )
            y = torch.from_numpy(labels[rows]).to(device)
            with autocast(device, precision):
                rng = np.random.default_rng([seed, step, 2])
                loss, logits = loss_of(x, y, settings["label_smoothing"], rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            learner.after_step(step + 1, steps)
            meter.add(loss.detach(), {m: z.detach() for m, z in logits.items()}, y)
            schedule.step()
            bar.update()
            if index == per_epoch - 1:
                meter.close_epoch(epoch + 1, schedule.get_last_lr()[0], time.perf_counter() - clock)
                bar.set_postfix_str(meter.summary())
            if resume and (group.size == 1 or step % AGREE_STEPS == 0):
                due = time.perf_counter() - saved > CHECKPOINT_SECONDS
                if group.agreed(due, device):
                    state.save(step + 1, meter, time.perf_counter() - clock, group)
                    saved = time.perf_counter()
    bar.close()
    learner.eval()
    seconds = time.perf_counter() - clock
    if resume and start < steps:
        state.save(steps, meter, seconds, group)
    return Trained(pd.DataFrame(meter.rows), seconds, steps * batch, precision)


def untrained(learner: Learner, settings: dict, device: str) -> Trained:
    """What training a network that comes with its weights gives: an empty log, no cost."""
    learner.eval()
    log = pd.DataFrame(columns=["epoch", "dim", "loss", "train_top1", "lr", "seconds"])
    return Trained(log, 0.0, 0, resolve_precision((DEFAULTS | settings)["precision"], device))


def training_rows(n: int, batch: int, seed: int, steps: Iterable[int], share: slice) -> Iterator[np.ndarray]:
    """This process's rows of each of `steps`: int64 [batch / processes]."""
    per_epoch, now = n // batch, None
    for step in steps:
        epoch, index = divmod(step, per_epoch)
        if epoch != now:
            order, now = epoch_order(n, seed, epoch), epoch
        yield training_batch(order, index, batch)[share]


def check_labels(labels: np.ndarray, images: int) -> None:
    """Raise unless there is one int64 label ≥ 0 per image."""
    if labels.dtype != np.int64:
        raise TypeError(f"labels must be int64, not {labels.dtype}: narrower types merge classes")
    if len(labels) != images:
        raise ValueError(f"{len(labels)} labels for {images} images")
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError("labels must be ≥ 0 and there must be at least one")


def make_optimiser(module: nn.Module, settings: dict) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; weight decay on matrices and filters only, as in the paper's recipe."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trainable if p.ndim > 1],
            "weight_decay": settings["weight_decay"],
        },
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings["optimizer"] == "adamw":
        return torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=ADAM_BETAS, fused=True)
    return torch.optim.SGD(
        groups,
        lr=settings["learning_rate"],
        momentum=settings["momentum"],
        nesterov=settings["nesterov"] and settings["momentum"] > 0,
        fused=True,
    )


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise over `warmup` of the steps, a linear fall to 0.

    >>> [one_cycle(step, 10, 0.2) for step in (0, 1, 6, 10)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return max(0.0, (steps - step) / max(1, steps - rise))


class _Meter:
    """Loss and training accuracy per size, averaged over an epoch without leaving the device.

    Counts are this process's own until an epoch ends or the state is saved.
    """

    def __init__(self, sizes: Iterable[int], rows: list[dict], group: Group):
        self.sizes = tuple(sizes)
        self.rows = rows
        self.group = group
        self._clear()

    def _clear(self) -> None:
        self.loss, self.batches, self.seen = 0.0, 0, 0
        self.hits = dict.fromkeys(self.sizes, 0)

    def add(self, loss, outcomes, labels) -> None:
        """outcomes: by size, logits [n, C] for labels [n], or hits bool [k] of what was predicted instead."""
        self.loss = self.loss + loss.double()
        self.batches += 1
        for m, values in outcomes.items():
            hits = values if values.dtype == torch.bool else values.argmax(1) == labels
            self.hits[m] = self.hits[m] + hits.sum()
        self.seen += len(hits)

    def totals(self) -> dict:
        """Counts over all processes: loss (mean), batches, seen, hits by size."""
        own = [torch.as_tensor(v).double() for v in (self.loss / self.group.size, *self.hits.values())]
        device = max((value.device for value in own), key=lambda device: device.type == "cuda")
        loss, *hits = self.group.total(torch.stack([value.to(device) for value in own])).tolist()
        return {
            "loss": loss,
            "batches": self.batches,
            "seen": self.seen * self.group.size,
            "hits": {m: int(count) for m, count in zip(self.sizes, hits)},
        }

    def close_epoch(self, epoch: int, lr: float, seconds: float) -> None:
        found = self.totals()
        loss = found["loss"] / found["batches"]
        if not np.isfinite(loss):
            raise UserError(
                f"training diverged: the loss of epoch {epoch} is {loss}; lower training.learning_rate "
                "or raise training.warmup in the study's file"
            )
        for m in self.sizes:
            self.rows.append(
                {
                    "epoch": epoch,
                    "dim": m,
                    "loss": loss,
                    "train_top1": found["hits"][m] / found["seen"],
                    "lr": lr,
                    "seconds": seconds,
                }
            )
        self._clear()

    def summary(self) -> str:
        last = self.rows[-len(self.sizes) :]
        ends = [last[0]] if len(last) == 1 else [last[0], last[-1]]
        accuracy = ", ".join(f"{100 * row['train_top1']:.1f} % at {row['dim']}" for row in ends)
        return f"loss {last[0]['loss']:.3f}, train top-1 {accuracy}"

    def state(self) -> dict:
        return {"rows": self.rows} | self.totals()

    def restore(self, state: dict) -> None:
        """Go on from `state`: the main process with its counts, the others from nothing."""
        self.rows = state["rows"]
        self.batches = state["batches"]
        self.seen = state["seen"] // self.group.size
        if self.group.main:
            self.loss = state["loss"] * self.group.size  # a mean over the processes
            self.hits = state["hits"]


class _State:
    """An unfinished run on disk: weights, optimiser, schedule, log, step; written aside and renamed."""

    def __init__(self, learner, optimiser, schedule, path: Path | None, conditions: str):
        self.parts = {"learner": learner, "optimiser": optimiser, "schedule": schedule}
        self.path, self.conditions = path, conditions
        self.rows: list[dict] = []
        self.seconds = 0.0

    def save(self, step: int, meter: _Meter, seconds: float, group: Group) -> None:
        counts = meter.state()  # every process takes part
        if not group.main:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"step": step, "meter": counts, "seconds": seconds}
        with files.write_aside(self.path) as aside:
            torch.save(state | {"conditions": self.conditions}, aside)

    def restore(self, meter: _Meter) -> int:
        """The step to go on from: 0 unless a state with the same conditions lies there."""
        if self.path is None or not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        if state["conditions"] != self.conditions:
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        meter.restore(state["meter"])
        self.seconds = state["seconds"]
        return state["step"]
