"""One ablation against the default: `ablation_loss_weights` draws the methods of that group.

Left: linear classification at the sizes a variant was trained for; middle: 1-NN at all sizes of the study,
hollow where a variant was not trained; right: the paper's own figures, where they could be traced.
"""

from analysis.plotting import (
    LOOKS,
    headline,
    legend_below,
    look,
    metric_of,
    new_figure,
    over_seeds,
    paper,
    paper_title,
    size_axis,
)

TABLES = ("linear", "knn")
INPUTS = ("data",)
ARGUMENT = "group"
REFERENCE = "mrl"  # what every ablation is compared with

# What stands beside the variants apart from it.
ALSO = {
    "finetuning": ("first_features",),
    "learning_rate": ("fixed_feature",),
    "compute": ("fixed_feature",),
    "maps": ("pca", "svd", "linear_map"),
}
# Which of linear's metrics, where it is not each method's own classifier.
METRIC = {"maps": "probe_top1"}

# The paper's task, and its name of a method → ours, in its table.
PAPER = {
    "finetuning": (
        "finetuning",
        {
            "unfrozen: fc": "finetune_head",
            "unfrozen: 4.2 conv2, conv3, fc": "finetune_conv2",
            "unfrozen: 4.2 full, fc": "finetune_block",
            "unfrozen: All (MRL end-to-end)": "finetune_all",
        },
    ),
    "loss_weights": ("loss_weights", {"mrl": "mrl", "mrl_8boost": "mrl_8boost"}),
    "spacing": ("log_vs_uniform", {"MRL-log": "mrl", "mrl_uniform": "mrl_uniform"}),
    "smallest_size": ("min_granularity", {name: name for name in ("mrl", "mrl_min4", "mrl_min6")}),
}


def draw(drawing):
    """Two panels of the study, one of the paper where it has such an ablation."""
    methods = chosen(drawing)
    looks = figure_looks(methods)
    rows = paper_rows(drawing.argument)
    panels = 2 + (rows is not None)
    figure, axes = new_figure(panels, height=3.3, width_ratios=(1.2, 1.2, 1)[:panels])
    sizes = drawing.table("linear", method=methods[0], metric="top1")["dim"]
    for axis, task, metric in zip(axes, TABLES, (METRIC.get(drawing.argument, "top1"), "top1")):
        table = drawing.table(task, metric=metric)
        dims = table.loc[table["method"].isin(methods), "dim"]
        for method in methods:
            variant(axis, table[table["method"] == method], looks[method], drawing.label(method))
        size_axis(axis, [*sizes, *dims[dims < sizes.min()]])
        axis.set_ylabel(metric_of(table).axis)
    axes[0].set_title(f"bands: {drawing.over(methods=methods)}")
    axes[1].set_title("hollow: sizes that were not trained")
    if rows is not None:
        paper_variants(axes[2], rows, looks)
    legend_below(figure, axes[0], columns=4)
    headline(figure, drawing.conditions(bars=None, methods=methods))
    return figure


def figure_looks(methods: list[str]) -> dict[str, dict]:
    """Look of each method: its own where it has one in every figure, else colours not taken by those."""
    looks = {name: look(name) for name in methods if name in LOOKS}
    taken = {own["color"] for own in looks.values()}
    others = [name for name in methods if name not in LOOKS]
    return looks | {name: look(name, place, taken) for place, name in enumerate(others)}


def chosen(drawing) -> list[str]:
    """Methods of the ablation, what they are compared with first."""
    methods, beside = drawing.study.methods, (REFERENCE, *ALSO.get(drawing.argument, ()))
    variants = [name for name in methods if methods[name].group == f"ablation_{drawing.argument}"]
    return [name for name in beside if name in methods] + variants


def variant(axes, table, look: dict, label: str) -> None:
    """One curve with its interval; hollow markers at sizes that were not trained."""
    rows = over_seeds(table, ("method", "dim", *table.columns.intersection(["trained"]))).sort_values("dim")
    axes.fill_between(rows["dim"], rows["low"], rows["high"], color=look["color"], alpha=0.1, lw=0)
    axes.plot(rows["dim"], rows["value"], label=label, **look)
    if "trained" in rows:
        hollow = rows[~rows["trained"].astype(bool)]
        look = look | {"linestyle": "none", "markerfacecolor": "white"}
        axes.plot(hollow["dim"], hollow["value"], **look)


def paper_rows(ablation: str):
    """The paper's rows of this ablation with our names as `method`, or None."""
    if ablation not in PAPER:
        return None
    task, ours = PAPER[ablation]
    rows = paper(task, "top1").dropna(subset=["dim"])
    return rows.assign(method=rows["method"].map(ours)).dropna(subset=["method"])


def paper_variants(axes, rows, looks: dict[str, dict]) -> None:
    """The paper's curves in the colours of the corresponding variants, drawn lightly."""
    for method, some in rows.groupby("method", sort=False):
        some = some.sort_values("dim")
        look = looks.get(method, {"color": "#999999", "marker": "o"})
        axes.plot(some["dim"], some["value"], alpha=0.5, **look)
    size_axis(axes, rows["dim"][rows["dim"].isin([2**k for k in range(1, 12)] + [6])])
    axes.tick_params(axis="x", rotation=45)
    paper_title(axes, fontsize=7)
