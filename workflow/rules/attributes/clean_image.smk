# Sampling steered by DDIM-I's image-space classifier (clean_image, clean_image_direct), and its sweep: as by a head,
# in the environment of classifiers.
# in:  the denoiser, <results>/attributes/ddim_i/classifiers/
# out: as of sample.smk and sweep.smk, of these modes


rule sample_clean_image:
    """Draw one shard of the samples of one class, steered by DDIM-I's classifier."""
    input:
        denoiser="<results>/denoiser/<weights>",
        classifier=ddim_i_classifier,
    output:
        samples="<results>/attributes/samples/{mode}/{target}/{scatteritem}.parquet",
        timing="<results>/attributes/samples/{mode}/{target}/{scatteritem}.timing.json",
    log:
        "<logs>/sample_attributes/{mode}/{target}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_attributes/{mode}/{target}/{scatteritem}.tsv"
    wildcard_constraints:
        mode="|".join(BY_CLASSIFIER),
    conda:
        "../../../envs/classifiers.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        classifier=subpath(input.classifier, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=guidance_scale,
        first_seed=CONFIG.sampling.first_seed,
        units=CONFIG.units_per_target,
        shard="{scatteritem}",
        code=code("sample_clean_image.py", env="classifiers"),
    shell:
        "python workflow/scripts/sample_clean_image.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --method {wildcards.mode:q} --attribute {params.attribute:q} --value {params.value:q}"
        " --guidance-scale {params.guidance_scale:q} --classifier {params.classifier:q}"
        " --first-seed {params.first_seed:q} --units {params.units:q} --shard {params.shard:q}"
        " --checkpoints checkpoints/attributes/{params.code:q} --output {output.samples:q} 2> {log:q}"


use rule sample_clean_image as sample_clean_image_sweep with:
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
        classifier=subpath(input.classifier, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=lambda wildcards: wildcards.scale,
        first_seed=CONFIG.attributes.sweep.first_seed,
        units=CONFIG.attributes.sweep.units,
        shard="1-of-1",
        code=code("sample_clean_image.py", env="classifiers"),
