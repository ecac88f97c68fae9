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
