"""Ceiling: every image's embedding is the code of its label. Must score 100 % at every size.

The code is the one-hot label seen through a random Gaussian matrix, whose first columns already tell all
classes apart: the ceiling holds at every size, and not only where the size reaches the number of classes.
The two controls are the only methods that are given labels.
"""

KIND = "control"
LABEL = "Ceiling (label)"
OPTIONS = {}


def embed(labels, codes, rng):
    """float32 [n, d]: row `label` of codes [all classes, d]."""
    return codes[labels]
