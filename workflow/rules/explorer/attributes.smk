# What the page reads of experiment 1; of the sweep, whose seeds are its own, the word of the judge that tunes.
# in:  <results>/attributes/{descriptions,sweep}/, the tuning judge, <results>/tables/attributes{,_judge}.csv
# out: <results>/explorer/sweep/{mode}/{target}/{scale}.safetensors

# Of naive, the images are real ones.
OTHERS = [method for method in METHODS if method not in SHOWN and (CONFIG.report.show_real or method != "naive")]
COMPARED = list(dict.fromkeys(["unguided", *MODES, *OTHERS]))
CANDIDATES = {mode: list(CONFIG.attributes.sweep.scales_of(mode)) for mode in MODES}


def swept_descriptions(wildcards):
    return [
        f"<results>/explorer/sweep/{mode}/{target}/{scale}.safetensors"
        for mode, scales in CANDIDATES.items()
        for target in TARGETS
        for scale in scales
        if wildcards.sweep
    ]


ATTRIBUTES_READ = {
    "descriptions": expand(
        "<results>/attributes/descriptions/{method}/{target}.safetensors", method=COMPARED, target=TARGETS
    ),
    "real": [
        f"<results>/attributes/descriptions/real{own(target.attribute)}/controls.safetensors"
        for target in CONFIG.attributes.targets
        if CONFIG.report.show_real
    ],
    "table": "<results>/tables/attributes.csv",
    "shares": "<results>/tables/attributes_judge.csv",
    "swept": swept_descriptions,
}


def attributes_options(wildcards, input):
    options = ["--targets", *(target.model_dump_json() for target in CONFIG.attributes.targets)]
    options += ["--descriptions", str(Path(input.descriptions[0]).parents[1])]
    options += ["--table", input.table, "--shares", input.shares]
    for name, values in (("--modes", MODES), ("--others", OTHERS), ("--real", input.real)):
        options += [name, *values] if values else []
    if input.swept:
        scales = [f"{mode}={','.join(names)}" for mode, names in CANDIDATES.items()]
        options += ["--swept", str(Path(input.swept[0]).parents[2]), "--scales", *scales]
    return options


rule judge_swept_samples:
    """Write what the tuning judge says of one candidate's samples."""
    input:
        samples="<results>/attributes/sweep/{mode}/{target}/{scale}.parquet",
        judge=judge_of("tuning_judge"),
    output:
        "<results>/explorer/sweep/{mode}/{target}/{scale}.safetensors",
    log:
        "<logs>/judge_swept_samples/{mode}/{target}/{scale}.log",
    benchmark:
        "<benchmarks>/judge_swept_samples/{mode}/{target}/{scale}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        attribute=wanted_attribute,
        value=wanted_value,
        judge=subpath(input.judge, parent=True),
        code=code("judge_swept_samples.py", env="evaluation"),
    shell:
        "python workflow/scripts/judge_swept_samples.py --method {wildcards.mode:q} --attribute {params.attribute:q}"
        " --value {params.value:q} --guidance-scale {wildcards.scale:q} --samples {input.samples:q}"
        " --judge {params.judge:q} --output {output:q} 2> {log:q}"
