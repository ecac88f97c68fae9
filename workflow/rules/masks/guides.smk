# Segmentation: samples that follow masks, from a few image-mask pairs; beside them the baselines.
# in:  the denoiser, images of the splits pairs, judge, tuning_judge and controls
# out: results/{data}/{masks,pairs,pair_features,mask_heads,segmenters,mask_samples,mask_evaluation}/,
#      results/tables/segmentation.csv, results/figures/segmentation.*
# {method} is exact, readout, clean_image, controlnet or unguided; the wanted masks are the
# first of the split controls, those of the sweep the first of the split reference.


rule make_masks:
    input:
        source_files(),
    output:
        "results/{data}/masks/{split}.safetensors",
    log:
        "logs/{data}/make_masks/{split}.log",
    benchmark:
        "benchmarks/{data}/make_masks/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.model_dump_json(exclude={"splits"}),
        positions=positions,
        code=code("make_masks.py", env="data"),
    shell:
        "python workflow/scripts/make_masks.py --settings {params.settings:q} --positions {params.positions:q}"
        " --output {output:q} --code {params.code:q} 2> {log:q}"


rule draw_pairs:
    input:
        "results/{data}/masks/pairs.safetensors",
    output:
        "results/{data}/pairs/{shots}.csv",
    log:
        "logs/{data}/draw_pairs/{shots}.log",
    benchmark:
        "benchmarks/{data}/draw_pairs/{shots}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        seed=CONFIG.segmentation.shots_seed,
        code=code("draw_pairs.py", env="data"),
    shell:
        "python workflow/scripts/draw_pairs.py --masks {input:q} --shots {wildcards.shots:q} --seed {params.seed:q}"
        " --output {output:q} --code {params.code:q} 2> {log:q}"


