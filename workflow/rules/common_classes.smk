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
