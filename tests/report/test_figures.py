"""Figures to take away: all there, each with its numbers, the same bytes each time, and no name that is more than a name."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from fieldguide.errors import EnvironmentProblem
from fieldguide.report import say
from fieldguide.report.calibration import calibration
from fieldguide.report.editions import draw
from fieldguide.report.exports import figures
from fieldguide.report.exports.figures import style
from fieldguide.report.read import read_study
from fieldguide.report.wanted import Wanted

CSS = Path(style.__file__).parent.parent.parent / "report.css"
HERE = Path(__file__).parent
#: Literal in a figure: mathematics, LaTeX, tags.
NAMES = ("$x^2_i$ & <b>", "\\alpha_1 %", "三毛猫", "<script>alert(1)</script>")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """A study with a few contestants and its figures."""
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    folder = tmp_path_factory.mktemp("figures")
    entries = (
        maker.Entry("frozen", "linear", 2.0, more=maker.FROZEN),
        maker.Entry(NAMES[0], "backbone", 4.0, epochs=5, more=maker.TUNED),
        maker.Entry("../../etc/passwd", "majority", 0.0),
        maker.Entry("mamba", "vmamba", state="failed"),
    )
    maker.make_study(folder, maker.Plan(names=NAMES, entries=entries, per_class=(4, 5, 9)))
    draw(folder, maker.FakeReader(), Wanted(figures=True))
    return folder


def test_every_figure_is_there_three_times(place: Path) -> None:
    names = {path.stem for path in (place / "figures").iterdir()}
    assert {"leaderboard", "accuracy_cost", "validation_test", "differences", "learning_curves"} <= names
    assert sum(name.startswith("confusion_") for name in names) == 3
    assert sum(name.startswith("slopes_") for name in names) == 1
    for name in names:
        for kind in ("svg", "png", "csv"):
            assert (place / "figures" / f"{name}.{kind}").stat().st_size > 100, (name, kind)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name) and figures.OWN.fullmatch(f"{name}.svg"), name
        picture = Image.open(place / "figures" / f"{name}.png")
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20, f"{name} is blank"
    assert not [path for path in place.rglob("*passwd*") if path.parent.name != "figures"]


def test_a_figure_says_names_as_they_are_and_runs_nothing(place: Path) -> None:
    for path in sorted((place / "figures").glob("*.svg")):
        tree = ElementTree.parse(path)
        tags = {str(node.tag).rpartition("}")[2] for node in tree.iter()}
        assert not tags & {"script", "a", "foreignObject", "b"}, path
        assert tree.getroot().find("{http://www.w3.org/2000/svg}title") is not None
        for node in tree.iter():
            for name, value in node.attrib.items():
                assert not name.startswith("on")
                assert not name.endswith("href") or value.startswith(("#", "data:image/png;base64,")), (path, value)
    words = texts(place / "figures" / "leaderboard.svg")
    assert "$x^2_i$ & <b>" in words and "../../etc/passwd" in words
    (matrix,) = [p for p in (place / "figures").glob("confusion_*.svg") if "frozen" in p.name]
    assert {style.short(name, 20) for name in NAMES} <= set(texts(matrix))


def texts(path: Path) -> list[str]:
    tree = ElementTree.parse(path)
    return ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_the_numbers_beside_a_figure_are_those_of_the_files(place: Path) -> None:
    study, folder = read_study(place), place / "figures"
    board = rows(folder / "leaderboard.csv")
    assert [row["contestant"].removeprefix("'") for row in board] == [c.name for c in study.scored]
    for row, contestant in zip(board, study.scored, strict=True):
        entry = contestant.metric("accuracy") or {}
        assert (float(row["accuracy"]), float(row["low"]), float(row["high"])) == (entry["value"], entry["low"], entry["high"])
        shown = texts(folder / "leaderboard.svg")
        assert f"{100 * entry['value']:.1f}" in shown
    pairs = rows(folder / "differences.csv")
    told = (study.comparison or {})["pairs"]
    assert [float(row["difference"]) for row in pairs] == [pair["difference"] for pair in told]
    for contestant in study.scored:
        counts = (contestant.test or {})["confusion"]
        (path,) = [p for p in folder.glob("confusion_*.csv") if p.stem == f"confusion_{style.slug(contestant.name)}"]
        assert sum(int(row["pictures"]) for row in rows(path)) == sum(map(sum, counts))
    sure = [one for one in calibration(study).rows if one.bins]
    assert sure and len(sure) == len(list(folder.glob("reliability_*.csv")))
    for row in sure:
        bins = rows(folder / f"reliability_{style.slug(row.contestant.name)}.csv")
        entries = (row.contestant.test or {})["reliability"]["bins"]
        told = [(one["n"], one["right"], one["confidence"]) for one in entries if one["n"]]
        assert [(int(one["answers"]), int(one["right"]), float(one["confidence"])) for one in bins] == told
        words = texts(folder / f"reliability_{style.slug(row.contestant.name)}.svg")
        assert {"right, %", "confidence of the answer, %", "answers"} <= set(words)
    curve = rows(folder / "learning_curves.csv")
    assert [int(row["epoch"]) for row in curve if row["kept"] == "True"] == [2]
    (slopes,) = [rows(path) for path in folder.glob("slopes_*.csv")]
    assert len(slopes) == len(NAMES) and {"gained", "lost", "recall_before"} <= set(slopes[0])
    gaps = {row["contestant"].removeprefix("'"): row["val_minus_test"] for row in rows(folder / "validation_test.csv")}
    scores = [study.scored[0].metric("accuracy", part) or {} for part in ("val", "test")]
    assert float(gaps[study.scored[0].name]) == pytest.approx(scores[0]["value"] - scores[1]["value"])


def test_the_same_study_gives_the_same_bytes_and_tells_no_date(place: Path, tmp_path: Path) -> None:
    figures.draw(tmp_path / "figures", read_study(place))
    for path in sorted((place / "figures").iterdir()):
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes(), path.name
    assert "dc:date" not in (place / "figures" / "leaderboard.svg").read_text(encoding="utf-8")


def test_hues_and_shades_are_those_of_the_page() -> None:
    light = CSS.read_text(encoding="utf-8").partition("@media")[0]
    named = dict(re.findall(r"--([\w]+):(#[0-9a-f]{3,6})", light))
    assert tuple(named[f"f{slot}"] for slot in range(12)) == style.HUES
    assert tuple(named[f"better{step}"] for step in range(1, 6)) == style.BETTERS
    assert tuple(named[f"worse{step}"] for step in range(1, 6)) == style.WORSES
    assert (named["ink"], named["chance"], named["same"]) == (style.INK, style.CHANCE, style.SAME)
    assert len(style._MARKERS) == 12
    for hue in style.HUES:  # marks stand out from white by 3 : 1 at least (WCAG 1.4.11)
        assert 1.05 / (luminance(hue) + 0.05) > 3


def luminance(hue: str) -> float:
    parts = [int(hue[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_file_names_are_safe_and_apart() -> None:
    names = ["linear", "Linear", "lin/ear", "lin ear", "..", "", "CON", "x" * 200, "x" * 201, "三毛猫", "三毛"]
    slugs = [style.slug(name) for name in names]
    assert len({slug.lower() for slug in slugs}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", slug) for slug in slugs)
    assert slugs[0] == "linear"


def test_a_missing_matplotlib_is_told_with_the_one_command(
    tmp_path: Path, maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0),)))
    monkeypatch.setattr(figures, "available", lambda: False)
    with pytest.raises(EnvironmentProblem) as caught:
        draw(tmp_path, maker.FakeReader(), Wanted(figures=True))
    assert caught.value.next == "pip install 'fieldguide[figures]'"
    assert not (tmp_path / "report.html").exists(), "it is told before anything is drawn"


def test_what_does_not_apply_is_named(tmp_path: Path, maker: ModuleType) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("mamba", "vmamba", state="failed"), maker.Entry("x", "y"))))
    notes = draw(tmp_path, maker.FakeReader(), Wanted(figures=True)).notes
    assert any("learning_curves: not applicable, no contestant recorded epochs" in note for note in notes)
    assert any("differences: not applicable, a difference needs two" in note for note in notes)
    for path in tmp_path.glob("runs/*/scores.json"):
        path.unlink()
    (tmp_path / "comparison.json").unlink()
    notes = draw(tmp_path, maker.FakeReader(), Wanted(figures=True)).notes
    assert len(notes) == 9 and list((tmp_path / "figures").iterdir()) == []


def test_figures_are_kept_up_with_the_scores_and_only_then(place: Path, tmp_path: Path, maker: ModuleType) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0),)))
    draw(tmp_path, maker.FakeReader(), Wanted(figures=True))
    before = (tmp_path / "figures" / "leaderboard.svg").stat().st_mtime_ns
    draw(tmp_path, maker.FakeReader())
    assert (tmp_path / "figures" / "leaderboard.svg").stat().st_mtime_ns == before
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0), maker.Entry("two", "linear", 1.0))))
    draw(tmp_path, maker.FakeReader())
    assert len(rows(tmp_path / "figures" / "leaderboard.csv")) == 2


def test_nothing_of_matplotlib_is_loaded_for_the_page(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(
        tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 2), entries=(maker.Entry("one", "linear"),))
    )
    code = (
        "import sys, pathlib; from fieldguide.report.editions import draw; from fieldguide.data.store import Store; "
        f"place = pathlib.Path({str(tmp_path)!r}); draw(place, Store(place / 'store')); assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert say.NOT_APPLICABLE in (tmp_path / "report.md").read_text(encoding="utf-8")
