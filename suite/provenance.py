"""What a result was made with: every run carries this, so that it can be judged and repeated."""

import datetime
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from suite.machine import cores
from suite.modules import ROOT

LIBRARIES = ("torch", "torchvision", "numpy", "faiss-cpu", "scikit-learn", "pandas", "matplotlib")


def provenance(**conditions: object) -> dict:
    """Commit, date, machine, library versions and the given conditions (seed, threads, device …)."""
    return {
        "commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {processor()}",
        "cores": cores(),
        "libraries": dict(versions()),
        **conditions,
    }


def versions() -> Iterator[tuple[str, str]]:
    """(library, version) of those that are there: a machine that only trains needs no faiss."""
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def git_commit() -> str:
    """Hash of the checkout's commit, with + when tracked files differ from it; "unknown" without git."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """The processor's name as the system gives it."""
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(encoding="utf-8") if listed.exists() else ""
    named = re.search(r"^model name\s*:\s*(.*\S)", text, re.M)
    return named[1] if named else platform.processor()
