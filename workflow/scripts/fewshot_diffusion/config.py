"""The configuration: one frozen model, validated when the Snakefile is parsed.

The YAML files under ``config/`` are instances of ``Config``; ``config/schema.json`` and
``config/README.md`` are generated from it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from .errors import ConfigError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Timestep = Annotated[int, Field(ge=0, lt=1000)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "float32", "bfloat16"]
Mode = Literal["exact", "readout"]


def _distinct_names(scales: list[float]) -> list[float]:
    names = [f"{scale:g}" for scale in scales]  # as in the names of the files
    if len(set(names)) != len(names):
        raise ValueError(f"found {names} in six digits, expected each once")
    return scales


Scales = Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(_distinct_names)]


class Section(BaseModel):
    """A group of settings: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AvatarsConfig(Section):
    """Cartoon portraits drawn from a generator's options."""

    style: Literal["toon-head"] = Field("toon-head", description="DiceBear style; ToonHead by Johan Melin, CC BY 4.0.")
    options: dict[str, Any] = Field(default_factory=dict, description="Generator options and their allowed ranges.")
    attributes: dict[Name, dict[str, list[str]]] = Field(
        description="Attribute -> generator option -> values that make the attribute true."
    )
    parts: dict[Name, list[str]] = Field(
        default_factory=dict, description="Part -> the style's components that draw it; class ids 1, 2, ... in order."
    )


class CelebAHQConfig(Section):
    """Real faces from a local folder: zips of JPEGs and CelebA's attribute list."""

    folder: Path = Field(description="Folder with images-*.zip and the attribute list.")
    attribute_file: str = "list_attr_celebahq.txt"
    held_out_ids: Path | None = Field(None, description="CSV whose ids (column celebahq_file) no denoiser may see.")
    attributes: dict[Name, str] = Field(description="Our attribute name -> the data set's.")


class SplitsConfig(Section):
    """Images per split. The splits lie one behind the other and are disjoint by id."""

    train: Positive = Field(description="Unlabelled images that train the denoiser.")
    shots: Positive = Field(description="Pool from which the labelled shots are drawn.")
    judge: Positive = Field(description="Labelled images of the judge that is reported.")
    tuning_judge: Positive = Field(description="Labelled images of the judge that tunes guidance_scale.")
    controls: Positive = Field(description="Real images for naive rows, floors and judge accuracy.")
    reference: Positive = Field(description="Real images of the reference statistics.")


class DataConfig(Section):
    """The data set and its splits."""

    name: Name = Field(description="Folder under results/, and the data_set column.")
    kind: Literal["avatars", "celebahq"] = Field(description="Which of the sections below is read.")
    image_size: Annotated[int, Field(ge=8, le=1024, multiple_of=8)] = Field(description="Height and width, pixels.")
    avatars: AvatarsConfig | None = None
    celebahq: CelebAHQConfig | None = None
    splits: SplitsConfig

    @property
    def source(self) -> AvatarsConfig | CelebAHQConfig:
        """The section that ``kind`` names."""
        source = {"avatars": self.avatars, "celebahq": self.celebahq}[self.kind]
        assert source is not None
        return source

    @property
    def attributes(self) -> list[str]:
        """The data set's attributes, in order."""
        return list(self.source.attributes)

    def split_range(self, split: str) -> range:
        """Return the positions of a split, in the order in which the splits are declared."""
        start = 0
        for name, size in self.splits.model_dump().items():
            if name == split:
                return range(start, start + size)
            start += size
        raise ConfigError(f"data.splits: there is no split {split!r}; it has {', '.join(self.splits.model_dump())}.")

    @model_validator(mode="after")
    def _source_given(self) -> "DataConfig":
        if {"avatars": self.avatars, "celebahq": self.celebahq}[self.kind] is None:
            raise ValueError(f"kind is {self.kind!r}, expected a section data.{self.kind}; found none")
        return self


