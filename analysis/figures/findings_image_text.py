"""The paper's claims that the study can test, as `findings`, of the table `findings_image_text`."""

from analysis.figures import findings

TABLES = ("findings_image_text",)
INPUTS = ("data",)


def draw(drawing):
    """A row per claim."""
    return findings.draw(drawing, "findings_image_text")
