# Generative baselines: models whose latent is learnt, trained without labels, for whichever experiment names them.
# in:  <results>/images/train.parquet (baselines.source train) or the store (store): `make restore`
# out: <results>/baselines/{baseline}/, weights; frozen from here on
# A training keeps the state of each stage in checkpoints/baselines/<identity>/ and continues from there.


wildcard_constraints:
    baseline="|".join(CONFIG.generative_baselines),


if CONFIG.baselines.source == "train":

    rule train_baseline:
        """Train a generative baseline, stage by stage; the same command starts, resumes and repeats."""
        input:
            "<results>/images/train.parquet",
        output:
            config="<results>/baselines/{baseline}/config.json",
            weights="<results>/baselines/{baseline}/<weights>",
        log:
            "<logs>/train_baseline/{baseline}.log",
        benchmark:
            "<benchmarks>/train_baseline/{baseline}.tsv"
        conda:
            "../../envs/baselines.yaml"
        threads: CONFIG.baselines.training.cpu_threads
        resources:
            gpu=1,
        params:
            settings=lambda wildcards: CONFIG.baseline_recipe(wildcards.baseline).model_dump_json(),
            folder=subpath(output.weights, parent=True),
            code=code("train_baseline.py", env="baselines"),
        shell:
            "python workflow/scripts/train_baseline.py --settings {params.settings:q} --images {input:q}"
            " --checkpoints checkpoints/baselines --output {params.folder:q} 2> {log:q}"
