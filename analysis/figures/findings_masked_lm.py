"""The paper's claims that the study can test, as `findings`, of the table `findings_masked_lm`."""

from analysis.figures import findings

TABLES = ("findings_masked_lm",)
INPUTS = ("data",)


def draw(drawing):
    """A row per claim."""
    return findings.draw(drawing, "findings_masked_lm")
