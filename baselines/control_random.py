"""Floor: embeddings and classifiers of noise, which know nothing of the images. Must score at chance."""

import numpy as np

KIND = "control"
LABEL = "Floor (noise)"
OPTIONS = {}


def embed(labels, codes, rng):
    """float32 [n, d], independent of the labels [n]. codes: [all classes, d]."""
    return rng.standard_normal((len(labels), codes.shape[1]), dtype=np.float32)
