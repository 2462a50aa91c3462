"""Masked language modelling for one size alone: a network of its own for each m, as the paper's FF.

Same transformer of width d, same loss with one term: the head reads the first m features and the first m
columns of the embedding matrix.
"""

from baselines import masked_lm

KIND = "trained"
LABEL = "FF"
NETWORK_PER_SIZE = True
OPTIONS = {
    "masked": 0.15,  # share of the tokens that have to be predicted in a step, BERT's
}
ALLOWED = {
    "masked": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
}


def build(backbone, num_classes, sizes, options):
    """A learner on `backbone` (embedded tokens [n, L, d] → [n, L, d]) for one size."""
    return masked_lm.MaskedLM(backbone, num_classes, sizes, **options)
