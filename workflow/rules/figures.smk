# The strip of pictures at the head of the README: what two experiments make, generated images alone.
# in:  <results>/masks/samples/ of the main preset, masks of the split controls, <results>/attributes/descriptions/
# out: <results>/figures/strip.{png,pdf}

FOLLOWER = CONFIG.masks.guided[0]
SHOWN_ATTRIBUTES = list(dict.fromkeys(target.attribute for target in CONFIG.attributes.targets))[:2]
STEERED = [
    next(target.name for target in CONFIG.attributes.targets if target.attribute == attribute)
    for attribute in SHOWN_ATTRIBUTES
]


rule draw_strip:
    """Draw the README's strip: masks over samples that follow them, unguided over steered samples."""
    input:
        masks="<results>/images/controls_masks.parquet",
        samples=f"<results>/masks/samples/{FOLLOWER}/{CONFIG.masks.preset}/{CONFIG.masks.shots}.parquet",
        unguided=expand("<results>/attributes/descriptions/unguided/{target}.safetensors", target=STEERED),
        steered=expand(f"<results>/attributes/descriptions/{MODES[0]}/{{target}}.safetensors", target=STEERED),
    output:
        report(
            "<results>/figures/strip.png",
            caption="../report/strip.rst",
            category="Overview",
            labels={"what": "masks and attributes", "kind": "figure"},
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
        targets=[CONFIG.attributes.target(name).model_dump_json() for name in STEERED],
        method=MODES[0],
        descriptions=lambda wildcards, input: Path(input.unguided[0]).parents[1],
        code=code("draw_strip.py", env="figures"),
    shell:
        "python workflow/scripts/draw_strip.py --masks {input.masks:q} --wanted {params.wanted:q}"
        " --samples {input.samples:q} --follower {params.follower:q} --preset {params.preset:q}"
        " --shots {params.shots:q} --descriptions {params.descriptions:q} --targets {params.targets:q}"
        " --method {params.method:q} --output {output:q} 2> {log:q}"
