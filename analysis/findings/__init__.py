"""Which of the paper's claims a study shows, claim by claim, with numbers and intervals.

Every claim is one difference of outcomes on the test items with its 95 % interval, decided by a rule that is
stated in rules.py and not tuned. Four things can come out:

    shown           the interval lies where the claim says
    contradicted    it lies on the other side, beyond the study's margin
    undecided       neither; `detectable` is the smallest difference that could have been told from none
    not tested      the study lacks a method, a split or a size, and the row says which

About methods where each was trained more than once, about these networks otherwise (`scope`). The claims
stand in evaluations/findings*.py; evidence.py says what they are decided on, page.py writes them down.
"""
