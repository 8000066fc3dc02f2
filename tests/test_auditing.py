"""``fieldguide audit ANSWERS``: answers from anywhere, what they lean on, and what is said where a table is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report

from fieldguide import cli, terminal
from fieldguide.auditing import audit
from fieldguide.errors import DATA, DONE, USAGE, DataProblem, UsageProblem

LABELS = [str(digit) for digit in range(10)]


def written(path: Path, pull: str | None, header: str = "image,actual,predicted", seed: int = 0) -> Path:
    """Write 400 answers, a third of them wrong: evenly, or two thirds of these `pull`."""
    random = np.random.default_rng(seed)
    lines = [header]
    for at in range(400):
        truth = LABELS[at % 10]
        given = truth
        if random.random() < 1 / 3:
            given = str(random.choice([label for label in LABELS if label != truth]))
            given = pull if pull not in (None, truth) and random.random() < 2 / 3 else given  # type: ignore[assignment]
        lines.append(f"{at}.png, {truth} ,{given}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=80))
        monkeypatch.setattr(terminal, "err", terminal.Console(stderr=True, highlight=False, width=80))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["audit", *map(str, words)])
        told = capsys.readouterr()
        return int(stopped.value.code or 0), told.out, told.err

    return call


def test_a_planted_pull_is_found_and_an_even_spread_cleared(tmp_path: Path) -> None:
    pulled = audit(written(tmp_path / "pulled.csv", "3"), "3", ",".join(LABELS))
    assert [one["label"] for one in pulled["pulls"] if one["outcome"] == "more"] == ["3"]
    assert "the answers lean towards it" in pulled["verdict"]
    assert "proves no cause: only asking again with another example can tell" in pulled["verdict"]
    even = audit(written(tmp_path / "even.csv", None), "3", ",".join(LABELS))
    assert not [one for one in even["pulls"] if one["outcome"] == "more"]
    assert even["verdict"].endswith("this is not distinguishable from an even spread.")
    assert pulled["order"]["outcome"] == even["order"]["outcome"] == "not distinguishable"
    assert even["places"][4]["share_of_truth"] == 0.1
    assert sum(place["share_of_answers"] for place in even["places"]) == pytest.approx(1)


def test_the_table_is_that_of_scikit_learn(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "3")
    rows = [[cell.strip() for cell in line.split(",")] for line in path.read_text().splitlines()[1:]]
    theirs = classification_report([row[1] for row in rows], [row[2] for row in rows], output_dict=True)
    ours = audit(path)
    assert ours["accuracy"]["value"] == pytest.approx(theirs["accuracy"])
    for name, their in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert [one[name]["value"] for one in ours["per_class"]] == pytest.approx([theirs[label][their] for label in LABELS])
        for mean in ("macro", "weighted"):
            assert ours[f"{mean}_{name}"]["value"] == pytest.approx(theirs[f"{mean} avg"][their])


@pytest.mark.parametrize("header", ["# image , actual, Predicted ", "\ufefffile,truth,answer", "path,label,raw"])
def test_headers_of_others_are_read(tmp_path: Path, header: str) -> None:
    plain = audit(written(tmp_path / "a.csv", "3"), "3")
    other = audit(written(tmp_path / "b.csv", "3", header), "3")
    assert {**other, "file": ""} == {**plain, "file": ""}


def test_the_first_column_may_be_one_that_counts_and_a_picture_given_twice_is_seen_behind_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"#actual": 1, " Predicted": 2}\n{"#actual": 2, " Predicted": null}\n')
    assert (audit(path)["n"], audit(path)["no_label"]) == (2, {"no answer": 1})
    path = tmp_path / "a.csv"
    path.write_text("# image, actual, predicted\na,cat,dog\na,cat,cat\nb,dog,dog\n")
    with pytest.raises(DataProblem, match="answers twice, and differently, for a"):
        audit(path)


def test_answers_off_the_list_are_wrong_and_lean_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,actual,predicted\na,cat,CAT\nb,cat,a cat\nc,dog,\nd,eel,dog\nd,eel,dog\n")
    found = audit(path, "Dog")
    assert (found["n"], found["right"], found["wrong"], found["example"]) == (4, 1, 3, "dog")
    assert found["no_label"] == {"answer off the list": 1, "no answer": 1}
    assert (found["pulls"][1]["wrong"], found["pulls"][1]["could"]) == (1, 1)
    assert found["verdict"].startswith("Too few wrong answers to tell whether they lean towards the example 'dog' (1 of 1)")
    path.write_text("image,actual,predicted\na,cat,cat\nb,dog,dog\n")
    assert "All 2 answers are right" in audit(path)["verdict"]
    path.write_text("image,actual,predicted\na,cat,dog\nb,dog,cat\n")
    assert "nowhere else to go" in audit(path, "cat")["verdict"]
    path.write_text("image,actual,predicted\na,cat,dog\nb,dog,cat\n")
    assert "too few" in audit(path)["verdict"]


@pytest.mark.parametrize(
    ("text", "given", "kind", "says"),
    [
        ("", {}, DataProblem, "has no rows"),
        ("image,actual,predicted\n", {}, DataProblem, "has no rows"),
        ("image,actual,said\na,b,c\n", {}, UsageProblem, "no column that holds the answer"),
        ("image,predicted\na,b\n", {}, UsageProblem, "no column that holds the truth"),
        ("image,label\na,b\n", {}, UsageProblem, "no column that holds the truth"),
        ("image,actual,predicted\na,,b\n", {}, DataProblem, "has no truth"),
        ("image,actual,predicted\na,b,c\na,b,b\n", {}, DataProblem, "answers twice"),
        ("image,actual,predicted\na,b,c\n", {}, DataProblem, "of b alone"),
        ("image,actual,predicted\na,cat,dog\nb,dog,dog\n", {"example": "cta"}, UsageProblem, "Did you mean cat?"),
        ("image,actual,predicted\na,cat,dog\nb,dog,dog\n", {"listed": "cart,dog"}, UsageProblem, "Did you mean cart?"),
        ("image,actual,predicted\na,cat,dog\nb,dog,dog\n", {"listed": "dog,dog"}, UsageProblem, "or one twice"),
    ],
)
def test_slips_are_told_in_three_breaths(
    tmp_path: Path, text: str, given: dict[str, str], kind: type[Exception], says: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(kind, match=says.replace("?", r"\?")):
        audit(tmp_path / "a.csv", **given)


def test_the_command(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    path = written(tmp_path / "a.csv", "3")
    code, out, _ = run(path, "--example", "3", "--list", ",".join(LABELS))
    found = audit(path, "3", ",".join(LABELS))
    assert code == DONE
    assert f"Accuracy {found['accuracy']['value']:.3f}" in out and "3 (example)" in out and "more" in out
    assert found["verdict"] in out and "weighted mean" in out and "Place in the list" in out and "…" not in out
    code, out, _ = run(path, "--example", "3", "--list", ",".join(LABELS), "--json")
    assert code == DONE and json.loads(out) == json.loads(json.dumps(found))
    assert "0.0" in run(path)[1]
    for words, ends, says in (
        ([path, "--example", "30"], USAGE, "Did you mean 3?"),
        ([tmp_path], USAGE, "is a folder"),
        ([tmp_path / "b.csv"], USAGE, "There is no file"),
    ):
        code, _, err = run(*words)
        assert code == ends and says in err and "Traceback" not in err
    (tmp_path / "b.csv").write_text("image,actual,predicted\n")
    assert run(tmp_path / "b.csv")[0] == DATA


@pytest.mark.realdata
def test_the_answers_of_the_reference_experiment_lean_on_their_example(data_root: Path) -> None:
    path = data_root / "mnist500" / "llava_answers.csv"
    if not path.exists():
        pytest.skip("there are no recorded answers here")
    found = audit(path, "3", ",".join(LABELS))
    assert found["accuracy"]["value"] == pytest.approx(0.792) and (found["n"], found["wrong"]) == (500, 104)
    example = found["pulls"][3]
    assert (example["wrong"], example["could"], example["outcome"]) == (65, 104, "more")
    assert found["verdict"].startswith("The example '3' takes 65 of the 104 wrong answers")
