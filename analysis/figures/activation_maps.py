"""Where each size looks: class activation maps of images whose predicted class changes with the size.

    logit_c = b_c + mean over positions of Σ_{j ≤ m} W^(m)_cj F_j(x),   F(x): the last feature maps [d, h, w]

The mean of a map and the bias are the logit: nothing is approximated (Zhou et al. 2016). The paper shows
Grad-CAM, which for a linear classifier on averaged maps is the same but for a factor and the negative part.
`activation_maps` shows MRL, `activation_maps_fixed_feature` another method, with its network for each size.
"""

import numpy as np
import torch
from matplotlib.figure import Figure

from analysis.measures import read_outcomes
from analysis.plotting.pictures import spread, wrapped
from baselines.learner import Learner
from baselines.training.batches import centre
from baselines.training.networks import load_network
from suite.errors import UserError

TABLES = ()
INPUTS = ("data", "maps")
ARGUMENT = "method"
MEASURES = ("predict",)
METHOD = "mrl"
ROWS = 6  # images
# Inches: a picture and its cell, what stands above the first row, and left of it.
SIDE, CELL, TOP, LEFT = 0.86, (0.92, 1.1), 0.72, 0.08
NAME_LENGTH = 17  # characters of a class name under a picture


def draw(drawing):
    """A row per image: the image, then for each size its map of the class it is taken for, and that class."""
    study, method = drawing.study, drawing.argument or METHOD
    outcomes = read_outcomes(drawing.layout, method, study.seeds[0], "predict")
    labels, sizes = drawing.dataset.labels("val"), outcomes["sizes"].tolist()
    answers = outcomes["val/top5"][0, :, :, 0]
    changing = (answers != answers[0]).any(0)
    rows = chosen(changing & (answers == labels).any(0), labels)
    if not len(rows):
        raise UserError(
            f"activation_maps has nothing to draw: {method} takes no image of val for different classes at "
            f"different sizes; take it out of {study.path}"
        )
    maps, crop = activation_maps(drawing, method, rows, dict(zip(sizes, answers[:, rows])))
    pictures = centre(torch.from_numpy(drawing.dataset["val"].images[rows]), crop).numpy()
    columns = 1 + len(sizes)
    width, height = 2 * LEFT + columns * CELL[0], TOP + len(rows) * CELL[1]
    figure = Figure(figsize=(width, height))
    conditions = (
        f"{study.title} · {drawing.label(method)}, seed {study.seeds[0]}\n"
        f"{changing.sum():,} of {len(labels):,} images are taken for several classes, by size\n"
        "bright: speaks for the class below; red: a wrong one"
    )
    figure.text(0.5, 1 - 0.05 / height, conditions, ha="center", va="top", fontsize=7.5)
    for line, row in enumerate(rows):
        bottom = height - TOP - line * CELL[1] - SIDE
        for column in range(columns):
            left = LEFT + column * CELL[0] + (CELL[0] - SIDE) / 2
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            axes.set_axis_off()
            picture = pictures[line]
            axes.imshow(picture if picture.shape[-1] == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=255)
            answer = labels[row] if column == 0 else answers[column - 1, row]
            if column:
                overlay(axes, maps[sizes[column - 1]][line], picture.shape[:2])
            if line == 0:
                axes.set_title("image" if column == 0 else f"m = {sizes[column - 1]}", fontsize=7.5, pad=3)
            look = {
                "color": "black" if answer == labels[row] else "#B3261E",
                "fontsize": 5,
                "linespacing": 1.05,
            }
            name = wrapped(drawing.dataset.classes["name"][answer], NAME_LENGTH)
            axes.text(0.5, -0.03, name, transform=axes.transAxes, ha="center", va="top", **look)
    return figure


def chosen(among: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """At most ROWS of the images `among` (bool [n]), of different classes and evenly spread over these."""
    found = np.flatnonzero(among)
    _, first = np.unique(labels[found], return_index=True)
    return spread(found[first], ROWS)


def activation_maps(
    drawing, method: str, rows: np.ndarray, answers: dict[int, np.ndarray]
) -> tuple[dict[int, np.ndarray], int | None]:
    """(by size the maps float32 [k, h, w] of images `rows`, the side of the square that is looked at).

    answers: by size the classes int64 [k] whose maps they are.
    """
    found, images = {}, drawing.dataset["val"].images[rows]
    for network in drawing.study.method(method).networks:
        learner, normalise, _ = load_network(drawing.layout.network(network.name, drawing.study.seeds[0]))
        features = feature_maps(learner, normalise(images))
        for m in learner.sizes:
            found[m] = class_maps(learner, features, m, answers[m]).numpy()
    return found, normalise.crop


@torch.inference_mode()
def feature_maps(learner: Learner, images: torch.Tensor) -> torch.Tensor:
    """Maps [n, d, h, w] whose means are the features of images, float32 [n, C, H, W].

    Raises UserError for a network whose backbone was changed and has no maps.
    """
    if not hasattr(learner.backbone, "maps"):
        raise UserError(
            f"{type(learner).__name__} has no feature maps of one network for all sizes; take its figure "
            "activation_maps out of the study"
        )
    return learner.backbone.maps(images).float()


@torch.inference_mode()
def class_maps(learner: Learner, features: torch.Tensor, m: int, classes: np.ndarray) -> torch.Tensor:
    """Maps [n, h, w] of one class per image at size m: their means, plus the bias, are the logits.

    features: `feature_maps` of the images.
    """
    (view,) = (view for view in learner.views if m in view.sizes)
    weight, _ = learner.classifier(m)
    chosen = weight[torch.from_numpy(classes)].float()
    return torch.einsum("nmhw,nm->nhw", features[:, view.prefix(m)], chosen)


def overlay(axes, values: np.ndarray, shape: tuple[int, int]) -> None:
    """The part of a map [h, w] that speaks for the class, over a picture of so many pixels."""
    values = np.maximum(values, 0)
    look = {"cmap": "inferno", "alpha": 0.6, "interpolation": "bilinear", "vmin": 0}
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    axes.imshow(values / max(values.max(), 1e-12), vmax=1, extent=extent, **look)
