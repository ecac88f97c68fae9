"""Settings of experiment 2: samples that follow a mask."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from .base import (
    Count,
    FeatureBatch,
    Fraction,
    Name,
    OptionalScale,
    Positive,
    Precision,
    Scales,
    Section,
    Source,
    SweepConfig,
    Timestep,
    learned_as,
    require_scales,
)
from .denoiser import DenoiserTrainingConfig
from .supervised import SupervisedConfig

MaskBaseline = Literal["diffae", "d2c"]
"""Generative baselines whose latents a diffusion draws: guidance can follow a mask there."""

MaskMethod = Literal[
    "unguided", "exact", "readout", "direct", "clean_image", "clean_image_direct", "controlnet", MaskBaseline
]
"""Rows of the table; a new one is a name here, a module, a script and a rule."""


class MaskScalesConfig(Section):
    """lambda of each method that follows a mask, on the *mean* pixel log-likelihood of each sample."""

    exact: Annotated[float, Field(ge=0)]
    readout: Annotated[float, Field(ge=0)]
    clean_image: Annotated[float, Field(ge=0)]
    direct: OptionalScale = None
    clean_image_direct: OptionalScale = None
    diffae: OptionalScale = None
    d2c: OptionalScale = None


class MaskTapsConfig(Section):
    """What the mask head reads."""

    taps: list[str] = Field(min_length=1, description="Decoder modules; their maps are upsampled and concatenated.")
    feature_timestep: Timestep = Field(description="Timestep label of the clean image (exact).")
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    compared_at: Literal["image", "taps"] = Field(
        default="image",
        exclude_if=lambda place: place == "image",
        description="Where masks are compared: at their own size, or, brought there by nearest, at the finest tap's.",
    )


class MaskTrainingConfig(Section):
    """What a preset changes of the head's training."""

    updates: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    brightness: Fraction


class MaskPresetConfig(MaskTapsConfig):
    """What the mask head reads, and how samples follow it."""

    methods: Annotated[list[MaskMethod], Field(min_length=1)] | None = Field(
        None, exclude_if=lambda methods: methods is None, description="Rows of this preset; null: of every method."
    )
    training: MaskTrainingConfig | None = Field(
        None, exclude_if=lambda changes: changes is None, description="Of its heads; null: as masks.head says."
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, exclude_if=lambda steps: steps is None, description="null: as sampling says."
    )
    clip_sample: bool | None = Field(None, exclude_if=lambda clip: clip is None, description="null: as sampling says.")
    eta: Fraction = Field(description="DDIM's eta; the paper's update amounts to 0.24.")
    timestep_spacing: Literal["trailing", "leading"] = "trailing"
    guidance_interval: tuple[Timestep, Timestep] = Field(description="First and last guided timestep.")
    guidance_scale: MaskScalesConfig

    @property
    def head(self) -> MaskTapsConfig:
        """The part that a head depends on: it stays as it is when sampling changes."""
        return MaskTapsConfig.model_validate(self.model_dump(include=set(MaskTapsConfig.model_fields)))

    @property
    def sampling(self) -> dict[str, Any]:
        """What it changes of the section sampling."""
        always = {"eta", "timestep_spacing", "guidance_interval"}
        return self.model_dump(include=always | ({"num_inference_steps", "clip_sample"} & self.model_fields_set))

    def draws(self, method: str) -> bool:
        """Return whether a method has rows of this preset."""
        return self.methods is None or method in self.methods

    def scale_of(self, method: str) -> float:
        """Return a method's lambda; 0 for those that follow no gradient."""
        return float(getattr(self.guidance_scale, method, None) or 0)


class MaskSplitsConfig(Section):
    """Images of this experiment alone."""

    pairs: Positive = Field(description="Pool from which image-mask pairs are drawn.")


