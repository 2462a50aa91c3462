"""Loss and training accuracy per size, as a run goes."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from baselines.training.distributed import Group
from suite.errors import UserError


class Diverged(UserError):
    """A training whose loss stopped being finite."""


class Meter:
    """The rows of a training's log: means over an epoch, counted without leaving the device.

    Counts are this process's own until an epoch ends or the state is saved.
    """

    def __init__(self, sizes: Iterable[int], group: Group):
        self.sizes = tuple(sizes)
        self.group = group
        self.rows: list[dict] = []
        self._clear()

    def _clear(self) -> None:
        self.loss, self.batches, self.seen = 0.0, 0, 0
        self.hits = dict.fromkeys(self.sizes, 0)

    def add(self, loss: Tensor, outcomes: dict[int, Tensor], labels: Tensor) -> None:
        """outcomes: by size, logits [n, C] for labels [n], or hits bool [k] of what was predicted instead."""
        self.loss = self.loss + loss.detach().double()
        self.batches += 1
        for m, values in outcomes.items():
            hits = values if values.dtype == torch.bool else values.detach().argmax(1) == labels
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
        """Add a row per size and begin to count anew. Raises Diverged when the loss is not finite."""
        found = self.totals()
        loss = found["loss"] / found["batches"]
        if not np.isfinite(loss):
            raise Diverged(
                f"training diverged: the loss of epoch {epoch} is {loss}; lower training.learning_rate "
                "or raise training.warmup in the study's file"
            )
        for m in self.sizes:
            top1 = found["hits"][m] / found["seen"]
            row = {"epoch": epoch, "dim": m, "loss": loss, "train_top1": top1, "lr": lr, "seconds": seconds}
            self.rows.append(row)
        self._clear()

    def summary(self) -> str:
        """The last epoch in a few words: the loss, and the accuracy at the smallest and largest size."""
        last = self.rows[-len(self.sizes) :]
        ends = {row["dim"]: row["train_top1"] for row in (last[0], last[-1])}
        accuracy = ", ".join(f"{100 * top1:.1f} % at {m}" for m, top1 in ends.items())
        return f"loss {last[0]['loss']:.3f}, train top-1 {accuracy}"

    def state_dict(self) -> dict:
        """Rows and counts so far; every process takes part."""
        return {"rows": self.rows} | self.totals()

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state`: the main process with its counts, the others from nothing."""
        self.rows = state["rows"]
        self.batches = state["batches"]
        self.seen = state["seen"] // self.group.size
        if self.group.main:
            self.loss = state["loss"] * self.group.size  # a mean over the processes
            self.hits = state["hits"]
