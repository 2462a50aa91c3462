"""A copy of the suite as git lists it, and commands that run in one as a user's do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from suite.modules import ROOT


def listed(*folders: str) -> list[str]:
    """Files that git tracks, in some folders or all, and what is new beside them; paths from the root."""
    command = ["git", "ls-files", "-co", "--exclude-standard", *folders]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, "these tests copy what git lists; run them in a git checkout"
    return [name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


def copied(folder: Path, *folders: str) -> Path:
    """`folder` with a copy of those files."""
    for name in listed(*folders):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The environment of commands in a copy: this Python's, its modules the copy's."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}


def output_of(command: list[str], folder: Path) -> tuple[int, str]:
    """(exit code, what it says) of a command of this Python in a copy, both streams."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout
