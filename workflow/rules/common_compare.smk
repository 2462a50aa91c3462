# A new method, judged against saved baselines: what it needs is run, a baseline never is. The new method is
# `--config method=…`; its name is that of the page that is asked for. What reads it is imported where a method is
# compared only: it would double the time that every other plan takes.
COMPARED = f"{LAYOUT.compared}/{{method}}"
AGAINST = [str(name) for name in values(config, "against")]


wildcard_constraints:
    source="|".join(STUDY.methods),


@cache
def added(name):
    """The study with the new method; what is wrong with it is said before any job starts."""
    from analysis.compare.own_methods import with_method
    from analysis.compare.saved import Saved

    if "method" not in config:
        raise WorkflowError(
            f"results/compare/{STUDY.name}/{name}.md compares a new method: say which one, "
            "--config method=mine.py (a file, a folder of embeddings or an entry; see docs/compare.md)"
        )
    try:
        Saved(LAYOUT.saved).require(AGAINST)
        return with_method(STUDY, name, config["method"], CHANGES.get("seeds"))
    except UserError as error:
        raise WorkflowError(str(error))


def study_of(method):
    """The study that a method is part of: the configured one, or that with the new method."""
    return STUDY if method in STUDY.methods else added(method)


def new_study(wildcards):
    """The file that jobs of a new method read the study from."""
    # Not ancient(): behind another job that runs, Snakemake would then look at no other input of theirs.
    name = method_of(wildcards).name
    return [] if name in STUDY.methods else f"{COMPARED.format(method=name)}/study.yaml"


def study_argument(wildcards, input):
    """The study that a job of a method is part of, as commands take it."""
    return f"--study {shlex.quote(str(input.study))}" if input.study else STUDY_ARGUMENT


def new_code(wildcards):
    """Files of the user's that a new method is made of: an edit of them runs it again."""
    method = method_of(wildcards)
    if method.name in STUDY.methods:
        return []
    from analysis.compare.own_methods import own_files

    return [METHOD.path(method.baseline), *own_files(method)]


def new_outcomes(wildcards):
    """Raw outcomes of the new method: those that the saved baselines have as well.

    Of vectors that a map starts from those by which they are known again.
    """
    from analysis.compare.saved import vectors_known_by

    study = added(wildcards.method)
    for seed in study.seeds:
        yield LAYOUT.embeddings(wildcards.method, seed) / "meta.json"
        for measure in STUDY.frozen_measures():
            yield LAYOUT.outcomes(wildcards.method, seed, measure)
    method = study.methods[wildcards.method]
    if task := vectors_known_by(study, method):
        for measure in EVALUATION.facts(task).MEASURES:
            yield LAYOUT.outcomes(method.source, study.seeds[0], measure)


def saved_outcomes(wildcards):
    """Raw outcomes that are frozen."""
    for method in STUDY.methods:
        for measure in STUDY.frozen_measures(method):
            yield from outcomes_of(method, measure)
