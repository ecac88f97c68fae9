# Of the sweep, whose seeds are its own, the page shows the word of the judge that tunes.
# in:  <results>/attributes/sweep/, the tuning judge
# out: <results>/explorer/sweep/{mode}/{target}/{scale}.safetensors


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
    wildcard_constraints:
        mode="|".join(MODES),  # the masks' guides have a mode of their own
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