class GuidanceConfig(Section):
    """lambda of each mode, on the summed log-likelihood of each sample."""

    exact: Annotated[float, Field(ge=0)]
    readout: Annotated[float, Field(ge=0)]


class TargetConfig(Section):
    """One row of the table: the class that is generated."""

    name: Name = Field(description="Folder of the row's files.")
    attribute: Name = Field(description="Attribute of the data set.")
    value: bool = Field(description="Wanted value of the attribute.")
    label: Annotated[str, StringConstraints(min_length=1, max_length=40)] = Field(
        description="Name in tables and figures."
    )
    guidance_scale: GuidanceConfig


class ArchitectureConfig(Section):
    """A diffusers ``UNet2DModel`` without attention outside its middle block."""

    block_out_channels: tuple[Positive, ...] = Field(min_length=2, description="Channels per resolution, finest first.")
    layers_per_block: Positive = 1
    norm_num_groups: Positive = 16
    attention_head_dim: Positive = 32


class ScheduleConfig(Section):
    """The diffusion that the denoiser is trained on."""

    num_train_timesteps: Literal[1000] = 1000
    beta_schedule: Literal["linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    prediction_type: Literal["epsilon", "v_prediction"] = "v_prediction"


class DenoiserTrainingConfig(Section):
    """How the denoiser is trained from scratch."""

    num_images: Positive = Field(description="Training length in images seen; not in steps.")
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup_images: Count = Field(description="Linear warm-up, images.")
    decay_from: Fraction = Field(description="Fraction of training at which the cosine decay starts.")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="Decay of the weights' moving average, per step."
    )
    random_flip: bool = Field(description="Mirror half of the training images.")
    checkpoint_images: Positive = Field(description="A checkpoint is written every so many images.")
    seed: Count = 0
    precision: Precision = "auto"
    cpu_threads: Positive = Field(1, description="Threads of the job; part of the bits of the weights.")


class DenoiserConfig(Section):
    """The unconditional denoiser."""

    source: Literal["train", "dvc", "folder"] = Field(
        description="train: from scratch; dvc: weights/<data.name>, restored by `make restore`; folder: your own."
    )
    folder: Path | None = Field(None, description="Weights folder, for source folder.")
    architecture: ArchitectureConfig
    schedule: ScheduleConfig
    training: DenoiserTrainingConfig

    @model_validator(mode="after")
    def _folder_given(self) -> "DenoiserConfig":
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder: denoiser.source is 'folder', expected the path of a weights folder")
        return self


class HeadConfig(Section):
    """Few-shot attribute head on pooled denoiser activations."""

    positive_shots: Positive = Field(description="Labelled images with the attribute.")
    negative_shots: Positive = Field(description="Labelled images without it.")
    shots_seed: Count = Field(0, description="Which images are drawn from the pool.")
    taps: list[str] = Field(min_length=1, description="Modules of the denoiser whose outputs are used.")
    pool_size: Annotated[int, Field(ge=1, le=8)] = Field(
        description="Activations are pooled to this many cells a side."
    )
    feature_timestep: Timestep = Field(description="Timestep label of the clean image (exact).")
    readout_timesteps: list[Timestep] = Field(min_length=1, description="Noise levels the readout head is trained at.")
    readout_draws: Positive = Field(description="Noise draws per shot and noise level (readout).")
    flip: bool = Field(description="Add the mirrored image of every shot.")
    l2: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="Candidate penalties; cross-validated on the shots alone."
    )
    folds: Annotated[int, Field(ge=2)] = Field(5, description="Cross-validation folds, grouped by image.")
    max_iterations: Positive = Field(200, description="L-BFGS iterations of the logistic fit.")
    precision: Precision = "auto"


