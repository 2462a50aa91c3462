"""Speed and memory of the suite's own machinery: `python -m analysis.benchmark`."""

import shutil
from pathlib import Path

from suite.errors import UserError

NESTING = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # of the paper's ImageNet models


def make_room(folder: Path, size: int, what: str, instead: str) -> None:
    """Make a folder for files of `size` bytes; UserError when its disk has no room for them."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 1.05 * size:
        raise UserError(
            f"{what} {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; give another --folder "
            f"or {instead}"
        )
