# Denoiser: the unconditional diffusion model that everything else reads and steers.
# in:  results/{data}/images/train.* (denoiser.source train) or a weights folder (dvc, folder)
# out: results/{data}/denoiser/: a diffusers folder; frozen from here on
# A training keeps its state in checkpoints/denoiser/<identity>/ and continues from there.

if CONFIG.denoiser.source == "train":

    rule train_denoiser:
        input:
            images="results/{data}/images/train.safetensors",
            records="results/{data}/images/train.parquet",
        output:
            weights("results/{data}/denoiser"),
        log:
            "logs/{data}/train_denoiser.log",
        benchmark:
            "benchmarks/{data}/train_denoiser.tsv"
        conda:
            "../../envs/diffusion.yaml"
        threads: CONFIG.denoiser.training.cpu_threads
        resources:
            gpu=1,
        params:
            settings=settings("denoiser"),
            folder="results/{data}/denoiser",
            code=code("train_denoiser.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_denoiser.py --settings {params.settings:q} --images {input.images:q}"
            " --checkpoints checkpoints/denoiser --output {params.folder:q} --code {params.code:q} 2> {log:q}"

else:

    rule install_denoiser:
        input:
            source=weights(CONFIG.denoiser.folder or f"weights/{DATA}"),
        output:
            weights("results/{data}/denoiser"),
        log:
            "logs/{data}/install_denoiser.log",
        benchmark:
            "benchmarks/{data}/install_denoiser.tsv"
        conda:
            "../../envs/diffusion.yaml"
        params:
            settings=settings("denoiser"),
            image_size=CONFIG.data.image_size,
            source=folder_of("source"),
            folder="results/{data}/denoiser",
            code=code("install_denoiser.py", env="diffusion"),
        shell:
            "python workflow/scripts/install_denoiser.py --settings {params.settings:q}"
            " --image-size {params.image_size:q} --folder {params.source:q} --output {params.folder:q}"
            " --code {params.code:q} 2> {log:q}"
