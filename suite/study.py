"""A study: one complete, validated configuration file, and what follows from it.

Everything that decides *which jobs exist* is worked out here from plain data, so that the workflow starts
in a second and the command lines agree with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import yaml

from suite import contracts
from suite.contracts import BACKBONE, EVALUATION, FIGURE, MEASURE, METHOD, SOURCE, defined
from suite.errors import UserError, unknown
from suite.layout import Layout
from suite.modules import ROOT, shown
from suite.roles import ROLES
from suite.values import fault, read_yaml

STUDIES = ROOT / "config" / "studies"
SCHEMA = ROOT / "workflow" / "schemas" / "study.schema.yaml"

# What evaluates every method when the study does not say otherwise: ablations need no more than the curves,
# and a new method is compared on no less.
CURVES = ("linear", "knn")

PAPER_METHODS = ("mrl", "mrl_e", "fixed_feature", "svd", "slimmable", "random_features")
"""Methods whose curves the paper's figures 2, 3 and 7 show."""
OTHERS = "others"
"""The argument of figures that show all other methods."""

MARGIN = 0.01
"""One point: the margin of a study that states none. Half a point takes test images by the ten thousand."""

# How methods are trained. `paper`: all alike, by the section `training`, as in the paper; `tuned`: besides,
# each with settings that were searched for (section `tuned`). A method of one recipe is none of the other.
RECIPES = ("paper", "tuned")
SAVED = "saved_"  # in front of a method's name: its network is the frozen one of results/saved/
TUNED = "tuned"  # also the group of the second recipe's methods, and how their names end


@dataclass(frozen=True)
class Network:
    """One training: a baseline's head on the study's backbone, for the sizes this network serves."""

    name: str
    method: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Method:
    """One row of the study's `methods`: a baseline (a file in baselines/) with options, under a name.

    training: settings of its networks; by_size: of single networks, where each size has its own.
    seeds: those of the study that it is run with, the first so many.
    kind: "trained" (has networks of its own), "fitted" (on the training embeddings of `source`), "ready"
    (vectors that are part of the data) or "control" (given the labels or nothing at all: the ceiling and the
    floor of every evaluation).
    """

    name: str
    baseline: str
    kind: str
    label: str
    group: str
    nesting: tuple[int, ...]
    seeds: tuple[int, ...]
    options: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    by_size: dict[int, dict] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    source: str | None = None
    starts_from: str | None = None
    network_per_size: bool = False

    @property
    def before(self) -> str | None:
        """The method whose embeddings or network it starts from."""
        return self.source or self.starts_from

    @property
    def networks(self) -> tuple[Network, ...]:
        """Networks this method trains: none, one that serves every size, or one for each size."""
        if self.kind != "trained":
            return ()
        if self.network_per_size:
            return tuple(Network(f"{self.name}_{m}", self.name, (m,)) for m in self.nesting)
        return (Network(self.name, self.name, self.nesting),)


