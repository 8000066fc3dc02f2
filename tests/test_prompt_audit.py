"""``fieldguide audit STUDY/runs/NAME``: what is asked of whom, that nothing is asked twice, and that it ends in the same numbers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fake_chat import Fake
from tests.rooms import write_colours
from tests.torture.shell import Shell, in_process

import fieldguide
from fieldguide import prompt_audit_plan as planning
from fieldguide.asked import PromptAudit, Terms
from fieldguide.bench import Silent
from fieldguide.craft.chat import Said, behind_server
from fieldguide.data.tables import read_manifest
from fieldguide.errors import DONE, PARTLY, USAGE, UsageProblem
from fieldguide.families import vlm_prompt
from fieldguide.files import read_json, write_json
from fieldguide.prompt_audit import Audited, audit
from fieldguide.prompt_audit_cost import expected
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.varying import CHECKS, Variation
from fieldguide.tasks.weighed import Weighed, dumps

COLOURS = ("red", "green", "blue")
PROMPT = """
question = 'Which of {classes} is it? For example if you identify a {example}, respond only with "{example}".'
example = "green"
"""
WISH = PromptAudit(pictures=12, labels=2)


def colour(pixels: Pixels) -> str:
    return COLOURS[int(np.asarray(pixels).reshape(-1, 3).mean(axis=0).argmax())]


def clear(asking: Asking, pixels: Pixels) -> Said:
    """Say what is there, whatever is asked; a grey picture is no colour."""
    said = "nothing" if np.ptp(pixels) == 0 else colour(pixels)
    return Said(said, "stop", 100, 3, 60, 0.01)


def pulled(asking: Asking, pixels: Pixels) -> Said:
    """Say the word of the example, where there is one, for two pictures of five."""
    example = str(asking.made["example"])
    drawn = int(hashlib.sha256(pixels.tobytes()).hexdigest(), 16) % 5 < 2
    return Said(example, "stop") if drawn and f'respond only with "{example}"' in asking.text() else clear(asking, pixels)


def weighing(asking: Asking, pixels: Pixels) -> Said:
    sums = tuple(-0.1 if name == colour(pixels) else -3.0 for name in asking.answers)
    return Said(dumps(Weighed(sums)), "stop", 100, None, None, 0.01, "likelihood")


class Told(Silent):
    """A `Progress` that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def quiet(patch: pytest.MonkeyPatch) -> list[Path]:
    """Score and draw nothing; return the studies that would have been drawn."""
    drawn: list[Path] = []
    patch.setattr("fieldguide.study._score", lambda *_: None)
    patch.setattr("fieldguide.study._draw", lambda folder, *_: drawn.append(folder) or fieldguide.study.Drawn())
    return drawn


