"""What a representation is worth.

Two steps, so that a new k or a new statistic never needs a new forward pass or search:

    measure   MEASURE = "…"    measure(representation, dataset, study, options) -> raw outcomes per test item
    score     MEASURES = (…)   score(run) -> rows of the tidy table, from the raw outcomes of one method
                               compare(runs) -> rows about methods against each other; either or both

A measure that starts from what others saved names them in READS and gets their outcomes as arguments of
these names; one that takes times sets ALONE, and no other job runs beside it.

A file of analysis/ that sets MEASURE is a measure, one that sets MEASURES is an evaluation ("task"), and a
file of analysis/figures/ that sets TABLES is a figure. OPTIONS holds defaults; a study's file overrides.
"""
