"""Language models that look in a study: nothing is asked twice, what failed is asked again, and nothing is sent without consent."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fake_chat import Fake, by_colour
from tests.rooms import write_colours

import fieldguide
from fieldguide import runs
from fieldguide.asked import Terms
from fieldguide.cleaning import clean
from fieldguide.consenting import Allowance
from fieldguide.craft.chat import Said
from fieldguide.data.tables import read_manifest, read_predictions, write_predictions
from fieldguide.errors import DONE, PARTLY, USAGE, UsageProblem
from fieldguide.explain.explaining import Wish
from fieldguide.explaining import explain_study
from fieldguide.families import vlm_prompt
from fieldguide.files import read_json
from fieldguide.records import Pixels, Prediction
from fieldguide.study import Study, dry_run, read_asked, redraw
from fieldguide.tasks.asking import Asking

#: Classes of the pictures are blue, green, red; the fake's rule answers by the place of the strongest colour in the list.
WORD = "vlm_prompt/drawn:as=asked"
FAR = "vlm_prompt/served/far:server=https://api.example.org/v1,price_in=1,price_out=2,as=far"


def by_name(asking: Asking, pixels: Pixels) -> Said:
    colour = ("red", "green", "blue")[int(np.asarray(pixels).reshape(-1, 3).mean(axis=0).argmax())]
    return Said(colour, "stop", 100, 3, 60, 0.01)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("asked") / "colours", each=10)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr(vlm_prompt, "check", lambda settings, online: None)
    monkeypatch.setattr(vlm_prompt, "pixels", lambda settings: 16)
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    return Fake(by_name).install(monkeypatch)


def compare(pictures: Path, out: Path, *words: str, **more: Any) -> Study:
    return fieldguide.compare(pictures, words, out=out, **more)


def answers(study: Study, run: str) -> dict[str, Any]:
    return {one.image: one for one in read_predictions(study.folder / "runs" / run / "predictions.parquet")}


def test_a_study_asks_every_picture_once_and_counts_what_that_cost(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path, f"{WORD},price_in=10,price_out=100")
    assert study.exit_code == DONE and study.scores("asked")["parts"]["test"]["metrics"]["accuracy"]["value"] == 1
    count = len(answers(study, "asked"))
    assert len(fake.asked) == len(set(fake.asked)) == count
    cost = study.cost("asked")
    assert (cost["tokens_in"], cost["tokens_out"], cost["tokens_cached"]) == (100 * count, 3 * count, 60 * count)
    assert cost["money"] == pytest.approx(count * (100 * 10 + 3 * 100) / 1e6)
    assert (cost["asked"], cost["unanswered"]) == (count, 0) and cost["answer_wall_seconds"] > 0
    assert study.left_open == ()
    again = compare(pictures, tmp_path, f"{WORD},price_in=10,price_out=100")
    assert again.outcomes == {"asked": "reused"} and len(fake.asked) == count


def test_another_contestant_with_the_same_question_pays_nothing(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    compare(pictures, tmp_path, WORD)
    before = len(fake.asked)
    study = compare(pictures, tmp_path, "vlm_prompt/drawn:reading=normalised,as=again")
    assert len(fake.asked) == before
    assert (study.cost("again")["asked"], study.cost("again")["predicted"]) == (0, before)
    assert study.cost("again")["money"] is None


def test_killed_between_chunks_and_within_one_it_asks_only_what_is_missing(
    pictures: Path, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "CHUNK", 4)
    fake.ahead = 1
    for stop in (2, 4, 1):
        left = stop

        def dying(asking: Asking, pixels: Pixels) -> Said:
            nonlocal left
            left -= 1
            if left < 0:
                fake.asked.pop()
                raise KeyboardInterrupt
            return by_name(asking, pixels)

        fake.rule = dying
        with pytest.raises(KeyboardInterrupt):
            compare(pictures, tmp_path, WORD)
    fake.rule = by_name
    study = compare(pictures, tmp_path, WORD)
    assert len(fake.asked) == len(set(fake.asked)) == len(answers(study, "asked")), "a picture was asked about twice, or never"
    assert study.cost("asked")["asked"] == len(fake.asked)


def test_an_answer_that_names_no_class_is_wrong_and_no_failure_of_the_run(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    fake.rule = lambda asking, pixels: replace(by_name(asking, pixels), text="I see something.")
    study = compare(pictures, tmp_path, WORD)
    part = study.scores("asked")["parts"]["test"]
    assert part["correct"] == 0 and part["failed"] == part["n"] and study.exit_code == DONE
    fake.rule = lambda asking, pixels: replace(by_name(asking, pixels), finish="length")
    assert compare(pictures, tmp_path, WORD, "vlm_prompt/drawn:prompt=json,as=cut").exit_code == PARTLY, (
        "a longer one could be had"
    )


def test_what_failed_is_counted_wrong_told_and_asked_again_alone(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    def moody(asking: Asking, pixels: Pixels) -> Said:
        return Said(error="no whole reply within 2 s") if int(pixels.sum()) % 3 == 0 else by_name(asking, pixels)

    fake.rule = moody
    study = compare(pictures, tmp_path, WORD)
    failed = {key for key, one in answers(study, "asked").items() if one.error}
    assert 0 < len(failed) < len(fake.asked) and study.exit_code == PARTLY
    total = len(answers(study, "asked"))
    (told,) = study.left_open
    assert told.startswith(f"asked: {len(failed)} of {total} failed (no whole reply within 2 s): counted wrong")
    assert study.cost("asked")["unanswered"] == len(failed)
    first = study.scores("asked")["parts"]["test"]["metrics"]["accuracy"]["value"]
    settled = {key: one for key, one in answers(study, "asked").items() if not one.error}
    fake.asked.clear()
    fake.rule = by_name
    study = compare(pictures, tmp_path, WORD)
    assert len(fake.asked) == len(failed) and study.outcomes == {"asked": "done"} and study.exit_code == DONE
    assert study.scores("asked")["parts"]["test"]["metrics"]["accuracy"]["value"] == 1 >= first
    now = answers(study, "asked")
    assert {key: now[key] for key in settled} == settled and len(now) == total
    assert study.cost("asked")["unanswered"] == 0 and study.cost("asked")["tokens_in"] == 100 * total
    assert not (study.folder / "runs" / "asked" / "scratch").exists()
    compare(pictures, tmp_path, WORD)
    assert len(fake.asked) == len(failed)


def test_a_server_that_is_gone_leaves_answers_as_they_are(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    fake.rule = lambda asking, pixels: (
        Said(error="the key is refused", lasting=True) if len(fake.asked) > 5 else by_name(asking, pixels)
    )
    study = compare(pictures, tmp_path, WORD)
    assert [line for line in study.left_open if "were not asked" in line]
    before = answers(study, "asked")
    fake.revision = "another model"
    said: list[str] = []

    class Told(fieldguide.bench.Silent):
        def say(self, text: str) -> None:
            said.append(text)

    study = compare(pictures, tmp_path, WORD, progress=Told())
    assert answers(study, "asked") == before and study.exit_code == PARTLY
    assert any("was not asked again" in text for text in said)


def test_a_limit_asks_so_many_and_the_same_command_goes_on(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    words = (WORD, "vlm_prompt/drawn:prompt=json,as=json")
    fake.ahead = 1
    study = compare(pictures, tmp_path, *words, terms=Terms(limit=4))
    assert len(fake.asked) == 4, "the limit is of the call, not of each contestant"
    assert study.exit_code == PARTLY and len(study.left_open) == 2
    study = compare(pictures, tmp_path, *words, terms=Terms(limit=1))
    assert len(fake.asked) == 5
    study = compare(pictures, tmp_path, *words)
    assert len(fake.asked) == 2 * len(answers(study, "asked")) and study.left_open == ()


def test_folds_ask_again_too(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path, WORD, folds=3, terms=Terms(limit=7))
    assert len(answers(study, "asked")) == 30 and len(fake.asked) == 7
    study = compare(pictures, tmp_path, WORD, folds=3)
    assert len(fake.asked) == 30 and study.left_open == () and study.exit_code == DONE
    assert study.cost("asked")["asked"] == 30


SAMPLED = "vlm_prompt/drawn:temperature=1,as=sampled"


def by_seed(asking: Asking, pixels: Pixels) -> Said:
    """Answer rightly, but for one picture in three, which it is depending on the seed."""
    wrong = (int(pixels.sum()) + (asking.seed or 0)) % 3 == 0
    return replace(by_name(asking, pixels), text="red") if wrong else by_name(asking, pixels)


def seeds_of(fake: Fake) -> list[int | None]:
    return [asking.seed for asking in fake.askings]


def test_sampled_answers_are_asked_for_anew_with_every_seed(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    fake.rule = by_seed
    study = compare(pictures, tmp_path, SAMPLED, seeds=3)
    each = len(answers(study, "sampled"))
    assert len(fake.asked) == 3 * each and set(seeds_of(fake)) == {42, 43, 44}
    lines = study.scores("sampled")["seeds"]
    assert [line["seed"] for line in lines] == [42, 43, 44] and len({line["accuracy"] for line in lines}) > 1
    assert study.cost("sampled")["by_chance"] and study.exit_code == DONE
    assert compare(pictures, tmp_path, SAMPLED, seeds=3).outcomes == {"sampled": "reused"} and len(fake.asked) == 3 * each
    shutil.rmtree(tmp_path / "runs")
    again = compare(pictures, tmp_path, SAMPLED, seeds=3)
    assert len(fake.asked) == 3 * each and again.scores("sampled")["seeds"] == lines, "the seed is in the name of an answer"


def test_examples_are_drawn_anew_with_every_seed(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path, "vlm_prompt/drawn:examples=1,as=shown", seeds=2)
    assert len({asking.examples for asking in fake.askings}) == 2 and set(seeds_of(fake)) == {None}
    assert len(fake.asked) == 2 * len(answers(study, "shown"))


def test_what_no_seed_would_change_is_asked_once_and_said_to_be(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    own = tmp_path / "own.toml"
    own.write_text('question = "Which of {classes}?"\ntemperature = 1\nseed = 7\n', encoding="utf-8")
    said: list[str] = []

    class Told(fieldguide.bench.Silent):
        def say(self, text: str) -> None:
            said.append(text)

    words = (WORD, f"vlm_prompt/drawn:prompt={own},as=own")
    study = compare(pictures, tmp_path / "study", *words, seeds=4, progress=Told())
    assert len(fake.asked) == sum(len(answers(study, name)) for name in ("asked", "own"))
    assert set(seeds_of(fake)) == {None, 7} and not list(study.folder.glob("runs/*/seeds"))
    for name in ("asked", "own"):
        assert any(text.startswith(f"{name} answers the same at any seed") for text in said)
        assert study.cost(name)["by_chance"] is False


def test_a_further_seed_counts_once_all_of_it_was_asked(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    fake.ahead = 1
    study = compare(pictures, tmp_path, SAMPLED, seeds=2, terms=Terms(limit=9 + 4))
    assert len(answers(study, "sampled")) == 9 and len(fake.asked) == 13
    assert study.exit_code == PARTLY and "seeds" not in study.scores("sampled")
    assert "With the seed 43, 5 of 9 pictures have no answer yet: not asked: the limit of" in study.failure("sampled")["given"]
    study = compare(pictures, tmp_path, SAMPLED, seeds=2)
    assert len(fake.asked) == 18 and study.exit_code == DONE and study.scores("sampled")["spread"]["n"] == 2


def test_a_question_that_fails_at_every_seed_is_waited_for_by_none(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    cursed: list[int] = []

    def rule(asking: Asking, pixels: Pixels) -> Said:
        cursed[:] = cursed or [int(pixels.sum())]
        return Said(error="it is too long") if int(pixels.sum()) in cursed else by_seed(asking, pixels)

    fake.rule = rule
    study = compare(pictures, tmp_path, SAMPLED, seeds=2)
    assert study.scores("sampled")["spread"]["n"] == 2 and study.exit_code == PARTLY
    fake.rule = by_seed
    fake.asked.clear()
    study = compare(pictures, tmp_path, SAMPLED, seeds=3)
    assert len(fake.asked) == 9 + 1 and study.exit_code == DONE, "its own seed is asked again, after a further one"


def test_consent_and_estimate_are_of_every_seed(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    far = FAR.replace("as=far", "temperature=1,as=far")
    found = dry_run(*read_asked(str(pictures), tmp_path / "new", contestants=(far, FAR.replace("as=far", "as=sure")), seeds=3))
    assert {one.who: one.pictures for one in found.sendings} == {"far": 27, "sure": 9}
    costs = {one.contestant.name: one.estimate.money for one in found.planned}
    assert costs["far"] == pytest.approx(3 * (costs["sure"] or 0))
    with pytest.raises(UsageProblem, match="18 pictures would be sent"):
        compare(pictures, tmp_path / "study", far, seeds=2)
    compare(pictures, tmp_path / "study", far, seeds=2, terms=Terms(yes=True, limit=12))
    with pytest.raises(UsageProblem, match="6 pictures would be sent"):
        compare(pictures, tmp_path / "study", far, seeds=2)


def test_without_consent_nothing_is_sent_and_nothing_is_written(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    out = tmp_path / "study"
    with pytest.raises(UsageProblem, match=r"9 pictures would be sent to api\.example\.org") as raised:
        compare(pictures, out, "majority", FAR)
    assert raised.value.code == USAGE and "at the prices given" in raised.value.given
    assert not out.exists() and not fake.opened
    study = compare(pictures, out, "majority", FAR, terms=Terms(yes=True))
    assert study.exit_code == DONE and len(fake.asked) == len(answers(study, "far"))
    compare(pictures, out, FAR)  # whole: nothing is to be sent, so nobody is asked


def test_only_what_is_not_kept_needs_consent(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    compare(pictures, tmp_path, FAR, terms=Terms(yes=True, limit=3))
    with pytest.raises(UsageProblem, match="6 pictures would be sent"):
        compare(pictures, tmp_path, FAR)


def test_new_pictures_of_an_extended_study_need_consent_of_their_own(tmp_path: Path, fake: Fake) -> None:
    photos = write_colours(tmp_path / "photos", each=6)
    compare(photos, tmp_path / "study", FAR, terms=Terms(yes=True))
    (photos / "red" / "new.png").write_bytes(
        (write_colours(tmp_path / "more", each=1, seed=5) / "red" / "000.png").read_bytes()
    )
    asked = len(fake.asked)
    with pytest.raises(UsageProblem, match="nobody agreed"):
        compare(photos, tmp_path / "study", FAR, extend=True)
    assert len(fake.asked) == asked


def test_consent_to_one_host_is_none_to_another() -> None:
    allowance = Allowance(Terms(), frozenset({"here.example.org"}))
    assert allowance.agreed("here.example.org") and not allowance.agreed("there.example.org") and not allowance.agreed(None)
    assert Allowance(Terms(yes=True)).agreed("there.example.org")


def test_a_dry_run_tells_tokens_and_money(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    found = dry_run(*read_asked(str(pictures), tmp_path / "study", contestants=("majority", FAR)))
    (sending,) = found.sendings
    assert (sending.host, sending.pictures, sending.who) == ("api.example.org", 9, "far")
    (planned,) = (one for one in found.planned if one.contestant.name == "far")
    assert planned.estimate.money == pytest.approx(sending.money) and not fake.opened


def test_new_pictures_are_answered_with_consent_and_kept(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path / "study", FAR, terms=Terms(yes=True))
    new = write_colours(tmp_path / "new", each=1, seed=9)
    run = study.folder / "runs" / "far"
    with pytest.raises(UsageProblem, match="3 pictures would be sent"):
        fieldguide.predict(run, [new])
    before = len(fake.asked)
    found = fieldguide.predict(run, [new], yes=True)
    assert [one.label for one in found] == ["blue", "green", "red"] and len(fake.asked) == before + 3
    assert fieldguide.predict(run, [new]) == found, "what is kept is not sent again"


def test_an_edited_prompt_is_another_contestant(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    words = tmp_path / "mine.toml"
    words.write_text('question = "One of {classes}?"\n', encoding="utf-8")
    study = compare(pictures, tmp_path / "study", f"vlm_prompt/drawn:prompt={words},as=mine")
    words.write_text('question = "Which of {classes}?"\n', encoding="utf-8")
    with pytest.raises(UsageProblem, match="its prompt was edited since"):
        compare(pictures, study.folder, f"vlm_prompt/drawn:prompt={words},as=mine")


def test_answers_survive_the_loss_of_everything_else(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path, WORD)
    count = len(fake.asked)
    clean(tmp_path)
    (tmp_path / "manifest.parquet").unlink()
    shutil.rmtree(tmp_path / "runs")
    study = compare(pictures, tmp_path, WORD)
    assert len(fake.asked) == count and study.exit_code == DONE
    assert study.cost("asked")["asked"] == count
    base = sqlite3.connect(tmp_path / "answers.sqlite")
    assert base.execute("SELECT count(*) FROM answers").fetchone() == (count,)
    base.close()
    assert read_json(tmp_path / "runs" / "asked" / "model" / "prompt.json")["how"] == "generate"


def test_a_damaged_file_of_answers_stops_by_name_and_is_left_as_it_is(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    study = compare(pictures, tmp_path, WORD)
    path = study.folder / runs.ANSWERS
    path.write_bytes(path.read_bytes()[:5000])
    study = compare(pictures, tmp_path, WORD, "vlm_prompt/drawn:prompt=json,as=json")
    assert study.outcomes == {"asked": "reused", "json": "failed"} and study.exit_code == PARTLY
    assert "damaged" in study.failure("json")["given"] and path.stat().st_size == 5000


def test_open_questions_about_validation_pictures_alone_are_told_by_the_exit_code(
    pictures: Path, tmp_path: Path, fake: Fake
) -> None:
    compare(pictures, tmp_path, WORD)
    path = tmp_path / "runs" / "asked" / "predictions.parquet"
    val = read_manifest(tmp_path / "manifest.parquet").part("val")[0].key
    rows = [Prediction(val, error="server failed: x") if one.image == val else one for one in read_predictions(path)]
    write_predictions(path, rows)
    assert redraw(tmp_path).exit_code == PARTLY
    assert compare(pictures, tmp_path, WORD).exit_code == DONE


def test_the_rule_of_the_fake_depends_on_the_order_of_the_list() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :, 1] = 200
    assert by_colour(Asking((), ("a", "b", "c")), pixels).text == "b"


def test_an_explanation_asks_a_language_model_nothing(pictures: Path, tmp_path: Path, fake: Fake) -> None:
    """It gives no probabilities, so nothing could be explained; asking may cost money, and send pictures elsewhere."""
    fake.where = "api.example.org"
    compare(pictures, tmp_path, FAR, terms=Terms(yes=True), split="test-only")
    count, opened = len(fake.asked), len(fake.opened)
    done = explain_study(tmp_path, Wish(), pictures=1)
    assert done.left_out == (("far", "not applicable: it gives no probabilities"),) and not done.failed
    assert (len(fake.asked), len(fake.opened)) == (count, opened)
