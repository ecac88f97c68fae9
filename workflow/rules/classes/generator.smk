# Augmentation: classifiers on real and generated images (Table 2).
# in:  the denoiser, and labelled images of the splits class_train, class_test and judge
# out: results/{data}/{class_images,conditional,rejection_head,class_judge,generated,cells}/,
#      results/tables/tiny_imagenet_accuracy.csv, acceptance.csv, rejection_calibration.csv, results/figures/augmentation.*
# One generated set serves all ratios: 1x is its prefix; finished work units in checkpoints/ make 3x extend 1x.


rule make_class_split:
    input:
        source_files(),
    output:
        "results/{data}/class_images/{split}.safetensors",
    log:
        "logs/{data}/make_class_split/{split}.log",
    benchmark:
        "benchmarks/{data}/make_class_split/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.model_dump_json(exclude={"splits"}),
        positions=positions,
        per_class=images_per_class,
        code=code("make_class_split.py", env="data"),
    shell:
        "python workflow/scripts/make_class_split.py --settings {params.settings:q} --positions {params.positions:q}"
        " --per-class {params.per_class:q} --output {output:q} --code {params.code:q} 2> {log:q}"


if CLASSES.source == "train":

    rule finetune_conditional:
        input:
            denoiser=weights("results/{data}/denoiser"),
            images="results/{data}/class_images/class_train.safetensors",
        output:
            weights("results/{data}/conditional"),
        log:
            "logs/{data}/finetune_conditional.log",
        benchmark:
            "benchmarks/{data}/finetune_conditional.tsv"
        conda:
            "../../envs/diffusion.yaml"
        threads: CLASSES.conditional.cpu_threads
        resources:
            gpu=1,
        params:
            settings=CLASSES.conditional.model_dump_json(),
            denoiser=folder_of("denoiser"),
            folder="results/{data}/conditional",
            code=code("finetune_conditional.py", env="diffusion"),
        shell:
            "python workflow/scripts/finetune_conditional.py --settings {params.settings:q} --images {input.images:q}"
            " --denoiser {params.denoiser:q} --checkpoints checkpoints/conditional --output {params.folder:q}"
            " --code {params.code:q} 2> {log:q}"

    rule train_class_judge:
        input:
            "results/{data}/class_images/judge.safetensors",
        output:
            weights("results/{data}/class_judge"),
        log:
            "logs/{data}/train_class_judge.log",
        benchmark:
            "benchmarks/{data}/train_class_judge.tsv"
        conda:
            "../../envs/classifiers.yaml"
        resources:
            gpu=1,
        params:
            settings=CLASSES.judge.model_dump_json(),
            folder="results/{data}/class_judge",
            code=code("train_class_judge.py", env="classifiers"),
        shell:
            "python workflow/scripts/train_class_judge.py --settings {params.settings:q} --images {input:q}"
            " --output {params.folder:q} --code {params.code:q} 2> {log:q}"

else:

    rule install_conditional:
        input:
            source=weights(f"weights/{DATA}/conditional"),
            labelled="results/{data}/class_images/class_train.safetensors",
        output:
            weights("results/{data}/conditional"),
        log:
            "logs/{data}/install_conditional.log",
        benchmark:
            "benchmarks/{data}/install_conditional.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            source=folder_of("source"),
            trained_on=lambda wildcards, input: ["--labelled", input.labelled],
            folder="results/{data}/conditional",
            code=code("install_weights.py", env="data"),
        shell:
            "python workflow/scripts/install_weights.py --folder {params.source:q} {params.trained_on:q}"
            " --output {params.folder:q} --code {params.code:q} 2> {log:q}"

    use rule install_conditional as install_class_judge with:
        input:
            source=weights(f"weights/{DATA}/class_judge"),
        output:
            weights("results/{data}/class_judge"),
        log:
            "logs/{data}/install_class_judge.log",
        benchmark:
            "benchmarks/{data}/install_class_judge.tsv"
        params:
            source=folder_of("source"),
            trained_on=[],  # it tells its classes itself
            folder="results/{data}/class_judge",
            code=code("install_weights.py", env="data"),


