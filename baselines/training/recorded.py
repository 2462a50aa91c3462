"""Steps of a training recorded once on a GPU, and replayed.

A step of a small network is some 300 kernels of a few microseconds each, which Python takes several times as
long to start as the GPU to run. Recorded as a CUDA graph the whole of it, from the rows of the batch to the
log, is started at once. What is computed is what `baselines.training` computes step by step: same batches,
same changes, same rates. https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from baselines.learner import Learner
from baselines.training.batches import Normalise, changed, draw_changes, training_rows
from baselines.training.loading import RESIDENT_BYTES
from suite.errors import UserError

AHEAD = 1024  # steps whose rows and changes lie on the device
WARM_UP = 3  # steps before a recording, which are undone: libraries choose their kernels and take memory


def recordable(learner: Learner, images: np.ndarray, settings: dict, device: str, processes: int) -> bool:
    """Whether every step of a training does the same operations, on images that fit on the GPU.

    Losses say so of themselves (`baselines.learner.recordable`); one that draws something does not.
    """
    return (
        settings["recorded"]
        and torch.device(device).type == "cuda"
        and processes == 1
        and not settings["compile"]
        and images.nbytes <= RESIDENT_BYTES
        and len(set(settings["augment"].get("crop", {}).get("side", [0]))) == 1
        and learner.loss_is_recordable
        and type(learner).after_step is Learner.after_step
    )


def replayed(
    learn: Callable[[Tensor, Tensor], None],
    state: list[Tensor],
    optimiser: torch.optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    normalise: Normalise,
    settings: dict,
    seed: int,
    steps: range,
    rate: Callable[[int], float],
    device: str,
) -> Iterator[int]:
    """Do the steps, and yield each one's number when it has been started.

    learn: one step on a batch x float32 [b, C, H, W] with labels int64 [b], its optimiser's included. state:
    what a step changes, the optimiser's aside. rate: step → share of the peak learning rate.

    Raises UserError when a step cannot be recorded.
    """
    batch = min(settings["batch_size"], len(images))
    images, labels = (torch.from_numpy(np.array(part)).to(device) for part in (images, labels))
    place = torch.zeros(1, dtype=torch.int64, device=device)
    tape: dict[str, Tensor] = {}
    for group in optimiser.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:  # Adam refuses to be recorded without
            group["capturable"] = True

    def step() -> None:
        now = {name: values.index_select(0, place)[0] for name, values in tape.items()}
        for group in optimiser.param_groups:
            group["lr"].copy_(now["rate"] * group["peak"])
        x = normalise(images[now["rows"]], device)
        learn(changed(x, settings["augment"], now), labels[now["rows"]])
        place.add_(1)

    rows_of = training_rows(len(images), batch, seed, steps, slice(None))
    replay = None
    for first in range(steps.start, steps.stop, AHEAD):
        chunk = range(first, min(first + AHEAD, steps.stop))
        changes = [draw_changes(settings["augment"], seed, number, batch) for number in chunk]
        ahead = {name: np.stack([change[name] for change in changes]) for name in changes[0]}
        ahead["rows"] = np.stack([next(rows_of) for _ in chunk])
        ahead["rate"] = np.array([rate(number) for number in chunk], np.float32)
        for name, values in ahead.items():
            values = torch.from_numpy(values).to(device)
            if name in tape:
                tape[name][: len(values)].copy_(values)
            else:
                tape[name] = values
        place.zero_()
        if replay is None:
            replay = graph_of(step, [*state, place], optimiser)
        for number in chunk:
            replay()
            yield number


def graph_of(
    step: Callable[[], None], state: list[Tensor], optimiser: torch.optim.Optimizer
) -> Callable[[], None]:
    """What does `step` again, recorded. Nothing has changed when this returns."""
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            undone(step, state, optimiser, WARM_UP)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        raise UserError(
            f"a step of this training could not be recorded ({error}): set training.recorded: false in the "
            "study's file, or do not mark its loss as recordable"
        ) from error
    return graph.replay


def undone(
    step: Callable[[], None], state: list[Tensor], optimiser: torch.optim.Optimizer, times: int
) -> None:
    """Do `step` some times, and put everything back: what the optimiser did not have yet becomes 0."""
    kept = [(value, value.clone()) for value in state]
    before = {id(value): value.clone() for value in moments(optimiser)}
    for _ in range(times):
        step()
    with torch.no_grad():
        for value, was in kept:
            value.copy_(was)
        for value in moments(optimiser):
            value.copy_(before[id(value)]) if id(value) in before else value.zero_()
    optimiser.zero_grad(set_to_none=True)


def moments(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """What an optimiser keeps of earlier steps."""
    return [
        value for kept in optimiser.state.values() for value in kept.values() if isinstance(value, Tensor)
    ]
