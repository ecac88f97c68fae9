# Data: from the configured source to the images, attributes, classes and masks of each split.
# in:  nothing (avatars are drawn) or local files
# out: <results>/images/{split}.parquet, and {split}_masks.parquet where the data have masks


rule make_images:
    """Draw or read the images of one split, with their attributes and classes."""
    input:
        CONFIG.data.files,
    output:
        "<results>/images/{split}.parquet",
    log:
        "<logs>/make_images/{split}.log",
    benchmark:
        "<benchmarks>/make_images/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.dataset.model_dump_json(),
        positions=positions,
        code=code("make_images.py", env="data"),
    shell:
        "python workflow/scripts/make_images.py --settings {params.settings:q} --positions {params.positions:q}"
        " --output {output:q} 2> {log:q}"


rule make_masks:
    """Draw or read the part masks of one split."""
    input:
        CONFIG.data.files,
    output:
        "<results>/images/{split}_masks.parquet",
    log:
        "<logs>/make_masks/{split}.log",
    benchmark:
        "<benchmarks>/make_masks/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.dataset.model_dump_json(),
        positions=positions,
        code=code("make_masks.py", env="data"),
    shell:
        "python workflow/scripts/make_masks.py --settings {params.settings:q} --positions {params.positions:q}"
        " --output {output:q} 2> {log:q}"
