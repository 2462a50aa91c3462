rule build_imagenet4k:
    """Choose and draw ImageNet-4K from ImageNet-21K: database.csv, query.csv and what was refused."""
    input:
        code=["splits/imagenet4k.py", "splits/listing.py"],
    output:
        "results/imagenet4k/manifest.json",
    log:
        "results/logs/imagenet4k.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        images=imagenet21k,
    shell:
        "python -m splits.imagenet4k --images {params.images:q} --out results/imagenet4k 2>&1 | tee {log:q}"
