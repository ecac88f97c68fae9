# Sampling: DDIM in fixed work units, shared among jobs; one unguided pool, one guided set per class and mode,
# and the sweep over guidance_scale on seeds of its own.
# in:  the denoiser, a head
# out: results/{data}/samples/unguided/all/{scatteritem}.safetensors
#      results/{data}/samples/{mode}/{target}/{scatteritem}.safetensors
#      results/{data}/sweep/{mode}/{target}/{scale}.safetensors
# Finished work units lie in checkpoints/samples/<identity>/ until the shard is written, and after.


rule sample_unguided:
    input:
        denoiser=weights("results/{data}/denoiser"),
    output:
        samples="results/{data}/samples/unguided/all/{scatteritem}.safetensors",
        timing="results/{data}/samples/unguided/all/{scatteritem}.timing.json",
    log:
        "logs/{data}/sample/unguided/all/{scatteritem}.log",
    benchmark:
        "benchmarks/{data}/sample/unguided/all/{scatteritem}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        units=CONFIG.sampling.units_unguided,
        first_seed=CONFIG.sampling.first_seed,
        denoiser=folder_of("denoiser"),
        code=code("sample.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --mode unguided --first-seed {params.first_seed:q} --units {params.units:q}"
        " --shard {wildcards.scatteritem:q} --checkpoints checkpoints/samples --output {output.samples:q}"
        " --timing {output.timing:q} --code {params.code:q} 2> {log:q}"


rule sample_guided:
    input:
        denoiser=weights("results/{data}/denoiser"),
        head=lambda wildcards: weights(f"results/{DATA}/heads/{wildcards.mode}/{target_attribute(wildcards)}"),
    output:
        samples="results/{data}/samples/{mode}/{target}/{scatteritem}.safetensors",
        timing="results/{data}/samples/{mode}/{target}/{scatteritem}.timing.json",
    log:
        "logs/{data}/sample/{mode}/{target}/{scatteritem}.log",
    benchmark:
        "benchmarks/{data}/sample/{mode}/{target}/{scatteritem}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        units=CONFIG.sampling.units_per_target,
        first_seed=CONFIG.sampling.first_seed,
        shard="{scatteritem}",
        value=target_value,
        guidance_scale=guidance_scale,
        denoiser=folder_of("denoiser"),
        head=folder_of("head"),
        code=code("sample.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --mode {wildcards.mode:q} --head {params.head:q} --value {params.value:q}"
        " --guidance-scale {params.guidance_scale:q} --first-seed {params.first_seed:q} --units {params.units:q}"
        " --shard {params.shard:q} --checkpoints checkpoints/samples --output {output.samples:q}"
        " --timing {output.timing:q} --code {params.code:q} 2> {log:q}"


use rule sample_guided as sample_sweep with:
    output:
        samples="results/{data}/sweep/{mode}/{target}/{scale}.safetensors",
        timing="results/{data}/sweep/{mode}/{target}/{scale}.timing.json",
    log:
        "logs/{data}/sweep/{mode}/{target}/{scale}.log",
    benchmark:
        "benchmarks/{data}/sweep/{mode}/{target}/{scale}.tsv"
    params:
        settings=settings("sampling"),
        units=CONFIG.tuning.units,
        first_seed=CONFIG.tuning.first_seed,
        shard="1-of-1",
        value=target_value,
        guidance_scale=lambda wildcards: wildcards.scale,
        denoiser=folder_of("denoiser"),
        head=folder_of("head"),
        code=code("sample.py", env="diffusion"),
