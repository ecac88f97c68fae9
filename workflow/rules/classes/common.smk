# Shared by the rules of classes: functions that choose inputs by wildcards.
# in:  wildcards
# out: files and values

from fewshot_diffusion.tooling.denoiser_plan import filters_problem


def cell_files(recipes):
    cells = [cell for recipe in recipes for cell in cells_of(CLASSES, recipe)]
    return expand("<results>/classes/cells/{cell}.csv", cell=[cell.name for cell in cells])


def generated_images(wildcards):
    # Every cell reads prefixes of one set; cells without generated images do not wait for it.
    if not int(wildcards.ratio):
        return []
    return GENERATED


def candidate_settings(wildcards):
    return CLASSES.candidate(wildcards.candidate).model_dump_json()


def filters_are_possible(wildcards):
    if problem := filters_problem(CONFIG, DENOISER):
        raise WorkflowError(problem)
    return []
