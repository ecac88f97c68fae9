# Sampling: DDIM in fixed work units, shared among jobs: one unguided pool, one guided set per class and mode. A wanted
# share is that of each work unit, which no number of jobs divides.
# in:  the denoiser, a head or direction
# out: <results>/attributes/samples/unguided/pool/{scatteritem}.parquet
#      <results>/attributes/samples/{mode}/{target}/{scatteritem}.parquet
#      and beside each .timing.json: seconds that its drawing took
# Finished work units lie in checkpoints/attributes/<code>/<identity>/ until the shard is written, and after.


scattergather:
    guided=CONFIG.attributes.sets.shards_per_target,
    pool=CONFIG.attributes.sets.shards_unguided,


rule sample_unguided:
    """Draw one shard of the unguided pool."""
    input:
        denoiser="<results>/denoiser/<weights>",
    output:
        samples="<results>/attributes/samples/unguided/pool/{scatteritem}.parquet",
        timing="<results>/attributes/samples/unguided/pool/{scatteritem}.timing.json",
    log:
        "<logs>/sample_attributes/unguided/pool/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_attributes/unguided/pool/{scatteritem}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        first_seed=CONFIG.sampling.first_seed,
        units=CONFIG.units_unguided,
        code=code("sample_attributes.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_attributes.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --method unguided --first-seed {params.first_seed:q} --units {params.units:q}"
        " --shard {wildcards.scatteritem:q} --checkpoints checkpoints/attributes/{params.code:q}"
        " --output {output.samples:q} 2> {log:q}"


rule sample_attributes:
    """Draw one shard of the samples of one class, steered by a head."""
    input:
        denoiser="<results>/denoiser/<weights>",
        head=head_of,
    output:
        samples="<results>/attributes/samples/{mode}/{target}/{scatteritem}.parquet",
        timing="<results>/attributes/samples/{mode}/{target}/{scatteritem}.timing.json",
    log:
        "<logs>/sample_attributes/{mode}/{target}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_attributes/{mode}/{target}/{scatteritem}.tsv"
    wildcard_constraints:
        mode="|".join(mode for mode in KNOWN_MODES if mode not in BY_CLASSIFIER),
    conda:
        "../../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        head=subpath(input.head, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=guidance_scale,
        first_seed=CONFIG.sampling.first_seed,
        units=CONFIG.units_per_target,
        shard="{scatteritem}",
        code=code("sample_attributes.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_attributes.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --method {wildcards.mode:q} --attribute {params.attribute:q} --value {params.value:q} --head {params.head:q}"
        " --guidance-scale {params.guidance_scale:q} --first-seed {params.first_seed:q} --units {params.units:q}"
        " --shard {params.shard:q} --checkpoints checkpoints/attributes/{params.code:q}"
        " --output {output.samples:q} 2> {log:q}"
