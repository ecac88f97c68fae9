# What the page reads of experiment 2: samples of the main preset and number of pairs, and the masks found in them.
# in:  <results>/masks/samples/, masks and images of the split controls, the segmenter, <results>/tables/masks.csv
# out: <results>/explorer/masks/{method}/{preset}/{shots}.safetensors

FOLLOWED = [
    (method, preset, shots)
    for method, preset, shots in CONFIG.masks.rows
    if preset == CONFIG.masks.preset and shots in (0, CONFIG.masks.shots)
]
MASKS_READ = {
    "masks": "<results>/images/controls_masks.parquet",
    "samples": [f"<results>/masks/samples/{method}/{preset}/{shots}.parquet" for method, preset, shots in FOLLOWED],
    "found": [f"<results>/explorer/masks/{method}/{preset}/{shots}.safetensors" for method, preset, shots in FOLLOWED],
    "masks_table": "<results>/tables/masks.csv",
    "masks_real": "<results>/images/controls.parquet" if CONFIG.report.show_real else [],
}


def masks_options(wildcards, input):
    options = [
        "--followers",
        *(method for method, _, _ in FOLLOWED),
        "--pairs",
        *(str(shots) for _, _, shots in FOLLOWED),
    ]
    options += ["--preset", CONFIG.masks.preset, "--wanted", str(CONFIG.masks.masks), "--masks", input.masks]
    options += ["--samples", *input.samples, "--found", *input.found, "--masks-table", input.masks_table]
    return options + (["--masks-real", input.masks_real] if input.masks_real else [])


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
