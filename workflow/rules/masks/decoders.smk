# Decoders of generative baselines' latents: masks from latents, learnt from the same few pairs as the heads.
# in:  <results>/baselines/{baseline}/, images and masks of the split pairs
# out: <results>/masks/guides/{baseline}/{shots}/, weights


rule extract_mask_latents:
    """Cache a baseline's latents of the few pairs, and of their mirror images."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        images="<results>/images/pairs.parquet",
        masks="<results>/images/pairs_masks.parquet",
        pairs="<results>/masks/pairs/{shots}.csv",
    output:
        temp("<results>/masks/latents/{baseline}/{shots}.safetensors"),
    log:
        "<logs>/extract_mask_latents/{baseline}/{shots}.log",
    benchmark:
        "<benchmarks>/extract_mask_latents/{baseline}/{shots}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("masks.latent_decoder"),
        flip_pairs=FLIP_PAIRS,
        weights=subpath(input.weights, parent=True),
        code=code("extract_mask_latents.py", env="baselines"),
    shell:
        "python workflow/scripts/extract_mask_latents.py --settings {params.settings:q} --baseline {wildcards.baseline:q}"
        " --shots {wildcards.shots:q} --weights {params.weights:q} --images {input.images:q} --masks {input.masks:q}"
        " --pairs {input.pairs:q} {params.flip_pairs:q} --output {output:q} 2> {log:q}"


rule train_mask_decoder:
    """Train the decoder of masks on the cached latents."""
    input:
        "<results>/masks/latents/{baseline}/{shots}.safetensors",
    output:
        config="<results>/masks/guides/{baseline}/{shots}/config.json",
        weights="<results>/masks/guides/{baseline}/{shots}/<weights>",
    log:
        "<logs>/train_mask_decoder/{baseline}/{shots}.log",
    benchmark:
        "<benchmarks>/train_mask_decoder/{baseline}/{shots}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    params:
        settings=settings("masks.latent_decoder"),
        folder=subpath(output.weights, parent=True),
        code=code("train_mask_decoder.py", env="baselines"),
    shell:
        "python workflow/scripts/train_mask_decoder.py --settings {params.settings:q} --baseline {wildcards.baseline:q}"
        " --shots {wildcards.shots:q} --latents {input:q} --output {params.folder:q} 2> {log:q}"
