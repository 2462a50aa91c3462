"""What serving every size costs: training, parameters, multiply-accumulates, forward passes, bytes.

Costs travel the same road as accuracies, so that both can stand on the axes of one figure. Rows of dim 0
are about a method as a whole.
"""

from collections.abc import Iterator

from analysis.run import Run

MEASURES = ()
OPTIONS = {}
BYTES_PER_NUMBER = 4  # embeddings are compared as float32


def score(run: Run) -> Iterator[dict]:
    """Rows per method (dim 0) and per size; see the metric names."""
    cost = run.representation.meta["cost"]
    networks = cost["networks"]

    def row(dim: int, metric: str, value: float) -> dict:
        return run.row(dim, "", metric, value, 1)

    def total(key: str) -> float:
        return sum(net[key] for net in networks)

    yield row(0, "networks", len(networks))
    yield row(0, "train_seconds", total("train_seconds"))
    yield row(0, "train_images", total("train_images"))
    yield row(0, "train_macs", total("train_macs"))
    yield row(0, "fit_seconds", cost.get("fit_seconds", 0.0))
    yield row(0, "fit_macs", cost.get("fit_macs", 0))
    yield row(0, "parameters", total("parameters"))
    yield row(0, "forwards", total("forwards"))
    yield row(0, "macs_all_sizes", total("macs_all_sizes") + cost.get("projection_macs_all_sizes", 0))
    if "embed_seconds" in cost:
        yield row(0, "embed_images_per_second", cost["embed_images"] / cost["embed_seconds"])
    projection = cost.get("projection_macs", {})
    for m in run.method.nesting:
        yield row(m, "bytes_per_item", BYTES_PER_NUMBER * m)
        for net in networks:
            if run.method.kind == "fitted":  # reads the whole embedding of the network it starts from
                yield row(m, "macs_per_image", max(net["macs"].values()) + projection.get(str(m), 0))
            elif str(m) in net["macs"]:
                yield row(m, "macs_per_image", net["macs"][str(m)])