class SamplingConfig(Section):
    """DDIM and the fixed work units that samples are drawn in."""

    num_inference_steps: Annotated[int, Field(ge=1, le=1000)]
    eta: Fraction = Field(description="0: deterministic DDIM; 1: the posterior variance of the subsequence.")
    timestep_spacing: Literal["trailing", "leading"] = Field(
        description="trailing starts at the last timestep, where x_T is pure noise; leading up to a stride before."
    )
    clip_sample: bool = Field(description="Clip the clean estimate of every step to [-1, 1].")
    guidance_interval: tuple[Timestep, Timestep] = Field(
        description="First and last timestep at which samples are guided."
    )
    unit_size: Positive = Field(description="Samples per work unit: its batch size, part of the identity of a sample.")
    units_per_target: Positive = Field(description="Work units for each row and guided method.")
    units_unguided: Positive = Field(description="Work units of the one unguided pool.")
    shards_per_target: Positive = Field(description="Jobs that share a guided set's units; changes no byte.")
    shards_unguided: Positive = Field(description="Jobs that share the pool's units; changes no byte.")
    first_seed: Count = 0
    precision: Precision = "auto"
    cpu_threads: Positive = Field(1, description="Threads of one job; part of the bits of a sample.")

    def identity(self) -> dict[str, Any]:
        """Return the settings that a sample depends on: not how many there are, nor how jobs share them."""
        return self.model_dump(
            exclude={"units_per_target", "units_unguided", "shards_per_target", "shards_unguided", "first_seed"}
        )


class TuningConfig(Section):
    """The sweep that guidance_scale is chosen by: own seeds, own judge."""

    guidance_scales: Scales = Field(min_length=1)
    units: Positive = Field(description="Work units for each candidate.")
    first_seed: Count = Field(description="Must lie behind every seed that is reported.")
    tolerance: Fraction = Field(description="The smallest scale whose judge share is within this of the best wins.")


class ImageClassifierConfig(Section):
    """DDIM-I's image-space classifier, trained on the same shots; accepts iff p > .5 and u < p."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Count = 0
    precision: Precision = "auto"


class JudgeConfig(Section):
    """The classifier that tells which attributes an image has; it never guides."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Count = 0
    precision: Precision = "auto"


class MaskScalesConfig(Section):
    """lambda of each method that follows a mask, on the *mean* pixel log-likelihood of each sample."""

    exact: Annotated[float, Field(ge=0)]
    readout: Annotated[float, Field(ge=0)]
    clean_image: Annotated[float, Field(ge=0)]


class MaskPresetConfig(Section):
    """What the segmentation head reads, and how samples follow it."""

    taps: list[str] = Field(min_length=1, description="Decoder modules; their maps are upsampled and concatenated.")
    feature_timestep: Timestep = Field(description="Timestep label of the clean image (exact).")
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    eta: Fraction = Field(description="DDIM's eta; the paper's update amounts to 0.24.")
    timestep_spacing: Literal["trailing", "leading"] = "trailing"
    guidance_interval: tuple[Timestep, Timestep] = Field(description="First and last guided timestep.")
    guidance_scale: MaskScalesConfig


class MaskHeadConfig(Section):
    """Training of the segmentation head on cached activations."""

    hidden_channels: Positive = 64
    updates: Positive = Field(description="Optimizer updates.")
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    flip: bool = Field(description="Add the mirrored image and mask of every pair.")
    flip_pairs: list[tuple[Count, Count]] = Field(
        default_factory=list, description="Class ids of left and right that a mirror exchanges."
    )
    readout_timesteps: list[Timestep] = Field(min_length=1, description="Noise levels of the readout head.")
    readout_draws: Positive = Field(description="Noise draws per pair and noise level (readout).")
    seed: Count = 0
    precision: Precision = "auto"


class SegmenterConfig(Section):
    """A segmenter of clean images."""

    block_out_channels: tuple[Annotated[int, Field(gt=0, multiple_of=8)], ...] = Field(min_length=2)
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Count = 0
    precision: Precision = "auto"


