# A new method, judged against saved baselines: what it needs is run, a baseline never is. The new method is
# `--config method=…`; its name is that of the page that is asked for.
from functools import cache

from analysis.compare.saved import MEASURED, Saved, measures
from analysis.compare.own_methods import SAVED, admit, files_of, source_of

COMPARED = f"results/compare/{STUDY.name}/{{name}}"
NEW_STUDY = f"results/compare/{STUDY.name}/{{name}}/study.yaml"
AGAINST = config.get("against", [])
AGAINST = [AGAINST] if isinstance(AGAINST, str) else AGAINST


wildcard_constraints:
    # Any name that is not a method's own, so that no file has two rules that make it.
    name=rf"(?!(?:{'|'.join(STUDY.methods)})-\d|{SAVED})[a-z0-9_]+",
    source="|".join(STUDY.methods),


@cache
def admitted(name):
    """The study with the new method; what is wrong with it is said before any job starts."""
    if "method" not in config:
        raise WorkflowError(
            f"results/compare/{STUDY.name}/{name}.md compares a new method: say which one, "
            "--config method=mine.py (a file, a folder of embeddings or an entry; see docs/compare.md)"
        )
    try:
        Saved(LAYOUT.saved).require(AGAINST)
        return admit(STUDY, name, config["method"])
    except UserError as error:
        raise WorkflowError(str(error))


def new_method(wildcards):
    return admitted(wildcards.name).methods[wildcards.name]


def new_code(wildcards):
    """Files of the new method: an edit of them runs it again."""
    admitted(wildcards.name)
    return files_of(config["method"])


def new_start(wildcards):
    """What the new method's embeddings are made from: its own networks, or a saved one."""
    method = new_method(wildcards)
    if method.kind == "trained":
        return f"{COMPARED}/trained-{{seed}}"
    if method.kind == "fitted":
        return (
            LAYOUT.embeddings(SAVED + source_of(method), wildcards.seed) / "meta.json"
        )
    return []


def new_outcomes(wildcards):
    """Raw outcomes of the new method: those that the saved baselines have as well."""
    for seed in admitted(wildcards.name).seeds:
        yield LAYOUT.embeddings(wildcards.name, seed) / "meta.json"
        for measure in measures(STUDY):
            yield LAYOUT.outcomes(wildcards.name, seed, measure)