class Study:
    """One study; see config/studies/glyphs.yaml for what each key means.

    Raises UserError when the file does not follow workflow/schemas/study.schema.yaml or names a method,
    evaluation, figure, data source or option that does not exist.
    """

    def __init__(self, config: dict, path: str | Path = "study"):
        self.path = Path(path)
        if not isinstance(config, dict):
            raise UserError(f"{self.path} holds no study: expected keys as in config/studies/glyphs.yaml")
        self.config = config
        if found := fault(config, schema()):
            place, what = found
            raise UserError(f"{self.path}: {place or 'top level'}: {what}; see {shown(SCHEMA)}")
        self.name: str = config["name"]
        self.title: str = config["title"]
        self.nesting: tuple[int, ...] = tuple(config["nesting"])
        self.seeds: tuple[int, ...] = tuple(config["seeds"])
        self.recipes: tuple[str, ...] = tuple(config.get("recipes", RECIPES[:1]))
        # What shows a search belongs to the recipe that came out of it.
        self.figures: tuple[str, ...] = tuple(
            name
            for name in config["figures"]
            if TUNED in self.recipes or "search" not in FIGURE.facts(self.figure_module(name)[0]).INPUTS
        )
        self.source: str = config["data"]["source"]
        self._check_trainable()
        self.training: dict = config.get("training", {})
        self.backbone: dict = config.get("backbone", {})
        # Width d of the full embedding; of ready ones the largest that any model may have.
        named = [given.get("nesting", ()) for given in config["methods"].values() if given]
        self.dim: int = self.backbone.get("dim") or max(m for sizes in (self.nesting, *named) for m in sizes)
        self.layout = Layout(self.name)
        # The largest difference that still counts as "as accurate as", a fraction.
        self.margin: float = config.get("margin", {"value": MARGIN})["value"]
        given = {key: value for key, value in config["data"].items() if key != "source"}
        self.source_options: dict = SOURCE.options(self.source, given)
        if self.backbone:
            contracts.backbone_options(self.backbone)
        check_nesting(self.nesting, self.dim, f"{self.path}: nesting")
        # Evaluated though no method was trained for them: 1-NN needs no classifier.
        self.interpolated: tuple[int, ...] = tuple(config.get("interpolated", ()))
        if self.interpolated:
            check_nesting(self.interpolated, self.dim, f"{self.path}: interpolated")
        self._check_names()
        # Every name and option is resolved now, so that a wrong one fails before the first job.
        provided = SOURCE.facts(self.source).PROVIDES
        for method in self.declared.values():
            self._check_needs(f"method {method.name}", METHOD.facts(method.baseline).NEEDS, provided)
            self._check_labels("method", method.baseline, METHOD)
            self._check_training(method)
            for key, stated in METHOD.facts(method.baseline).ALLOWED.items():
                if "asks" in stated and method.options[key] is not None:
                    self._check_written(f"{key} of method {method.name}", [stated["asks"]])
        for task in self.tasks:
            self.task_methods(task)
            for name in (task, *self.reads(task)):
                self._check_needs(f"evaluation {task}", EVALUATION.facts(name).NEEDS, provided)
                self._check_labels("evaluation", name, EVALUATION)
            self._check_written(f"evaluation {task}", *self._asked(task))
        for figure in self.figures:
            self.check_figure(figure)
        for measure in self.config.get("measures", {}):
            self.measure_options(measure)
        for measure in dict.fromkeys(measure for _, measure in self.measured()):
            self._check_measure(measure)
        self._check_sparse()

    def _check_needs(self, who: str, needs: Iterable[str], provided: Iterable[str]) -> None:
        """Raise UserError unless the study's data have what a method or an evaluation needs."""
        for need in needs:
            if need not in provided:
                have = [name for name in SOURCE.names() if need in SOURCE.facts(name).PROVIDES]
                raise UserError(
                    f"{self.path}: {who} needs data with {need}, which {self.source} does not have; "
                    f"sources that do: {', '.join(have)}"
                )

    def _check_measure(self, measure: str) -> None:
        """Raise UserError for settings that do not fit another measure's, or the study's data."""
        options = self.measure_options(measure)
        for key, stated in MEASURE.facts(measure).ALLOWED.items():
            if limit := stated.get("at_most"):
                other, its = limit.split(".")
                most = self.measure_options(other)[its]
                if options[key] > most:
                    raise UserError(
                        f"{self.path}: measures.{measure}.{key} is {options[key]}, but measures.{limit} is "
                        f"{most}; raise that, or allowed is 1 to {most}"
                    )
            if stated.get("of") == "splits" and self.written is not None:
                for name in (name for pair in options[key] for name in pair):
                    if name not in self.written:
                        has = self.written - {"superclasses"}
                        raise unknown(f"split in measures.{measure}.{key}", name, sorted(has), self.path)

    def _check_sparse(self) -> None:
        """Raise UserError where sparse codes, of which a size is no prefix, would be cut."""
        sparse = [name for name, method in self.methods.items() if METHOD.facts(method.baseline).SPARSE]
        for task in self.tasks:
            cutting = [measure for measure in EVALUATION.facts(task).MEASURES if MEASURE.facts(measure).CUTS]
            taking = {method.name for method in self.task_methods(task)}
            if cutting and (both := [name for name in sparse if name in taking]):
                raise UserError(
                    f"{self.path}: evaluation {task} cuts vectors to their first columns, which sparse codes "
                    f"have no use for: leave {both[0]} out, by `methods` of the evaluation or its own `tasks`"
                )

    def _check_trainable(self) -> None:
        """Raise UserError where what networks are trained with is missing, or given where none is trained."""
        for key in ("backbone", "training"):
            if not self.ready and key not in self.config:
                raise UserError(
                    f"{self.path}: top level: {key!r} is a required property; see {shown(SCHEMA)}"
                )
            if self.ready and key in self.config:
                raise UserError(
                    f"{self.path}: data of {self.source} come with embeddings, so nothing is trained: take "
                    f"out the section {key}"
                )

    @property
    def ready(self) -> bool:
        """Whether its data come with embeddings, so that nothing is trained."""
        return "embeddings" in SOURCE.facts(self.source).PROVIDES

    def _check_labels(self, kind: str, name: str, contract: contracts.Contract) -> None:
        """Raise UserError for a method or an evaluation that needs labels where the data have none."""
        if contract.facts(name).LABELS and not SOURCE.facts(self.source).LABELS:
            without = [other for other in contract.names() if not contract.facts(other).LABELS]
            own = "; a file that does without says LABELS = False" if name.endswith(".py") else ""
            raise UserError(
                f"{self.path}: {kind} {name} needs labels, which data of {self.source} do not have; allowed: "
                f"{', '.join(without)}{own}"
            )

    @cached_property
    def written(self) -> set[str] | None:
        """Splits of the study's data, and "superclasses" if classes have any; None: its source does not say.

        Folders and files below a root that is not there are taken to be there: a study is planned without its
        data.
        """
        facts, options = SOURCE.facts(self.source), self.source_options
        root = Path(options.get("root") or ".").expanduser()

        def is_set(name: str) -> bool:
            if set(name) & set("./"):
                return not root.is_dir() or (root / name).exists()
            return options[name] not in (None, 0)

        more = {name for name, any_of in facts.MAY_WRITE.items() if any(map(is_set, any_of))}
        return {*facts.WRITES, *more} if facts.WRITES else None

    def _check_written(self, who: str, asked: Iterable[str], advice: str = "") -> None:
        """Raise UserError unless the study's data have one of these splits."""
        if asked and self.written is not None and not self.written & set(asked):
            raise UserError(
                f"{self.path}: {who} needs data with {' or '.join(asked)}; those of {self.source}, with "
                f"these options, have {', '.join(sorted(self.written))}; {advice}take it out, or see "
                f"{SOURCE.folder}/{self.source}.py"
            )

    def _asked(self, task: str) -> tuple[tuple[str, ...], str]:
        """(splits of which an evaluation needs one; where a study chooses another, if it can)."""
        asks = EVALUATION.facts(task).ASKS
        if not isinstance(asks, str):
            return asks, ""
        measure, key = asks.split(".")
        return (self.measure_options(measure)[key],), f"change measures.{asks}, "

    def _check_names(self) -> None:
        """Raise UserError where two methods, or what is kept of them, would go by one name."""
        owners: dict[tuple[str, str], str] = {}
        for method in self.declared.values():
            if method.name.startswith(SAVED) and method.group != "new":
                raise UserError(
                    f"{self.path}: methods.{method.name}: names with {SAVED} in front are for frozen "
                    "networks; give it another name"
                )
            named = [("network", net.name) for net in method.networks]
            for kind, name in [*named, ("label", " ".join(method.label.split()))]:
                other = owners.setdefault((kind, name), method.name)
                if other != method.name:
                    what = "one of them another label" if kind == "label" else "one of them another name"
                    raise UserError(
                        f"{self.path}: methods {other} and {method.name} both have the {kind} {name!r}, and "
                        f"would be taken for each other; give {what}"
                    )

    def _check_training(self, method: Method) -> None:
        """Raise UserError for settings of a training that nothing in the method could follow."""
        if self.ready and method.kind == "trained":
            raise UserError(
                f"{self.path}: method {method.name} trains a network, but data of {self.source} come with "
                "embeddings: allowed are given_embeddings and methods that start from one, by its `source`"
            )
        for settings in (method.training, *method.by_size.values()):
            rate = settings.get("head_rate", 1)
            if method.kind == "trained" and rate != 1 and not METHOD.facts(method.baseline).HEADS:
                raise UserError(
                    f"{self.path}: head_rate of {method.name} is {rate}, but {method.baseline} has no "
                    "classifiers apart from its network; allowed: 1"
                )
        allowed = method.nesting if method.network_per_size else ()
        if wrong := set(method.by_size) - set(allowed):
            raise UserError(
                f"{self.path}: by_size of {method.name} names {sorted(wrong)}; allowed: "
                f"{', '.join(map(str, allowed)) or 'nothing, since one network serves all its sizes'}"
            )

    @cached_property
    def methods(self) -> dict[str, Method]:
        """Methods by name, in the order of the file: those of the recipes that are run."""
        tuned = TUNED in self.recipes
        return {name: method for name, method in self.declared.items() if tuned or method.group != TUNED}

    @cached_property
    def declared(self) -> dict[str, Method]:
        """Methods of all recipes by name, those of `tuned` last; a job of one method finds it here."""
        methods = {name: self._method(name, given or {}) for name, given in self.config["methods"].items()}
        tuned = self.config.get("tuned", {})
        if TUNED in self.recipes and not tuned:
            raise UserError(
                f"{self.path}: recipes has tuned, but the section `tuned`, with settings to train by, is "
                "missing; `python -m baselines.tune` searches for them"
            )
        for name, settings in tuned.items():
            second = self._tuned(name, settings or {}, methods)
            if second.name in methods:
                raise UserError(
                    f"{self.path}: methods.{second.name} has the name of what `tuned` makes of {name}"
                )
            methods[second.name] = second
        for method in methods.values():
            other = method.before
            if other is not None and other not in methods:
                raise UserError(
                    f"{self.path}: method {method.name} starts from {other}, which is not among the "
                    f"study's methods ({', '.join(methods)})"
                )
            if other is not None and len(method.seeds) > (least := len(methods[other].seeds)):
                raise UserError(
                    f"{self.path}: method {method.name} is run with {len(method.seeds)} seeds, but starts "
                    f"from {other}, which is run with {least}; allowed: seeds: 1 to {least}"
                )
        for method in methods.values():
            self._check_origin(method, methods)
        return methods

    def _check_origin(self, method: Method, methods: dict[str, Method]) -> None:
        """Raise UserError for a method that starts from itself, by however many others."""
        chain = [method.name]
        while (before := methods[chain[-1]].before) is not None:
            chain.append(before)
            if before in chain[:-1]:
                raise UserError(
                    f"{self.path}: method {method.name} starts from itself: {' from '.join(chain)}; give one "
                    "of them a trained method as its source"
                )

    def _tuned(self, name: str, settings: dict, methods: dict[str, Method]) -> Method:
        """The second method that a row of `tuned` stands for: options alike, trained or fitted otherwise.

        Raises UserError for a method that the study lacks, and where there is nothing to train otherwise.
        """
        where = f"{self.path}: tuned.{name}"
        if name not in self.config["methods"]:
            raise unknown("method", name, self.config["methods"], f"tuned of {self.path}")
        method = methods[name]
        again = {"name": f"{name}_{TUNED}", "label": f"{method.label}, {TUNED}", "group": TUNED}
        if method.kind == "trained" and not method.starts_from:
            if not settings:
                raise UserError(
                    f"{where} needs settings, such as learning_rate; `python -m baselines.tune` finds them"
                )
            own, by_size = split_by_size(settings)
            return replace(method, **again, training=method.training | own, by_size=method.by_size | by_size)
        if method.kind != "fitted" or settings:
            what = "trained on from another network" if method.starts_from else method.kind
            raise UserError(
                f"{where}: allowed are methods trained from fresh weights, with settings, and fitted ones, "
                f"with none; {name} is {what}"
            )
        if method.source not in self.config.get(TUNED, {}):
            raise UserError(f"{where} starts from {method.source}, which is not among {TUNED} itself")
        return replace(method, **again, source=f"{method.source}_{TUNED}")

    def _method(self, name: str, given: dict) -> Method:
        baseline = given.get("baseline", name)
        facts = METHOD.facts(baseline)
        special = {"baseline", "label", "group", "tasks", "nesting", "seeds", "source", "training"}
        nesting = tuple(given.get("nesting", self.nesting))
        check_nesting(nesting, self.dim, f"{self.path}: methods.{name}.nesting")
        own = {key: given[key] for key in given if key not in special}
        options = METHOD.options(baseline, own, nesting)
        for task in given.get("tasks", ()):
            if task not in EVALUATION.names():
                raise unknown("evaluation", task, EVALUATION.names(), f"methods.{name}.tasks of {self.path}")
        training, by_size = split_by_size(given.get("training", {}))
        return Method(
            name=name,
            baseline=baseline,
            kind=facts.KIND,
            label=given.get("label", facts.LABEL),
            group=given.get("group", "baselines"),
            nesting=nesting,
            seeds=self.seeds[: given.get("seeds")],
            options=options,
            training=self.training | training,
            by_size=by_size,
            tasks=tuple(given["tasks"]) if "tasks" in given else None,
            source=given.get("source", facts.SOURCE),
            starts_from=facts.STARTS_FROM,
            network_per_size=facts.NETWORK_PER_SIZE,
        )

    def method(self, name: str) -> Method:
        """The method called `name`, of any recipe; raises UserError with the names there are."""
        if name not in self.declared:
            raise unknown("method", name, self.declared, self.path)
        return self.declared[name]

    def origin(self, name: str) -> str | None:
        """The trained or ready method whose embeddings a method's come from: itself, or the one that it was
        fitted on or started from. Two of one origin share, seed by seed, what that network has of luck."""
        method = self.method(name)
        if method.before is not None:
            return self.origin(method.before)
        return name if method.kind in ("trained", "ready") else None

    def share_network(self, name: str, other: str) -> bool:
        """Whether two methods are of one origin, so that training k of both is of one network."""
        return self.origin(name) is not None and self.origin(name) == self.origin(other)

    @cached_property
    def networks(self) -> dict[str, Network]:
        """Every network of the study by name."""
        return {net.name: net for method in self.methods.values() for net in method.networks}

    def network(self, name: str) -> Network:
        """The network called `name`, of any recipe; raises UserError with the names there are."""
        networks = {net.name: net for method in self.declared.values() for net in method.networks}
        if name not in networks:
            raise unknown("network", name, networks, self.path)
        return networks[name]

    @cached_property
    def tasks(self) -> dict[str, dict]:
        """Evaluations of the study with their options, defaults filled in."""
        return {name: EVALUATION.options(name, given) for name, given in self.config["tasks"].items()}

    def task_methods(self, task: str) -> list[Method]:
        """Methods that `task` evaluates, in the order of the file.

        Baselines take part in every evaluation, other groups (ablations) in `linear`, `knn` and those whose
        module says ALL_METHODS, unless the method's own `tasks` or the evaluation's `methods` says otherwise.
        """
        return [method for method in self.methods.values() if self._takes_part(method, task)]

    def _takes_part(self, method: Method, task: str) -> bool:
        """Whether `task` evaluates a method, of whatever recipe."""
        chosen = {self.method(name).name for name in self.tasks[task].get("methods") or self.declared}
        other_groups = (*CURVES, task) if EVALUATION.facts(task).ALL_METHODS else CURVES
        usual = self.tasks if method.group == "baselines" else other_groups
        return method.name in chosen and task in (usual if method.tasks is None else method.tasks)

    def shown_methods(
        self, task: str | None = None, controls: bool = False, group: str = "baselines"
    ) -> list[str]:
        """Methods of the main results (of an evaluation, or all): no ablations, and controls if asked for.

        group: another one, such as `tuned`.
        """
        methods = self.methods.values() if task is None else self.task_methods(task)
        return [m.name for m in methods if m.group == group and (controls or m.kind != "control")]

    def main_methods(self, task: str) -> list[str]:
        """Those of `task` that are the paper's, of both recipes; all where it has one of them at most."""
        every = [*self.shown_methods(task), *self.shown_methods(task, group=TUNED)]
        main = [name for name in every if name.removesuffix(f"_{TUNED}") in PAPER_METHODS]
        return main if len(main) > 1 else every

    def other_methods(self, task: str) -> list[str]:
        """Those of `task` beside the main ones."""
        main = self.main_methods(task)
        return [name for name in self.shown_methods(task) if name not in main]

    def task_options(self, task: str) -> dict:
        """Options of an evaluation, also of one that the study does not have: then its defaults."""
        return self.tasks[task] if task in self.tasks else EVALUATION.options(task, None)

    def reads(self, task: str) -> tuple[str, ...]:
        """Evaluations of the study whose items `task` is computed from.

        Of those that its module names, the ones that the study has; raises UserError for one that the study's
        own option names and that it lacks, or that measures nothing item by item.
        """
        named = EVALUATION.facts(task).READS
        if not isinstance(named, str):
            return tuple(name for name in named if name in self.tasks)
        for name in self.task_options(task)[named]:
            if name not in self.tasks:
                raise unknown("evaluation", name, self.tasks, f"tasks.{task}.{named} of {self.path}")
            if "items" not in defined(EVALUATION.path(name)):
                raise UserError(f"{self.path}: {task} reads {name}, which measures nothing item by item")
        return tuple(self.task_options(task)[named])

    def read_by(self, task: str) -> list[tuple[str, str]]:
        """(method, measure) pairs whose raw outcomes a table is computed from.

        A table of what other evaluations measured takes of each method what those measure of it.
        """
        methods = {method.name for method in self.task_methods(task)}
        tasks = (task, *self.reads(task))
        wanted = {measure for name in tasks for measure in EVALUATION.facts(name).MEASURES}
        return [(name, measure) for name, measure in self.measured() if name in methods and measure in wanted]

    def given_options(self, measure: str) -> dict | None:
        """Options of a measure that the study's file states."""
        return self.config.get("measures", {}).get(measure)

    def measure_options(self, measure: str) -> dict:
        """Options of a measure, defaults filled in."""
        options = MEASURE.options(measure, self.given_options(measure))
        if MEASURE.facts(measure).STUDY_SIZES:
            options["study_sizes"] = sorted({*self.nesting, *self.interpolated})
        return options

    def measured(self) -> list[tuple[str, str]]:
        """(method, measure) pairs, measures saving raw outcomes, that evaluations ask for; each once."""
        pairs = (
            (method.name, measure)
            for task in self.tasks
            for method in self.task_methods(task)
            for measure in EVALUATION.facts(task).MEASURES
        )
        return list(dict.fromkeys(pairs))

    def classifies(self, method: str) -> bool:
        """Whether a method's classifiers are asked for, by a measure or by a method that starts from it.

        Of any recipe: the job of one method is not told which are run.
        """
        mine = self.method(method)
        if mine.group == "new":  # compared in all that is frozen
            asked = self.frozen_measures()
        else:
            tasks = (task for task in self.tasks if self._takes_part(mine, task))
            asked = [measure for task in tasks for measure in EVALUATION.facts(task).MEASURES]
        classified = any(MEASURE.facts(measure).CLASSIFIES for measure in asked)
        return classified or any(each.source == method for each in self.declared.values())

    @cached_property
    def itemised(self) -> tuple[str, ...]:
        """Evaluations that say what they measure on each test item: what is frozen, and what is compared."""
        return tuple(task for task in self.tasks if "items" in defined(EVALUATION.path(task)))

    def frozen_measures(self, method: str | None = None) -> list[str]:
        """Measures that those evaluations are computed from, as far as one method, or any, has them."""
        have = {measure for name, measure in self.measured() if method in (None, name)}
        wanted = (measure for task in self.itemised for measure in EVALUATION.facts(task).MEASURES)
        return [measure for measure in dict.fromkeys(wanted) if measure in have]

    def figure_module(self, figure: str) -> tuple[str, str]:
        """(module, argument): `contact_sheet_train` is drawn by contact_sheet with "train"."""
        for module in sorted(FIGURE.names(), key=len, reverse=True):
            if f"{figure}_".startswith(f"{module}_"):
                return module, figure.removeprefix(module).removeprefix("_")
        raise unknown("figure", figure, FIGURE.names(), f"{FIGURE.folder}/")

    def check_figure(self, figure: str) -> None:
        """Raise UserError unless the study has what a figure is drawn from, as far as its module says."""
        module, argument = self.figure_module(figure)
        facts = FIGURE.facts(module)
        for task in facts.TABLES:
            if task not in self.tasks:
                raise UserError(
                    f"{self.path}: figure {figure} is drawn from the table of {task}, which is not among the "
                    f"study's tasks ({', '.join(self.tasks)})"
                )
        allowed = self.figure_arguments(module)
        if argument not in allowed:
            names = [f"{module}_{each}".removesuffix("_") for each in allowed]
            raise unknown("figure", figure, names, f"ARGUMENT in {shown(FIGURE.path(module))}")
        if argument == OTHERS and not self.other_methods(task := facts.TABLES[0]):
            raise UserError(
                f"{self.path}: figure {figure} shows methods beyond the paper's, of which {task} evaluates "
                f"none ({', '.join(self.main_methods(task))}); take it out of the study's figures"
            )
        if facts.ARGUMENT == "split":
            self._check_written(f"figure {figure}", [argument])
        if "maps" in facts.INPUTS:
            self.mapped(figure)

    def mapped(self, figure: str) -> tuple[Network, ...]:
        """Networks whose feature maps a figure shows: those of the method in its name, or of `mrl`.

        Raises UserError where there are none.
        """
        _, argument = self.figure_module(figure)
        method = self.method(argument or "mrl")
        if not method.networks:
            raise UserError(
                f"{self.path}: figure {figure} shows feature maps, and {method.name} has no network"
            )
        if not BACKBONE.facts(contracts.backbone_module(self.backbone["name"])).MAPS:
            raise UserError(
                f"{self.path}: figure {figure} shows feature maps, which {self.backbone['name']} has not; "
                f"take it out, or take another backbone (MAPS in {BACKBONE.folder}/)"
            )
        return method.networks

    def figure_arguments(self, module: str) -> list[str]:
        """What may follow a figure's name: `contact_sheet` takes a split, as in contact_sheet_train."""
        match FIGURE.facts(module).ARGUMENT:
            case "split":
                return list(ROLES)
            case "group":
                groups = dict.fromkeys(method.group for method in self.methods.values())
                own = [group for group in groups if group.startswith(f"{module}_")]
                return [group.removeprefix(f"{module}_") for group in own]
            case "method":
                return ["", *self.methods]
            case listed:
                return list(listed) or [""]

    def trained_with(self, network: str) -> dict:
        """All settings that decide a network's weights; a change in them, and only that, retrains it."""
        net = self.network(network)
        method = self.method(net.method)
        own = method.by_size.get(net.sizes[-1], {})
        return {
            "backbone": self.backbone,
            "training": method.training | own,
            "baseline": method.baseline,
            "options": method.options,
            "sizes": list(net.sizes),
        }

    def ready_weights(self, network: str) -> list[Path]:
        """Files and folders from outside that a network's weights come from; they may be missing."""
        net = self.network(network)
        method = self.method(net.method)
        named = [self.backbone.get("init_weights"), self.backbone.get("checkpoint")]
        if METHOD.facts(method.baseline).READY:
            named.append(method.options["path"].replace("{m}", str(net.sizes[-1])))
        return [Path(path).expanduser() for path in named if path]


