"""T3: leaks and labels. What was planted is found, told, and its weight on the scores is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures import scene

import fieldguide
from fieldguide.data.checks import Finding

pytestmark = pytest.mark.torture("T3", "Leaks and labels")

CLASSES = ("cat", "dog", "eel")
EACH, TESTED, PLANTED = 14, 10, 6
#: Learns twenty-odd pictures by heart, which is what a leak rewards.
MEMORY = "linear:as=memory,image_size=16,strengths=1.0"
Tell = Callable[[str], None]


def save(picture: Any, path: Path, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(picture)).save(path, **how)


def scenes(seed: int, count: int, hue: float = 0.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [scene(random, hue) for _ in range(count)]


def exactly(picture: np.ndarray, path: Path) -> None:
    save(picture, path.with_suffix(".png"))


def resized(picture: np.ndarray, path: Path) -> None:
    save(Image.fromarray(picture).resize((76, 57), Image.Resampling.LANCZOS), path.with_suffix(".png"))


def turned(picture: np.ndarray, path: Path) -> None:
    save(np.rot90(picture), path.with_suffix(".png"))


def recompressed(picture: np.ndarray, path: Path) -> None:
    save(picture, path.with_suffix(".jpg"), quality=35)


def cropped(picture: np.ndarray, path: Path) -> None:
    save(picture[3:91, 6:124], path.with_suffix(".png"))


@dataclass(frozen=True)
class Planted:
    """A split folder whose first `PLANTED` test pictures of each class also lie in train, one way or another."""

    root: Path

    @classmethod
    def make(cls, root: Path, plant: Callable[[np.ndarray, Path], None]) -> Planted:
        for at, name in enumerate(CLASSES):
            for number, picture in enumerate(scenes(at, EACH, at / 3)):
                exactly(picture, root / "train" / name / f"{number}")
            for number, picture in enumerate(scenes(100 + at, TESTED, at / 3)):
                exactly(picture, root / "test" / name / f"t{number}")
                if number < PLANTED:
                    plant(picture, root / "train" / name / f"copy{number}")
        return cls(root)

    def compare(self, out: Path, leaks: str) -> fieldguide.Study:
        return fieldguide.compare(self.root, ["majority", MEMORY], out=out, leaks=leaks)


def subset(study: fieldguide.Study, code: str) -> dict[str, Any]:
    return next(one for one in study.comparison["subsets"] if one["code"] == code)


def finding(seen: Any, code: str) -> Finding:
    return next(one for one in seen.examination.findings if one.code == code)


@pytest.mark.parametrize(
    "plant", [exactly, resized, turned, recompressed, cropped], ids=lambda plant: f"{plant.__name__} across the split"
)
def test_copy_across_a_given_split(plant: Callable[[np.ndarray, Path], None], tmp_path: Path, told: Tell) -> None:
    """Kept, a leak lifts the score of who remembers, and the report says by how much; dropped, there is nothing to remember."""
    planted = Planted.make(tmp_path / "pets", plant)
    kept = planted.compare(tmp_path / "kept", "keep")
    leaked = subset(kept, "leaked")
    assert leaked["n"] == PLANTED * len(CLASSES)
    memory = leaked["runs"]["memory"]
    # Pixel by pixel a turned picture is another one: who learns pixels by heart gains nothing from it.
    remembered = plant is not turned
    assert not remembered or memory["with"]["value"] - memory["without"]["value"] > 0.1
    assert str(leaked["n"]) in leaked["sentence"] and "also in train" in leaked["sentence"]
    assert leaked["sentence"] in _text(kept.report)
    dropped = planted.compare(tmp_path / "dropped", "drop")
    gone = [row for row in dropped.manifest.excluded if str(row.excluded).startswith("also in the test split: test/")]
    assert len(gone) == PLANTED * len(CLASSES) and all(row.path.startswith("train/") for row in gone)
    assert len(dropped.manifest.part("test")) == len(kept.manifest.part("test")) == TESTED * len(CLASSES)
    honest = dropped.scores("memory")["parts"]["test"]["correct"]
    assert not remembered or honest < kept.scores("memory")["parts"]["test"]["correct"]
    assert "left out of training" in subset(dropped, "leaked")["sentence"]
    told(leaked["sentence"])


def test_same_picture_with_two_labels(tmp_path: Path, told: Tell) -> None:
    for at, name in enumerate(CLASSES):
        for number, picture in enumerate(scenes(at, 6)):
            exactly(picture, tmp_path / "pets" / name / f"{number}")
    twice = scenes(0, 6)
    exactly(twice[2], tmp_path / "pets" / "dog" / "also")
    recompressed(twice[3], tmp_path / "pets" / "eel" / "nearly")
    seen = fieldguide.look(tmp_path / "pets")
    found = finding(seen, "FG005")
    excluded = {row.path: row.excluded for row in seen.manifest.excluded}
    assert set(excluded) == {"cat/2.png", "dog/also.png"} and set(excluded.values()) == {
        "same picture in two classes: cat, dog"
    }
    assert found.state == "found" and found.count == 4 and "cat/3.png (cat) ~ eel/nearly.jpg (eel)" in found.examples
    told(found.detail)


def test_burst_sequence(tmp_path: Path, told: Tell) -> None:
    """Eight frames of one scene, the camera moving on: all on one side."""
    for at, name in enumerate(CLASSES):
        for number, picture in enumerate(scenes(at, 12)):
            exactly(picture, tmp_path / "pets" / name / f"IMG_{1000 + 7 * number}")
    wide = scene(np.random.default_rng(9), width=260, height=130)
    for step in range(8):
        frame = wide[step : step + 96, 4 * step : 4 * step + 128]
        exactly(frame, tmp_path / "pets" / "cat" / f"IMG_{5000 + step}")
    seen = fieldguide.look(tmp_path / "pets")
    burst = [row for row in seen.manifest.rows if "IMG_50" in row.path]
    assert len(burst) == 8 and len({row.group for row in burst}) == 1 and burst[0].group is not None
    assert len({row.split for row in burst}) == 1
    others = [row for row in seen.manifest.rows if "IMG_50" not in row.path]
    assert all(row.group is None for row in others)
    found = [finding(seen, code) for code in ("FG004", "FG007")]
    assert any(one.state == "found" for one in found)
    told(" ".join(one.detail for one in found if one.state == "found"))


def test_five_percent_of_the_labels_swapped(tmp_path: Path, told: Tell) -> None:
    random = np.random.default_rng(5)
    planted = set()
    for at, name in enumerate(CLASSES):
        for number in range(40):
            label = name
            if number % 20 == 3:
                label = CLASSES[(at + 1) % 3]
                planted.add(f"{label}/{name}{number}.png")
            exactly(scene(random, at / 3, tint=90), tmp_path / "pets" / label / f"{name}{number}")
    study = fieldguide.compare(tmp_path / "pets", ["linear/colour"], out=tmp_path / "out", folds=5)
    listed = fieldguide_json(study, "suspects.json")
    paths = {row.key: row.path for row in study.manifest.rows}
    first = [paths[one["image"]] for one in listed["suspects"][: len(planted)]]
    hits = len(planted & set(first))
    assert listed["state"] == "found" and hits >= len(planted) / 2
    sentence = subset(study, "suspects")["sentence"]
    assert sentence in _text(study.report)
    told(f"{hits} of the {len(planted)} planted are among the first {len(planted)} suspects. {sentence}")


def test_constant_class(tmp_path: Path, told: Tell) -> None:
    for at, name in enumerate(CLASSES[:2]):
        for number, picture in enumerate(scenes(at, 6)):
            exactly(picture, tmp_path / "pets" / name / f"{number}")
    for number in range(6):
        exactly(np.full((60 + number, 80, 3), (200, 30, 40), dtype=np.uint8), tmp_path / "pets" / "eel" / f"{number}")
    found = finding(fieldguide.look(tmp_path / "pets"), "FG011")
    assert (found.state, found.count) == ("found", 6) and found.detail.endswith("Classes with no other pictures: eel.")
    told(found.detail)


def test_near_identical_classes(tmp_path: Path, told: Tell) -> None:
    """One class is the other one, exported again."""
    for number, picture in enumerate(scenes(0, 12)):
        exactly(picture, tmp_path / "pets" / "cat" / f"{number}")
        recompressed(picture, tmp_path / "pets" / "kitten" / f"{number}")
    for number, picture in enumerate(scenes(1, 12)):
        exactly(picture, tmp_path / "pets" / "dog" / f"{number}")
    seen = fieldguide.look(tmp_path / "pets")
    found = finding(seen, "FG005")
    assert (found.state, found.count) == ("found", 24)
    sides: dict[str, set[Any]] = {}
    for row in seen.manifest.rows:
        sides.setdefault(Path(row.path).stem + row.label[0] * (row.label == "dog"), set()).add(row.split)
    assert all(len(splits) == 1 for splits in sides.values())
    told(found.detail)


def test_tiny_minority(tmp_path: Path, told: Tell) -> None:
    for at, (name, count) in enumerate(zip(CLASSES, (40, 40, 4), strict=True)):
        for number, picture in enumerate(scenes(at, count, at / 3)):
            exactly(picture, tmp_path / "pets" / name / f"{number}")
    study = fieldguide.compare(tmp_path / "pets", ["majority"], out=tmp_path / "out")
    metrics = study.scores("majority")["parts"]["test"]["metrics"]
    assert metrics["accuracy"]["value"] > 1.2 * metrics["balanced_accuracy"]["value"]
    page = _text(study.report)
    detail = "dog has 40 pictures, 10.0 times as many as eel with 4. Read balanced accuracy and macro-F1."
    assert detail in page and {row.split for row in study.manifest.part() if row.label == "eel"} == {"train", "val", "test"}
    told(detail)


def test_label_against_folder(tmp_path: Path, told: Tell) -> None:
    lines = ["path,label"]
    for at, name in enumerate(CLASSES):
        for number, picture in enumerate(scenes(at, 5)):
            exactly(picture, tmp_path / "photos" / name / f"{number}")
            lines.append(f"photos/{name}/{number}.png,{'dog' if (name, number) == ('cat', 3) else name}")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    found = finding(fieldguide.look(tmp_path / "labels.csv"), "FG015")
    assert (found.state, found.examples) == ("found", ("photos/cat/3.png: labelled dog",))
    told(f"{found.detail} {found.examples[0]}")


def fieldguide_json(study: fieldguide.Study, name: str) -> dict[str, Any]:
    from fieldguide.files import read_json

    return dict(read_json(study.folder / name))


def _text(report: Path) -> str:
    """Return what a reader of the page sees, on one line."""
    import html
    import re

    page = report.read_text(encoding="utf-8")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).replace("\u00a0", " ").split())
