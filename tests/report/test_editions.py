"""The folder edition: all wrong pictures as files, under a policy that loads nothing else; and whose files are replaced."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from tests.report.test_build import Page
from typer.testing import CliRunner

from fieldguide.errors import UsageProblem
from fieldguide.report import build, editions, gallery
from fieldguide.report.editions import draw
from fieldguide.report.read import read_study
from fieldguide.report.wanted import DRAWN, Wanted


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """A study with its folder edition, one picture lost."""
    folder = tmp_path_factory.mktemp("pages")
    manifest = maker.make_study(folder, maker.Plan(names=maker.EVIL, per_class=(4, 3, 10)))
    lost = frozenset({gallery.wrong_pictures(read_study(folder))[0].row.key})
    assert lost <= {row.key for row in manifest.part("test")}
    draw(folder, maker.FakeReader(200, lost), Wanted(folder=True))
    return folder


def page_of(place: Path) -> Page:
    return Page((place / "report" / "index.html").read_text(encoding="utf-8"))


def test_every_wrong_picture_is_a_file(place: Path) -> None:
    wrong = gallery.wrong_pictures(read_study(place))
    page = page_of(place)
    shown = page.pictures("shot")
    assert len(shown) == len(wrong) - 1 and len(wrong) > 50
    assert "torn &lt;b&gt;file" in (place / "report" / "index.html").read_text(encoding="utf-8")
    for image in page.all("img"):
        assert re.fullmatch(r"pictures/([0-9a-f]{2})/\1[0-9a-f]+\.webp", image["src"] or ""), image["src"]
        path = place / "report" / (image["src"] or "")
        with Image.open(path) as picture:
            assert picture.format == "WEBP" and str(picture.width) == image["width"]
    assert "more in predictions.parquet" not in page.words and "One folder, no network" in page.words


def test_the_policy_of_the_folder_allows_its_pictures_and_nothing_more(place: Path) -> None:
    (policy,) = [meta["content"] or "" for meta in page_of(place).all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src 'self' data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    (one,) = [
        meta["content"] or "" for meta in Page((place / "report.html").read_text("utf-8")).all("meta") if meta.get("http-equiv")
    ]
    assert "img-src data:; " in one


def test_the_one_file_says_where_the_rest_is(place: Path, maker: ModuleType) -> None:
    study = read_study(place)
    limit = len(build.render(study, maker.FakeReader(200)).encode()) - 60_000
    small = build.render(study, maker.FakeReader(200), limit)
    assert "<code>fieldguide report STUDY/ --folder</code> writes a folder edition with all of them." in small
    beside = build.render(study, maker.FakeReader(200), limit, build.Edition(beside=True))
    assert "All of them are in the folder edition, <code>report/index.html</code> beside this file." in beside
    # Where not one picture fits, that is said, and not that nothing was wrong.
    none = build.render(study, maker.FakeReader(200), 1000)
    assert "there is no room for them in this page" in none and "every contestant named every test picture right" not in none
    assert "--folder" not in (place / "report.html").read_text(encoding="utf-8"), "nothing was left out"


@pytest.mark.browser
@pytest.mark.parametrize("scripts", [True, False])
def test_it_opens_from_disk_without_a_network(chromium: Any, place: Path, scripts: bool) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 800}, offline=True, java_script_enabled=scripts)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("requestfailed", lambda request: heard.append(request.url))
    page.on("request", lambda request: heard.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.goto((place / "report" / "index.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.removeAttribute('name'); box.open = true; })")
    loaded = page.evaluate(
        "Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth > 0, () => false)))"
    )
    assert loaded and all(loaded), "a picture was blocked"
    assert heard == []
    context.close()


def test_it_is_drawn_again_as_long_as_it_is_there(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 1.0),)))
    assert draw(tmp_path, maker.FakeReader()).folder is None and not (tmp_path / "report").exists()
    assert draw(tmp_path, maker.FakeReader(), Wanted(folder=True)).folder == tmp_path / "report"
    first = {path.relative_to(tmp_path): path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}
    (tmp_path / "report" / "index.html").write_text("old", encoding="utf-8")
    (tmp_path / "report" / "pictures" / "00.webp").write_bytes(b"old")
    draw(tmp_path, maker.FakeReader())
    again = {path.relative_to(tmp_path): path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert again == first
    assert not list(tmp_path.glob(".unfinished-*"))


@pytest.mark.parametrize(("name", "wanted"), [("report", Wanted(folder=True)), ("figures", Wanted(figures=True))])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, maker: ModuleType, name: str, wanted: Wanted) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 1.0),)))
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.docx").write_bytes(b"mine")
    with pytest.raises(UsageProblem, match=r"holds thesis\.docx, which fieldguide did not write"):
        draw(tmp_path, maker.FakeReader(), wanted)
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "report").mkdir(exist_ok=True)
    (tmp_path / "report" / "index.html").write_text("somebody's", encoding="utf-8")
    (tmp_path / "report" / "thesis.docx").write_bytes(b"mine")
    notes = draw(tmp_path, maker.FakeReader()).notes
    assert any("report/ shows an earlier state" in note for note in notes)
    assert (tmp_path / name / "thesis.docx").read_bytes() == b"mine"
    assert (tmp_path / "scores.json").exists()


def test_a_heavy_page_is_said(tmp_path: Path, maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 1.0),)))
    monkeypatch.setattr(editions, "HEAVY", 1000)
    notes = draw(tmp_path, maker.FakeReader(), Wanted(folder=True)).notes
    assert [note.partition(" has ")[0] for note in notes] == ["report.html", "report/index.html"]


def test_a_key_that_is_no_hash_becomes_no_path(place: Path, tmp_path: Path, maker: ModuleType) -> None:
    from fieldguide.report import pages

    class Reader:
        def read(self, key: str, at_least: int) -> Any:
            return maker.FakeReader().read("00112233445566", at_least)

    small = pages.placed(Reader(), tmp_path, '../../x" onerror="alert(1)')
    assert re.fullmatch(r"pictures/([0-9a-f]{2})/\1[0-9a-f]{62}\.webp", small.uri or "")
    assert (tmp_path / (small.uri or "")).is_file()


def test_the_command_draws_all_and_says_where(tmp_path: Path, maker: ModuleType) -> None:
    from fieldguide import cli

    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    maker.make_study(
        tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 4), entries=(maker.Entry("one", "linear"),))
    )
    for run in (tmp_path / "runs").iterdir():
        run.rename(run.with_name(json.loads((run / "scores.json").read_text(encoding="utf-8"))["run"]))
    done = CliRunner().invoke(cli.app, ["report", str(tmp_path), "--figures", "--folder"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "Figures: " in said and "Folder edition: " in said and "not applicable" in said
    assert {name for name in DRAWN if (tmp_path / name).exists()} == DRAWN


def test_a_study_whose_list_was_lost_is_still_known(tmp_path: Path, maker: ModuleType) -> None:
    from fieldguide.study import _refuse_foreign

    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 1.0),)))
    draw(tmp_path, maker.FakeReader(), Wanted(folder=True))
    (tmp_path / "manifest.parquet").unlink()
    for name in ("figures", "measures.parquet", "causes.json", "causes.toml", "slices.json", "kinds.json", "explained.json"):
        (tmp_path / name).touch()
    _refuse_foreign(tmp_path)
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(UsageProblem, match="thesis"):
        _refuse_foreign(tmp_path)
    shutil.rmtree(tmp_path / "report")
