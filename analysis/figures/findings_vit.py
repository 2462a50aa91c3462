"""The paper's claims that the study can test, as `findings`, of the table `findings_vit`."""

from analysis.figures import findings

TABLES = ("findings_vit",)
INPUTS = ("data",)


def draw(drawing):
    """A row per claim."""
    return findings.draw(drawing, "findings_vit")
