"""Few-shot classification: nearest class mean on v2 images, n labelled images per class, all classes.

The rest of v2 is the test (paper, appendix G; docs/protocols.md, "Few-shot"). Data without v2 have val for a
test, and labelled items of train (`measures: {classmeans: {split: val}}`). The labelled images are chosen
several times at random from the same few, and these choices overlap: they are averaged image by image, and
intervals are over classes.
"""

from collections.abc import Iterator

from analysis.run import Items, Run

MEASURES = ("classmeans",)
ASKS = "classmeans.split"
NAME = "5-shot class means"
SHOTS = 5  # labelled images per class where methods are compared


def items(run: Run) -> Iterator[Items]:
    """top1 per number of `shots`: of each image the share of choices, where it is tested, that recognise it.

    Those with 5 shots, which are compared, come first. Images that every choice has labelled are left out.
    """
    split = run.study.measure_options("classmeans")["split"]
    if split not in run.dataset:
        return
    outcomes, labels = run.outcomes("classmeans"), run.dataset.labels(split)
    shots = outcomes["fewshot/shots"].tolist()
    for each in sorted(shots, key=lambda number: number != SHOTS):
        hits = outcomes["fewshot/hits"][:, :, shots.index(each)]  # [draws, sizes, choices, n]
        tested = (hits >= 0).sum(2)  # the same for every size and draw: the choices are the study's
        some = (tested > 0).all((0, 1))
        share = ((hits == 1).sum(2)[..., some] / tested[..., some]).astype("float32")
        usual = each == SHOTS
        given = {"kept": usual, "compared": usual, "array": "fewshot/top1" if usual else ""}
        yield Items(
            "top1", split, outcomes["sizes"], share, keys={"shots": each}, groups=labels[some], **given
        )
