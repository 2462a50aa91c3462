"""Accuracy of the suite's linear probe, the same for all methods; `linear_probe_others`: those beyond."""

from analysis.plotting.against_size import against_size

TABLES = ("linear",)
INPUTS = ("data",)
ARGUMENT = ("", "others")


def draw(drawing):
    """The paper's methods, or the others' differences; bars are 95 % over test items."""
    shown = [("", drawing.table("linear", metric="probe_top1"))]
    return against_size(drawing, shown, "linear", "95 % over test items", "val")
