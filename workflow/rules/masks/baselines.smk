# Generative baselines that follow masks: a decoder of latents steers the latent DDIM.
# in:  <results>/baselines/{baseline}/, <results>/masks/guides/{baseline}/, <results>/denoiser/: the unit of costs
# out: <results>/masks/samples/{baseline}/{preset}/{shots}.parquet with .timing.json: from here on a method like any other
#      <results>/masks/sweep/{baseline}/{preset}.csv
# Finished work units are kept in checkpoints/masks/<code>/<identity>/.

DECODER = "<results>/masks/guides/{baseline}/{shots}/<weights>"
TABLE_DECODER = f"<results>/masks/guides/{{baseline}}/{CONFIG.masks.shots}/<weights>"


rule sample_mask_baseline:
    """Draw a baseline's samples that follow the wanted masks."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        denoiser="<results>/denoiser/<weights>",
        guide=DECODER,
        masks="<results>/images/controls_masks.parquet",
    output:
        samples="<results>/masks/samples/{baseline}/{preset}/{shots}.parquet",
        timing="<results>/masks/samples/{baseline}/{preset}/{shots}.timing.json",
    log:
        "<logs>/sample_mask_baseline/{baseline}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/sample_mask_baseline/{baseline}/{preset}/{shots}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset).model_dump_json(),
        guidance_scale=lambda wildcards: CONFIG.masks.presets[wildcards.preset].scale_of(wildcards.baseline),
        shots=lambda wildcards: wildcards.shots,
        seeds_per_mask=CONFIG.masks.seeds_per_mask,
        weights=subpath(input.weights, parent=True),
        denoiser=subpath(input.denoiser, parent=True),
        guide=subpath(input.guide, parent=True),
        code=code("sample_mask_baseline.py", env="baselines"),
    shell:
        "python workflow/scripts/sample_mask_baseline.py --settings {params.settings:q} --method {wildcards.baseline:q}"
        " --preset {wildcards.preset:q} --shots {params.shots:q} --guidance-scale {params.guidance_scale:q}"
        " --weights {params.weights:q} --denoiser {params.denoiser:q} --guide {params.guide:q} --masks {input.masks:q}"
        " --seeds-per-mask {params.seeds_per_mask:q} --checkpoints checkpoints/masks/{params.code:q}"
        " --output {output.samples:q} 2> {log:q}"


use rule sample_mask_baseline as sample_mask_baseline_sweep with:
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        denoiser="<results>/denoiser/<weights>",
        guide=TABLE_DECODER,
        masks="<results>/images/reference_masks.parquet",
    output:
        samples="<results>/masks/sweep/{baseline}/{preset}/{scale}.parquet",
        timing="<results>/masks/sweep/{baseline}/{preset}/{scale}.timing.json",
    log:
        "<logs>/sample_mask_baseline_sweep/{baseline}/{preset}/{scale}.log",
    benchmark:
        "<benchmarks>/sample_mask_baseline_sweep/{baseline}/{preset}/{scale}.tsv"
    wildcard_constraints:
        scale="|".join(CONFIG.masks.sweep.of_latents.scales),
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset, sweep=True).model_dump_json(),
        guidance_scale=lambda wildcards: CONFIG.masks.sweep.of_latents.scales[wildcards.scale],
        shots=CONFIG.masks.shots,
        seeds_per_mask=1,
        weights=subpath(input.weights, parent=True),
        denoiser=subpath(input.denoiser, parent=True),
        guide=subpath(input.guide, parent=True),
        code=code("sample_mask_baseline.py", env="baselines"),


rule choose_mask_baseline_scale:
    """Choose a baseline's guidance_scale by the segmenter that tunes."""
    input:
        samples=expand(
            "<results>/masks/sweep/{{baseline}}/{{preset}}/{scale}.parquet", scale=CONFIG.masks.sweep.of_latents.scales
        ),
        weights="<results>/baselines/{baseline}/<weights>",
        guide=TABLE_DECODER,
        segmenter="<results>/masks/segmenters/tuning_judge/<weights>",
        masks="<results>/images/reference_masks.parquet",
    output:
        "<results>/masks/sweep/{baseline}/{preset}.csv",
    log:
        "<logs>/choose_mask_baseline_scale/{baseline}/{preset}.log",
    benchmark:
        "<benchmarks>/choose_mask_baseline_scale/{baseline}/{preset}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("masks.sweep.of_latents"),
        shots=CONFIG.masks.shots,
        weights=subpath(input.weights, parent=True),
        guide=subpath(input.guide, parent=True),
        segmenter=subpath(input.segmenter, parent=True),
        code=code("choose_mask_baseline_scale.py", env="evaluation"),
    shell:
        "python workflow/scripts/choose_mask_baseline_scale.py --settings {params.settings:q}"
        " --method {wildcards.baseline:q} --preset {wildcards.preset:q} --shots {params.shots:q}"
        " --weights {params.weights:q} --guide {params.guide:q} --segmenter {params.segmenter:q}"
        " --masks {input.masks:q} --samples {input.samples:q} --output {output:q} 2> {log:q}"
