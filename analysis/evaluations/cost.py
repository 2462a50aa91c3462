"""What serving every size costs: training, parameters, multiply-accumulates, forward passes, bytes.

Costs travel the same road as accuracies, so that both can stand on the axes of one figure. Rows of dim 0
are about a method as a whole. Nothing here is a time: seconds are those of a machine and of what else ran on
it, and stand in the provenance of each network.
"""

from collections.abc import Iterator, Sequence

from analysis.run import Run

BYTES_PER_NUMBER = 4  # embeddings are compared as float32


def score(run: Run) -> Iterator[dict]:
    """Rows per method (dim 0) and per size; see the metric names of `costs`."""
    cost = run.representation.meta["cost"]
    for dim, metric, value in costs(cost, run.method.kind, run.method.nesting):
        yield run.row(dim, "", metric, value, 1)


def costs(cost: dict, kind: str, sizes: Sequence[int]) -> Iterator[tuple[int, str, float]]:
    """(dim, metric, value) of what a run cost; dim 0 is all sizes together.

    cost: as the embeddings' meta.json has it. Where each size has a network, macs_per_image of a size is that
    network's; a fitted method reads the whole embedding of the network it starts from.
    """
    networks, projection = cost["networks"], cost.get("projection_macs", {})

    def total(key: str) -> float:
        return sum(net[key] for net in networks)

    yield 0, "networks", len(networks)
    for key in ("train_images", "train_macs"):
        yield 0, key, total(key)
    yield 0, "fit_macs", cost.get("fit_macs", 0)
    yield 0, "parameters", total("parameters")
    yield 0, "forwards", total("forwards")
    yield 0, "macs_all_sizes", total("macs_all_sizes") + cost.get("projection_macs_all_sizes", 0)
    for m in sizes:
        yield m, "bytes_per_item", BYTES_PER_NUMBER * m
        for net in networks:
            if kind == "fitted":
                yield m, "macs_per_image", max(net["macs"].values()) + projection.get(str(m), 0)
            elif str(m) in net["macs"]:
                yield m, "macs_per_image", net["macs"][str(m)]
