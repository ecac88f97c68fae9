# Own: a model of one's own and some dozens of labels. No splits, judges or reference sets are asked for.
# in:  a folder that diffusers wrote, images, and labels.csv or masks
# out: results/<name>/own/: heads, learning curves, samples, a sheet, the steered pipeline, and what is said of them
# {attribute} is a column of the labels (or a class), {subject} that, or masks, or unguided.

from fewshot_diffusion.own.plan import plan_own

try:
    OWN = plan_own(CONFIG.own, Path(".snakemake", "checksums", f"{DATA}.json"))
    CONTENTS = OWN.contents
except FewshotError as error:
    raise WorkflowError(str(error))

if workflow.is_main_process:
    for remark in OWN.remarks:
        logger.warning(remark)

HEADS = expand("<results>/own/heads/{subject}/<weights>", subject=OWN.subjects)
MASKS = "<results>/own/images/masks.parquet"
WANTED = "<results>/own/images/wanted_masks.parquet" if "masks" in OWN.measured else MASKS
EVERYTHING = ["<results>/own/sheet.png", "<results>/own/learning_curve.png", "<results>/own/pipeline/model_index.json"]
if OWN.judged:
    EVERYTHING.append("<results>/own/table.csv")
if "masks" in OWN.measured:
    EVERYTHING.append("<results>/own/masks_table.csv")


wildcard_constraints:
    attribute="|".join(OWN.titles) or "none",
    subject="|".join([*OWN.subjects, "unguided"]),


def title_of(wildcards):
    return OWN.titles[wildcards.attribute]


def head_of(wildcards):
    return f"<results>/own/heads/{wildcards.subject}/<weights>" if wildcards.subject != "unguided" else []


def wanted_masks(wildcards):
    return WANTED if wildcards.subject == "masks" else []


def steering(wildcards, input):
    head = ["--head", Path(input.head).parent] if input.head else []
    return [*head, *(["--masks", input.masks] if input.masks else [])]


def samples_of(wildcards):
    return OWN.samples(wildcards.subject)
