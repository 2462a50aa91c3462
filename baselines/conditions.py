"""What decides a network's weights beside its settings: source files, and weights that come from elsewhere.

Needs no torch: the workflow asks here too.
"""

from suite import files, modules
from suite.contracts import BACKBONE, METHOD, backbone_module
from suite.study import Method, Study

TRAINING = "baselines/train.py"


def training_code(study: Study, method: Method, command: str = TRAINING) -> list[str]:
    """Source files that decide a method's weights: its own, the backbone's, and how they are trained."""
    backbone = BACKBONE.path(backbone_module(study.backbone["name"]))
    return modules.closure(command, METHOD.path(method.baseline), backbone)


def begun_from(study: Study, network: str, command: str = TRAINING) -> list:
    """A hash of that code, and the content of weights from elsewhere; JSON-like.

    An unfinished training goes on under the same alone.
    """
    method = study.method(study.network(network).method)
    weights = [(str(path), files.content(path)) for path in study.ready_weights(network)]
    return [modules.content(training_code(study, method, command)), weights]
