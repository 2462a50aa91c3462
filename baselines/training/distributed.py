"""Training in several processes, one per GPU, that computes what one process would.

`torchrun --nproc-per-node 2 -m baselines.train …`, or `--processes 2`. Each process takes a slice of the
same global batch, with the augmentations those images have in one process; gradients are averaged, and batch
norm takes its statistics over the global batch. The loss curve is therefore that of one process, up to
rounding (tests/test_distributed.py).

Methods that draw something for each image (nested dropout) draw the same for every process's slice.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from baselines.learner import Learner
from suite.errors import UserError


@dataclass(frozen=True)
class Group:
    """This process among those that train together; by default it is alone."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The rows of a global batch that this process computes.

        Raises UserError when the batch does not divide evenly: its mean would not be the mean of the parts.
        """
        if batch % self.size:
            raise UserError(
                f"a batch of {batch} images cannot be divided evenly among {self.size} processes; change "
                "training.batch_size or the number of processes"
            )
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def total(self, values: Tensor) -> Tensor:
        """Sum of `values` over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agreed(self, decision: bool) -> bool:
        """The main process's decision."""
        if self.size == 1:
            return decision
        flag = torch.tensor([int(decision)], device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.broadcast(flag, src=0)
        return bool(flag.item())


@contextmanager
def joined(device: str) -> Iterator[tuple[Group, str]]:
    """Yield (group, this process's device); alone unless torchrun started the process."""
    if "WORLD_SIZE" not in os.environ:
        yield Group(), device
        return
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


class _Objective(nn.Module):
    """A learner's loss as a module's forward, which is what DistributedDataParallel wraps."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.learner = learner

    def forward(self, *args):
        return self.learner.loss(*args)


def objective(learner: Learner, group: Group, sync_batch_norm: bool):
    """`learner.loss`, with gradients averaged over the processes on its backward pass."""
    if group.size == 1:
        return learner.loss
    if learner.single_process:
        raise UserError(
            f"{type(learner).__name__} decides by what one process sees, and {group.size} would decide "
            "apart; train it in one (--processes 1)"
        )
    # The nested loss reaches every parameter; a method with a loss of its own may not, and looking for those
    # that it left out costs time.
    whole = type(learner).loss is Learner.loss and all(learner.weights)
    return nn.parallel.DistributedDataParallel(
        _Objective(learner),
        find_unused_parameters=not whole,
        # Synchronised statistics are the same everywhere already.
        broadcast_buffers=not sync_batch_norm,
    )


@contextmanager
def synchronised_batch_norm(module: nn.Module, group: Group) -> Iterator[None]:
    """Within, every batch norm of `module` that is training takes its statistics over all processes.

    torch.nn.SyncBatchNorm does the same, on CUDA alone and by replacing the layers; here they stay what they
    are, so that a saved network is the same however many processes trained it.
    """
    if group.size == 1:
        yield
        return
    layers = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    # Compiled, the sums over processes would lose their gradients. Said here and not at the definition: it
    # takes the import of the compiler, which is as long as that of torch.
    shared = torch.compiler.disable(_batch_norm)
    for layer in layers:
        layer.forward = partial(shared, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _batch_norm(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch norm of x [n, C, H, W] with mean and variance over the n of every process."""
    if not layer.training:
        return nn.BatchNorm2d.forward(layer, x)
    values = x.float()
    count = values.numel() // values.shape[1] * dist.get_world_size()
    mean = all_reduce(values.sum((0, 2, 3))) / count
    centred = values - mean[:, None, None]
    variance = all_reduce(centred.square().sum((0, 2, 3))) / count
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean.detach(), layer.momentum)
        layer.running_var.lerp_(variance.detach() * count / (count - 1), layer.momentum)
    scale = layer.weight * torch.rsqrt(variance + layer.eps)
    return (centred * scale[:, None, None] + layer.bias[:, None, None]).to(x.dtype)
