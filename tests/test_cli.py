"""The command line as a user meets it: what is printed, and the exit code."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pictures import write_folder

from fieldguide import cli
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY, USAGE


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "200")
    from fieldguide import terminal

    def call(*words: object) -> tuple[int, str, str]:
        # Consoles bind the streams of the moment they are made in.
        monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=200))
        monkeypatch.setattr(terminal, "err", terminal.Console(stderr=True, highlight=False, width=200))
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(word) for word in words])
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return int(stopped.value.code or 0), told.out, told.err

    return call


def test_the_demo_tells_of_both_its_studies(  # type: ignore[no-untyped-def]
    run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import compare, demo

    def small(folder: Path, _: object) -> object:
        return compare(pictures, ["majority"], out=folder)

    monkeypatch.setattr(demo, "run_demo", small)
    monkeypatch.setattr(demo, "run_counting", small)
    code, out, _ = run("demo", "--out", tmp_path / "d")
    assert code == DONE
    assert f"{tmp_path / 'd' / 'report.html'}" in out and f"{tmp_path / 'd-counting' / 'report.html'}" in out


def test_look(run, pictures: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("look", pictures, "--split", "60/20/20")
    assert code == DONE
    assert "42 pictures, 42 usable, 3 classes" in out
    assert "Split that would be made: train 26, val 8, test 8." in out or "Split that would be made: train" in out
    assert "Files that cannot be read" in out
    assert not list(pictures.parent.glob("*-study"))


def test_compare_predict_report(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("compare", pictures, "majority", "linear:image_size=8,as=pixels", "--out", tmp_path / "s")
    assert code == DONE
    assert "chance" in out
    assert "pixels" in out
    assert str((tmp_path / "s" / "report.html").resolve()) in out
    code, out, _ = run("compare", pictures, "majority", "--out", tmp_path / "s")
    assert "Re-used, whole from before: pixels, majority." in out or "Re-used, whole from before: majority, pixels." in out
    (tmp_path / "s" / "report.html").unlink()
    code, out, _ = run("report", tmp_path / "s")
    assert code == DONE
    assert (tmp_path / "s" / "report.html").exists()
    (tmp_path / "bad.png").write_bytes(b"")
    code, out, _ = run(
        "predict", tmp_path / "s" / "runs" / "pixels", pictures / "cat", tmp_path / "bad.png", "--out", tmp_path / "answers.csv"
    )
    assert code == PARTLY
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15
    assert [row["error"] != "" for row in rows] == [False] * 14 + [True]
    assert sum(float(rows[0][f"p_{name}"]) for name in ("cat", "dog", "eel")) == pytest.approx(1)


def test_clean(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("compare", pictures, "majority", "--out", tmp_path / "s")
    code, out, _ = run("clean", tmp_path / "s", "--dry-run")
    assert code == DONE
    assert "decoded pictures" in out
    assert "would be freed" in out
    assert (tmp_path / "s" / "store").exists()
    (tmp_path / "s" / "runs-before-extension-1").mkdir()
    code, out, _ = run("clean", tmp_path / "s")
    assert code == DONE
    assert "were freed" in out
    assert "kept  runs before an extension" in out
    assert not (tmp_path / "s" / "store").exists()
    run("clean", tmp_path / "s", "--old-runs")
    assert not (tmp_path / "s" / "runs-before-extension-1").exists()
    assert run("compare", pictures, "majority", "--out", tmp_path / "s")[0] == DONE


def test_dry_run_keeps_nothing(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("compare", pictures, "majority", "linear", "--out", tmp_path / "s", "--dry-run")
    assert code == DONE
    assert "Together about" in out and "unknown" not in out
    assert not (tmp_path / "s").exists()


def test_a_dry_run_of_nothing_that_is_possible_says_so(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, error = run("compare", pictures, "count_baseline", "--out", tmp_path / "s", "--dry-run")
    assert code == USAGE and "count_baseline" in out and error.strip()
    code, _, _ = run("compare", pictures, "count_baseline", "majority", "--out", tmp_path / "s", "--dry-run")
    assert code == DONE


def test_a_dry_run_plans_only_what_is_not_done(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("compare", pictures, "majority", "--out", tmp_path / "s")
    code, out, _ = run("compare", pictures, "majority", "linear", "--out", tmp_path / "s", "--dry-run")
    assert code == DONE
    assert "Whole from before, and re-used: majority." in out
    assert [line.split()[0] for line in out.splitlines() if "none" in line] == ["linear"]


def test_families_are_drawn_from_settings(run) -> None:  # type: ignore[no-untyped-def]
    from fieldguide import families

    code, out, _ = run("families")
    assert code == DONE
    for name in families.names():
        for field in families.family(name).Settings.model_fields:
            assert f"    {field} = " in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("compare", "{photos}", "majorty"), USAGE, "Did you mean majority?"),
        (("compare", "{photos}", "resnet81"), USAGE, "Did you mean resnet"),
        (("compare", "{photos}", "linear:featurs=colour"), USAGE, "Did you mean features?"),
        (("compare", "{photos}", "linear:image_size=big"), USAGE, "image_size = 'big' is not possible"),
        (("compare", "{photos}", "linear:image_size"), USAGE, "is not a setting"),
        (("compare", "{photos}", "resnet18"), ENVIRONMENT, "--online"),
        (("compare", "{photos}", "resnet18:weights=nowhere.safetensors"), USAGE, "There is no weights file"),
        (("compare", "{photos}", "resnet18:weights=w.pkl"), USAGE, "w.pkl"),
        (("compare", "{photos}x", "majority"), USAGE, "photos"),
        (("compare", "{empty}", "majority"), DATA, "empty"),
        (("compare", "{one}", "majority"), DATA, "class"),
        (("compare", "{photos}", "majority", "--split", "70/20"), USAGE, "like 70/15/15"),
        (("compare", "{photos}", "majority", "--folds", "2"), USAGE, "at least 3 folds"),
        (("compare", "{photos}", "majority", "--preset", "fast"), USAGE, "preset"),
        (("compare", "{toml}"), USAGE, "Did you mean seed?"),
        (("compare", "{typed}"), USAGE, "seed = 'many' is not possible"),
        (("compare", "{broken}"), USAGE, "is not valid TOML"),
        (("compare", "{foreign}"), USAGE, "Did you mean image_size?"),
        (("look", "{empty}"), DATA, "empty"),
        (("look", "hf:someone/something"), ENVIRONMENT, "--online"),
        (("compare", "{photos}", "majority", "--store-gb", "0.00001"), ENVIRONMENT, "store_gb = 1e-05 allows"),
        (("compare", "{photos}", "majority", "--store-gb", "-1"), USAGE, "store_gb"),
        (("report", "{photos}"), USAGE, "is no study folder"),
        (("clean", "{photos}"), USAGE, "is no study folder"),
        (("predict", "{photos}", "{photos}"), USAGE, "holds no fitted contestant"),
        (("families", "lineer"), USAGE, "Did you mean linear?"),
    ],
)
def test_wrong_usage_is_three_breaths(  # type: ignore[no-untyped-def]
    run, pictures: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    places = {name: tmp_path / name for name in ("empty", "one")}
    for place in places.values():
        place.mkdir()
    write_folder(places["one"], classes=("cat",), each=3)
    tomls = {
        "toml": f'source = "{pictures}"\nsed = 1\n',
        "typed": f'source = "{pictures}"\nseed = "many"\n',
        "broken": "source = [\n",
        "foreign": f'source = "{pictures}"\n[[contestants]]\nname = "a"\nfamily = "linear"\nsettings = {{ image_siz = 3 }}\n',
    }
    for name, text in tomls.items():
        places[name] = tmp_path / f"{name}.toml"
        places[name].write_text(text)
    given = [word.format(photos=pictures, **places) for word in words]
    if words[0] == "compare":
        given += ["--out", str(tmp_path / "s")]
    got, _, err = run(*given)
    assert (got, told in err) == (code, True), err
    assert len([line for line in err.splitlines() if line.strip()]) == 3, err
    assert not (tmp_path / "s").exists()


def test_unknown_options_are_usage_errors(run, pictures: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("compare", pictures, "--fast")[0] == USAGE


def test_terminal_text_from_files_is_text(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_folder(tmp_path / "photos", classes=("[red]cat[/red]", "dog\u202egod", "eel\x1b[31m"), each=4)
    code, out, err = run("look", tmp_path / "photos")
    assert code == DONE
    assert "[red]cat[/red]" in out
    assert "\\u202e" in out
    assert "\x1b[31m" not in out + err


def test_signals_have_their_exit_codes(pictures: Path, tmp_path: Path) -> None:
    child = """
