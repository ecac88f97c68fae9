# Samples that follow masks, and the sweep that their guidance_scale is chosen by.
# in:  <results>/denoiser/, <results>/masks/{guides,controlnets}/, <results>/masks/segmenters/tuning_judge/,
#      masks of the splits controls and reference
# out: <results>/masks/samples/{method}/{preset}/{shots}.parquet with .timing.json; <results>/masks/sweep/
# The wanted masks are the first of the split controls, those of the sweep the first of the split reference.
# Finished work units are kept in checkpoints/masks/<code>/<identity>/.

GUIDES = {  # a new method that learns something adds where it lies
    "exact": "<results>/masks/guides/exact/{preset}/{shots}/<weights>",
    "readout": "<results>/masks/guides/readout/{preset}/{shots}/<weights>",
    "clean_image": "<results>/masks/guides/clean_image/{shots}/<weights>",
    "controlnet": "<results>/masks/controlnets/{shots}/<weights>",
}


rule sample_masks:
    """Draw samples that follow the wanted masks."""
    input:
        denoiser="<results>/denoiser/<weights>",
        guide=mask_guide,
        masks="<results>/images/controls_masks.parquet",
    output:
        samples="<results>/masks/samples/{method}/{preset}/{shots}.parquet",
        timing="<results>/masks/samples/{method}/{preset}/{shots}.timing.json",
    log:
        "<logs>/sample_masks/{method}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/sample_masks/{method}/{preset}/{shots}.tsv"
    wildcard_constraints:
        method=DENOISED,
    conda:
        "../../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset).model_dump_json(),
        guidance_scale=lambda wildcards: CONFIG.masks.presets[wildcards.preset].scale_of(wildcards.method),
        shots=lambda wildcards: wildcards.shots,
        seeds_per_mask=CONFIG.masks.seeds_per_mask,
        denoiser=subpath(input.denoiser, parent=True),
        guide=mask_guide_folder,
        code=code("sample_masks.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_masks.py --settings {params.settings:q} --method {wildcards.method:q}"
        " --preset {wildcards.preset:q} --shots {params.shots:q} --guidance-scale {params.guidance_scale:q}"
        " --denoiser {params.denoiser:q} {params.guide:q} --masks {input.masks:q}"
        " --seeds-per-mask {params.seeds_per_mask:q} --checkpoints checkpoints/masks/{params.code:q}"
        " --output {output.samples:q} 2> {log:q}"


use rule sample_masks as sample_masks_sweep with:
    input:
        denoiser="<results>/denoiser/<weights>",
        guide=mask_guide,
        masks="<results>/images/reference_masks.parquet",
    output:
        samples="<results>/masks/sweep/{method}/{preset}/{scale}.parquet",
        timing="<results>/masks/sweep/{method}/{preset}/{scale}.timing.json",
    log:
        "<logs>/sample_masks_sweep/{method}/{preset}/{scale}.log",
    benchmark:
        "<benchmarks>/sample_masks_sweep/{method}/{preset}/{scale}.tsv"
    wildcard_constraints:
        method=FOLLOWING,
        scale="|".join(CONFIG.masks.sweep.scales),
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset, sweep=True).model_dump_json(),
        guidance_scale=lambda wildcards: CONFIG.masks.sweep.scales[wildcards.scale],
        shots=CONFIG.masks.shots,
        seeds_per_mask=1,
        denoiser=subpath(input.denoiser, parent=True),
        guide=mask_guide_folder,
        code=code("sample_masks.py", env="diffusion"),


rule choose_mask_scale:
    """Choose a method's guidance_scale by the segmenter that tunes."""
    input:
        samples=expand("<results>/masks/sweep/{{method}}/{{preset}}/{scale}.parquet", scale=CONFIG.masks.sweep.scales),
        denoiser="<results>/denoiser/<weights>",
        guide=mask_guide,
        segmenter="<results>/masks/segmenters/tuning_judge/<weights>",
        masks="<results>/images/reference_masks.parquet",
    output:
        "<results>/masks/sweep/{method}/{preset}.csv",
    log:
        "<logs>/choose_mask_scale/{method}/{preset}.log",
    benchmark:
        "<benchmarks>/choose_mask_scale/{method}/{preset}.tsv"
    wildcard_constraints:
        method=FOLLOWING,
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("masks.sweep.of_pixels"),
        shots=CONFIG.masks.shots,
        denoiser=subpath(input.denoiser, parent=True),
        guide=mask_guide_folder,
        segmenter=subpath(input.segmenter, parent=True),
        code=code("choose_mask_scale.py", env="evaluation"),
    shell:
        "python workflow/scripts/choose_mask_scale.py --settings {params.settings:q} --method {wildcards.method:q}"
        " --preset {wildcards.preset:q} --shots {params.shots:q} --denoiser {params.denoiser:q} {params.guide:q}"
        " --segmenter {params.segmenter:q} --masks {input.masks:q} --samples {input.samples:q}"
        " --output {output:q} 2> {log:q}"
