"""Accuracy under shift, a panel per split, beside clean images of the same classes (paper, appendix H)."""

from analysis.measures.predict import RESTRICTED
from analysis.plotting import curves, headline, legend_below, new_figure, over_seeds, rows_by
from suite.errors import UserError

TABLES = ("robustness",)
INPUTS = ("data",)
REFERENCE = "mrl"  # whose accuracy on clean images is drawn
SPLITS = {"v2": "collected again", "sketch": "outlines", "r": "renditions", "a": "naturally hard"}


def draw(drawing):
    """Every method's curve; dashed and grey, the reference on clean images under the same restriction."""
    table = drawing.table("robustness")
    splits = rows_by(table, "split", SPLITS)
    if not splits:
        raise UserError(
            f"robustness has nothing to draw: {drawing.study.name} has none of the splits "
            f"{', '.join(SPLITS)}; take the figure out of {drawing.study.path}"
        )
    figure, panels = new_figure(len(splits), width=7.2, height=3.7, squeeze=False, sharey=True)
    # Those that are restricted to a split's classes, where that was done.
    table = table[table["classes"] == table.groupby("split")["classes"].transform("min")]
    for axes, (split, rows) in zip(panels[0], rows_by(table, "split", SPLITS).items()):
        curves(drawing, axes, rows, drawing.study.main_methods("robustness"))
        if axes is not panels[0, 0]:
            axes.set_ylabel("")
        clean = table[table["split"] == (f"val@{split}" if split in RESTRICTED else "val")]
        if len(clean := over_seeds(clean[clean["method"] == REFERENCE])):
            label = f"{drawing.label(REFERENCE)} on clean images of the same classes"
            axes.plot(clean["dim"], clean["value"], color="#888888", linestyle=(0, (4, 2)), label=label)
        axes.set_title(
            f"{split}: {SPLITS[split]}\nn = {rows['n'].max():,}, {rows['classes'].max():.0f} classes"
        )
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel("size")
    text = drawing.conditions(None)
    if restricted := [split for split in RESTRICTED if split in splits]:
        text += f"\n{' and '.join(restricted)}: logits restricted to their classes"
    headline(figure, text)
    legend_below(figure, panels[0, 0], columns=4)
    return figure