rule extract_pair_features:
    input:
        denoiser=weights("results/{data}/denoiser"),
        pairs="results/{data}/pairs/{shots}.csv",
        images="results/{data}/images/pairs.safetensors",
        records="results/{data}/images/pairs.parquet",
        masks="results/{data}/masks/pairs.safetensors",
    output:
        temp("results/{data}/pair_features/{preset}/{mode}/{shots}.safetensors"),
    log:
        "logs/{data}/extract_pair_features/{preset}/{mode}/{shots}.log",
    benchmark:
        "benchmarks/{data}/extract_pair_features/{preset}/{mode}/{shots}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        preset=mask_preset,
        settings=CONFIG.segmentation.head.model_dump_json(),
        denoiser=folder_of("denoiser"),
        code=code("extract_pair_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_pair_features.py --preset {params.preset:q} --settings {params.settings:q}"
        " --mode {wildcards.mode:q} --pairs {input.pairs:q} --images {input.images:q} --masks {input.masks:q}"
        " --denoiser {params.denoiser:q} --output {output:q} --code {params.code:q} 2> {log:q}"


rule train_segmentation_head:
    input:
        "results/{data}/pair_features/{preset}/{mode}/{shots}.safetensors",
    output:
        weights("results/{data}/mask_guides/{preset}/{mode}/{shots}"),
    log:
        "logs/{data}/train_segmentation_head/{preset}/{mode}/{shots}.log",
    benchmark:
        "benchmarks/{data}/train_segmentation_head/{preset}/{mode}/{shots}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    params:
        settings=CONFIG.segmentation.head.model_dump_json(),
        upsampling=lambda wildcards: CONFIG.segmentation.presets[wildcards.preset].upsampling,
        folder="results/{data}/mask_guides/{preset}/{mode}/{shots}",
        code=code("train_segmentation_head.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_segmentation_head.py --settings {params.settings:q}"
        " --upsampling {params.upsampling:q} --features {input:q} --output {params.folder:q}"
        " --code {params.code:q} 2> {log:q}"


rule train_clean_image_segmenter:
    input:
        images="results/{data}/images/pairs.safetensors",
        records="results/{data}/images/pairs.parquet",
        masks="results/{data}/masks/pairs.safetensors",
        pairs="results/{data}/pairs/{shots}.csv",
    output:
        weights("results/{data}/mask_guides/clean_image/{shots}"),
    log:
        "logs/{data}/train_clean_image_segmenter/{shots}.log",
    benchmark:
        "benchmarks/{data}/train_clean_image_segmenter/{shots}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=CONFIG.segmentation.clean_image.model_dump_json(),
        flip_pairs=str([list(pair) for pair in CONFIG.segmentation.head.flip_pairs]),
        folder="results/{data}/mask_guides/clean_image/{shots}",
        code=code("train_segmenter.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_segmenter.py --settings {params.settings:q} --role guides"
        " --flip-pairs {params.flip_pairs:q} --images {input.images:q} --masks {input.masks:q}"
        " --pairs {input.pairs:q} --output {params.folder:q} --code {params.code:q} 2> {log:q}"


if CONFIG.segmentation.source == "train":

    rule train_segmenter:
        input:
            images="results/{data}/images/{judge}.safetensors",
            records="results/{data}/images/{judge}.parquet",
            masks="results/{data}/masks/{judge}.safetensors",
        output:
            weights("results/{data}/segmenters/{judge}"),
        log:
            "logs/{data}/train_segmenter/{judge}.log",
        benchmark:
            "benchmarks/{data}/train_segmenter/{judge}.tsv"
        conda:
            "../../envs/classifiers.yaml"
        resources:
            gpu=1,
        params:
            settings=CONFIG.segmentation.segmenter.model_dump_json(),
            flip_pairs=str([list(pair) for pair in CONFIG.segmentation.head.flip_pairs]),
            folder="results/{data}/segmenters/{judge}",
            code=code("train_segmenter.py", env="classifiers"),
        shell:
            "python workflow/scripts/train_segmenter.py --settings {params.settings:q} --role {wildcards.judge:q}"
            " --flip-pairs {params.flip_pairs:q} --images {input.images:q} --masks {input.masks:q}"
            " --output {params.folder:q} --code {params.code:q} 2> {log:q}"

    rule train_controlnet:
        input:
            denoiser=weights("results/{data}/denoiser"),
            images="results/{data}/images/pairs.safetensors",
            records="results/{data}/images/pairs.parquet",
            masks="results/{data}/masks/pairs.safetensors",
            pairs="results/{data}/pairs/{shots}.csv",
        output:
            weights("results/{data}/mask_guides/controlnet/{shots}"),
        log:
            "logs/{data}/train_controlnet/{shots}.log",
        benchmark:
            "benchmarks/{data}/train_controlnet/{shots}.tsv"
        conda:
            "../../envs/diffusion.yaml"
        threads: CONFIG.segmentation.controlnet.cpu_threads
        resources:
            gpu=1,
        params:
            settings=CONFIG.segmentation.controlnet.model_dump_json(),
            flip_pairs=str([list(pair) for pair in CONFIG.segmentation.head.flip_pairs]),
            denoiser=folder_of("denoiser"),
            folder="results/{data}/mask_guides/controlnet/{shots}",
            code=code("train_controlnet.py", env="diffusion"),
        shell:
            "python workflow/scripts/train_controlnet.py --settings {params.settings:q}"
            " --flip-pairs {params.flip_pairs:q} --images {input.images:q} --masks {input.masks:q}"
            " --pairs {input.pairs:q} --denoiser {params.denoiser:q} --checkpoints checkpoints/controlnet"
            " --output {params.folder:q} --code {params.code:q} 2> {log:q}"

else:

    rule install_segmenter:
        input:
            source=weights(f"weights/{DATA}/segmenters/{{judge}}"),
        output:
            weights("results/{data}/segmenters/{judge}"),
        log:
            "logs/{data}/install_segmenter/{judge}.log",
        benchmark:
            "benchmarks/{data}/install_segmenter/{judge}.tsv"
        conda:
            "../../envs/data.yaml"
        params:
            source=folder_of("source"),
            trained_on=[],
            folder="results/{data}/segmenters/{judge}",
            code=code("install_weights.py", env="data"),
        shell:
            "python workflow/scripts/install_weights.py --folder {params.source:q} {params.trained_on:q}"
            " --output {params.folder:q} --code {params.code:q} 2> {log:q}"

    use rule install_segmenter as install_controlnet with:
        input:
            source=weights(f"weights/{DATA}/controlnets/{{shots}}"),
            images="results/{data}/images/pairs.safetensors",
            records="results/{data}/images/pairs.parquet",
            masks="results/{data}/masks/pairs.safetensors",
            pairs="results/{data}/pairs/{shots}.csv",
        output:
            weights("results/{data}/mask_guides/controlnet/{shots}"),
        log:
            "logs/{data}/install_controlnet/{shots}.log",
        benchmark:
            "benchmarks/{data}/install_controlnet/{shots}.tsv"
        params:
            source=folder_of("source"),
            trained_on=lambda wildcards, input: (
                ["--images", input.images, "--masks", input.masks, "--pairs", input.pairs]
            ),
            folder="results/{data}/mask_guides/controlnet/{shots}",
            code=code("install_weights.py", env="data"),


rule sample_masks:
    input:
        denoiser=weights("results/{data}/denoiser"),
        guide=mask_guide,
        masks="results/{data}/masks/controls.safetensors",
    output:
        samples="results/{data}/mask_samples/{preset}/{method}/{shots}.safetensors",
        timing="results/{data}/mask_samples/{preset}/{method}/{shots}.timing.json",
    log:
        "logs/{data}/sample_masks/{preset}/{method}/{shots}.log",
    benchmark:
        "benchmarks/{data}/sample_masks/{preset}/{method}/{shots}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset).model_dump_json(),
        guidance_scale=mask_guidance_scale,
        first_seed=CONFIG.sampling.first_seed,
        seeds_per_mask=CONFIG.segmentation.seeds_per_mask,
        denoiser=folder_of("denoiser"),
        guide=option_of("guide"),
        code=code("sample_masks.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_masks.py --settings {params.settings:q} --denoiser {params.denoiser:q}"
        " --method {wildcards.method:q} {params.guide:q} --guidance-scale {params.guidance_scale:q}"
        " --masks {input.masks:q} --first-seed {params.first_seed:q} --seeds-per-mask {params.seeds_per_mask:q}"
        " --checkpoints checkpoints/samples --output {output.samples:q} --timing {output.timing:q}"
        " --code {params.code:q} 2> {log:q}"


use rule sample_masks as sample_mask_sweep with:
    input:
        denoiser=weights("results/{data}/denoiser"),
        guide=mask_guide,
        masks="results/{data}/masks/reference.safetensors",
    output:
        samples="results/{data}/mask_sweep/{preset}/{method}/{mask_scale}.safetensors",
        timing="results/{data}/mask_sweep/{preset}/{method}/{mask_scale}.timing.json",
    log:
        "logs/{data}/mask_sweep/{preset}/{method}/{mask_scale}.log",
    benchmark:
        "benchmarks/{data}/mask_sweep/{preset}/{method}/{mask_scale}.tsv"
    params:
        settings=lambda wildcards: CONFIG.mask_sampling(wildcards.preset, tuning=True).model_dump_json(),
        guidance_scale=lambda wildcards: wildcards.mask_scale,
        first_seed=CONFIG.mask_sweep_first_seed,
        seeds_per_mask=1,
        denoiser=folder_of("denoiser"),
        guide=option_of("guide"),
        code=code("sample_masks.py", env="diffusion"),


rule score_mask_sweep:
    input:
        samples=expand(
            "results/{{data}}/mask_sweep/{{preset}}/{{method}}/{mask_scale}.safetensors", mask_scale=MASK_SCALES
        ),
        denoiser=weights("results/{data}/denoiser"),
        guide=mask_guide,
        segmenter=weights("results/{data}/segmenters/tuning_judge"),
        masks="results/{data}/masks/reference.safetensors",
    output:
        "results/{data}/mask_sweep/{preset}/{method}.csv",
    log:
        "logs/{data}/score_mask_sweep/{preset}/{method}.log",
    benchmark:
        "benchmarks/{data}/score_mask_sweep/{preset}/{method}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("segmentation"),
        denoiser=folder_of("denoiser"),
        guide=folder_of("guide"),
        segmenter=folder_of("segmenter"),
        code=code("score_mask_sweep.py", env="evaluation"),
    shell:
        "python workflow/scripts/score_mask_sweep.py --settings {params.settings:q} --data-set {wildcards.data:q}"
        " --method {wildcards.method:q} --preset {wildcards.preset:q} --denoiser {params.denoiser:q}"
        " --guide {params.guide:q} --masks {input.masks:q} --segmenter {params.segmenter:q}"
        " --samples {input.samples:q} --output {output:q} --code {params.code:q} 2> {log:q}"


use rule describe_split as describe_mask_controls with:
    input:
        images="results/{data}/images/controls.safetensors",
        records="results/{data}/images/controls.parquet",
    output:
        "results/{data}/mask_evaluation/real.safetensors",
    log:
        "logs/{data}/describe/mask_controls.log",
    benchmark:
        "benchmarks/{data}/describe/mask_controls.tsv"


rule evaluate_masks:
    input:
        samples="results/{data}/mask_samples/{preset}/{method}/{shots}.safetensors",
        masks="results/{data}/masks/controls.safetensors",
        real="results/{data}/images/controls.safetensors",
        records="results/{data}/images/controls.parquet",
        segmenter=weights("results/{data}/segmenters/judge"),
        reference="results/{data}/mask_evaluation/real.safetensors",
    output:
        "results/{data}/mask_evaluation/{preset}/{method}/{shots}.csv",
    log:
        "logs/{data}/evaluate_masks/{preset}/{method}/{shots}.log",
    benchmark:
        "benchmarks/{data}/evaluate_masks/{preset}/{method}/{shots}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        method=lambda wildcards: MASK_METHODS[wildcards.method],
        guidance_scale=mask_guidance_scale,
        wanted=CONFIG.segmentation.masks,
        seeds_per_mask=CONFIG.segmentation.seeds_per_mask,
        segmenter=folder_of("segmenter"),
        code=code("evaluate_masks.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_masks.py --settings {params.settings:q} --data-set {wildcards.data:q}"
        " --method {params.method:q} --preset {wildcards.preset:q} --shots {wildcards.shots:q}"
        " --guidance-scale {params.guidance_scale:q} --samples {input.samples:q}"
        " --masks {input.masks:q} --real {input.real:q} --wanted {params.wanted:q}"
        " --seeds-per-mask {params.seeds_per_mask:q} --segmenter {params.segmenter:q} --reference {input.reference:q}"
        " --output {output:q} --code {params.code:q} 2> {log:q}"


rule make_segmentation_table:
    input:
        expand(
            "results/{data}/mask_evaluation/{preset}/unguided/0.csv",
            data=DATA,
            preset=CONFIG.segmentation.presets,
        ),
        expand(
            "results/{data}/mask_evaluation/{preset}/{method}/{shots}.csv",
            data=DATA,
            preset=CONFIG.segmentation.presets,
            method=GUIDED,
            shots=CONFIG.segmentation.shots,
        ),
        expand(
            "results/{data}/mask_evaluation/{preset}/controlnet/{shots}.csv",
            data=DATA,
            preset=CONFIG.segmentation.preset,
            shots=CONFIG.segmentation.controlnet_curve,
        ),
        expand(
            "results/{data}/mask_evaluation/{preset}/{mode}/{shots}.csv",
            data=DATA,
            preset=CONFIG.segmentation.preset,
            mode=MODES,
            shots=[shots for shots in CONFIG.segmentation.shots_curve if shots != CONFIG.segmentation.shots],
        ),
    output:
        report(
            f"results/tables/{CONFIG.outputs.segmentation_table}.csv",
            caption="../report/segmentation.rst",
            category="Tables",
        ),
    log:
        f"logs/{DATA}/make_segmentation_table.log",
    benchmark:
        f"benchmarks/{DATA}/make_segmentation_table.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        code=code("join_csv.py", env="evaluation"),
    shell:
        "python workflow/scripts/join_csv.py --parts {input:q} --output {output:q} --code {params.code:q} 2> {log:q}"


use rule make_segmentation_table as make_mask_sweep_table with:
    input:
        expand(
            "results/{data}/mask_sweep/{preset}/{method}.csv",
            data=DATA,
            preset=CONFIG.segmentation.preset,
            method=GUIDED,
        ),
    output:
        report(
            f"results/tables/{CONFIG.outputs.segmentation_sweep_table}.csv",
            caption="../report/mask_sweep.rst",
            category="Tables",
        ),
    log:
        f"logs/{DATA}/make_mask_sweep_table.log",
    benchmark:
        f"benchmarks/{DATA}/make_mask_sweep_table.tsv"


rule draw_segmentation_figure:
    input:
        masks=f"results/{DATA}/masks/controls.safetensors",
        real=f"results/{DATA}/images/controls.safetensors" if CONFIG.outputs.show_real else [],
        records=f"results/{DATA}/images/controls.parquet",
        samples=expand(
            "results/{data}/mask_samples/{preset}/{method}/{shots}.safetensors",
            data=DATA,
            preset=CONFIG.segmentation.preset,
            method=[method for method in MASK_METHODS if method != "unguided"],
            shots=CONFIG.segmentation.shots,
        ),
    output:
        report(
            f"results/figures/{CONFIG.outputs.segmentation_figure}.png",
            caption="../report/segmentation_figure.rst",
            category="Figures",
        ),
        f"results/figures/{CONFIG.outputs.segmentation_figure}.pdf",
    log:
        f"logs/{DATA}/draw_segmentation_figure.log",
    benchmark:
        f"benchmarks/{DATA}/draw_segmentation_figure.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        real=lambda wildcards, input: ["--real", input.real] if input.real else [],
        wanted=CONFIG.segmentation.masks,
        methods=[name for method, name in MASK_METHODS.items() if method != "unguided"],
        code=code("draw_segmentation_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_segmentation_figure.py --masks {input.masks:q} {params.real:q}"
        " --wanted {params.wanted:q} --methods {params.methods:q} --samples {input.samples:q} --output {output:q}"
        " --code {params.code:q} 2> {log:q}"


rule draw_shots_figure:
    input:
        f"results/tables/{CONFIG.outputs.segmentation_table}.csv",
    output:
        report(
            f"results/figures/{CONFIG.outputs.segmentation_figure}_shots.png",
            caption="../report/segmentation_shots.rst",
            category="Figures",
        ),
        f"results/figures/{CONFIG.outputs.segmentation_figure}_shots.pdf",
    log:
        f"logs/{DATA}/draw_shots_figure.log",
    benchmark:
        f"benchmarks/{DATA}/draw_shots_figure.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        preset=CONFIG.segmentation.preset,
        code=code("draw_shots_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_shots_figure.py --table {input:q} --preset {params.preset:q} --output {output:q}"
        " --code {params.code:q} 2> {log:q}"
# Shared by the rules of segmentation.smk: methods, wildcards, and functions that make parameters of presets.

GUIDED = {"exact": "ours_exact", "readout": "ours_readout", "clean_image": "clean_image"}  # towards masks
MASK_METHODS = {**GUIDED, "controlnet": "controlnet", "unguided": "unguided"}
MASK_SCALES = [f"{scale:g}" for scale in CONFIG.segmentation.guidance_scales]


wildcard_constraints:
    method="|".join(MASK_METHODS),
    mask_scale="|".join(MASK_SCALES),
    preset="|".join(CONFIG.segmentation.presets),
    shots=r"\d+",


def mask_preset(wildcards):
    return CONFIG.segmentation.presets[wildcards.preset].model_dump_json()


def mask_guide(wildcards):
    # Presets are about heads: one clean-image segmenter and one ControlNet serve them all.
    if wildcards.method == "unguided":
        return []
    shots = getattr(wildcards, "shots", CONFIG.segmentation.shots)
    of_preset = [wildcards.preset] if wildcards.method in MODES else []
    return weights(Path("results", wildcards.data, "mask_guides", *of_preset, wildcards.method, str(shots)))


def mask_guidance_scale(wildcards):
    return getattr(CONFIG.segmentation.presets[wildcards.preset].guidance_scale, wildcards.method, 0)
