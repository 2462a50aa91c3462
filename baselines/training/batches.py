"""Images as normalised float batches on a device, in an order that depends on nothing but the seed.

Batch `step` of a run is a function of (seed, step): every method sees the same images in the same order
with the same shifts, and a resumed run continues exactly where it was.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.training import loading
from suite.errors import UserError

# What torchvision's and the reference's released networks were trained with, per channel.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAMPLE_BYTES = 256 << 20  # read to find the images' mean and deviation
CROP_ATTEMPTS = 10  # draws of a crop that does not fit into the image, before the whole image is taken
SIDE_STEP = 32  # sides of crops between the first and the last are multiples of this


@dataclass(frozen=True)
class Normalise:
    """uint8 [n, H, W, C] → float32 [n, C, H, W] with the training split's mean 0 and deviation 1.

    Token ids (wider integers, [n, length]) have no mean and no deviation: they become int64 as they are.
    crop: side of the centre square that is looked at, for evaluation; None is the whole image.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: int | None = None

    @classmethod
    def of(cls, images: np.ndarray) -> "Normalise":
        """Mean and deviation per channel over at most 20,000 evenly spaced images (of 256 MB in all)."""
        if images.dtype != np.uint8:
            return cls((), ())
        sample = min(20_000, max(1, SAMPLE_BYTES // images[0].nbytes))
        chosen = images[:: max(1, len(images) // sample)].astype(np.float32) / 255
        return cls(
            tuple(chosen.mean((0, 1, 2), dtype=np.float64).tolist()),
            tuple((chosen.std((0, 1, 2), dtype=np.float64) + 1e-6).tolist()),
        )

    def __call__(self, images: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
        if not isinstance(images, Tensor):
            images = torch.from_numpy(np.array(images))
        if images.dtype != torch.uint8:
            return images.to(device, torch.int64, non_blocking=True)
        batch = centre(images, self.crop).to(device, non_blocking=True)
        mean, std = (on_device(values, str(device)) for values in (self.mean, self.std))
        # The permuted view of [n, H, W, C] is channels_last already: no copy.
        return ((batch.float() - mean) / std).permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def on_device(values: tuple[float, ...], device: str) -> Tensor:
    """Values of pixels, given for a range of 0 to 1, as float32 [C] for one of 0 to 255."""
    return torch.tensor(values, device=device) * 255


def centre(images: Tensor, side: int | None) -> Tensor:
    """The centre square of [n, H, W, C]: [n, side, side, C]. Raises UserError when images are smaller."""
    if side is None:
        return images
    height, width = images.shape[1:3]
    if side > min(height, width):
        raise UserError(
            f"training.evaluation_crop is {side}, but the stored images are {height}×{width}; store larger "
            "ones (data.size) or crop less"
        )
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


def training_rows(n: int, batch: int, seed: int, steps: Iterable[int], share: slice) -> Iterator[np.ndarray]:
    """This process's rows of each of `steps`: int64 [batch / processes]; an epoch visits each of n once.

    The rows of a batch are sorted: a memory-mapped file is read forwards.
    """
    per_epoch, now = n // batch, None
    for step in steps:
        epoch, index = divmod(step, per_epoch)
        if epoch != now:
            order, now = np.random.default_rng([seed, epoch]).permutation(n), epoch
        yield np.sort(order[index * batch : (index + 1) * batch])[share]


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    normalise: Normalise,
    settings: dict,
    seed: int,
    steps: range,
    device: str = "cpu",
    share: slice = slice(None),
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (step, x float32 [b, C, H, W], y int64 [b]) on the device: this process's share of each step.

    settings: `batch_size` and `augment` of a study's `training`. The crop of `normalise` is for evaluation,
    and is left out.
    """
    batch = min(settings["batch_size"], len(images))
    normalise = replace(normalise, crop=None)
    rows_of = training_rows(len(images), batch, seed, steps, share)
    for step, (rows, x) in enumerate(loading.stream(images, rows_of, device), steps.start):
        epoch, x = step // (len(images) // batch), normalise(x, device)
        x = augment(x, settings["augment"], seed, step, epoch=epoch, total=batch, share=share)
        yield step, x, torch.from_numpy(labels[rows]).to(device)


def augment(
    images: Tensor,
    settings: dict,
    seed: int,
    step: int,
    *,
    epoch: int = 0,
    total: int | None = None,
    share: slice = slice(None),
) -> Tensor:
    """[n, C, H, W] moved or cropped at random and, where asked for, mirrored, on the images' own device.

    settings: a study's `training.augment`: shift (pixels, edges repeated), crop (see `random_crop`), flip.
    total, share: where these are only a part of the step's batch, its size and which part they are, so that
    an image is changed in the same way however many processes divide the batch.
    """
    changes = draw_changes(settings, seed, step, len(images) if total is None else total, share)
    on_images = {name: torch.from_numpy(values).to(images.device) for name, values in changes.items()}
    return changed(images, settings, on_images, epoch)


def draw_changes(
    settings: dict, seed: int, step: int, total: int, share: slice = slice(None)
) -> dict[str, np.ndarray]:
    """How a step's n images are changed: offsets int64 [2, n], mirrored bool [n], boxes float32 [4, n]."""
    shift, crop, flip = settings.get("shift", 0), settings.get("crop"), settings.get("flip", False)
    rng, changes = np.random.default_rng([seed, step, 1]), {}
    if shift:
        changes["offsets"] = rng.integers(0, 2 * shift + 1, (2, total))[:, share]
    if flip:
        changes["mirrored"] = (rng.random(total) < 0.5)[share]
    if crop:
        changes["boxes"] = draw_crops(crop, total, rng)[:, share].astype(np.float32)
    return changes


def changed(images: Tensor, settings: dict, changes: dict[str, Tensor], epoch: int = 0) -> Tensor:
    """[n, C, H, W] changed as `draw_changes` says; on the device of both."""
    mirrored = changes.get("mirrored")
    if "offsets" in changes:
        images = random_shift(images, settings["shift"], changes["offsets"])
    if "boxes" in changes:
        return random_crop(images, changes["boxes"], crop_side(settings["crop"], epoch), mirrored)
    if mirrored is not None:
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def random_shift(images: Tensor, shift: int, offsets: Tensor) -> Tensor:
    """[n, C, H, W] moved by up to `shift` pixels; offsets: int64 [2, n], 0 … 2·shift down and right."""
    device = images.device
    padded = F.pad(images, [shift] * 4, mode="replicate")
    rows, cols = (
        start[:, None] + torch.arange(side, device=device) for start, side in zip(offsets, images.shape[2:])
    )
    which = torch.arange(len(images), device=device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def draw_crops(crop: dict, n: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes of random-resized crops in shares of the image's sides: top, left, height, width as [4, n].

    The area is uniform in crop["area"], the logarithm of the aspect ratio uniform in that of crop["ratio"];
    a box that does not fit is drawn again (Szegedy et al. 2015; as in torchvision's RandomResizedCrop).
    """
    area = rng.uniform(*crop.get("area", (0.08, 1.0)), (CROP_ATTEMPTS, n))
    ratio = np.exp(rng.uniform(*np.log(crop.get("ratio", (3 / 4, 4 / 3))), (CROP_ATTEMPTS, n)))
    height, width = np.sqrt(area / ratio), np.sqrt(area * ratio)
    fits = (height <= 1) & (width <= 1)
    first = fits.argmax(0), np.arange(n)
    height = np.where(fits.any(0), height[first], 1.0)
    width = np.where(fits.any(0), width[first], 1.0)
    return np.stack([rng.random(n) * (1 - height), rng.random(n) * (1 - width), height, width])


def crop_side(crop: dict, epoch: int) -> int:
    """Side of the crops of an epoch (from 0): crop["side"], or from its first to its last over crop["ramp"].

    >>> [crop_side({"side": [160, 192], "ramp": [29, 34]}, epoch) for epoch in (0, 29, 31, 32, 34, 39)]
    [160, 160, 160, 192, 192, 192]
    """
    first, last = crop["side"][0], crop["side"][-1]
    start, end = crop.get("ramp", (0, 0))
    if epoch <= start:
        return last if end <= start else first
    if epoch >= end:
        return last
    side = round(float(np.interp(epoch, (start, end), (first, last))) / SIDE_STEP) * SIDE_STEP
    return min(max(side, first), last)


def random_crop(images: Tensor, boxes: Tensor, side: int, mirrored: Tensor | None) -> Tensor:
    """Each image's own box, interpolated to `side`: [n, C, H, W] → [n, C, side, side].

    boxes: [4, n] from `draw_crops`; mirrored: bool [n]. Interpolation is bilinear: images are stored little
    larger than they are trained at, so that there is hardly anything to average over.
    """
    top, left, height, width = boxes.to(images.dtype)[:, :, None]
    steps = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / side
    across = steps if mirrored is None else torch.where(mirrored[:, None], 1 - steps, steps)
    y = 2 * (top + height * steps) - 1  # grid_sample's coordinates run from −1 to 1
    x = 2 * (left + width * across) - 1
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def evaluation_batches(n: int, batch_size: int) -> Iterator[slice]:
    """Slices that cover n rows in order."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
