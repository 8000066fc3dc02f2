"""Label suspects end to end: wrong labels planted in a folder are found by `look` and by a study, and shown by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide import cli, looking
from fieldguide.data.tables import read_manifest
from fieldguide.errors import DONE, EnvironmentProblem, UsageProblem
from fieldguide.files import read_json
from fieldguide.records import ManifestRow
from fieldguide.suspecting import Suspicion, _folds, suspects_finding

COLOURS = {"red": (170, 90, 90), "green": (90, 170, 90), "blue": (90, 90, 170), "grey": (130, 130, 130)}
EACH, PLANTED = 24, 5
WORDS = "linear:image_size=4,strengths=0.1,as=eye"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four colours under noise, all told apart; five pictures (5 %) lie in the folder of the next class, called ``planted``."""
    root = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(0)
    names = list(COLOURS)
    for label, (name, colour) in enumerate(COLOURS.items()):
        for number in range(EACH):
            planted = label + 4 * number < PLANTED
            place = root / (names[(label + 1) % 4] if planted else name)
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.array(colour) + random.normal(0, 14, 3) + random.normal(0, 40, (24, 24, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(place / f"{'planted' if planted else 'right'}_{name}_{number:02}.png")
    return root


@pytest.fixture(scope="module")
def seen(photos: Path) -> looking.Look:
    return fieldguide.look(photos, suspects=WORDS)


def test_planted_labels_are_found_by_look(seen: looking.Look) -> None:
    suspects = seen.suspicion.suspects
    first = suspects[:PLANTED]
    found = [one for one in first if "planted" in one.path]
    assert len(found) >= 4, [str(one) for one in suspects]
    assert len(suspects) <= 2 * PLANTED
    for one in found:
        assert one.path.startswith(f"{one.given}/") and f"planted_{one.suggested}_" in one.path
    assert (seen.suspicion.contestant, seen.suspicion.pictures) == ("eye", 4 * EACH)


def test_the_finding_takes_the_place_of_the_one_that_nobody_was_asked(photos: Path, seen: looking.Look) -> None:
    (finding,) = [one for one in seen.examination.findings if one.code == "FG014"]
    assert (finding.state, finding.count) == ("found", len(seen.suspicion.suspects))
    assert "planted" in finding.examples[0] and "perhaps" in finding.examples[0]
    assert "eye, right on" in finding.detail and "look at them" in finding.detail
    plain = fieldguide.look(photos)
    (skipped,) = [one for one in plain.examination.findings if one.code == "FG014"]
    assert skipped.state == "skipped" and "--suspects linear" in skipped.detail and plain.suspicion is None
    assert [one.code for one in plain.examination.findings] == [one.code for one in seen.examination.findings]


def test_the_command_line_shows_file_names(
    photos: Path, seen: looking.Look, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import terminal

    asked = {}
    monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=200))
    monkeypatch.setattr(looking, "look", lambda source, **given: asked.update(given) or seen)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["look", str(photos), "--suspects", WORDS])
    told = capsys.readouterr().out
    assert int(stopped.value.code or 0) == DONE and asked["suspects"] == WORDS
    for one in seen.suspicion.suspects:
        assert one.path in told
    assert "labels to look at" in told