rule extract_class_features:
    input:
        denoiser=weights("results/{data}/denoiser"),
        images="results/{data}/class_images/class_train.safetensors",
    output:
        "results/{data}/class_features.safetensors",
    log:
        "logs/{data}/extract_class_features.log",
    benchmark:
        "benchmarks/{data}/extract_class_features.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=CLASSES.rejection.model_dump_json(),
        denoiser=folder_of("denoiser"),
        code=code("extract_class_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_class_features.py --settings {params.settings:q} --images {input.images:q}"
        " --denoiser {params.denoiser:q} --output {output:q} --code {params.code:q} 2> {log:q}"


rule train_rejection_head:
    input:
        "results/{data}/class_features.safetensors",
    output:
        weights("results/{data}/rejection_head"),
    log:
        "logs/{data}/train_rejection_head.log",
    benchmark:
        "benchmarks/{data}/train_rejection_head.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=CLASSES.rejection.model_dump_json(),
        folder="results/{data}/rejection_head",
        code=code("train_rejection_head.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_rejection_head.py --settings {params.settings:q} --features {input:q}"
        " --output {params.folder:q} --code {params.code:q} 2> {log:q}"


if CLASSES.source == "train":

    rule generate_classes:
        input:
            denoiser=weights("results/{data}/denoiser"),
            conditional=weights("results/{data}/conditional"),
            head=weights("results/{data}/rejection_head"),
        output:
            "results/{data}/generated/{scatteritem}.safetensors",
        log:
            "logs/{data}/generate_classes/{scatteritem}.log",
        benchmark:
            "benchmarks/{data}/generate_classes/{scatteritem}.tsv"
        conda:
            "../../envs/diffusion.yaml"
        threads: CLASSES.sampling.cpu_threads
        resources:
            gpu=1,
        params:
            settings=CLASSES.sampling.model_dump_json(),
            rejection=CLASSES.rejection.model_dump_json(),
            wanted=CLASSES.train_per_class * MAX_RATIO,
            denoiser=folder_of("denoiser"),
            conditional=folder_of("conditional"),
            head=folder_of("head"),
            shard="{scatteritem}",
            code=code("generate_classes.py", env="diffusion"),
        shell:
            "python workflow/scripts/generate_classes.py --settings {params.settings:q} --rejection {params.rejection:q}"
            " --wanted {params.wanted:q} --denoiser {params.denoiser:q} --conditional {params.conditional:q}"
            " --head {params.head:q} --shard {params.shard:q} --checkpoints checkpoints/classes --output {output:q}"
            " --code {params.code:q} 2> {log:q}"

else:

    rule install_generated:
        input:
            source=f"weights/{DATA}/generated/{{scatteritem}}.safetensors",
            denoiser=weights("results/{data}/denoiser"),
            conditional=weights("results/{data}/conditional"),
        output:
            "results/{data}/generated/{scatteritem}.safetensors",
        log:
            "logs/{data}/install_generated/{scatteritem}.log",
        benchmark:
            "benchmarks/{data}/install_generated/{scatteritem}.tsv"
        conda:
            "../../envs/diffusion.yaml"
        params:
            settings=CLASSES.sampling.model_dump_json(),
            threshold=CLASSES.rejection.threshold,
            denoiser=folder_of("denoiser"),
            conditional=folder_of("conditional"),
            code=code("install_generated.py", env="diffusion"),
        shell:
            "python workflow/scripts/install_generated.py --source {input.source:q} --settings {params.settings:q}"
            " --threshold {params.threshold:q} --denoiser {params.denoiser:q} --conditional {params.conditional:q}"
            " --output {output:q} --code {params.code:q} 2> {log:q}"


rule evaluate_generated:
    input:
        generated=gather.generated(f"results/{DATA}/generated/{{scatteritem}}.safetensors"),
        test=f"results/{DATA}/class_images/class_test.safetensors",
        denoiser=weights(f"results/{DATA}/denoiser"),
        head=weights(f"results/{DATA}/rejection_head"),
        judge=weights(f"results/{DATA}/class_judge"),
    output:
        acceptance=report(
            f"results/tables/{CONFIG.outputs.acceptance_table}.csv",
            caption="../report/acceptance.rst",
            category="Tables",
        ),
        calibration=report(
            f"results/tables/{CONFIG.outputs.calibration_table}.csv",
            caption="../report/calibration.rst",
            category="Tables",
        ),
    log:
        f"logs/{DATA}/evaluate_generated.log",
    benchmark:
        f"benchmarks/{DATA}/evaluate_generated.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        data_set=DATA,
        threshold=CLASSES.rejection.threshold,
        denoiser=folder_of("denoiser"),
        head=folder_of("head"),
        judge=folder_of("judge"),
        code=code("evaluate_generated.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_generated.py --data-set {params.data_set:q} --threshold {params.threshold:q}"
        " --generated {input.generated:q} --test {input.test:q} --denoiser {params.denoiser:q} --head {params.head:q}"
        " --judge {params.judge:q} --acceptance {output.acceptance:q} --calibration {output.calibration:q}"
        " --code {params.code:q} 2> {log:q}"


rule train_cell:
    input:
        real="results/{data}/class_images/class_train.safetensors",
        generated=generated_images,
        test="results/{data}/class_images/class_test.safetensors",
    output:
        "results/{data}/cells/{architecture}/{mixing}/{ratio}_{control}.csv",
    log:
        "logs/{data}/train_cell/{architecture}/{mixing}/{ratio}_{control}.log",
    benchmark:
        "benchmarks/{data}/train_cell/{architecture}/{mixing}/{ratio}_{control}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("classification"),
        recipe=cell_recipe,
        mixing=cell_mixing,
        generated=generated_option,
        code=code("train_cell.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_cell.py --settings {params.settings:q} --recipe {params.recipe:q}"
        " --data-set {wildcards.data:q} --mixup-cutmix {params.mixing:q} --ratio {wildcards.ratio:q}"
        " --control {wildcards.control:q} --real {input.real:q} {params.generated:q} --test {input.test:q}"
        " --checkpoints checkpoints/cells --output {output:q} --code {params.code:q} 2> {log:q}"


rule make_augmentation_table:
    input:
        cells=[cell for recipe in CLASSES.architectures for cell in cells_of(recipe)],
        published=CONFIG.outputs.published or [],
    output:
        report(
            f"results/tables/{CONFIG.outputs.augmentation_table}.csv",
            caption="../report/augmentation.rst",
            category="Tables",
        ),
    log:
        f"logs/{DATA}/make_augmentation_table.log",
    benchmark:
        f"benchmarks/{DATA}/make_augmentation_table.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        published=lambda wildcards, input: ["--published", input.published] if input.published else [],
        stands_for=["--stands-for", CONFIG.outputs.stands_for] if CONFIG.outputs.stands_for else [],
        kind=CONFIG.outputs.kind,
        code=code("make_augmentation_table.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_augmentation_table.py --cells {input.cells:q} {params.published:q}"
        " {params.stands_for:q} --kind {params.kind:q} --output {output:q} --code {params.code:q} 2> {log:q}"


use rule make_augmentation_table as make_first_architecture_table with:
    input:
        cells=cells_of(CLASSES.architectures[0]),
        published=CONFIG.outputs.published or [],
    output:
        f"results/{DATA}/{CLASSES.architectures[0].name}_accuracy.csv",
    log:
        f"logs/{DATA}/make_first_architecture_table.log",
    benchmark:
        f"benchmarks/{DATA}/make_first_architecture_table.tsv"


rule draw_augmentation_figure:
    input:
        table=f"results/tables/{CONFIG.outputs.augmentation_table}.csv",
        acceptance=f"results/tables/{CONFIG.outputs.acceptance_table}.csv",
        calibration=f"results/tables/{CONFIG.outputs.calibration_table}.csv",
    output:
        report(
            f"results/figures/{CONFIG.outputs.augmentation_figure}.png",
            caption="../report/augmentation_figure.rst",
            category="Figures",
        ),
        f"results/figures/{CONFIG.outputs.augmentation_figure}.pdf",
    log:
        f"logs/{DATA}/draw_augmentation_figure.log",
    benchmark:
        f"benchmarks/{DATA}/draw_augmentation_figure.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        code=code("draw_augmentation_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_augmentation_figure.py --table {input.table:q} --acceptance {input.acceptance:q}"
        " --calibration {input.calibration:q} --output {output:q} --code {params.code:q} 2> {log:q}"
# Shared by the rules of augmentation.smk: wildcards, the cells of Table 2, and functions that make parameters of them.

MIXING = {"plain": False, "mixed": True}
CLASSES = CONFIG.classification
MAX_RATIO = CLASSES.max_ratio
CONTROL_RATIOS = {"matched_updates": 0, "unfiltered": MAX_RATIO, "generated_only": MAX_RATIO}


wildcard_constraints:
    architecture="|".join(recipe.name for recipe in CLASSES.architectures),
    mixing="|".join(MIXING),
    ratio="|".join(map(str, CLASSES.generated_ratios)),
    control="|".join(["none", *CONTROL_RATIOS]),


scattergather:
    generated=CLASSES.sampling.shards,


def cells_of(recipe):
    cell = "results/{data}/cells/{architecture}/{mixing}/{ratio}_{control}.csv"
    wanted = [(mixing, ratio, "none") for mixing in MIXING for ratio in CLASSES.generated_ratios]
    wanted += [("plain", ratio, control) for control, ratio in CONTROL_RATIOS.items() if recipe.controls]
    return [
        cell.format(data=DATA, architecture=recipe.name, mixing=mixing, ratio=ratio, control=control)
        for mixing, ratio, control in wanted
    ]


def generated_images(wildcards):
    # Every cell reads prefixes of one set; cells without generated images do not wait for it.
    shards = gather.generated("results/{data}/generated/{scatteritem}.safetensors", data=wildcards.data)
    return shards if int(wildcards.ratio) else []


def images_per_class(wildcards):
    return CLASSES.train_per_class if wildcards.split == "class_train" else 0


def generated_option(wildcards, input):
    return ["--generated", *input.generated] if input.generated else []


def cell_recipe(wildcards):
    return CLASSES.recipe(wildcards.architecture).model_dump_json()


def cell_mixing(wildcards):
    return str(MIXING[wildcards.mixing]).lower()
