"""A pipeline of diffusers' around an unconditional denoiser, which learns from a few labels what to draw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, ImagePipelineOutput, SchedulerMixin, UNet2DModel
from torch import Tensor

from ..config.attributes import attribute_name
from ..diffusion.denoiser import Denoiser, PixelDenoiser
from ..errors import ConfigError
from ..latent.description import is_pipeline
from ..masks.metrics import confusion, miou
from ..masks.pairs import Pairs
from ..metrics.intervals import wilson_interval
from ..own.curve import Curve
from ..runtime import Runtime, make_runtime
from ..storage.files import read_json, write_json
from .drawing import Drawing, as_output, require_number, usual_interval
from .heads import MASKS, FittedHead, curve_of, fit_attribute, fit_masks, load_heads, probability, save_heads, segment
from .inputs import Images, as_images, as_labelled, as_masks
from .judging import Judge, judged
from .layout import denoiser_digest, find_folder, read_folder, require_network
from .steering import MODES, Term, Wanted, as_values, known_mode, terms_of, usual_scale

PROMPT = ("prompt", "negative_prompt", "classifier_free_scale")
"""What a pipeline of latents is held at."""


class FewShotPipeline(DiffusionPipeline):
    """Draws what a few labels say: attributes, part masks, or both at once.

    Without guidance it is diffusers' DDIMPipeline, bit for bit. Heads are learned by ``fit`` and ``fit_masks``, and go
    with the pipeline: ``save_pretrained`` writes them beside what diffusers itself reads.

    Attributes:
        heads: Name -> mode -> head; part masks have the name ``masks``.
        precision: auto, float32 or bfloat16: of convolutions and matrix products.
    """

    model_cpu_offload_seq = "unet"
    written_as: ClassVar[str] = "DDIMPipeline"

    def __init__(self, unet: UNet2DModel, scheduler: SchedulerMixin, precision: str = "float32") -> None:
        """Take a network, which is frozen, and the scheduler that it was trained with, which becomes DDIM's.

        Raises:
            WeightsError: With every reason why they cannot be steered.
        """
        super().__init__()
        self._schedule = require_network(unet, scheduler)
        if not isinstance(size := unet.config.sample_size, int):  # height and width may be given, each
            unet.register_to_config(sample_size=size[0])
        scheduler = DDIMScheduler.from_config(scheduler.config)
        self.register_modules(unet=unet.requires_grad_(False).eval(), scheduler=scheduler)
        self.precision = precision
        self.heads: dict[str, dict[str, FittedHead]] = {}
        self._digest = denoiser_digest(unet, self._schedule)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        scheduler: SchedulerMixin | None = None,
        precision: str = "float32",
        **options: Any,
    ) -> Self:
        """Read a pipeline from a folder or the hub, with the heads that are there.

        Args:
            pretrained_model_name_or_path: Folder, or owner/name on the hub: a DDPMPipeline or DDIMPipeline, a network
                alone, a StableDiffusionPipeline or LDMPipeline, or what ``save_pretrained`` wrote. Weights are read
                from safetensors alone.
            scheduler: What the network was trained with, where the folder does not say.
            precision: auto, float32 or bfloat16.
            options: Of the hub: revision, token, cache_dir, local_files_only. Of a StableDiffusionPipeline what it is
                held at, too: prompt, negative_prompt, classifier_free_scale.

        Raises:
            WeightsError: If there is nothing, or it cannot be steered; says every reason.
        """
        prompt = {key: options.pop(key) for key in PROMPT if key in options}
        folder = find_folder(pretrained_model_name_or_path, **options)
        pipe: Any
        if is_pipeline(folder):
            from .latents import read_latents  # transformers, which takes seconds

            pipe = read_latents(folder, scheduler, precision, prompt)
        else:
            pipe = cls(*read_folder(folder, scheduler), precision)
        for fitted in load_heads(folder, pipe.denoiser.digest):
            pipe.heads.setdefault(fitted.name, {})[fitted.mode] = fitted
        found: Self = pipe
        return found

    @property
    def denoiser(self) -> Denoiser:
        """The denoiser as all that is steered sees it, on the pipeline's device."""
        return PixelDenoiser(self._schedule, self._digest, self._runtime(), self.unet)

    def fit(self, name: str, images: Images, labels: Any, mode: str = "exact", **options: Any) -> FittedHead:
        """Learn an attribute from labelled images, some dozens of each kind; it replaces an earlier one of this name.

        Args:
            name: What it is called from now on.
            images: uint8 tensor [N, 3, H, W] or array [N, H, W, 3]; a list of PIL images or paths; or a folder.
            labels: One for each, true or false; of a folder also a mapping of names of files.
            mode: exact, the paper's, which serves direct, too; readout, half its cost; or steering, a direction, at the
                cost of no guidance.
            options: ``taps``: module or modules that are read, or "auto" for the one that predicts the shots best,
                cross-validated; and the settings of ``attributes.head``, see config/README.md.

        Returns:
            The head, with its ``report``: settings, cross-validated accuracy and log-loss, and of what it was chosen.

        Raises:
            ConfigError: If a setting is unknown or a module is not there.
            DataError: If images or labels cannot be used.
        """
        self._require_free(name)
        shots = as_labelled(images, labels, self.denoiser.image_size)
        return self._keep(fit_attribute(self.denoiser, name, shots, known_mode(mode, MODES), options))

    def fit_masks(
        self, images: Images, masks: Any, classes: Sequence[str], mode: str = "exact", **options: Any
    ) -> FittedHead:
        """Learn which class each pixel is of, from a handful of image-mask pairs.

        Args:
            images: As for ``fit``.
            masks: Class ids, whole numbers [N, H, W], of the images' size.
            classes: Names of the class ids 0, 1, ...
            mode: exact or readout.
            options: ``taps`` (or "auto": those by which masks of pairs that a head has not seen are found best),
                ``flip_pairs`` (ids of left and right that a mirror exchanges), ``compared_at`` ("taps": masks are
                compared at the size of the finest map), and the settings of ``masks.head``.

        Raises:
            ConfigError: If a setting is unknown or a module is not there.
            DataError: If images or masks cannot be used.
        """
        size = self.denoiser.image_size
        found, wanted = as_images(images, size), as_masks(masks, size, classes)
        if len(found) != len(wanted):
            raise ConfigError(f"masks: found {len(wanted)} of {len(found)} images, expected one for each.")
        pairs = Pairs(found, wanted, list(classes), [(a, b) for a, b in options.get("flip_pairs", [])])
        return self._keep(fit_masks(self.denoiser, pairs, known_mode(mode, MODES[:2]), options))

    @torch.no_grad()
    def __call__(
        self,
        wanted: Wanted | None = None,
        *,
        masks: Any = None,
        weights: Mapping[str, float] | None = None,
        num_images: int | None = None,
        guidance_scale: float | None = None,
        mode: str | None = None,
        guidance_interval: tuple[int, int] | None = None,
        num_inference_steps: int = 50,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        seeds: Sequence[int] | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw images.

        Args:
            wanted: An attribute, or several and whether each is wanted: ``{"Blond": True, "Beard": False}``; a fraction
                is the share of each batch that shall have it: ``{"Blond": 0.5}``.
            masks: Wanted masks, class ids [M, H, W]: sample i shows mask i modulo M.
            weights: Name -> what multiplies its log-likelihood beside ``guidance_scale``; 1 where none is named.
            num_images: As many as there are seeds, generators or masks if not given, else 1.
            guidance_scale: lambda; 0 is diffusers' DDIMPipeline. Not given: 10; 400 for masks alone, whose
                log-likelihood is a mean over pixels; 3 for steering, in distances between the classes' means.
            mode: exact, readout or steering. Not given: the first of these that was fitted. Or direct: the heads of
                exact, without the Jacobian of the pass that predicts the noise, which saves about a third.
            guidance_interval: First and last guided timestep; not given: from a tenth to 95 % of them, as configured.
            num_inference_steps: DDIM steps.
            eta: 0 is deterministic; 1 has the posterior variance of the steps.
            generator: Of the noise, as in diffusers.
            seeds: In place of it, one for each image: image i depends on seed i alone, as in this project's tables.
            batch_size: Images that are drawn together; not given: all.
            output_type: pil, np [B, H, W, 3] or pt [B, 3, H, W], 0..1.
            return_dict: Whether ``images`` is an attribute of the result, or its only element.

        Raises:
            ConfigError: If a head is not there, or numbers or heads do not fit each other.
            DataError: If masks cannot be used.
            SamplingError: If a sample is not finite.
        """
        terms = terms_of(self.heads, wanted, mode, weights or {}, self._shown(masks))
        scale, last = guidance_scale, self._schedule.num_train_timesteps
        scale = usual_scale(terms) if scale is None else scale
        interval = guidance_interval or usual_interval(last)
        drawing = Drawing(num_inference_steps, eta, scale, interval, seeds, generator)
        number = require_number(num_images, seeds, generator, terms)
        images = as_output(self._draw(drawing, terms if scale else [], number, batch_size), output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def predict_proba(self, name: str, images: Images, mode: str | None = None) -> Tensor:
        """Return p(attribute | image) as a head sees it, float32 [N]; images as for ``fit``."""
        found = as_images(images, self.denoiser.image_size)
        (term,) = terms_of(self.heads, name, mode)
        return probability(self.denoiser, term.fitted, found)

    def predict_masks(self, images: Images, mode: str | None = None) -> Tensor:
        """Return the class of every pixel as the head of masks sees it, uint8 [N, H, W]; images as for ``fit``."""
        found = as_images(images, self.denoiser.image_size)
        (term,) = terms_of(self.heads, None, mode, masks=torch.empty(0))
        return segment(self.denoiser, term.fitted, found)

    def score(self, name: str, images: Images, labels: Any, mode: str | None = None) -> float:
        """Return a head's accuracy on labelled images, 0..1; of ``masks``, the mean IoU with the masks ``labels``."""
        size = self.denoiser.image_size
        if name == MASKS:
            classes = terms_of(self.heads, None, mode, masks=torch.empty(0))[0].fitted.classes
            wanted = as_masks(labels, size, classes)
            return miou(confusion(wanted, self.predict_masks(images, mode), len(classes)))
        found, wanted = as_labelled(images, labels, size)
        return float(((self.predict_proba(name, found, mode) > 0.5) == wanted).double().mean())

    def learning_curve(self, name: str, images: Images, labels: Any, mode: str | None = None) -> Curve:
        """Return how the accuracy of a head grows with the labels that it learned from, cross-validated on these alone.

        Args:
            name: Of a head that ``fit`` learned.
            images: As for ``fit``.
            labels: As for ``fit``.
            mode: exact or readout.

        Returns:
            The curve: ``rows()``, and ``advice()``, whether more labels are worth it.
        """
        shots = as_labelled(images, labels, self.denoiser.image_size)
        (term,) = terms_of(self.heads, name, mode)
        return curve_of(self.denoiser, term.fitted, shots)

    def evaluate(self, judge: Judge, wanted: Wanted, **drawing: Any) -> dict[str, float]:
        """Draw images and say which share a judge takes for what was wanted.

        Args:
            judge: Folder of a judge of this project or such a classifier; or what tells of images, uint8 [N, 3, H, W],
                whether they are as wanted: bool [N], or probabilities.
            wanted: As for a call.
            drawing: What else a call takes.

        Returns:
            ``share``, its 95 % Wilson interval ``ci_low`` and ``ci_high``, and ``n``.
        """
        (drawn,) = self(wanted, **{**drawing, "output_type": "pil", "return_dict": False})
        right = judged(judge, as_images(drawn, self.denoiser.image_size), as_values(wanted))
        found = wilson_interval(int(right.sum()), len(right))
        return {"share": found.value, "ci_low": found.low, "ci_high": found.high, "n": len(right)}

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the pipeline as diffusers does, and its heads, ``heads/<name>/``, beside; options are diffusers'."""
        save_heads([one for modes in self.heads.values() for one in modes.values()], Path(save_directory), self._digest)
        super().save_pretrained(str(save_directory), **options)

    def save_config(self, save_directory: str | Path, **options: Any) -> None:
        """Write ``model_index.json``; it names a pipeline that diffusers has without this library."""
        super().save_config(save_directory, **options)
        index = Path(save_directory) / self.config_name
        write_json(index, {**read_json(index), "_class_name": self.written_as})

    def _draw(self, drawing: Drawing, terms: Sequence[Term], number: int, batch_size: int | None) -> Tensor:
        denoiser, batches = self.denoiser, drawing.batches(number, batch_size)
        with self.progress_bar(total=drawing.num_inference_steps * len(batches)) as bar:
            parts = [drawing.draw(denoiser, self.scheduler, terms, batch, bar.update) for batch in batches]
        return denoiser.to_images(torch.cat(parts))

    def _shown(self, masks: Any) -> Tensor | None:
        if masks is None:
            return None
        (term,) = terms_of(self.heads, None, None, masks=torch.empty(0))
        return as_masks(masks, self.denoiser.image_size, term.fitted.classes)

    def _runtime(self) -> Runtime:
        return make_runtime(str(self._execution_device), self.precision, torch.get_num_threads())

    def _keep(self, fitted: FittedHead) -> FittedHead:
        self.heads.setdefault(fitted.name, {})[fitted.mode] = fitted
        return fitted

    def _require_free(self, name: str) -> None:
        alike = [other for other in self.heads if other != name and attribute_name(other) == attribute_name(name)]
        if name == MASKS or alike:
            taken = f"{alike[0]!r} is called so in files" if alike else "that is the head of fit_masks"
            raise ConfigError(f"fit: found the name {name!r}, expected another: {taken}.")
