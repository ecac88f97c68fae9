"""What the page alone asks of networks: masks that the judge finds, and the tuning judge's word on the sweep."""

from pathlib import Path

from ..attributes.guidance import Steering
from ..data.mask_set import load_masks
from ..diffusion.samples import load_samples
from ..judges import load_judge
from ..masks.row import GuideKey
from ..masks.segmenter import load_segmenter
from ..metrics.descriptions import Cost, describe, save_description
from ..runtime import make_runtime
from ..storage.tensors import pixel_digest, write_tensors


def find_masks(
    row: GuideKey, samples: Path, masks: Path, segmenter: Path, wanted: int, output: Path, device: str = "auto"
) -> None:
    """Write the masks that the judge finds in samples.

    Args:
        row: What the samples are: method, preset and number of pairs.
        samples: Samples, parquet.
        masks: Wanted masks, parquet.
        segmenter: Weights folder of the independent segmenter.
        wanted: How many of the masks were asked for.
        output: Masks beside their seeds to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If the samples are of another row, or were to show other masks.
        WeightsError: If the segmenter was trained to guide or to tune.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    asked = load_masks(masks).first(wanted)
    about = {**row.key, "masks": pixel_digest(asked.masks)}
    drawn = load_samples([samples], expected=about)
    network = load_segmenter(segmenter, "judge", asked.classes).to(runtime.device)
    write_tensors(output, {"masks": network.segment(drawn.images), "seeds": drawn.seeds}, about)


def judge_swept_samples(steering: Steering, samples: Path, judge: Path, output: Path, device: str = "auto") -> None:
    """Write what the tuning judge says of one candidate's samples: a description without features.

    Args:
        steering: Mode, class and lambda.
        samples: Samples, parquet.
        judge: Weights folder of the tuning judge.
        output: Description to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If the samples are of another mode, class or lambda.
        WeightsError: If the judge is not the one that tunes.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    drawn = load_samples([samples], steering.about)
    network = load_judge(judge, "tuning_judge").to(runtime.device)
    cost = Cost(drawn.forwards_per_sample)
    save_description(describe(drawn.pixels, drawn.seeds, steering.method, [], network, cost), output, steering.about)
