"""Trained networks on disk: built from a study's settings, saved once, loaded for embedding.

results/networks/<study>/<network>-<seed>/checkpoint.pt   weights
results/networks/<study>/<network>-<seed>/log.csv         loss and accuracy per size and epoch
results/networks/<study>/<network>-<seed>/meta.json       settings, cost, conditions; written last
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from baselines.backbones import build_backbone
from baselines.learner import Learner
from baselines.training.batches import Normalise
from suite import files
from suite.contracts import METHOD
from suite.errors import UserError
from suite.study import Study

CHECKPOINT = "checkpoint.pt"


def build_learner(
    settings: dict, num_classes: int, channels: int, seed: int, captions: Tensor | None = None
) -> Learner:
    """A network with fresh weights.

    settings: Study.trained_with(network). captions: int64 [num_classes, T], for methods that learn from
    what is written about a class (their NEEDS). The backbone of one seed starts from the same weights
    whatever the method, since it is drawn first.
    """
    torch.manual_seed(seed)
    backbone = build_backbone(settings["backbone"], channels)
    baseline = settings["baseline"]
    options = METHOD.options(baseline, settings["options"])  # a saved network may lack a younger one
    more = {"captions": captions} if "captions" in METHOD.facts(baseline).NEEDS else {}
    return METHOD.load(baseline).build(backbone, num_classes, settings["sizes"], options, **more)


def macs_per_image(learner: Learner, images: Tensor) -> dict:
    """Multiply-accumulates for one image, counted on two of them (batch norm): [2, C, H, W] or tokens [2, L].

    `macs`: by size, what that size alone needs; `macs_all_sizes`: every size of one image; `macs_training`:
    a forward and a backward pass of the loss.
    """
    learner = copy.deepcopy(learner).cpu().eval()  # one image alone has no batch statistics
    labels = torch.arange(len(images))  # of different classes, whose captions are counted too
    rng = np.random.default_rng(0)
    with torch.no_grad():
        macs = {str(m): count_macs(lambda m=m: learner.features_at(images[:1], m)) for m in learner.sizes}
        everything = count_macs(lambda: learner.features(images[:1]))
    learner.train()
    step = count_macs(lambda: learner.loss(images, labels, 0.0, rng)[0].backward())
    return {"macs": macs, "macs_all_sizes": everything, "macs_training": step // len(images)}


def count_macs(work: Callable[[], object]) -> int:
    """Multiply-accumulates that `work()` does in matrix products and convolutions.

    Attention is taken apart into its products: the fused kernels are not counted everywhere.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2


def save_network(folder: Path, learner: Learner, normalise: Normalise, meta: dict) -> None:
    """Write checkpoint.pt and, last, meta.json, which has the checkpoint's SHA-256."""
    with files.write_aside(folder / CHECKPOINT) as aside:
        # Wherever it was trained: one trained on a GPU is read where there is none.
        torch.save({name: value.cpu() for name, value in learner.state_dict().items()}, aside)
    meta = meta | {"mean": list(normalise.mean), "std": list(normalise.std)}
    files.write_json(folder / "meta.json", meta | {"files": {CHECKPOINT: files.sha256(folder / CHECKPOINT)}})


def load_network(folder: Path, made_as: dict | None = None) -> tuple[Learner, Normalise, dict]:
    """(learner in evaluation mode, normalisation, meta).

    made_as: what meta.json has to say, see `identity`; None: whatever it says. Raises UserError when it is
    not complete, damaged, or of another network.
    """
    folder = Path(folder)
    meta = files.read_last(folder / "meta.json", "trained network")
    check_identity(folder, meta, made_as or {})
    again = f"remove {folder} and run again"
    files.check_marks(folder, meta.get("files"), CHECKPOINT, files.sha256, again)
    with files.reading(folder / CHECKPOINT, folder):
        state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    # What the network started from is in its own weights by now.
    backbone = {key: value for key, value in meta["settings"]["backbone"].items() if key != "init_weights"}
    settings = meta["settings"] | {"backbone": backbone}
    learner = build_learner(
        settings, meta["num_classes"], meta["channels"], meta["seed"], state.get("captions")
    )
    with files.reading(folder / CHECKPOINT, folder):
        learner.load_state_dict(state)
    crop = meta["settings"]["training"].get("evaluation_crop")
    normalise = Normalise(tuple(meta["mean"]), tuple(meta["std"]), crop)
    return learner.eval().to(memory_format=torch.channels_last), normalise, meta


def identity(study: Study, network: str, seed: int, data_checksum: str) -> dict:
    """What meta.json of a network says of the study, seed and data that it was trained for."""
    settings = study.trained_with(network)
    return {"network": network, "seed": seed, "data_checksum": data_checksum, "settings": settings}


def check_identity(folder: Path, meta: dict, made_as: dict) -> None:
    """Raise UserError naming what of a network's meta.json is not as it has to be."""
    if "copied_from" in meta:  # a frozen network: it stays what it was trained as, and Saved has checked it
        return
    for key, wanted in made_as.items():
        found, said = meta.get(key, wanted), f"{key} {meta.get(key)}, not {wanted}"
        if key == "settings":
            # A saved network may lack younger options; numbers are keys in YAML, texts in JSON.
            found = found | {"options": METHOD.options(wanted["baseline"], found["options"])}
            found, wanted = (json.loads(json.dumps(each)) for each in (found, wanted))
            other = [name for name in wanted if found.get(name) != wanted[name]]
            said = f"{', '.join(other)} other than the study's"
        if found != wanted:
            raise UserError(
                f"{folder} holds another network: its meta.json says {said}; remove it and run again"
            )
