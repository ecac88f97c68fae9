"""Training a denoiser, or what is fine-tuned from one: resumable, each step a function of its number."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.denoiser import DenoiserTrainingConfig, ScheduleConfig
from ..errors import StoppedError
from ..progress import Progress
from ..residence import settle, take
from ..runtime import Runtime
from ..seeds import generator
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import About, fingerprint
from ..storage.rows import Rows
from ..storage.tensors import read_tensors, write_tensors
from .interruption import noticing_sigterm
from .schedule import add_noise, make_scheduler, training_target

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t [B, C, H, W], timesteps [B], positions of the training images [B]) -> eps or v."""


_STATE = ("parameter", "average", "exp_avg", "exp_avg_sq")


class Training(ABC):
    """Training state that can be written and resumed; step k draws from the stream of (seed, k) alone.

    Attributes:
        model: What is trained, in place.
        settings: Recipe.
        runtime: Device and precision.
        rates: Multiplies the learning rate of parameters, by name; of the others it is 1.
    """

    model: nn.Module
    settings: DenoiserTrainingConfig
    runtime: Runtime
    rates: Mapping[str, float]

    def __post_init__(self) -> None:
        self.runtime.place(self.model).train()
        self.step = 0
        groups = _groups(self.model, self.rates)
        self.optimizer = torch.optim.AdamW(groups, lr=self.settings.learning_rate, betas=(0.9, 0.99))
        on_gpu = self.runtime.device.type == "cuda"  # a kernel for all parameters; on a CPU it rounds otherwise
        self.ema = EMAModel(
            self.model.parameters(), decay=self.settings.ema_decay, use_ema_warmup=False, foreach=on_gpu
        )

    @property
    def total_steps(self) -> int:
        """Optimizer steps of a whole training."""
        return math.ceil(self.settings.num_images / self.settings.batch_size)

    @abstractmethod
    def loss(self, images: Rows) -> Tensor:
        """Return the present step's loss, a scalar, of images drawn from uint8 [N, 3, H, W]."""

    def train_step(self, images: Rows) -> Tensor:
        """Take one optimizer step on images drawn from uint8 [N, 3, H, W]; return the loss, a scalar on the device.

        Nothing in it waits for the device: to read the loss would.
        """
        loss = self.loss(images)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group["rate"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.ema.step(self.model.parameters())
        self.step += 1
        return loss.detach()

    def clean(self, taken: Tensor) -> Tensor:
        """Return x_0, float32 [B, C, H, W], of what was taken: images, uint8 [B, 3, H, W]."""
        return taken.float() / 127.5 - 1

    def learning_rate(self) -> float:
        """Return the rate of the present step: linear warm-up, constant, cosine decay to zero."""
        done = self.step / self.total_steps
        warmup = min(1.0, (self.step + 1) * self.settings.batch_size / max(1, self.settings.warmup_images))
        past = max(0.0, done - self.settings.decay_from) / max(1e-9, 1 - self.settings.decay_from)
        return self.settings.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * past))

    def save(self, checkpoints: CheckpointFolder) -> None:
        """Write the whole state atomically."""
        tensors: dict[str, Tensor] = {}
        for i, (parameter, average) in enumerate(zip(self.model.parameters(), self.ema.shadow_params, strict=True)):
            moments = self.optimizer.state[parameter]
            state = (parameter, average, moments["exp_avg"], moments["exp_avg_sq"])
            tensors |= {f"{i}.{name}": tensor for name, tensor in zip(_STATE, state, strict=True)}
        write_tensors(state_file(checkpoints), tensors, {"step": self.step, "identity": checkpoints.identity})

    def restore(self, checkpoints: CheckpointFolder) -> None:
        """Continue from the state in ``checkpoints``.

        Raises:
            CheckpointError: If it is of another training.
            CorruptFileError: If it is damaged.
        """
        path = state_file(checkpoints)
        names = [f"{i}.{what}" for i, _ in enumerate(self.model.parameters()) for what in _STATE]
        tensors, about = read_tensors(path, *names)
        checkpoints.require_own(path, about)
        self.step = self.ema.optimization_step = int(about["step"])
        for i, parameter in enumerate(self.model.parameters()):
            parameter.data.copy_(tensors[f"{i}.parameter"])
            self.ema.shadow_params[i].copy_(tensors[f"{i}.average"])
            moments = {name: torch.empty_like(parameter).copy_(tensors[f"{i}.{name}"]) for name in _STATE[2:]}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(self.step)), **moments}

    def draw_clean(self, images: Rows, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return positions of a batch, [B], and its x_0, float32 [B, ...], half of it mirrored if settings say so."""
        size, device = self.settings.batch_size, self.runtime.device
        index = torch.randint(len(images), (size,), generator=stream, device=device)
        clean = self.clean(take(images, index))
        mirrored = torch.rand(size, generator=stream, device=device) < 0.5
        if self.settings.random_flip:
            clean = torch.where(mirrored.view(-1, 1, 1, 1), clean.flip(-1), clean)
        return index, clean


@dataclass(eq=False)
class DenoiserTraining(Training):
    """Training of what denoises.

    Attributes:
        predict: Uses ``model``; positions tell it which conditions belong to the images.
        schedule: Noise schedule and prediction type.
    """

    model: nn.Module
    predict: Predict
    settings: DenoiserTrainingConfig
    schedule: ScheduleConfig
    runtime: Runtime
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alphas_cumprod = make_scheduler(self.schedule).alphas_cumprod.to(self.runtime.device)

    def loss(self, images: Rows) -> Tensor:
        """Return the mean squared error of what is predicted of noisy images."""
        index, clean, noise, timesteps = self._draw(images)
        alpha_bar_t = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        with self.runtime.autocast():
            output = self.predict(add_noise(clean, noise, alpha_bar_t), timesteps, index)
        target = training_target(clean, noise, alpha_bar_t, self.schedule.prediction_type)
        return F.mse_loss(output.float(), target)

    def _draw(self, images: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        stream = generator(f"denoiser training {self.settings.seed}", self.step, self.runtime.device)
        index, clean = self.draw_clean(images, stream)
        noise = torch.randn(clean.shape, generator=stream, device=stream.device)
        return index, clean, noise, self._draw_timesteps(len(index), stream)

    def _draw_timesteps(self, number: int, stream: torch.Generator) -> Tensor:
        last = self.schedule.num_train_timesteps
        if self.settings.timestep_power == 1:
            return torch.randint(last, (number,), generator=stream, device=stream.device)
        uniform = torch.rand(number, generator=stream, dtype=torch.float64, device=stream.device)
        share = uniform ** (1 / self.settings.timestep_power)
        return (last * share).long()


class EncodedTraining(DenoiserTraining):
    """The same on samples that a denoiser's ``encode`` made: latents."""

    def clean(self, taken: Tensor) -> Tensor:
        """Return x_0, float32 [B, C, H, W]: it is what was taken."""
        return taken


def _groups(model: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    plain = [parameter for name, parameter in model.named_parameters() if name not in rates]
    named = dict(model.named_parameters())
    return [{"params": plain, "rate": 1.0}, *({"params": [named[name]], "rate": rates[name]} for name in rates)]


def training_identity(about: About, runtime: Runtime) -> str:
    """Return the identity of a training, everywhere the same way: its recipe, its data and its precision."""
    return fingerprint(about, str(runtime.dtype))


def run_training(training: Training, images: Rows, checkpoints: CheckpointFolder) -> None:
    """Train to the end, from the state in ``checkpoints`` if it is there; the model ends with its moving average.

    Raises:
        CheckpointError: If the state is of another training.
        StoppedError: If SIGTERM came: the state of the step that it came in is written.
    """
    if state_file(checkpoints).is_file():
        training.restore(checkpoints)
    size, total = training.settings.batch_size, training.total_steps
    every = max(1, training.settings.checkpoint_images // size)
    images = settle(images, training.runtime.device)
    losses: list[Tensor] = []
    bar = Progress(total=total * size, initial=training.step * size, unit="image", desc="training")
    with bar, noticing_sigterm() as told_to_stop:
        while training.step < total:
            losses.append(training.train_step(images))
            bar.update(size)
            stop = told_to_stop()
            if stop or training.step % every == 0 or training.step == total:
                mean = fmean(torch.stack(losses).cpu().tolist())  # only here the host waits for the device
                bar.set_postfix(loss=f"{mean:.4f}")
                _keep(training, checkpoints, mean)
                losses.clear()
            if stop and training.step < total:
                raise StoppedError(
                    f"told to stop (SIGTERM) after step {training.step} of {total}; "
                    f"{state_file(checkpoints)} holds it. Run the same command again to continue."
                )
    training.ema.copy_to(training.model.parameters())


def state_file(checkpoints: CheckpointFolder) -> Path:
    """Return the file that holds a training's last state."""
    return checkpoints.path / "state.safetensors"


def _keep(training: Training, checkpoints: CheckpointFolder, loss: float) -> None:
    training.save(checkpoints)
    line = {"images": training.step * training.settings.batch_size, "loss": loss, "lr": training.learning_rate()}
    with (checkpoints.path / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