@cache
def schema() -> dict:
    """What a study's file may hold, beside the options of the modules that it names."""
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def split_by_size(training: dict) -> tuple[dict, dict[int, dict]]:
    """(settings of all networks, settings of single ones by size), from a `training` section with by_size.

    >>> split_by_size({"epochs": 3, "by_size": {8: {"learning_rate": 0.1}}})
    ({'epochs': 3}, {8: {'learning_rate': 0.1}})
    """
    rest = {key: value for key, value in training.items() if key != "by_size"}
    # JSON, in which frozen studies are kept, has no keys but text.
    return rest, {int(size): settings for size, settings in training.get("by_size", {}).items()}


def check_nesting(sizes: tuple[int, ...], dim: int, where: str) -> None:
    """Raise UserError unless sizes are positive, strictly increasing and at most `dim`."""
    if not sizes or any(not isinstance(m, int) or m < 1 for m in sizes):
        raise UserError(f"{where}: sizes must be positive whole numbers, not {list(sizes)}")
    if any(a >= b for a, b in pairwise(sizes)):
        raise UserError(f"{where}: sizes must increase strictly, not {list(sizes)}")
    if sizes[-1] > dim:
        raise UserError(
            f"{where}: size {sizes[-1]} is longer than the embedding, which has {dim} dimensions "
            "(backbone.dim)"
        )