class SegmentationConfig(Section):
    """Generation that follows masks, from a few image-mask pairs."""

    shots: Positive = Field(description="Pairs that the heads and the baselines of the table see.")
    shots_curve: list[Positive] = Field(min_length=1, description="Numbers of pairs of the curve.")
    shots_seed: Count = Field(0, description="Which pairs are drawn from the pool; fewer are a prefix of more.")
    presets: dict[Name, MaskPresetConfig] = Field(min_length=1)
    preset: Name = Field(description="Preset of the baselines, the curve and the figure.")
    masks: Positive = Field(description="Wanted masks; also the work unit: one sample of each mask.")
    seeds_per_mask: Positive = Field(description="Samples of each mask: work units of a sample set.")
    head: MaskHeadConfig
    segmenter: SegmenterConfig = Field(description="The independent segmenters: one measures, one tunes.")
    clean_image: SegmenterConfig = Field(description="The baseline's segmenter, trained on the same pairs.")
    controlnet: DenoiserTrainingConfig = Field(description="The baseline that fine-tunes, on the same pairs.")
    controlnet_curve: list[Positive] = Field(description="Numbers of pairs of its learning curve.")
    guidance_scales: Scales = Field(min_length=1, description="Candidates of the sweep.")
    tuning_masks: Positive = Field(description="Wanted masks of each candidate.")
    tolerance: Fraction = Field(description="The smallest scale whose tuning mIoU is within this of the best wins.")

    @model_validator(mode="after")
    def _preset_exists(self) -> "SegmentationConfig":
        if self.preset not in self.presets:
            raise ValueError(f"preset: found {self.preset!r}, expected one of {', '.join(self.presets)}")
        if self.controlnet.random_flip:
            raise ValueError("controlnet.random_flip: found true, expected false: pairs are mirrored with their masks")
        return self


class ExtractorConfig(Section):
    """A feature extractor of the Frechet and kernel distances."""

    kind: Literal["inception", "efficientnet_lite0"]
    weights: Path | None = Field(None, description="Inception: pt_inception-2015-12-05-6726825d.pth.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Expected SHA-256 of the weights file."
    )

    @model_validator(mode="after")
    def _inception_has_a_file(self) -> "ExtractorConfig":
        if self.kind == "inception" and (self.weights is None or self.sha256 is None):
            raise ValueError("weights, sha256: the inception extractor needs both; found none")
        return self


class EvaluationConfig(Section):
    """Metrics and their intervals."""

    extractors: list[ExtractorConfig] = Field(min_length=1)
    samples: Annotated[int, Field(ge=2)] = Field(description="Images per row and method in every distance.")
    bootstrap: Annotated[int, Field(ge=20)] = Field(description="Bootstrap replicates of the 95 % intervals.")
    kernel_subset: Annotated[int, Field(ge=2)] = Field(description="Reference images of the kernel distance.")
    seed: Count = 0


class OutputsConfig(Section):
    """Names of what people read."""

    fid_table: Name = "celeba_fid"
    accuracy_table: Name = "attribute_accuracy"
    sweep_table: Name = "guidance_sweep"
    attributes_figure: Name = "attributes"
    segmentation_table: Name = "segmentation"
    segmentation_sweep_table: Name = "mask_guidance_sweep"
    segmentation_figure: Name = "segmentation"
    show_real: bool = Field(description="Whether the data set's licence lets figures show its images.")
    sheet_prefix: Name = Field("sheet", description="Contact sheets are <prefix>_<method>.")
    published: Path | None = Field(
        Path("config/published.csv"), description="The paper's numbers; null leaves them out."
    )
    stands_for: str | None = Field(
        None, description="The paper's data set whose numbers stand beside our rows of the same name."
    )
    kind: Literal["reproduced", "scaled-down"] = Field("scaled-down", description="What our rows are.")