def installed(patch: pytest.MonkeyPatch) -> Fake:
    patch.setattr(vlm_prompt, "check", lambda settings, online: None)
    patch.setattr(vlm_prompt, "pixels", lambda settings: 16)
    return Fake(clear).install(patch)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study: a contestant asked freely, one that weighs, one elsewhere, and one that is asked nothing."""
    root = tmp_path_factory.mktemp("audited")
    (root / "mine.toml").write_text(PROMPT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        fake = installed(patch)
        quiet(patch)
        fake.rule = lambda asking, pixels: weighing(asking, pixels) if asking.how == "likelihood" else clear(asking, pixels)
        mine = f"prompt={root / 'mine.toml'}"
        words = (
            f"vlm_prompt/drawn:{mine},as=free",
            f"vlm_prompt/drawn:{mine},ask=likelihood,as=weighed",
            f"vlm_prompt/served/far:server=https://api.example.org/v1,{mine},price_in=1,price_out=2,as=far",
            "majority",
        )
        fieldguide.compare(write_colours(root / "colours", each=12), words, out=root / "study", terms=Terms(yes=True))
    return root


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    quiet(monkeypatch)
    return installed(monkeypatch)


@pytest.fixture
def study(studied: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(studied / "study", tmp_path / "study"))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return in_process(capsys, monkeypatch)


def entry(found: Any, check: str) -> dict[str, Any]:
    one: dict[str, Any] = next(one for one in found["checks"] if one["id"] == check)
    return one


def states(found: Any) -> dict[str, str]:
    return {one["id"]: one["state"] for one in found["checks"]}


def test_it_asks_each_question_once_and_says_what_that_cost(study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    told, drawn = Told(), quiet(monkeypatch)
    done = audit(study / "runs" / "free", WISH, progress=told)
    assert drawn == [study], "the report has a section for it"
    found = read_json(study / "runs" / "free" / "audit.json")
    assert done.exit_code == DONE and done.found == found and list(states(found)) == list(CHECKS)
    assert (found["run"], found["how"], found["part"], found["pictures"]) == ("free", "generate", "training and validation", 12)
    assert found["base"]["right"] == found["base"]["n"] == 12 and states(found)["example"] == "ok"
    grey = sum(np.ptp(np.frombuffer(one, np.uint8)) == 0 for one in fake.asked)
    assert grey == 1, "a grey picture is one picture"
    cost = found["cost"]
    assert (cost["asked"], cost["open"]) == (len(fake.asked), 0) and cost["kept"] == cost["questions"] - cost["asked"] > 0
    assert cost["tokens_in"] == 100 * cost["questions"] and cost["seconds"] == pytest.approx(0.01 * cost["questions"])
    assert any(
        f"{cost['asked']:,} to be put" in line and "tokens in" in line and "by earlier answers" in line for line in told.said
    )
    assert any("because 12 are put one by one" in line for line in told.said)
    again = Told()
    asked, opened = len(fake.asked), len(fake.opened)
    assert audit(study / "runs" / "free", WISH, progress=again).found == found
    assert (len(fake.asked), len(fake.opened)) == (asked, opened) and "Nothing is asked: all answers are there." in again.said


def test_the_time_of_questions_that_are_put_one_by_one_is_bounded_until_it_is_measured(study: Path, fake: Fake) -> None:
    run, wish = study / "runs" / "free", PromptAudit(pictures=12, check=("batch",))
    subject = planning.subject_of(run)
    before = expected(planning.plan_of(subject, wish, planning.bench_of(subject)))
    assert before.seconds is not None and before.alone == 12 and before.questions > 0
    settings: Any = subject.entry.settings
    together = settings.at_once if behind_server(settings.model) else settings.batch_size
    share = before.seconds / before.questions
    assert before.longest == pytest.approx(share * (before.questions - 12 + 12 * together))
    audit(run, wish, Terms(limit=before.questions - 4))
    subject = planning.subject_of(run)
    after = expected(planning.plan_of(subject, wish, planning.bench_of(subject)))
    assert after.questions > 0 and after.longest == after.seconds, "answers of their own kind are there"


def test_an_example_that_pulls_is_found_and_one_that_does_not_is_cleared(study: Path, fake: Fake) -> None:
    wish = PromptAudit(pictures=27, labels=3, check=("example",))
    found = audit(study / "runs" / "free", wish).found
    assert not entry(found, "example")["alarm"] and "moves the answers distinguishably" in found["verdict"]
    fake.rule = pulled
    runs = study / "runs" / "free"
    (study / "answers.sqlite").unlink()
    found = audit(runs, wish).found
    told = entry(found, "example")
    assert told["alarm"] and told["found"] == "yes" and "example" in found["verdict"]
    assert told["pull"]["overall"]["value"] > 0.25 and told["pull"]["overall"]["low"] > 0.1
    (without,) = (one for one in told["variants"] if one["id"] == "no-example")
    assert without["accuracy"]["value"] == 1 and without["difference"]["low"] > 0


def test_pictures_are_those_that_nobody_is_judged_by(study: Path, fake: Fake) -> None:
    manifest = read_manifest(study / "manifest.parquet")
    subject = planning.subject_of(study / "runs" / "free")
    splits = {row.key: row.split for row in manifest.part()}
    part, of, rows = planning.pictures_of(subject, 12, seed=3)
    assert part == planning.BEFORE_TEST and of == sum(split != "test" for split in splits.values())
    assert {splits[row.key] for row in rows} == {"train", "val"}
    assert Counter(row.label for row in rows) == {"red": 4, "green": 4, "blue": 4}
    _, _, fewer = planning.pictures_of(subject, 5, seed=3)
    assert {row.key for row in fewer} < {row.key for row in rows}, "more begin with the same"
    assert set(Counter(row.label for row in fewer).values()) <= {1, 2}
    assert {row.key for row in planning.pictures_of(subject, 12, seed=4)[2]} != {row.key for row in rows}


def test_shown_pictures_are_not_asked_about_and_a_study_without_training_says_so(
    studied: Path, tmp_path: Path, fake: Fake
) -> None:
    words = f"vlm_prompt/drawn:prompt={studied / 'mine.toml'},examples=2,as=shots"
    fieldguide.compare(studied / "colours", [words], out=tmp_path / "shots")
    subject = planning.subject_of(tmp_path / "shots" / "runs" / "shots")
    _, of, rows = planning.pictures_of(subject, 1000, seed=0)
    shown = set(subject.fitted.asking.examples)
    assert len(shown) == 6 and of == len(rows) and not shown & {row.key for row in rows}
    done = audit(subject.run, PromptAudit(pictures=6, check=("order",)))
    assert states(done.found)["order"] == "ok"
    fieldguide.compare(
        studied / "colours",
        [f"vlm_prompt/drawn:prompt={studied / 'mine.toml'},as=free"],
        out=tmp_path / "only",
        split="test-only",
    )
    told = Told()
    found = audit(tmp_path / "only" / "runs" / "free", PromptAudit(pictures=6, check=("repeat",)), progress=told).found
    assert found["part"] == "test" and "has looked at them" in told.said[0]


def test_a_limit_is_of_all_questions_and_the_same_call_comes_to_the_same_end(study: Path, tmp_path: Path, fake: Fake) -> None:
    whole = Path(shutil.copytree(study, tmp_path / "whole"))
    expected = audit(whole / "runs" / "free", WISH).found
    fake.asked.clear()
    for limit in (0, 20, 31):
        before = len(fake.asked)
        done = audit(study / "runs" / "free", WISH, Terms(limit=limit))
        assert len(fake.asked) == before + limit and done.exit_code == PARTLY
        assert done.open == done.found["cost"]["open"] == expected["cost"]["asked"] - len(fake.asked)
        assert f"the limit of {limit} new" in done.why
    assert states(done.found)["order"] == "not asked" and states(done.found)["picture"] == "ok"
    assert "the same command goes on" in entry(done.found, "order")["sentence"] and entry(done.found, "order")["found"] is None
    done = audit(study / "runs" / "free", WISH)
    files = [folder / "runs" / "free" / "audit.json" for folder in (study, whole)]
    assert done.exit_code == DONE and files[0].read_bytes() == files[1].read_bytes()


def test_a_server_that_is_gone_is_not_asked_again_in_the_next_words(study: Path, fake: Fake) -> None:
    fake.rule = lambda asking, pixels: (
        Said(error="the key is refused", lasting=True) if len(fake.asked) > 30 else clear(asking, pixels)
    )
    fake.ahead = 1
    done = audit(study / "runs" / "free", WISH)
    assert done.exit_code == PARTLY and len(fake.asked) == 31 and "the key is refused" in done.why
    assert "not asked" in states(done.found).values()
    fake.rule = clear
    assert audit(study / "runs" / "free", WISH).exit_code == DONE


def test_without_answers_to_its_own_words_nothing_is_judged(study: Path, fake: Fake) -> None:
    fake.rule = lambda asking, pixels: Said(error="no whole reply within 2 s")
    done = audit(study / "runs" / "free", WISH)
    assert set(states(done.found).values()) <= {"not asked", "not applicable"}
    assert "nothing can be said" in done.verdict and done.exit_code == PARTLY


def test_a_picture_that_cannot_be_read_is_left_out_and_is_no_open_question(
    study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide.data.store import Store
    from fieldguide.errors import PictureError

    subject = planning.subject_of(study / "runs" / "free")
    rows = planning.pictures_of(subject, 12, subject.manifest.seed)[2]
    lost = next(row.key for row in rows if row.split == "train")
    read = Store.read

    def reading(self: Store, key: str, at_least: int) -> Pixels:
        if key == lost:
            raise PictureError("truncated", "lost")
        return read(self, key, at_least)

    monkeypatch.setattr(Store, "read", reading)
    done = audit(study / "runs" / "free", WISH)
    assert done.exit_code == DONE and (done.found["unread"], done.found["base"]["n"]) == (1, 11)


def test_a_shorter_list_is_asked_about_pictures_of_its_own_classes_alone(
    study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Variation(
        "length", "half", "half", planning.subject_of(study / "runs" / "free").fitted.prompt, only=("green", "red")
    )
    monkeypatch.setattr(planning, "variations", lambda *_: (half,))
    found = audit(study / "runs" / "free", PromptAudit(pictures=12, check=("length",))).found
    assert entry(found, "length")["variants"][0]["n"] == 8
    assert {len(asking.answers) for asking in fake.askings} == {2, 3} and len(fake.asked) == 8 + 12 - len(
        [row for row in planning.pictures_of(planning.subject_of(study / "runs" / "free"), 12, 42)[2] if row.split == "val"]
    )


def test_it_works_for_probabilities(study: Path, fake: Fake) -> None:
    fake.rule = weighing
    found = audit(study / "runs" / "weighed", PromptAudit(pictures=12, check=("example", "order", "batch"))).found
    assert found["how"] == "likelihood" and found["base"]["right"] == 12
    assert {check: states(found)[check] for check in ("example", "order", "batch", "repeat")} == {
        "example": "ok",
        "order": "ok",
        "batch": "ok",
        "repeat": "not asked",
    }


def test_another_machine_is_asked_with_consent_alone(study: Path, fake: Fake) -> None:
    with pytest.raises(UsageProblem, match=r"pictures would be sent to api\.example\.org") as raised:
        audit(study / "runs" / "far", WISH)
    assert raised.value.code == USAGE and "at the prices given" in raised.value.given and not fake.opened
    assert not (study / "runs" / "far" / "audit.json").exists()
    done = audit(study / "runs" / "far", WISH, Terms(yes=True))
    assert done.exit_code == DONE and done.found["cost"]["money"] > 0
    audit(study / "runs" / "far", WISH)  # all answers are there, so nobody is asked


def test_what_was_left_out_is_told_where_it_costs_nothing(study: Path, fake: Fake) -> None:
    audit(study / "runs" / "free", PromptAudit(pictures=12, labels=2, check=("order",)))
    asked = len(fake.asked)
    found = audit(study / "runs" / "free", PromptAudit(pictures=12, labels=2, check=("repeat",))).found
    assert states(found)["order"] == states(found)["repeat"] == "ok" and states(found)["paraphrase"] == "not asked"
    assert len(fake.asked) == asked + 12


def test_an_audit_of_another_prompt_is_noticed_and_made_anew(study: Path, fake: Fake) -> None:
    run, wish = study / "runs" / "free", PromptAudit(pictures=6, check=("repeat",))
    audit(run, wish)
    assert not planning.stale(run)
    found = read_json(run / "audit.json")
    write_json(run / "audit.json", {**found, "asking": "0" * 64})
    assert planning.stale(run)
    told = Told()
    audit(run, wish, progress=told)
    assert any("is of another prompt" in line for line in told.said) and not planning.stale(run)
    assert read_json(run / "audit.json") == found


def test_answers_of_an_audit_are_not_counted_as_the_contestants_own(study: Path, studied: Path, fake: Fake) -> None:
    before = read_json(study / "runs" / "free" / "cost.json")
    audit(study / "runs" / "free", WISH)
    (study / "runs" / "free" / "cost.json").unlink()
    fieldguide.compare(studied / "colours", out=study, terms=Terms(yes=True))
    after = read_json(study / "runs" / "free" / "cost.json")
    assert {name: after[name] for name in ("asked", "tokens_in")} == {name: before[name] for name in ("asked", "tokens_in")}


def test_the_command_tells_and_prints(study: Path, fake: Fake, shell: Shell) -> None:
    run = study / "runs" / "free"
    said = shell("audit", run, "--pictures", 6, "--check", "order,repeat", "--check", "batch", "--seed", 0)
    found = read_json(run / "audit.json")
    assert said.code == DONE and found["seed"] == 0 and found["verdict"] in said.text
    assert "free as it is: accuracy 100.0" in said.text and "to be put" in said.err and "one picture at a time" in said.text
    said = shell("audit", run, "--pictures", 6, "--check", "order", "--seed", 0, "--json")
    assert json.loads(said.out) == read_json(run / "audit.json") and said.code == DONE
    said = shell("audit", run, "--limit", 0)
    assert said.code == PARTLY and "the same command asks for them" in said.text
    assert fieldguide.audit(run, ["order"], pictures=6, seed=0)["verdict"] == found["verdict"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (lambda study: (study,), "is a study; an audit is of one contestant. Asked in words. Allowed: far, free, weighed."),
        (lambda study: (study / "runs",), "is a study"),
        (lambda study: (study / "runs" / "fre",), "Did you mean free? Allowed: free"),
        (lambda study: (study / "runs" / "majority",), "is of the family majority, which is asked nothing in words."),
        (lambda study: (study / "store",), "There is no contestant 'store'"),
        (lambda study: (study / "runs" / "free", "--check", "oder"), "Did you mean order?"),
        (lambda study: (study / "runs" / "free", "--example", "red"), "--example is said of a table of answers"),
        (lambda study: (study / "runs" / "free", "--list", "red,blue"), "--check order"),
        (lambda study: (study / "study.toml", "--limit", 0), "--limit is said of a contestant"),
        (lambda study: (study / "runs" / "free", "--pictures", 0), "pictures = 0 is not possible"),
        (lambda study: (study.parent / "nowhere" / "runs" / "x",), "is no contestant of a study"),
    ],
)
def test_what_cannot_be_audited_is_said(
    words: Callable[[Path], tuple[object, ...]], said: str, studied: Path, shell: Shell
) -> None:
    told = shell("audit", *words(studied / "study"))
    assert told.code == USAGE and said in told.text
    assert len(told.err.strip().splitlines()) == 3 and not (studied / "study" / "runs" / "free" / "audit.json").exists()


def test_it_has_an_exit_code_and_a_sentence() -> None:
    assert Audited(Path(), {"verdict": "v"}).exit_code == DONE and Audited(Path(), {"verdict": "v"}, 1).exit_code == PARTLY