def study_name(given: str | Path) -> str:
    """The one spelling of a study: its bare name in config/studies/, else its path, from the root if inside.

    >>> study_name("glyphs") == study_name("./config/studies/glyphs.yaml") == "glyphs"
    True
    """
    path = study_path(given)
    return path.stem if path.parent == STUDIES and path.suffix == ".yaml" else shown(path)


def study_path(given: str | Path) -> Path:
    """Absolute path of a study's file, whether it is there or not."""
    path = Path(given).expanduser()
    return path.resolve() if path.suffix in (".yaml", ".yml") else STUDIES / f"{given}.yaml"


def load_study(name: str | Path, **overrides) -> Study:
    """The study `name`: a file in config/studies/ without its suffix, or the path of a YAML file.

    overrides: top-level keys to replace, for example seeds=[0, 1, 2]. Raises UserError for a file that is
    missing or is not YAML, and whatever Study raises.
    """
    if not SCHEMA.exists():
        raise UserError(
            f"studies are run from a checkout of the suite, with {SCHEMA.name} and config/studies/; this "
            f"copy in {ROOT} has functions to import alone (`pip install -e .` installs a checkout)"
        )
    path = study_path(name)
    if not path.exists():
        raise unknown("study", name, shipped(), "config/studies/ (or give the path of a .yaml file)")
    config = whole(path)
    study = Study({**config, **overrides} if isinstance(config, dict) else config, shown(path))
    check_own_name(study, path)
    return study


