"""How a representation is learned: one file per method.

A file that sets KIND is a method. What it must define:

    KIND = "trained"   build(backbone, num_classes, sizes, options) -> Learner   (baselines/learner.py)
                       NETWORK_PER_SIZE = True where each size needs a network of its own
                       READY = True, MEAN, STD where `build` gives a network that needs no training
                       NEEDS_CAPTIONS = True where build also takes captions of the classes
                       STARTS_FROM = "<method>" where training starts from that method's full-size network
    KIND = "fitted"    fit(source, sizes, options, generator) -> Fit            (baselines/fitting.py)
                       SOURCE = "<method>" whose full-size embeddings it starts from
    KIND = "control"   embed(labels, codes, generator) -> [n, d]                (baselines/control_*.py)
    LABEL, OPTIONS     the name in figures; options with their defaults
"""
