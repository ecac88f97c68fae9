# The strip of pictures at the head of the README: generated images alone.
# in:  <results>/masks/samples/ of the main preset, masks of the split controls
# out: <results>/figures/strip.{png,pdf}

FOLLOWER = CONFIG.masks.guided[0]


rule draw_strip:
    """Draw the README's strip: masks over samples that follow them."""
    input:
        masks="<results>/images/controls_masks.parquet",
        samples=f"<results>/masks/samples/{FOLLOWER}/{CONFIG.masks.preset}/{CONFIG.masks.shots}.parquet",
    output:
        report(
            "<results>/figures/strip.png",
            caption="../report/strip.rst",
            category="Overview",
            labels={"what": "masks and samples", "kind": "figure"},
        ),
        "<results>/figures/strip.pdf",
    log:
        "<logs>/draw_strip.log",
    benchmark:
        "<benchmarks>/draw_strip.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        wanted=CONFIG.masks.masks,
        follower=FOLLOWER,
        preset=CONFIG.masks.preset,
        shots=CONFIG.masks.shots,
        code=code("draw_strip.py", env="figures"),
    shell:
        "python workflow/scripts/draw_strip.py --masks {input.masks:q} --wanted {params.wanted:q}"
        " --samples {input.samples:q} --follower {params.follower:q} --preset {params.preset:q}"
        " --shots {params.shots:q} --output {output:q} 2> {log:q}"