import sys
from fieldguide import cli, files
import os, signal
real, number = os.replace, int(sys.argv[1])
def replace(*names):
    os.kill(os.getpid(), number)
    return real(*names)
os.replace = replace
cli.main(sys.argv[2:])
"""
    for number, code in ((2, 130), (15, 143)):
        words = [
            sys.executable,
            "-c",
            child,
            str(number),
            "compare",
            str(pictures),
            "majority",
            "--out",
            str(tmp_path / f"s{number}"),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert "The same command goes on" in done.stderr


def test_a_signal_while_an_object_is_taken_apart_is_heard(pictures: Path, tmp_path: Path) -> None:
    child = """
import os, signal, sys
from fieldguide import cli
class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        sum(range(1000))
real = os.replace
def replace(*names):
    last = Last()
    del last
    return real(*names)
os.replace = replace
cli.main(sys.argv[1:])
"""
    words = [sys.executable, "-c", child, "compare", str(pictures), "majority", "--out", str(tmp_path / "s")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr
    assert "The same command goes on" in done.stderr


def test_sweep_over_training_pictures(run, pictures: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    words = ("sweep", "data-fraction", pictures, "linear:image_size=8,strengths=0.1,as=lin", "--out", tmp_path / "s")
    code, out, _ = run(*words, "--fractions", "50", "--dry-run")
    assert code == DONE
    assert "lin@50" in out
    assert not (tmp_path / "s").exists()
    code, out, _ = run(*words, "--fractions", "50")
    assert code == DONE
    assert "lin: 14 pictures" in out or "lin: 15 pictures" in out
    assert "training pictures" in out
    code, out, _ = run("sweep", "data-fraction", pictures, "--out", tmp_path / "s", "--fractions", "25,50")
    assert code == DONE
    assert "Re-used, whole from before: lin, lin@50." in out
    code, _, err = run("sweep", "data-fraction", pictures, "--fractions", "many")
    assert code == USAGE
    assert "Numbers above 0 and up to 100" in err
    code, out, _ = run("compare", pictures, "majority", "--folds", "3", "--seeds", "2", "--out", tmp_path / "f")
    assert code == USAGE
