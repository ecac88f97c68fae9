# Denoiser: the unconditional diffusion model that everything else reads and steers.
# in:  <results>/images/train.parquet (denoiser.source train), a folder of your own (folder), a public checkpoint
#      (checkpoint), or the store (store)
# out: <results>/denoiser/, a diffusers folder; frozen from here on. From the store it is there already: `make restore`
# A training keeps its state in checkpoints/denoiser/<identity>/ and continues from there, and so does each refinement.

if CONFIG.denoiser.source == "train":

    rule train_denoiser:
        """Train the unconditional denoiser; the same command starts, resumes and repeats."""
        input:
            images="<results>/images/train.parquet",
        output:
            config="<results>/denoiser/config.json",
            weights="<results>/denoiser/<weights>",
        log:
            "<logs>/train_denoiser.log",
        benchmark:
            "<benchmarks>/train_denoiser.tsv"
        conda:
            "../../envs/diffusion.yaml"
        threads: max(recipe.cpu_threads for recipe in CONFIG.denoiser.recipes)
        resources:
            gpu=1,
        params:
            settings=settings("denoiser"),
            folder=subpath(output.weights, parent=True),
            code=code("train_denoiser.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_denoiser.py --settings {params.settings:q} --images {input.images:q}"
            " --checkpoints checkpoints/denoiser --output {params.folder:q} 2> {log:q}"

elif CONFIG.denoiser.source == "folder":

    rule adopt_denoiser:
        """Take over a denoiser of one's own: a diffusers UNet2DModel and the schedule that it was trained on."""
        input:
            config=DENOISER.config,
            more=[path for path in DENOISER.files if path != DENOISER.config],
        output:
            config="<results>/denoiser/config.json",
            weights="<results>/denoiser/<weights>",
        log:
            "<logs>/adopt_denoiser.log",
        benchmark:
            "<benchmarks>/adopt_denoiser.tsv"
        conda:
            "../../envs/diffusion.yaml"
        params:
            settings=settings("denoiser"),
            image_size=CONFIG.data.image_size,
            source=subpath(input.config, parent=True),
            folder=subpath(output.weights, parent=True),
            code=code("adopt_denoiser.py", env="diffusion"),
        shell:
            "python workflow/scripts/adopt_denoiser.py --settings {params.settings:q}"
            " --image-size {params.image_size:q} --folder {params.source:q} --output {params.folder:q} 2> {log:q}"

elif CONFIG.denoiser.source == "checkpoint":

    rule convert_denoiser:
        """Convert a public checkpoint: a diffusers UNet2DModel, and the schedule that it was trained on."""
        input:
            CONFIG.denoiser.checkpoint.file,
        output:
            config="<results>/denoiser/config.json",
            weights="<results>/denoiser/<weights>",
        log:
            "<logs>/convert_denoiser.log",
        benchmark:
            "<benchmarks>/convert_denoiser.tsv"
        conda:
            "../../envs/diffusion.yaml"
        params:
            settings=settings("denoiser"),
            image_size=CONFIG.data.image_size,
            folder=subpath(output.weights, parent=True),
            code=code("convert_denoiser.py", env="diffusion"),
        shell:
            "python workflow/scripts/convert_denoiser.py --settings {params.settings:q}"
            " --image-size {params.image_size:q} --file {input:q} --output {params.folder:q} 2> {log:q}"
