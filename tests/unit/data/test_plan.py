"""A plan knows which images a split holds, which of them changed, and whether there are enough; it opens none."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.data.feasibility import require_files
from fewshot_diffusion.data.plan import PromisedPlan, SourcePlan, check_source, plan, plan_source
from fewshot_diffusion.errors import DataError
from support import ROOT

IMAGES = 240


def configured(folder: Path, **changes: Any) -> Config:
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    update_config(raw, {
        "data": {"name": "own", "kind": "folder", "folder": {"images": str(folder / "photos"),
            "labels": str(folder / "labels.csv")}, "splits": "auto"},
        "denoiser": {"source": "train"},
        "attributes": {"targets": ["Hat"], "head": {"positive_shots": 3, "negative_shots": 3}},
        "evaluation": {"samples": 2}, "masks": None, "classes": None,
    })  # fmt: skip
    update_config(raw, changes)
    return load_config(raw)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Files that are no images: a plan does not look into them."""
    (tmp_path / "photos").mkdir()
    for i in range(IMAGES):
        (tmp_path / f"photos/IMG {i}.JPG").write_bytes(bytes([i]) * (i + 1))
    write_labels(tmp_path, {f"IMG {i}.JPG": "yes" if i % 3 else "no" for i in range(IMAGES)})
    return tmp_path


def write_labels(folder: Path, labels: dict[str, str]) -> None:
    lines = ["file,Hat,Coat", *(f"{name},{label},{i % 2}" for i, (name, label) in enumerate(labels.items()))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def planned(folder: Path) -> SourcePlan:
    return plan_source(configured(folder), folder / "checksums.json")


def digests(folder: Path) -> dict[str, str]:
    plan = planned(folder)
    found = {split: plan.contents(split, ["Hat"]) for split in plan.splits}
    plan.checksums.remember()
    return found


def first_of(folder: Path, split: str) -> Path:
    return folder / "photos" / planned(folder).splits[split][0].name


def replaced(folder: Path) -> set[str]:
    path = first_of(folder, "judge")
    status = path.stat()
    path.write_bytes(bytes(status.st_size))  # of the same length and age
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return {"judge"}


def removed(folder: Path) -> set[str]:
    first_of(folder, "shots").unlink()
    return {"shots"}


def added(folder: Path) -> set[str]:
    (folder / "photos/new.jpg").touch()
    return {"train"}  # nobody labelled it


def relabelled(folder: Path) -> set[str]:
    name, text = first_of(folder, "controls").name, (folder / "labels.csv").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"{name},"))
    other = line.replace(",yes,", ",no,") if ",yes," in line else line.replace(",no,", ",yes,")
    (folder / "labels.csv").write_text(text.replace(line, other))
    return {"controls"}


def touched(folder: Path) -> set[str]:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    return set()


def another_column(folder: Path) -> set[str]:
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace(",0\n", ",1\n"))
    return set()


def moved(folder: Path) -> set[str]:
    shutil.copytree(folder / "photos", folder / "copy")
    shutil.rmtree(folder / "photos")
    (folder / "copy").rename(folder / "photos")
    return set()


@pytest.mark.parametrize("change", [replaced, removed, added, relabelled, touched, another_column, moved])
def test_exactly_the_splits_are_others_whose_images_are(photos: Path, change: Any) -> None:
    before = digests(photos)
    expected = change(photos)
    after = digests(photos)
    assert {split for split in before if before[split] != after[split]} == expected


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        plan_source(configured(folder, **changes), folder / "checksums.json")
    return str(caught.value)


def test_all_shortfalls_come_in_one_message_with_the_numbers_that_would_fit(photos: Path) -> None:
    found = refusal(photos, attributes={"head": {"positive_shots": 50}}, evaluation={"samples": 40})
    lines = found.splitlines()
    assert lines[0].startswith(f"{photos}/photos: 240 images, shared out as train ")
    fitting = {key.strip(): int(number) for key, number in (line.split(": ") for line in lines[-2:])}
    assert set(fitting) == {"attributes.head.positive_shots", "evaluation.samples"}
    shots, samples = fitting.values()
    assert f"  shots: {shots} with Hat, attributes.head.positive_shots takes 50" in lines
    assert f"  controls: {samples} with Hat, evaluation.samples takes 40" in lines
    fits = {"attributes": {"head": {"positive_shots": shots}}, "evaluation": {"samples": samples}}
    assert plan_source(configured(photos, **fits), photos / "checksums.json")


