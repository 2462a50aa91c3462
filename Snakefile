# The Matryoshka suite. `snakemake --cores all results/figures` makes everything for the configured study;
# any file below results/ can be asked for by name. config/config.yaml chooses the study.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


# `snakemake --report results/report.html`: figures and the jobs that made them. The page of a study is rule `page`.
report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_compare.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/imagenet4k.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/compare.smk"


onstart:
    # Its limit of jobs a second is for clusters. With it Snakemake 9 looks at all ready jobs once a second more often
    # after every job that is done, and in a run of hundreds takes a quarter of a core for that.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


rule all:
    default_target: True
    input:
        FIGURES,
        TABLES,
        LAYOUT.report,


# Unnamed by decorator and named by string: a rule may not be called like a path otherwise, and a rule with
# the folder as its output would go stale or swallow what others write there.
rule:
    name:
        "results/figures"
    input:
        FIGURES,
        TABLES,


rule:
    name:
        "results/tables"
    input:
        TABLES,


# What nothing makes is told with what there is; Snakemake says "No rule to produce" alone.
for target in files_asked(sys.argv[1:]):
    known = target in [rule.name for rule in workflow.rules] or os.path.exists(target)
    if not known and not any(rule.is_producer(target) for rule in workflow.rules):
        raise WorkflowError(str(no_target(target, STUDY)))
