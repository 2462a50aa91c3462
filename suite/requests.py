"""What is asked of Snakemake on its command line, checked before any rule: files, words behind --config."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.errors import UserError, unknown
from suite.study import Study
from suite.values import fault

TEXT = {"type": ["string", "integer"]}  # the command line makes numbers of what looks like one
SEVERAL = {"type": ["string", "integer", "array"], "minItems": 1, "items": TEXT}
KEYS = {
    "study": TEXT,
    "seeds": SEVERAL,
    "recipes": SEVERAL,
    "method": {"type": ["string", "integer", "object"]},
    "against": SEVERAL,
    "imagenet21k": TEXT,
    "imagenet4k_rule": {"type": "string"},
    "imagenet4k_check": {"type": "string"},
}


def check_config(config: dict) -> None:
    """Raise UserError for a key that does not exist, and for one that is left empty or of another type."""
    where = "config/config.yaml"
    for key, value in config.items():
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
        if value is None:
            raise UserError(
                f"{key} is left empty: write {key}=… behind --config, or leave it out; see {where}"
            )
        if found := fault(value, KEYS[key]):
            raise UserError(f"{key}: {found[1]}; see {where}")
    seeds = values(config, "seeds")
    if not all(str(seed).isdecimal() for seed in seeds):
        raise UserError(f"seeds must be whole numbers, as in 'seeds=[0,1,2]', not {config['seeds']}")


def check_place(checkout: str) -> None:
    """Raise UserError for a folder of the suite with braces, which Snakemake takes for wildcards."""
    if set("{}") & set(checkout):
        raise UserError(
            f"the suite lies in {checkout}, and Snakemake takes braces in its path for wildcards; move it to "
            "a folder without { and }"
        )


def values(config: dict, key: str) -> list:
    """The values of a key that takes one or a list; none where it is not given."""
    given = config.get(key, [])
    return given if isinstance(given, list) else [given]


def files_asked(words: Sequence[str]) -> Iterator[str]:
    """Files below results/ among the words of a command line: Snakemake looks at them after the rules.

    What follows an option with two dashes may be its value.

    >>> list(files_asked(["-n", "results/tables", "--report", "results/report.html"]))
    ['results/tables']
    """
    for before, word in zip(["", *words], words):
        word = word.removeprefix("./")
        if word.startswith("results/") and not before.startswith("--"):
            yield word


def no_target(target: str, study: Study) -> UserError:
    """The error for a file that no rule makes: another study's, an unknown name, or no target at all."""
    names = {"figures": study.figures, "tables": tuple(study.tasks)}
    _, kind, *rest = target.split("/")
    own = rest[0].removesuffix(".html") if rest else ""
    if (len(rest) > 1 or (own and kind == "report")) and own != study.name:
        return UserError(
            f"{target} is of the study {own}, but this run is of {study.name}: put `--config "
            f"study={own}`, or the path of that study's file, behind the target"
        )
    if len(rest) == 2 and kind in names and Path(rest[1]).stem not in names[kind]:
        return unknown(kind.removesuffix("s"), Path(rest[1]).stem, names[kind], study.path)
    return UserError(
        f"nothing makes {target}; there are results/figures, results/tables, save_baselines, "
        f"results/figures/{study.name}/<figure>.png and .pdf, results/tables/{study.name}/<task>.csv, "
        f"results/report/{study.name}.html, "
        f"results/data/{study.name}/manifest.json and, for a method of your own, "
        f"results/compare/{study.name}/<small letters, digits and _>.md"
    )