class MaskHeadConfig(Section):
    """Training of the mask head on cached activations."""

    hidden_channels: Positive | Annotated[list[Positive], Field(min_length=1)] = Field(
        64, description="Width of its three hidden layers, or the widths of as many as are named."
    )
    updates: Positive = Field(description="Optimizer updates.")
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    flip: bool = Field(description="Add the mirrored image and mask of every pair.")
    flip_pairs: list[tuple[Count, Count]] = Field(
        default_factory=list, description="Class ids of left and right that a mirror exchanges."
    )
    brightness: Fraction = Field(
        0.0,
        exclude_if=lambda share: share == 0,
        description="Share of the rows in training whose image is brighter or darker, times 0.5 to 1.5; released: 0.2.",
    )
    readout_timesteps: list[Timestep] = Field(min_length=1, description="Noise levels of the readout head.")
    readout_draws: Positive = Field(description="Noise draws per pair and noise level (readout).")
    seed: Count = 0
    precision: Precision = "auto"
    feature_batch: FeatureBatch = None


class SegmenterConfig(SupervisedConfig):
    """A segmenter of clean images."""

    block_out_channels: tuple[Annotated[int, Field(gt=0, multiple_of=8)], ...] = Field(min_length=2)


class MaskSweepConfig(SweepConfig):
    """The sweep that guidance_scale is chosen by: own seeds, own masks, own segmenter."""

    masks: Positive = Field(description="Wanted masks of each candidate.")
    first_seed: Count = Field(description="Must lie behind every seed that is reported; a multiple of masks.")
    tolerance: Fraction = Field(description="The smallest scale whose tuning mIoU is within this of the best wins.")


class MaskSweepsConfig(MaskSweepConfig):
    """The sweep of every method that follows a gradient: generative baselines follow it in latents, by other scales."""

    latent_scales: Scales = Field(min_length=1, description="Candidates of generative baselines.")

    @property
    def of_pixels(self) -> MaskSweepConfig:
        """The sweep of methods that the denoiser draws: it stays as it is when candidates of baselines change."""
        return MaskSweepConfig.model_validate(self.model_dump(include=set(MaskSweepConfig.model_fields)))

    @property
    def of_latents(self) -> MaskSweepConfig:
        """The sweep of generative baselines."""
        return self.of_pixels.model_copy(update={"guidance_scales": self.latent_scales})


class MaskNoiseConfig(Section):
    """What guides find in noisy images: how robust they are to inaccurate estimates."""

    images: Positive = Field(description="Real images: the first of the split controls, fewer if it has fewer.")
    timesteps: list[Timestep] = Field(min_length=1, description="Noise levels, beside no noise.")
    precision: Precision = "auto"
    feature_batch: FeatureBatch = None


class LatentDecoderConfig(Section):
    """The decoder of generative baselines: masks from latents, trained on those of the few pairs."""

    hidden_channels: Positive = Field(description="Width of its convolutions.")
    updates: Positive = Field(description="Optimizer updates.")
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    noise: Annotated[float, Field(ge=0)] = Field(
        description="Standard deviation of the noise that each update adds to the latents, which have about 1: the few "
        "pairs are fewer than the numbers of a latent."
    )
    flip: bool = Field(description="Add the latent of the mirrored image, and the mirrored mask, of every pair.")
    seed: Count = 0
    precision: Precision = "auto"
    feature_batch: FeatureBatch = None


