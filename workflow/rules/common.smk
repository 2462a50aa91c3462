"""The study, and what follows from it; read once, before any job."""

import json
import os
import re
import shlex
import sys
from functools import cache

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from baselines.conditions import training_code
from suite import files, modules
from suite.cli import has_gpu
from suite.contracts import EVALUATION, FIGURE, MEASURE, METHOD, SOURCE
from suite.errors import UserError
from suite.machine import cores
from suite.requests import check_config, check_place, files_asked, no_target, values
from suite.study import load_study, study_name

try:
    check_place(workflow.basedir)
    check_config(config)
    CHANGES = (
        {"seeds": list(map(int, values(config, "seeds")))} if "seeds" in config else {}
    )
    CHANGES |= {"recipes": values(config, "recipes")} if "recipes" in config else {}
    STUDY = load_study(str(config["study"]), **CHANGES)
except UserError as error:
    raise WorkflowError(str(error))

LAYOUT = STUDY.layout
# Put behind every command, so that what a job runs can be read, copied and run by hand. Spelt in one way, so that
# another spelling of the same study is no reason to run anything again. Rules take it from a function: in text of
# a rule, braces of a path would be wildcards.
STUDY_ARGUMENT = f"--study {shlex.quote(study_name(str(config['study'])))}"


def seeds_argument(study):
    """The seeds of a study, and its recipes where they are not the file's own."""
    recipes = f" --recipes {' '.join(study.recipes)}" if "recipes" in config else ""
    return f"--seeds {' '.join(map(str, study.seeds))}{recipes}"


SEEDS_ARGUMENT = seeds_argument(STUDY)

# One job per GPU where this machine has any (the default profile sets how many jobs may hold one), and none
# asked for where it has not: jobs then run side by side on the cores.
GPU = int(has_gpu())

TABLES = [LAYOUT.table(task) for task in STUDY.tasks]
KINDS = ("png", "pdf")
# Read by name, so that no import shows them.
TEMPLATES = [
    f"analysis/report/{name}"
    for name in sorted(os.listdir(f"{workflow.basedir}/analysis/report"))
    if name.endswith((".html", ".css", ".js"))
]
FIGURES = [LAYOUT.figure(name, kind) for name in STUDY.figures for kind in KINDS]


wildcard_constraints:
    # The study's own, or any other name: that of a method that is compared (common_compare.smk).
    network="[a-z0-9_]+",
    method="(?!saved_)[a-z0-9_]+",
    seed=r"\d+",
    measure="|".join(MEASURE.names()),
    task="|".join(STUDY.tasks),
    figure="|".join(STUDY.figures) or "none",


def settings(value):
    """A parameter that makes a job run again when, and only when, what decides its result has changed."""
    return json.dumps(value, sort_keys=True)


@cache
def data_outside():
    """What decides the data beside the options where a source reads the user's own.

    Files have to be there before anything runs or is removed, but to plan a run they need not.
    """
    try:
        if SOURCE.facts(STUDY.source).OUTSIDE:
            return SOURCE.load(STUDY.source).outside(STUDY.source_options)
    except UserError as error:
        if not workflow.dryrun:
            raise WorkflowError(
                f"{error}\nThe data of {STUDY.name} are made from it ({STUDY.path}). Nothing was run or removed: is "
                "a disk not mounted?"
            )
    return {}


def data_there(wildcards):
    """No input, but an error before any job where the user's own files are not there."""
    data_outside()
    return []


outside = cache(files.outside)


def trained_with(study, network):
    """The parameter of a training: its settings, ready weights that it begins from, and the user's own code."""
    code = training_code(STUDY, study.method(study.network(network).method))
    own = [*study.ready_weights(network), *filter(os.path.isabs, code)]
    more = {"outside": {str(path): outside(path) for path in own}} if own else {}
    return settings(study.trained_with(network) | more)


def embedded_outside(wildcards):
    """What changes with files of the user's that a new method is made of."""
    own = [str(path) for path in new_code(wildcards)]
    return [{path: outside(path) for path in own}] if own else []


def embedding_code(method):
    """What decides a method's embeddings, given the networks or embeddings that they are made from."""
    return modules.closure("baselines/embed.py", METHOD.path(method.baseline))


def evaluating_code(command, tasks):
    """What decides what a command makes of evaluations, which it loads by name."""
    return modules.closure(command, *map(EVALUATION.path, tasks))


def drawn_by(wildcards):
    """The module that draws a figure."""
    return STUDY.figure_module(wildcards.figure)[0]


