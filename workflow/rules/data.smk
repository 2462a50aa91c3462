rule build_splits:
    """Draw or read the images of every split; the manifest is written when all of them are whole."""
    input:
        there=data_there,
        code=modules.closure("splits/build.py", SOURCE.path(STUDY.source)),
    output:
        LAYOUT.data / "manifest.json",
    log:
        f"results/logs/{STUDY.name}/build_splits.log",
    conda:
        "../../environment.yml"
    threads: 2
    params:
        settings=lambda w: settings(STUDY.source_options | data_outside()),
        study=lambda w: STUDY_ARGUMENT,
    shell:
        "python -m splits.build {params.study} --threads {threads} 2>&1 | tee {log:q}"