class MasksConfig(Section):
    """Samples that follow masks, from a few image-mask pairs."""

    source: Source = Field(
        description="Of segmenters and ControlNets. train: on the spot; store: the stored weights (`make restore`)."
    )
    splits: MaskSplitsConfig
    methods: list[MaskMethod] = Field(min_length=1, description="Methods of the table, in its order.")
    shots: Positive = Field(description="Pairs that the heads and the baselines of the table see.")
    shots_curve: list[Positive] = Field(min_length=1, description="Numbers of pairs of the curve.")
    shots_seed: Count = Field(0, description="Which pairs are drawn from the pool; fewer are a prefix of more.")
    presets: dict[Name, MaskPresetConfig] = Field(min_length=1, description="One that is null is left out.")
    preset: Name = Field(description="Preset of the baselines, the curve and the figure.")
    masks: Positive = Field(description="Wanted masks; also the work unit: one sample of each mask.")
    seeds_per_mask: Positive = Field(description="Samples of each mask: work units of a sample set.")
    head: MaskHeadConfig
    segmenter: SegmenterConfig = Field(description="The independent segmenters: one measures, one tunes.")
    clean_image: SegmenterConfig = Field(description="The baseline's segmenter, trained on the same pairs.")
    controlnet: DenoiserTrainingConfig = Field(description="The baseline that fine-tunes, on the same pairs.")
    controlnet_curve: list[Positive] = Field(description="Numbers of pairs of its learning curve.")
    latent_decoder: LatentDecoderConfig = Field(description="What generative baselines are guided by.")
    noise: MaskNoiseConfig
    sweep: MaskSweepsConfig

    @field_validator("presets", mode="before")
    @classmethod
    def _left_out(cls, presets: Any) -> Any:
        """An overlay leaves a preset of the default out by null."""
        return {name: found for name, found in presets.items() if found} if isinstance(presets, dict) else presets

    @property
    def guided(self) -> list[str]:
        """Methods that follow a mask by a gradient, in the table's order."""
        return [method for method in self.methods if method in MaskScalesConfig.model_fields]

    @property
    def baselines(self) -> list[str]:
        """Generative baselines, in the table's order."""
        return [method for method in self.methods if method in get_args(MaskBaseline)]

    @property
    def of_denoiser(self) -> list[str]:
        """Methods whose samples the denoiser draws, in the table's order."""
        return [method for method in self.methods if method not in self.baselines]

    @property
    def rows(self) -> list[tuple[str, str, int]]:
        """Method, preset and number of pairs of every row of the table, in its order."""
        return [
            (method, preset, shots)
            for method in self.methods
            for preset in self.presets
            for shots in self._shots_of(method, preset)
        ]

    @property
    def noise_rows(self) -> list[tuple[str, str]]:
        """Who looks at noisy images, and by which preset: all that learned for the table, and the judge."""
        looking = [
            (learned_as(method), self.preset if learned_as(method) == "clean_image" else preset)
            for method in self.guided
            if method in self.of_denoiser
            for preset, chosen in self.presets.items()
            if chosen.draws(method)
        ]
        return [*dict.fromkeys(looking), ("judge", self.preset)]

    def head_of(self, preset: str) -> MaskHeadConfig:
        """Return how the heads of a preset are trained."""
        changes = self.presets[preset].training
        return self.head.model_copy(update=changes.model_dump() if changes else {})

    def _shots_of(self, method: str, preset: str) -> list[int]:
        if not self.presets[preset].draws(method):
            return []
        if method == "unguided":
            return [0]
        if method == "controlnet":  # presets are about heads: one is enough
            return self.controlnet_curve if preset == self.preset else []
        if method in self.baselines:  # nor do presets concern latents
            return [self.shots] if preset == self.preset else []
        curved = method in ("exact", "readout") and preset == self.preset
        return sorted({self.shots, *(self.shots_curve if curved else [])})

    @model_validator(mode="after")
    def _consistent(self) -> "MasksConfig":
        if self.preset not in self.presets:
            raise ValueError(f"preset: found {self.preset!r}, expected one of {', '.join(self.presets)}")
        if left_out := [method for method in self.methods if not self.presets[self.preset].draws(method)]:
            raise ValueError(f"presets.{self.preset}.methods: lacks {left_out[0]}; the main preset has every method")
        for name, preset in self.presets.items():
            followed = [one for one in self.guided if preset.draws(one)]
            if name != self.preset:
                followed = [one for one in followed if one in self.of_denoiser]
            require_scales(f"presets.{name}.guidance_scale", preset.guidance_scale, followed, "masks")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods: found {self.methods}, expected each name once")
        if self.controlnet.random_flip:
            raise ValueError("controlnet.random_flip: found true, expected false: pairs are mirrored with their masks")
        if self.sweep.first_seed % self.sweep.masks:
            raise ValueError(
                f"sweep.first_seed: found {self.sweep.first_seed}, expected a multiple of sweep.masks "
                f"({self.sweep.masks}), so that its first sample shows the first mask"
            )
        return self