def test_a_wrong_contestant_stops_before_the_pictures(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldguide.looking.source_of", lambda *_, **__: pytest.fail("the pictures were opened"))
    with pytest.raises(UsageProblem, match="No family knows"):
        fieldguide.look(photos, suspects="liniar")
    with pytest.raises(EnvironmentProblem, match="not on this machine"):
        fieldguide.look(photos, suspects="linear/vit_tiny_patch16_224")


@pytest.fixture(scope="module")
def study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Study:
    """The source's own split: the first pictures of every class are for testing, and a copy of one of them is in train."""
    root = tmp_path_factory.mktemp("split")
    for name in COLOURS:
        for at, path in enumerate(sorted((photos / name).iterdir())):
            part = "test" if at % 2 == 0 or "planted" in path.name else "train"
            (root / "photos" / part / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / "photos" / part / name / path.name)
    leaked = sorted((root / "photos/test/red").glob("right*"))[0]
    shutil.copy(leaked, root / "photos/train/red/copy.png")
    return fieldguide.compare(root / "photos", ["majority", WORDS], out=root / "study")


def test_a_study_writes_suspects_and_scores_without_them(study: fieldguide.Study) -> None:
    told = read_json(study.folder / "suspects.json")
    paths = {row.key: row.path for row in read_manifest(study.folder / "manifest.parquet").part()}
    assert (told["state"], told["from"]) == ("found", ["eye"])
    assert sum("planted" in paths[line["image"]] for line in told["suspects"]) >= 3
    found = {entry["code"]: entry for entry in study.comparison["subsets"]}
    without = found["suspects"]["runs"]["eye"]
    assert found["suspects"]["n"] == len(told["suspects"])
    assert (
        without["without"]["value"]
        > without["with"]["value"]
        == study.scores("eye")["parts"]["test"]["metrics"]["accuracy"]["value"]
    )
    assert "upper bound" in found["suspects"]["sentence"]


def test_the_report_and_the_terminal_tell(
    study: fieldguide.Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import terminal

    text = study.report.read_text(encoding="utf-8")
    assert text.count('class="suspect"') == len(read_json(study.folder / "suspects.json")["suspects"]) > 0
    monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=300))
    terminal.leaderboard(study)
    told = capsys.readouterr().out
    assert "may carry a wrong label: eye" in told


def test_leaks_that_were_dropped_or_kept_are_told_apart(study: fieldguide.Study, tmp_path: Path) -> None:
    (leaked,) = [entry for entry in study.comparison["subsets"] if entry["code"] == "leaked"]
    assert leaked["n"] == 1 and "copies were left out of training" in leaked["sentence"]
    source = study.folder.parent / "photos"
    kept = fieldguide.compare(source, ["majority", WORDS], out=tmp_path / "kept", leaks="keep")
    (leaked,) = [entry for entry in kept.comparison["subsets"] if entry["code"] == "leaked"]
    assert leaked["n"] == 1 and "left out" not in leaked["sentence"] and "1 test picture is also in train" in leaked["sentence"]
    assert read_json(kept.folder / "suspects.json")["pictures"] == read_json(study.folder / "suspects.json")["pictures"] - 1


def test_a_source_with_its_own_split_keeps_it(study: fieldguide.Study) -> None:
    seen = fieldguide.look(study.folder.parent / "photos", suspects=WORDS)
    assert seen.suspicion.pictures == len(study.manifest.part("test")) + len(study.manifest.part("val"))
    assert all(one.path.startswith("test/") for one in seen.suspicion.suspects)


def test_a_contestant_that_fails_is_skipped_with_its_reason(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldguide.families import linear

    def broken(*_: object) -> None:
        raise UsageProblem("Nothing works today.", "", "")

    monkeypatch.setattr(linear, "fit", broken)
    seen = fieldguide.look(photos, suspects="linear")
    finding = next(one for one in seen.examination.findings if one.code == "FG014")
    assert finding.state == "skipped" and "Nothing works today" in finding.detail


@pytest.mark.parametrize(
    ("sizes", "folds"), [((30, 30), 5), ((30, 4), 4), ((30, 1), 3)], ids=["large", "a small class", "a single picture"]
)
def test_small_classes_have_fewer_folds(sizes: tuple[int, ...], folds: int) -> None:
    rows = [ManifestRow(f"{label}{at}", "", f"c{label}") for label, size in enumerate(sizes) for at in range(size)]
    assert _folds(rows, {}) == {"folds": folds}
    assert _folds(rows, {"folds": 7}) == {}
    assert _folds([*rows, ManifestRow("t", "", "c0", "test")], {}) == {}


def test_every_state_is_told() -> None:
    fine = suspects_finding(Suspicion("fine", "", "eye", 90, (), 0.91))
    assert (fine.state, fine.count) == ("fine", 0) and "right on 91.0 %, doubts no label of 90 pictures" in fine.detail
    few = suspects_finding(Suspicion("not applicable", "too few pictures", "eye", 0))
    assert few.state == "not applicable" and "too few pictures" in few.detail
