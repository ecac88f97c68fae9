# Shared by the rules of attributes: functions that choose inputs and parameters by wildcards.
# in:  wildcards
# out: files and values; names of the modes

from fewshot_diffusion.config.attributes import AttributeScalesConfig
from fewshot_diffusion.config.base import learned_as
from fewshot_diffusion.tooling.ownership import data_set_of

KNOWN_MODES = list(AttributeScalesConfig.model_fields)  # of any table; MODES are those of this one
BY_CLASSIFIER = [mode for mode in KNOWN_MODES if learned_as(mode) == "clean_image"]


def target_of(wildcards):
    return CONFIG.attributes.target(wildcards.target)


def wanted_attribute(wildcards):
    return target_of(wildcards).attribute


def wanted_value(wildcards):
    return str(target_of(wildcards).wanted(wildcards.get("mode", "")))


def own_shots(wildcards):
    return CONFIG.attributes.shots_file.get(wildcards.attribute, [])


def has_own_shots(wildcards):
    return str(wildcards.attribute in CONFIG.attributes.shots_file)


def head_of(wildcards):
    mode = CONFIG.attributes.distribution.head if wildcards.mode == "distribution" else wildcards.mode
    return f"<results>/attributes/heads/{learned_as(mode)}/{wanted_attribute(wildcards)}/<weights>"


def curve_head(wildcards):
    return CONFIG.attributes.head_of(int(wildcards.number), int(wildcards.draw)).model_dump_json()


def curve_weights(wildcards):
    head = f"{learned_as(wildcards.mode)}/{wanted_attribute(wildcards)}/{wildcards.number}/{wildcards.draw}"
    return f"<results>/attributes/labels/heads/{head}/<weights>"


def curve_is_possible(wildcards):
    if CONFIG.attributes.curve_problem:
        raise WorkflowError(CONFIG.attributes.curve_problem)
    return []


def curve_heads(wildcards):
    curve, learned = CONFIG.attributes.labels, f"{learned_as(wildcards.mode)}/{wanted_attribute(wildcards)}"
    return [
        f"<results>/attributes/labels/heads/{learned}/{number}/{draw}/<weights>"
        for number in curve.numbers
        for draw in range(curve.draws)
    ]


def own_of(wildcards):
    return own(wildcards.get("attribute") or wanted_attribute(wildcards))


def images_of(split):
    return lambda wildcards: f"<results>/images/{split}{own_of(wildcards)}.parquet"


def described(images):
    return lambda wildcards: f"<results>/attributes/descriptions/{images.format(own=own_of(wildcards))}.safetensors"


def judge_of(judge):
    return lambda wildcards: f"<results>/judges/{judge}{own_of(wildcards)}/<weights>"


def guidance_scale(wildcards):
    return getattr(target_of(wildcards).guidance_scale, wildcards.mode)


def swept_samples(wildcards):
    scales = CONFIG.attributes.sweep.scales_of(wildcards.mode)
    return [f"<results>/attributes/sweep/{wildcards.mode}/{wildcards.target}/{scale}.parquet" for scale in scales]


def ddim_i_classifier(wildcards):
    return f"<results>/attributes/ddim_i/classifiers/{wanted_attribute(wildcards)}/<weights>"


def latents_classifier(wildcards):
    return f"<results>/attributes/latents/{wildcards.baseline}/classifiers/{wanted_attribute(wildcards)}/<weights>"


def refuse_papers_table():
    raise WorkflowError(
        f"{PAPERS_TABLE}: is of the data set {OWNER}, and is not written over with that of {DATA}. "
        f"Ask for results/{DATA}/tables/attributes.csv, or move the file away."
    )


def table_to_copy(wildcards):
    return "<results>/tables/attributes.csv" if OWNER in (None, DATA) else refuse_papers_table()


def sheet_sources(wildcards):
    pool = f"pool{own(CONFIG.attributes.targets[0].attribute)}"
    targets = SHARED if wildcards.method == "distribution" else TARGETS
    files = [pool] if wildcards.method == "unguided" else [f"{wildcards.method}/{target}" for target in targets]
    return [f"<results>/attributes/descriptions/{file}.safetensors" for file in files]


def sheet_labels(wildcards):
    if wildcards.method == "unguided":
        return ["unguided"]
    targets = CONFIG.attributes.with_share if wildcards.method == "distribution" else CONFIG.attributes.targets
    return [f"{wildcards.method}, {target.label}" for target in targets]