def method_of(wildcards):
    """The method of a job: the one that it embeds or measures, or whose network it trains."""
    if "method" in wildcards.keys():
        return study_of(wildcards.method).methods[wildcards.method]
    # A new method's network is called like it, with the size behind where it has one per size.
    network = wildcards.network
    names = [network, re.sub(r"_\d+$", "", network)]
    for study in [STUDY] if network in STUDY.networks else map(added, names):
        if network in study.networks:
            return study.methods[study.networks[network].method]
    raise WorkflowError(f"no method of {STUDY.name} trains a network {network}")


def starting_point(wildcards):
    """The network a training starts from, where it does not start from random weights.

    Weights from outside have to be there before anything runs, but to plan a run they need not.
    """
    method = method_of(wildcards)
    study = study_of(method.name)
    for path in study.ready_weights(wildcards.network):
        if not (workflow.dryrun or path.exists()):
            raise WorkflowError(
                f"{wildcards.network} of {STUDY.name} takes its weights from {path}, which does not exist; see "
                f"{STUDY.path}"
            )
    if method.starts_from is None:
        return []
    first = study.methods[method.starts_from].networks[-1].name
    return LAYOUT.network(first, wildcards.seed) / "meta.json"


def embedded_from(wildcards):
    """What a method's embeddings are made from: its networks, or its source's embeddings."""
    method = method_of(wildcards)
    for net in method.networks:
        yield LAYOUT.network(net.name, wildcards.seed) / "meta.json"
    if method.source is not None:
        yield LAYOUT.embeddings(method.source, wildcards.seed) / "meta.json"


def table_inputs(wildcards):
    """Embeddings and raw outcomes of every method and seed that a table is about."""
    for method in STUDY.task_methods(wildcards.task):
        for seed in method.seeds:
            yield LAYOUT.embeddings(method.name, seed) / "meta.json"
    for method, measure in STUDY.read_by(wildcards.task):
        yield from outcomes_of(method, measure)


def outcomes_of(method, measure):
    """Raw outcomes of a measure, of every seed that the method is run with."""
    for seed in STUDY.methods[method].seeds:
        yield LAYOUT.outcomes(method, seed, measure)


def figure_inputs(wildcards):
    """Tables a figure is drawn from, and what else its module says it reads."""
    facts = FIGURE.facts(drawn_by(wildcards))
    for task in facts.TABLES:
        yield LAYOUT.table(task)
    if "data" in facts.INPUTS:
        yield LAYOUT.data / "manifest.json"
    if "logs" in facts.INPUTS:
        for name, network in STUDY.networks.items():
            for seed in STUDY.methods[network.method].seeds:
                yield LAYOUT.network(name, seed) / "log.csv"
    if "maps" in facts.INPUTS:
        for network in STUDY.mapped(wildcards.figure):
            yield LAYOUT.network(network.name, STUDY.seeds[0]) / "meta.json"
    if "search" in facts.INPUTS:
        yield searched()
    for method, measure in STUDY.measured():
        if measure in facts.MEASURES:
            yield from outcomes_of(method, measure)


def reported(wildcards):
    """What a study's page is made of: tables, figures, and the conditions that every run notes."""
    yield from (LAYOUT.figure(name) for name in STUDY.figures)
    for method in STUDY.methods.values():
        for seed in method.seeds:
            yield LAYOUT.embeddings(method.name, seed) / "meta.json"


def searched():
    """The table of the search for settings: no rule makes it, since it takes hours."""
    try:
        return LAYOUT.require_search()
    except UserError as error:
        raise WorkflowError(str(error))


def measured_before(wildcards):
    """Outcomes of other measures that this one starts from."""
    for other in MEASURE.facts(wildcards.measure).READS:
        yield LAYOUT.outcomes(wildcards.method, wildcards.seed, other)


def imagenet21k_outside(wildcards):
    """What changes with the user's ImageNet-21K."""
    # Here: it needs pandas and Pillow, which other plans do without.
    from splits.images.listing import open_source

    try:
        return open_source(imagenet21k(wildcards)).fingerprint()
    except UserError as error:
        if workflow.dryrun:
            return None
        raise WorkflowError(str(error))


def imagenet21k(wildcards):
    """Where the user's ImageNet-21K is: only this rule needs it."""
    if "imagenet21k" not in config:
        raise WorkflowError(
            "ImageNet-4K is built from ImageNet-21K: add --config imagenet21k=PATH, a folder of class folders, "
            "of tars, or a manifest (path, wnid)"
        )
    return os.path.expanduser(config["imagenet21k"])
