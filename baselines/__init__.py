"""How a representation is learned: one file per method.

A file that states KIND is a method: METHOD in suite/contracts.py is the contract, docs/extend.md shows an
example. It states literal constants and defines one function:

    KIND               "trained": build(backbone, num_classes, sizes, options) -> Learner  (learner.py)
                       "fitted": fit(source, sizes, options, rng) -> Fit  (fitting.py)
                       "control": embed(labels, codes, rng) -> float32 [n, d]
    LABEL              its name in figures
    OPTIONS            its options with their defaults; "required" where there is none
    SOURCE             fitted: the method whose full-size embeddings it starts from
    STARTS_FROM        trained: the method whose full-size network its learner's `start_from` is given
    NETWORK_PER_SIZE   trained: True where each size needs a network of its own
    READY              trained: True where `build` finds its weights at the option `path`
    NEEDS              what its data must have beyond images and labels; of ("captions",) `build` also takes
                       captions, int64 [num_classes, T]

Beside the methods lie what their authors import (learner, nested, fitting, probe, representation) and the
commands (train, embed, tune, benchmark); backbones/ holds the networks, training/ how they are trained.
"""