def test_too_few_images_are_said_to_be_so_for_rows_without_one(photos: Path) -> None:
    write_labels(photos, {f"IMG {i}.JPG" if i < 9 else f"gone/{i}.JPG": "yes" for i in range(IMAGES)})
    assert refusal(photos).splitlines()[1].startswith(f"{photos}/labels.csv: no image, or several, of the rows gone/")


def test_where_no_number_would_fit_more_images_are_asked_for(photos: Path) -> None:
    write_labels(photos, {f"IMG {i}.JPG": "no" for i in range(IMAGES)})
    found = refusal(photos)
    assert "  judge: 0 with Hat, at least 1 are needed" in found
    assert found.endswith("More images are needed as well, or other shares: data.splits.")


def test_unknown_columns_are_named_with_those_that_there_are(photos: Path) -> None:
    assert f"{photos}/labels.csv: found no attribute Gloves; it has: Hat, Coat." in refusal(
        photos, attributes={"targets": ["Gloves"]}
    )


def test_rows_and_images_without_each_other_are_named(photos: Path) -> None:
    labels = {f"IMG {i}.JPG": "yes" if i % 3 else "no" for i in range(1, IMAGES)}
    write_labels(photos, labels | {"lost.jpg": "yes"})
    assert planned(photos).index.remarks == [
        f"{photos}/labels.csv: no image, or several, of the rows lost.jpg: left out",
        f"{photos}/photos: no labels of IMG 0.JPG; these may train the denoiser alone",
    ]
    write_labels(photos, {"elsewhere.jpg": "yes"})
    assert "its first row names 'elsewhere.jpg', and no row a file of" in refusal(photos)


def test_files_that_the_configuration_names_are_there(photos: Path) -> None:
    (photos / "labels.csv").unlink()
    config = configured(photos, denoiser={"source": "folder", "folder": "mine"}, report={"published": "none.csv"})
    with pytest.raises(DataError) as caught:
        require_files(config)
    assert str(caught.value).splitlines()[1:] == [
        f"data.folder.labels: there is no {photos}/labels.csv",
        "denoiser.folder: there is no mine/config.json",
        "report.published: there is no none.csv",
    ]


def promised(**changes: Any) -> Config:
    """A data set that the rules of downloads make: its images, and the list of them."""
    artefacts = {
        name: {"file": file, "urls": ["https://example.org/x"], "licence": "x", "access": "x", "md5": name * 32}
        for name, file in {"a": "photos.zip", "b": "labels.csv"}.items()
    }
    update_config(artefacts, changes)
    folder = {"images": "downloads/a/photos.zip", "labels": "downloads/b/labels.csv"}
    return configured(Path(), data={"folder": folder}, downloads={"artefacts": artefacts})


def test_downloads_are_planned_before_they_are_there_and_the_same_after(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)

    def found() -> str:
        return plan(promised(), Path("memory")).contents("shots", ["Hat"])

    before = found()
    (photos / "downloads/b").mkdir(parents=True)
    (photos / "downloads/b/labels.csv").write_text("whatever")
    assert found() == before
    assert isinstance(plan(promised(), Path("memory")), PromisedPlan)
    assert promised().promised_files == ["downloads/a/photos.zip", "downloads/b/labels.csv"]
    others = [("controls", ["Hat"], {}), ("shots", ["Coat"], {}), ("shots", ["Hat"], {"a": {"md5": "c" * 32}})]
    for split, attributes, changes in others:
        assert plan(promised(**changes), Path("memory")).contents(split, attributes) != before


def test_downloads_that_are_too_few_stop_the_job_that_counts_them(photos: Path) -> None:
    check_source(configured(photos), photos / "splits.csv")
    assert (photos / "splits.csv").read_text().startswith("split,images")
    with pytest.raises(DataError, match="too few for what is asked"):
        check_source(configured(photos, attributes={"head": {"positive_shots": 500}}), photos / "splits.csv")
