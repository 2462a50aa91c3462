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

    sums: float64 on the device, of losses, steps, items, and of each size's hits: this process's own until an
    epoch ends or the state is saved. They are added to in place, so that a replayed step counts too.
    """

    def __init__(self, sizes: Iterable[int], group: Group, device: str = "cpu"):
        self.sizes = tuple(sizes)
        self.group = group
        self.rows: list[dict] = []
        self.sums = torch.zeros(3 + len(self.sizes), dtype=torch.float64, device=device)

    def add(self, loss: Tensor, outcomes: dict[int, Tensor], labels: Tensor) -> None:
        """outcomes: by size, logits [n, C] for labels [n], or hits bool [k] of what was predicted instead."""
        hits = {
            m: values if values.dtype == torch.bool else values.detach().argmax(1) == labels
            for m, values in outcomes.items()
        }
        self.sums[0] += loss.detach()
        self.sums[1] += 1
        self.sums[2] += len(hits[self.sizes[0]])
        self.sums[3:] += torch.stack([hits[m].sum() for m in self.sizes])

    def totals(self) -> Tensor:
        """The sums over all processes."""
        return self.group.total(self.sums.clone())

    def close_epoch(self, epoch: int, lr: float, seconds: float) -> None:
        """Add a row per size and begin to count anew. Raises Diverged when the loss is not finite."""
        summed, steps, seen, *hits = self.totals().tolist()
        loss = summed / steps
        if not np.isfinite(loss):
            raise Diverged(
                f"training diverged: the loss of epoch {epoch} is {loss}; lower training.learning_rate "
                "or raise training.warmup in the study's file"
            )
        for m, right in zip(self.sizes, hits):
            top1 = right / seen
            row = {"epoch": epoch, "dim": m, "loss": loss, "train_top1": top1, "lr": lr, "seconds": seconds}
            self.rows.append(row)
        self.sums.zero_()

    def summary(self) -> str:
        """The last epoch in a few words: the loss, and the accuracy at the smallest and largest size."""
        last = self.rows[-len(self.sizes) :]
        ends = {row["dim"]: row["train_top1"] for row in (last[0], last[-1])}
        accuracy = ", ".join(f"{100 * top1:.1f} % at {m}" for m, top1 in ends.items())
        return f"loss {last[0]['loss']:.3f}, train top-1 {accuracy}"

    def state_dict(self) -> dict:
        """Rows and sums so far; every process takes part."""
        return {"rows": self.rows, "sums": self.totals()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state`: the main process with its sums, the others from nothing."""
        self.rows = state["rows"]
        if self.group.main:
            self.sums.copy_(state["sums"])
