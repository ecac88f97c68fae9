"""What a run on a model of one's own is planned with: what cannot serve is refused, and what it costs is told.

Without torch, since every snakemake call imports this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.own import OwnConfig
from ..data.contents import Checksums
from ..diffusion.description import Description, UNetDescription, describe, require_steerable
from ..errors import ConfigError, WeightsError
from ..tooling.denoiser_plan import tap_problem
from .labels import Labels, MaskedImages, list_labels, list_masks

LEVELS, DRAWS = 7, 2
"""Noise levels at which a head of readout learns, and draws of noise at each."""

GUIDED = 0.85
"""Share of the steps that are guided: from a tenth to 95 % of the timesteps."""

MASKS = "masks"
"""The subject of the head of masks; no attribute is called so."""

STEERED = {"exact": "2 to 3", "readout": "1 to 2"}
"""What a guided step costs, in plain ones."""


@dataclass(frozen=True)
class OwnPlan:
    """A run on a model of one's own.

    Attributes:
        config: Section own.
        model: What the model's files say of it.
        labels: The labelled images, if there are any.
        masked: The images with masks, if there are any.
        checksums: Of files.
    """

    config: OwnConfig
    model: Description
    labels: Labels | None
    masked: MaskedImages | None
    checksums: Checksums

    @property
    def image_size(self) -> int:
        """Height and width of the model's images, pixels."""
        size = self.model.unet.sample_size
        return int(size[0] if isinstance(size, list) else size or 0)

    @property
    def titles(self) -> Mapping[str, str]:
        """Attribute -> what people call it."""
        return self.labels.titles if self.labels else {}

    @property
    def subjects(self) -> list[str]:
        """All that has a head: attributes, and masks."""
        return [*self.titles, *([MASKS] if self.masked else [])]

    @property
    def measured(self) -> list[str]:
        """Subjects with labels, or pairs, to spare for a judge."""
        return [subject for subject in self.subjects if not any(self.missing(subject))]

    @property
    def judged(self) -> list[str]:
        """Those of them that are attributes."""
        return [subject for subject in self.measured if subject in self.titles]

    @property
    def contents(self) -> dict[str, str]:
        """Digests of what is read: Snakemake compares them. Checksums of files are remembered."""
        found = {key: part.contents(self.checksums) for key in ("labels", "masked") if (part := getattr(self, key))}
        self.checksums.remember()
        return found

    def missing(self, subject: str) -> tuple[int, ...]:
        """Return how many more images with and without an attribute a judge would want; of masks, how many pairs."""
        wanted = self.config.shots + self.config.table.held_out
        return tuple(max(0, wanted - number) for number in self._numbers(subject))

    def _numbers(self, subject: str) -> tuple[int, ...]:
        if subject == MASKS:
            assert self.masked
            return (len(self.masked.images),)
        assert self.labels
        return self.labels.numbers(subject)

    def samples(self, subject: str) -> int:
        """Return how many samples are drawn: of what is measured more than the sheet shows; unguided ones for all."""
        measured = self.measured if subject == "unguided" else [name for name in self.measured if name == subject]
        return max(self.config.samples, self.config.table.samples if measured else 0)

    @property
    def remarks(self) -> list[str]:
        """What is said before the first job: the cost, and what more labels would bring."""
        return [self._cost(), *(self._wish(subject) for subject in self.subjects if any(self.missing(subject)))]

    def _cost(self) -> str:
        own, levels = self.config, LEVELS * DRAWS if self.config.mode == "readout" else 1
        images = len(self.labels.rows if self.labels else []) + len(self.masked.images if self.masked else [])
        steps = own.num_inference_steps
        guided = round(GUIDED * steps * sum(map(self.samples, self.subjects)))
        plain = images * (1 + own.flip) * levels + steps * sum(map(self.samples, [*self.subjects, "unguided"])) - guided
        return (
            f"own: {images} images with labels or masks, heads of {', '.join(self.titles.values()) or 'masks'}: about "
            f"{plain:,} plain and {guided:,} steered passes of the denoiser; a steered one costs {STEERED[own.mode]} "
            "plain ones. `make plan TARGET=own CONFIG=...` counts them in FLOPs and GPU-hours."
        )

    def _wish(self, subject: str) -> str:
        missing, spare = self.missing(subject), self.config.table.held_out
        if subject == MASKS:
            more, each = f"{missing[0]} more pairs", ""
        else:
            more, each = f"{missing[0]} more images with it and {missing[1]} without", " each"
        return (
            f"own: {self.titles.get(subject, subject)}: {more} would bring a judge and a measured table: "
            f"own.table.held_out ({spare}){each} beyond own.shots ({self.config.shots})."
        )


def plan_own(config: OwnConfig, memory: Path | None = None) -> OwnPlan:
    """List labels and masks, and check that the model can serve.

    Args:
        config: Section own.
        memory: Where checksums of files are remembered, if they are.

    Raises:
        WeightsError: With every reason why the model cannot be steered.
        ConfigError: If a head is to read a module that the model has not.
        DataError: If labels or masks cannot be used.
    """
    model = describe_own(config.model)
    _require_taps(config.taps if config.taps != "auto" else [], model.unet)
    labels = list_labels(config) if config.labels else None
    return OwnPlan(config, model, labels, list_masks(config) if config.masks else None, Checksums(memory))


def describe_own(folder: Path) -> Description:
    """Return what a model's small files say of it.

    Raises:
        WeightsError: With every reason why it cannot be steered.
    """
    if (folder / "transformer" / "config.json").is_file():
        raise WeightsError(f"{folder}: found transformer/, expected unet/ with a UNet2DModel of pixels.")
    found = describe(folder)
    require_steerable(found)
    return found


def _require_taps(taps: Sequence[str], unet: UNetDescription) -> None:
    if problems := [problem for tap in taps if (problem := tap_problem(tap, unet, "own.taps"))]:
        raise ConfigError("\n".join(problems))
