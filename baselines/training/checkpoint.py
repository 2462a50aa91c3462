"""The state of an unfinished training on disk, from which it continues to the same bits."""

import sys
import time
from pathlib import Path

import torch

from baselines.training.distributed import Group
from suite import files
from suite.errors import UserError

SECONDS = 60  # a killed run loses at most this much
AGREE_STEPS = 20  # several processes ask each other that often whether to save their state


class Checkpoint:
    """Weights, optimiser, schedule, log and step in one file, written aside and renamed.

    path: the file; None: nothing is kept. conditions: a hash of everything that decides the result; a state
    of other conditions is not continued. `resume` comes first. The state of the last step stays there until
    it is removed, so that what was trained is not lost before the network is written.
    """

    def __init__(self, path: Path | None = None, conditions: str = ""):
        self.path, self.conditions = path, conditions

    def resume(self, parts: dict, group: Group) -> tuple[int, float]:
        """(step to go on from, seconds trained so far), with the parts as they were then; else (0, 0.0).

        parts: by name, whatever has state_dict and load_state_dict; `save` keeps the same ones.
        """
        self.group, self.parts, self.saved = group, parts, time.perf_counter()
        state = self.read()
        if state.get("conditions") != self.conditions:
            return 0, 0.0
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["step"], state["seconds"]

    def read(self) -> dict:
        """What the file holds: nothing of one that is missing, or damaged, which is said."""
        if self.path is None or not self.path.exists():
            return {}
        try:
            with files.reading(self.path):
                found = torch.load(self.path, map_location="cpu", weights_only=True)
                if not isinstance(found, dict):
                    raise TypeError(f"it holds a {type(found).__name__}")
                return found
        except UserError as error:
            print(f"{str(error).partition(': remove')[0]}: the training begins anew", file=sys.stderr)
            return {}

    def due(self, step: int) -> bool:
        """Whether to save after this step: all processes agree."""
        if self.path is None or (self.group.size > 1 and step % AGREE_STEPS):
            return False
        return self.group.agreed(time.perf_counter() - self.saved > SECONDS)

    def save(self, step: int, seconds: float) -> None:
        """Write the state after so many steps and seconds; every process calls this, the main one writes."""
        if self.path is None:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"step": step, "seconds": seconds, "conditions": self.conditions}
        if self.group.main:
            with files.write_aside(self.path) as aside:
                torch.save(state, aside)
        self.saved = time.perf_counter()

    def remove(self) -> None:
        """Delete the file, if there is one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
