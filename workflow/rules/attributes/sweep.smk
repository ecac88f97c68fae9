# The sweep that guidance_scale is chosen by: seeds and a judge of its own. `snakemake attributes_sweep` makes the
# table; the chosen scales are then written into attributes.targets by hand.
# in:  <results>/attributes/heads/, the tuning judge
# out: <results>/attributes/sweep/{mode}/{target}/{scale}.parquet, <results>/attributes/sweep/{mode}/{target}.csv
#      <results>/tables/attributes_sweep.csv


use rule sample_attributes as sample_attributes_sweep with:
    output:
        samples="<results>/attributes/sweep/{mode}/{target}/{scale}.parquet",
        timing="<results>/attributes/sweep/{mode}/{target}/{scale}.timing.json",
    log:
        "<logs>/sample_attributes/sweep/{mode}/{target}/{scale}.log",
    benchmark:
        "<benchmarks>/sample_attributes/sweep/{mode}/{target}/{scale}.tsv"
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        head=subpath(input.head, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=lambda wildcards: wildcards.scale,
        first_seed=CONFIG.attributes.sweep.first_seed,
        units=CONFIG.attributes.sweep.units,
        shard="1-of-1",
        code=code("sample_attributes.py", env="diffusion"),


rule choose_attribute_scale:
    """Score one class's sweep over guidance_scale by the tuning judge and choose a scale."""
    input:
        samples=swept_samples,
        judge=judge_of("tuning_judge"),
    output:
        "<results>/attributes/sweep/{mode}/{target}.csv",
    log:
        "<logs>/choose_attribute_scale/{mode}/{target}.log",
    benchmark:
        "<benchmarks>/choose_attribute_scale/{mode}/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        settings=settings("attributes.sweep"),
        target=lambda wildcards: target_of(wildcards).model_dump_json(),
        data_set=DATA,
        judge=subpath(input.judge, parent=True),
        code=code("choose_attribute_scale.py", env="evaluation"),
    shell:
        "python workflow/scripts/choose_attribute_scale.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {params.data_set:q} --mode {wildcards.mode:q} --judge {params.judge:q}"
        " --samples {input.samples:q} --output {output:q} 2> {log:q}"


rule make_attributes_sweep_table:
    """Join the sweeps of all classes and modes into one table."""
    input:
        expand("<results>/attributes/sweep/{mode}/{target}.csv", mode=MODES, target=TARGETS),
        expand("<results>/attributes/sweep/distribution/{target}.csv", target=SHARED),
    output:
        report(
            "<results>/tables/attributes_sweep.csv",
            caption="../../report/attributes_sweep.rst",
            category="Attributes",
            labels={"what": "choice of guidance_scale", "kind": "table"},
        ),
    log:
        "<logs>/make_attributes_sweep_table.log",
    benchmark:
        "<benchmarks>/make_attributes_sweep_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        code=code("join_csv.py", env="evaluation"),
    shell:
        "python workflow/scripts/join_csv.py --parts {input:q} --output {output:q} 2> {log:q}"


rule attributes_sweep:
    """The table that guidance_scale of attributes is chosen by."""
    input:
        "<results>/tables/attributes_sweep.csv",
