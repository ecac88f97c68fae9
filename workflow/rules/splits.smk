# Splits: which images each one holds. Drawn images have positions; of images that are there, the names decide (PLAN).
# {own} in the names of files is empty, or names an attribute that has labels and a judge of its own.

PLAN = None
SHARES = CONFIG.shares.model_dump_json()
PROMISED = bool(CONFIG.promised_files)  # the rules of downloads make the images: they are counted when they are there
CHECKED = [*CONFIG.promised_files, *([f"results/{DATA}/images/splits.csv"] if PROMISED else [])]

if not CONFIG.data.is_drawn:
    from fewshot_diffusion.data.plan import plan

    try:
        PLAN = plan(CONFIG, Path(".snakemake", "checksums", f"{DATA}.json"))
    except FewshotError as error:
        raise WorkflowError(str(error))
    if workflow.is_main_process:
        for remark in PLAN.remarks:
            logger.warning(remark)


wildcard_constraints:
    own=f"(?:{'|'.join(['', *(f'-{attribute}' for attribute in CONFIG.judged_alone)])})",


def own(attribute):
    return f"-{attribute}" if attribute in CONFIG.judged_alone else ""


def attributes_of_images(wildcards):
    if PLAN and wildcards.split == "train":
        return []  # the denoiser sees no labels: an edited one does not train it again
    found = wildcards.get("own")
    return [found.removeprefix("-")] if found else CONFIG.judged_together


def dataset(wildcards):
    return CONFIG.data.dataset(attributes_of_images(wildcards)).model_dump_json()


def positions(wildcards):
    found = CONFIG.split_range(wildcards.split)
    return [found.start, found.stop]


def contents_of_images(wildcards):
    try:
        return PLAN.contents(wildcards.split, attributes_of_images(wildcards))
    except FewshotError as error:
        raise WorkflowError(str(error))
