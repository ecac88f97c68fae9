# A denoiser of latents, held at one prompt: trained here in Stable Diffusion's layout, or taken over in it.
# in:  <results>/images/train.parquet and captions (denoiser.latent.source train), the store (store), a folder of your
#      own (folder), or a repository of the hub (hub)
# out: <results>/stable_diffusion/, the folder of a StableDiffusionPipeline, where it is trained or stored;
#      <results>/denoiser/, which all else reads as it reads one of pixels
# A training keeps its state in checkpoints/latent/<identity>/ and continues from there.

LATENT = CONFIG.denoiser.latent
HERE = [  # all that the folder of a pipeline holds
    f"<results>/stable_diffusion/{name}"
    for name in (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/<weights>",
        "vae/config.json",
        "vae/<weights>",
    )
]
ON_HUB = ["--repository", LATENT.repository, *(["--revision", LATENT.revision] if LATENT.revision else [])]
ADOPTED = {  # where the pipeline comes from -> its files, and how the job is told
    "train": (HERE, ["--folder", f"results/{DATA}/stable_diffusion"]),
    "store": (HERE, ["--folder", f"results/{DATA}/stable_diffusion"]),
    "folder": (DENOISER.files if DENOISER else [], ["--folder", LATENT.folder]),
    "hub": ([], ON_HUB),
}


if LATENT.source == "train":

    rule make_captions:
        """Write captions of one split of drawn images, made of the options that drew them."""
        output:
            "<results>/captions/{split}.csv",
        log:
            "<logs>/make_captions/{split}.log",
        benchmark:
            "<benchmarks>/make_captions/{split}.tsv"
        conda:
            "../../envs/latent.yaml"
        params:
            settings=dataset,
            captions=settings("denoiser.latent.model.captions"),
            positions=positions,
            code=code("make_captions.py", env="latent"),
        shell:
            "python workflow/scripts/make_captions.py --settings {params.settings:q} --captions {params.captions:q}"
            " --positions {params.positions:q} --output {output:q} 2> {log:q}"

    rule train_autoencoder:
        """Train the autoencoder between images and latents."""
        input:
            "<results>/images/train.parquet",
        output:
            config="<results>/autoencoder/config.json",
            weights="<results>/autoencoder/<weights>",
        log:
            "<logs>/train_autoencoder.log",
        benchmark:
            "<benchmarks>/train_autoencoder.tsv"
        conda:
            "../../envs/diffusion.yaml"
        resources:
            gpu=1,
        params:
            settings=settings("denoiser.latent.model.autoencoder"),
            folder=subpath(output.weights, parent=True),
            code=code("train_autoencoder.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_autoencoder.py --settings {params.settings:q} --images {input:q}"
            " --output {params.folder:q} 2> {log:q}"

    rule train_latent_denoiser:
        """Train U-Net and text encoder on latents and captions; the same command starts, resumes and repeats."""
        input:
            images="<results>/images/train.parquet",
            captions="<results>/captions/train.csv",
            autoencoder="<results>/autoencoder/<weights>",
        output:
            HERE,
        log:
            "<logs>/train_latent_denoiser.log",
        benchmark:
            "<benchmarks>/train_latent_denoiser.tsv"
        conda:
            "../../envs/latent.yaml"
        threads: CONFIG.denoiser.training.cpu_threads
        resources:
            gpu=1,
        params:
            settings=settings("denoiser.latent_recipe"),
            autoencoder=subpath(input.autoencoder, parent=True),
            folder=subpath(output[0], parent=True),
            code=code("train_latent_denoiser.py", env="latent"),
        shell:
            "python workflow/scripts/train_latent_denoiser.py --settings {params.settings:q} --images {input.images:q}"
            " --captions {input.captions:q} --autoencoder {params.autoencoder:q} --checkpoints checkpoints/latent"
            " --output {params.folder:q} 2> {log:q}"


rule adopt_latent_denoiser:
    """Take over a latent diffusion, held at its prompt: the prompt's embedding goes beside the weights."""
    input:
        ADOPTED[LATENT.source][0],
    output:
        config="<results>/denoiser/config.json",
        weights="<results>/denoiser/<weights>",
    log:
        "<logs>/adopt_latent_denoiser.log",
    benchmark:
        "<benchmarks>/adopt_latent_denoiser.tsv"
    conda:
        "../../envs/latent.yaml"
    params:
        prompt=settings("denoiser.latent.held_at"),
        schedule=settings("denoiser.schedule"),
        source=ADOPTED[LATENT.source][1],
        image_size=CONFIG.data.image_size,
        folder=subpath(output.weights, parent=True),
        code=code("adopt_latent_denoiser.py", env="latent"),
    shell:
        "python workflow/scripts/adopt_latent_denoiser.py --prompt {params.prompt:q} --schedule {params.schedule:q}"
        " {params.source:q} --image-size {params.image_size:q} --output {params.folder:q} 2> {log:q}"
