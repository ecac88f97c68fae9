# What steers towards masks, learned from a few image-mask pairs.
# in:  <results>/denoiser/, images and masks of the split pairs
# out: <results>/masks/{pairs,features,guides}/; controlnets/ too if masks.source is train: from the store they are
#      there already (`make restore`)
# Presets are about heads: one segmenter of clean images and one ControlNet serve them all.
# A ControlNet's training keeps its state in checkpoints/controlnet/<identity>/ and continues from there.

FLIP_PAIRS = ["--flip-pairs", *sum(CONFIG.masks.head.flip_pairs, ())] if CONFIG.masks.head.flip_pairs else []


wildcard_constraints:
    mode="exact|readout",
    preset="|".join(CONFIG.masks.presets),
    shots=r"\d+",


rule draw_pairs:
    """Draw the few image-mask pairs from their pool; fewer are a prefix of more."""
    input:
        "<results>/images/pairs_masks.parquet",
    output:
        "<results>/masks/pairs/{shots}.csv",
    log:
        "<logs>/draw_pairs/{shots}.log",
    benchmark:
        "<benchmarks>/draw_pairs/{shots}.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        seed=CONFIG.masks.shots_seed,
        code=code("draw_pairs.py", env="data"),
    shell:
        "python workflow/scripts/draw_pairs.py --masks {input:q} --shots {wildcards.shots:q} --seed {params.seed:q}"
        " --output {output:q} 2> {log:q}"


rule extract_mask_features:
    """Cache the denoiser's activations of the few pairs: of clean images (exact) or of noised ones (readout)."""
    input:
        denoiser="<results>/denoiser/<weights>",
        images="<results>/images/pairs.parquet",
        masks="<results>/images/pairs_masks.parquet",
        pairs="<results>/masks/pairs/{shots}.csv",
    output:
        temp("<results>/masks/features/{mode}/{preset}/{shots}.safetensors"),
    log:
        "<logs>/extract_mask_features/{mode}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/extract_mask_features/{mode}/{preset}/{shots}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=head_of_preset,
        taps=lambda wildcards: CONFIG.masks.presets[wildcards.preset].head.model_dump_json(),
        flip_pairs=FLIP_PAIRS,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_mask_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_mask_features.py --settings {params.settings:q} --taps {params.taps:q}"
        " --method {wildcards.mode:q} --preset {wildcards.preset:q} --shots {wildcards.shots:q}"
        " --denoiser {params.denoiser:q} --images {input.images:q} --masks {input.masks:q} --pairs {input.pairs:q}"
        " {params.flip_pairs:q} --output {output:q} 2> {log:q}"


rule train_mask_head:
    """Train the mask head on the cached activations."""
    input:
        "<results>/masks/features/{mode}/{preset}/{shots}.safetensors",
    output:
        config="<results>/masks/guides/{mode}/{preset}/{shots}/config.json",
        weights="<results>/masks/guides/{mode}/{preset}/{shots}/<weights>",
    log:
        "<logs>/train_mask_head/{mode}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/train_mask_head/{mode}/{preset}/{shots}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    params:
        settings=head_of_preset,
        upsampling=lambda wildcards: CONFIG.masks.presets[wildcards.preset].upsampling,
        folder=subpath(output.weights, parent=True),
        code=code("train_mask_head.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_mask_head.py --settings {params.settings:q} --upsampling {params.upsampling:q}"
        " --method {wildcards.mode:q} --preset {wildcards.preset:q} --shots {wildcards.shots:q} --features {input:q}"
        " --output {params.folder:q} 2> {log:q}"


rule train_clean_image_segmenter:
    """Train the segmenter of clean images that guides, on the same few pairs."""
    input:
        images="<results>/images/pairs.parquet",
        masks="<results>/images/pairs_masks.parquet",
        pairs="<results>/masks/pairs/{shots}.csv",
    output:
        config="<results>/masks/guides/clean_image/{shots}/config.json",
        weights="<results>/masks/guides/clean_image/{shots}/<weights>",
    log:
        "<logs>/train_clean_image_segmenter/{shots}.log",
    benchmark:
        "<benchmarks>/train_clean_image_segmenter/{shots}.tsv"
    conda:
        "../../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("masks.clean_image"),
        flip_pairs=FLIP_PAIRS,
        folder=subpath(output.weights, parent=True),
        code=code("train_segmenter.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_segmenter.py --settings {params.settings:q} --role guides"
        " --images {input.images:q} --masks {input.masks:q} --pairs {input.pairs:q} {params.flip_pairs:q}"
        " --output {params.folder:q} 2> {log:q}"


if CONFIG.masks.source == "train":

    rule train_controlnet:
        """Train the ControlNet baseline on the same few pairs; the same command starts, resumes and repeats."""
        input:
            denoiser="<results>/denoiser/<weights>",
            images="<results>/images/pairs.parquet",
            masks="<results>/images/pairs_masks.parquet",
            pairs="<results>/masks/pairs/{shots}.csv",
        output:
            config="<results>/masks/controlnets/{shots}/config.json",
            weights="<results>/masks/controlnets/{shots}/<weights>",
        log:
            "<logs>/train_controlnet/{shots}.log",
        benchmark:
            "<benchmarks>/train_controlnet/{shots}.tsv"
        conda:
            "../../../envs/diffusion.yaml"
        threads: CONFIG.masks.controlnet.cpu_threads
        resources:
            gpu=1,
        params:
            settings=settings("masks.controlnet"),
            flip_pairs=FLIP_PAIRS,
            denoiser=subpath(input.denoiser, parent=True),
            folder=subpath(output.weights, parent=True),
            code=code("train_controlnet.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_controlnet.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
            " --images {input.images:q} --masks {input.masks:q} --pairs {input.pairs:q} {params.flip_pairs:q}"
            " --checkpoints checkpoints/controlnet --output {params.folder:q} 2> {log:q}"
