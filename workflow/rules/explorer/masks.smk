# Masks that the judge finds in samples of the main preset and number of pairs.
# in:  <results>/masks/samples/, masks of the split controls, the segmenter
# out: <results>/explorer/masks/{method}/{preset}/{shots}.safetensors


rule find_masks:
    """Write the masks that the judge finds in samples."""
    input:
        samples="<results>/masks/samples/{method}/{preset}/{shots}.parquet",
        masks="<results>/images/controls_masks.parquet",
        segmenter="<results>/masks/segmenters/judge/<weights>",
    output:
        "<results>/explorer/masks/{method}/{preset}/{shots}.safetensors",
    log:
        "<logs>/find_masks/{method}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/find_masks/{method}/{preset}/{shots}.tsv"
    wildcard_constraints:
        method="|".join(CONFIG.masks.methods),
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        wanted=CONFIG.masks.masks,
        segmenter=subpath(input.segmenter, parent=True),
        code=code("find_masks.py", env="evaluation"),
    shell:
        "python workflow/scripts/find_masks.py --method {wildcards.method:q} --preset {wildcards.preset:q}"
        " --shots {wildcards.shots:q} --samples {input.samples:q} --masks {input.masks:q}"
        " --segmenter {params.segmenter:q} --wanted {params.wanted:q} --output {output:q} 2> {log:q}"
