"""Mean average precision of the first ten neighbours (paper, Figure 7); `retrieval_map_others`: beyond it."""

from analysis.plotting import rows_by
from analysis.plotting.against_size import against_size
from analysis.plotting.retrieval import PANELS, searched

TABLES = ("retrieval",)
INPUTS = ("data",)
ARGUMENT = ("", "others")


def draw(drawing):
    """Seen classes, unseen ones where the study has any, and the paper's own curves."""
    splits = rows_by(drawing.table("retrieval", metric="map@10"), "split", PANELS)
    shown = [(searched(drawing, rows), rows) for rows in splits.values()]
    return against_size(
        drawing, shown, "retrieval", "95 % over queries, of unseen classes over classes", None
    )