def whole(path: Path, above: tuple[Path, ...] = ()) -> object:
    """What a study's file holds; with `base: another study` that study's settings, its own in their place.

    A section that both have is the file's own as a whole. above: files whose bases lead here. Raises
    UserError for a file that is no YAML, and for a base that is missing or leads back.
    """
    config = read_yaml(path)
    if not isinstance(config, dict) or "base" not in config:
        return config
    base = config.pop("base")
    file, where = study_path(str(base)), f"`base` of {shown(path)} (or give the path of a .yaml file)"
    if not file.exists():
        raise unknown("study", str(base), shipped(), where)
    if file in (above := (*above, path)):
        raise UserError(f"{shown(path)}: base is {base}, whose own base leads back to it")
    found = whole(file, above)
    return {**found, **config} if isinstance(found, dict) else found


def shipped() -> list[str]:
    """Names of the studies in config/studies/."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def check_own_name(study: Study, path: Path) -> None:
    """Raise UserError for a study whose results would replace those of another one of config/studies/."""
    path = path.resolve()
    its = STUDIES / f"{study.name}.yaml"
    # The pages that compare a method write the study with the method in it, under its own name.
    written = study.layout.compared.resolve()
    if path.parent == STUDIES and path.stem != study.name:
        raise UserError(
            f"{study.path}: name is {study.name}; studies in config/studies/ are called like the file"
        )
    if path != its and its.exists() and not path.is_relative_to(written):
        raise UserError(
            f"{study.path}: name is {study.name}, as that of {shown(its)}, whose results it would "
            "replace; give it a name of its own"
        )
