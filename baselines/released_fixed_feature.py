"""The reference's released fixed-feature ResNet50s: a ready-made network for each size; see released.py."""

from baselines import released
from suite.errors import UserError

KIND = "trained"
LABEL = "FF (released)"
NETWORK_PER_SIZE = True
READY = True  # comes with its weights
OPTIONS = {
    "path": "required",  # of the checkpoints, with {m} for the size: data/released/r50_mrl0_e0_ff{m}.pt
}
ALLOWED = {
    "path": {"type": "string", "pattern": r"\{m\}"},
}


def build(backbone, num_classes, sizes, options):
    """A learner with the weights of the checkpoint of one size."""
    if "{m}" not in options["path"]:
        raise UserError(f"path of released_fixed_feature is {options['path']}; it needs {{m}} for the size")
    (m,) = sizes
    path = options["path"].replace("{m}", str(m))
    return released.build(backbone, num_classes, sizes, {"path": path, "layout": "fixed_feature"})
