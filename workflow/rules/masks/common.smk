# Shared by the rules of masks: functions that choose inputs and parameters by wildcards.
# in:  wildcards
# out: files and values

from fewshot_diffusion.config.base import learned_as

# Names of methods as constraints; an empty one would be none.
DENOISED = "|".join(CONFIG.masks.of_denoiser) or "none"
FOLLOWING = "|".join(method for method in CONFIG.masks.guided if method in CONFIG.masks.of_denoiser) or "none"


def head_of_preset(wildcards):
    return CONFIG.masks.head_of(wildcards.preset).model_dump_json()


def mask_guide(wildcards):
    shots = wildcards.get("shots", CONFIG.masks.shots)
    learned = learned_as(wildcards.method)
    return [GUIDES[learned].format(preset=wildcards.preset, shots=shots)] if learned in GUIDES else []


def mask_guide_folder(wildcards, input):
    return ["--guide", Path(str(input.guide)).parent] if input.guide else []
