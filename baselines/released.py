"""The reference's released ResNet50s as ready-made runs: MRL, MRL-E or a fixed feature; nothing is trained.

A checkpoint `r50_mrl{0,1}_e{0,1}_ff{m}.pt` is a state dict of a torchvision ResNet50 with blurred strides,
every name behind `module.`, and a classifier in one of these layouts:

    mrl             fc.nesting_classifier_{i}.weight [C, m_i] and .bias, one for each size
    mrl_e           fc.nesting_classifier_0.weight [C, d], or, in older files, fc.weight [C, d]
    fixed_feature   fc.weight [C, m]: it sees the first m features

A name in that pattern tells the layout; of a file by another name, the tensors do, but for fc.weight [C, d],
which may be either of two. Use it with `backbone: {name: resnet50, dim: 2048, blur_pool: true}`.
"""

import re
from pathlib import Path

from torch import Tensor, nn

from baselines.backbones.resnet import load_weights, read_state_dict
from baselines.learner import Learner
from baselines.nested import NestedHeads, TiedHead
from suite.errors import UserError, unknown

KIND = "trained"
LABEL = "Released"
READY = True  # comes with its weights
OPTIONS = {
    "path": "required",  # of the checkpoint
    "layout": None,  # mrl, mrl_e or fixed_feature; None: what the file's name or its tensors say
}
ALLOWED = {
    "path": {"type": "string"},
    "layout": {"enum": ["mrl", "mrl_e", "fixed_feature"]},
}

LAYOUTS = ("mrl", "mrl_e", "fixed_feature")
NAME = re.compile(r"r50_mrl([01])_e([01])_ff\d+\.pt")
NESTED = re.compile(r"fc\.nesting_classifier_(\d+)\.weight")


def build(backbone: nn.Module, num_classes: int, sizes, options) -> Learner:
    """A learner with the checkpoint's weights. Raises UserError when they do not fit the study."""
    path = Path(options["path"])
    weights = read_state_dict(path)
    layout = options["layout"] or layout_of(path, weights)
    if layout not in LAYOUTS:
        raise unknown("layout of a checkpoint", layout, LAYOUTS, "baselines/released.py")
    if not hasattr(backbone, "network"):
        raise UserError(f"{path} is a ResNet50; backbone.name is of another kind")
    load_weights(backbone.network, weights, path)
    head = NestedHeads(num_classes, sizes) if layout != "mrl_e" else TiedHead(num_classes, sizes)
    linears = [head] if layout == "mrl_e" else [head[str(m)] for m in sizes]
    found = classifiers(weights, layout)
    if [tuple(w.shape) for w, _ in found] != [tuple(linear.weight.shape) for linear in linears]:
        raise UserError(
            f"{path}: as {layout} its classifiers are {shapes(w for w, _ in found)} (classes × size); the "
            f"study needs {shapes(linear.weight for linear in linears)}: see `nesting` and the classes"
        )
    for linear, (weight, bias) in zip(linears, found):
        linear.load_state_dict({"weight": weight, "bias": bias})
    return Learner(backbone, head, sizes)


def layout_of(path: Path, weights: dict[str, Tensor]) -> str:
    """Layout of a checkpoint by its name or its tensors. Raises UserError when neither tells."""
    if named := NAME.fullmatch(path.name):
        mrl, efficient = named.groups()
        return "mrl_e" if efficient == "1" else "mrl" if mrl == "1" else "fixed_feature"
    nested = [name for name in weights if NESTED.fullmatch(name)]
    if nested:
        return "mrl" if len(nested) > 1 else "mrl_e"
    if "fc.weight" not in weights:
        raise UserError(f"{path} has no classifier (fc.nesting_classifier_0.weight or fc.weight)")
    if weights["fc.weight"].shape[1] == weights["layer4.2.bn3.weight"].shape[0]:
        raise UserError(
            f"{path} may be MRL-E or a fixed feature of full size: say which with layout: mrl_e or layout: "
            "fixed_feature"
        )
    return "fixed_feature"


def classifiers(weights: dict[str, Tensor], layout: str) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of every classifier of a checkpoint in the order of sizes; a missing bias is 0."""
    numbered = sorted((int(NESTED.fullmatch(name)[1]), name) for name in weights if NESTED.fullmatch(name))
    names = [name for _, name in numbered] if layout != "fixed_feature" else []
    names = names or [name for name in ("fc.weight",) if name in weights]
    zeros = {name: weights[name].new_zeros(len(weights[name])) for name in names}
    return [(weights[name], weights.get(name.replace("weight", "bias"), zeros[name])) for name in names]


def shapes(tensors) -> str:
    """Shapes of matrices as one writes them: "1000×8, 1000×16", or "none"."""
    return ", ".join("×".join(map(str, tensor.shape)) for tensor in tensors) or "none"