class Config(Section):
    """Everything that can be set."""

    data: DataConfig
    targets: list[TargetConfig] = Field(min_length=1, description="Rows of the table.")
    denoiser: DenoiserConfig
    head: HeadConfig
    sampling: SamplingConfig
    tuning: TuningConfig
    image_classifier: ImageClassifierConfig
    judge: JudgeConfig
    evaluation: EvaluationConfig
    segmentation: SegmentationConfig
    outputs: OutputsConfig

    def target(self, name: str) -> TargetConfig:
        """Return the row of this name."""
        return next(target for target in self.targets if target.name == name)

    def mask_sampling(self, preset: str, tuning: bool = False) -> SamplingConfig:
        """Return the sampling of masks: as the preset says, in work units that hold one sample of each mask."""
        masks = self.segmentation.tuning_masks if tuning else self.segmentation.masks
        chosen = self.segmentation.presets[preset]
        update = {name: getattr(chosen, name) for name in ("eta", "timestep_spacing", "guidance_interval")}
        return self.sampling.model_copy(update={**update, "unit_size": masks})

    @property
    def mask_sweep_first_seed(self) -> int:
        """Return the first seed behind ``tuning.first_seed`` whose sample shows the first mask."""
        masks = self.segmentation.tuning_masks
        return -(-self.tuning.first_seed // masks) * masks

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        _require_targets(self)
        _require_disjoint_seeds(self)
        _require_masks(self)
        drawn = self.sampling.units_per_target * self.sampling.unit_size
        if self.evaluation.samples > drawn:
            raise ValueError(
                f"evaluation.samples: {self.evaluation.samples} images are judged but sampling draws {drawn}; "
                "raise sampling.units_per_target"
            )
        return self


def _require_targets(config: Config) -> None:
    names = [target.name for target in config.targets]
    if len(set(names)) != len(names):
        raise ValueError(f"targets: found the names {names}, expected each once")
    for target in config.targets:
        if target.attribute not in config.data.attributes:
            raise ValueError(
                f"targets.{target.name}.attribute: {target.attribute!r} is not an attribute of the data set; "
                f"expected one of {', '.join(config.data.attributes)}"
            )


def _require_masks(config: Config) -> None:
    wanted, splits = config.segmentation, config.data.splits
    pairs = max([wanted.shots, *wanted.shots_curve, *wanted.controlnet_curve])
    for key, number, split in (
        ("masks", wanted.masks, "controls"),
        ("tuning_masks", wanted.tuning_masks, "reference"),
        ("shots", pairs, "shots"),
    ):
        if number > getattr(splits, split):
            raise ValueError(
                f"segmentation.{key}: {number} are asked for, data.splits.{split} has {getattr(splits, split)} images"
            )
    seed, masks = config.sampling.first_seed, wanted.masks
    if seed % masks:
        raise ValueError(
            f"sampling.first_seed: {seed} shows mask {seed % masks} first; expected a multiple of segmentation.masks "
            f"({masks})"
        )


def _require_disjoint_seeds(config: Config) -> None:
    sampling = config.sampling
    drawn = sampling.unit_size * max(sampling.units_per_target, sampling.units_unguided)
    reported = sampling.first_seed + max(drawn, config.segmentation.masks * config.segmentation.seeds_per_mask)
    if config.tuning.first_seed < reported:
        raise ValueError(
            f"tuning.first_seed: {config.tuning.first_seed} overlaps the reported seeds; expected at least {reported}"
        )


def load_config(raw: Mapping[str, Any]) -> Config:
    """Validate a raw configuration.

    Raises:
        ConfigError: Names every offending key, what was found and what is allowed.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [f"  {_where(item['loc'])}{item['msg']}{_found(item)}" for item in error.errors()]
        raise ConfigError("The configuration is not valid:\n" + "\n".join(problems)) from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def _found(item: Any) -> str:
    return "" if isinstance(item["input"], dict) else f" (found {item['input']!r})"
