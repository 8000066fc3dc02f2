"""A language model that looks as a contestant that gives probabilities: what is chosen, what is kept, and how it is asked again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.craft.chat.test_orders import seen
from tests.fake_chat import Fake
from tests.families.test_vlm_prompt import TASK, images, pictures
from tests.rooms import write_colours

import fieldguide
from fieldguide.asked import Terms
from fieldguide.bench import Bench, read_log
from fieldguide.craft.chat import Said, worded
from fieldguide.craft.chat.kept import Answers
from fieldguide.craft.chat.orders import Unanswered, grey
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE, EnvironmentProblem, UsageProblem
from fieldguide.explain.explaining import Explainer, Wish
from fieldguide.families import Sizes, vlm_prompt
from fieldguide.families.vlm_prompt import Prompted, Settings
from fieldguide.files import read_json
from fieldguide.records import Example, Pixels
from fieldguide.settings import build
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.prompting import Words
from fieldguide.tasks.varying import Variation
from fieldguide.tasks.weighed import Weighed, dumps

VAL = pictures(salt="val")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(seen).install(monkeypatch)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "scratch").mkdir()
    return Bench(tmp_path / "scratch", 3, answers=tmp_path / "answers.sqlite", contestant="one")


def fitted(bench: Bench, train: Sequence[Example] = (), val: Sequence[Example] = VAL, **settings: Any) -> Prompted:
    return vlm_prompt.fit(train, val, TASK, Settings(**{"ask": "likelihood", **settings}), bench)


def facts(bench: Bench) -> dict[str, Any]:
    return {k: v for event in read_log(bench.scratch / "log.jsonl") if event["event"] == "fact" for k, v in event.items()}


def test_validation_pictures_choose_and_every_class_has_a_probability(fake: Fake, bench: Bench) -> None:
    model = fitted(bench)
    assert len(fake.asked) == 10, "nine validation pictures, and a grey one"
    found = list(model.predict([*images(), *(one.image for one in VAL)]))
    assert len(fake.asked) == 19, "what was asked about to choose is kept"
    assert [one.label for one in found[:9]] == [one.label for one in pictures()]
    for one in found:
        assert one.probabilities is not None and sum(one.probabilities) == pytest.approx(1)
        assert one.raw is None and one.label == TASK.ids[int(np.argmax(one.probabilities))]
    told = facts(bench)["weighing"]
    assert (told["by"], told["orders"], told["pictures"], told["left_out"]) == ("validation", 1, 9, 0)
    assert {one["form"] for one in told["forms"]} == {"sum", "token", "byte", "pmi"}
    assert told["temperature"] == pytest.approx(model.weighing.temperature)  # type: ignore[union-attr]
    # All nine are right, so that the least temperature is that of one picture more, whose class is anybody's guess.
    assert 0.6 < max(found[0].probabilities or ()) < 0.97


def test_shuffled_labels_make_it_unsure(fake: Fake, bench: Bench) -> None:
    wrong = [
        Example(one.image, label)
        for one, label in zip(VAL, ["c1", "c2", "c0", "c0", "c1", "c2", "c2", "c0", "c1"], strict=True)
    ]
    sure, unsure = (
        next(fitted(dataclasses.replace(bench), val=val).predict(images(count=1))).probabilities for val in (VAL, wrong)
    )
    assert max(sure or ()) > max(unsure or ()) + 0.2


def test_without_validation_pictures_nothing_is_asked_and_nothing_chosen(fake: Fake, bench: Bench) -> None:
    model = fitted(bench, val=(), unknown=0.1)
    assert not fake.asked and model.weighing is not None
    assert (model.weighing.form, model.weighing.temperature, model.weighing.threshold) == ("sum", 1.0, None)
    assert facts(bench)["weighing"]["by"] == "no validation pictures"
    assert len(list(model.predict(images()))) == len(fake.asked) == 9
    fitted(bench, val=(), score="pmi")
    assert len(fake.asked) == 10, "what is asked for needs the grey picture all the same"


def test_the_same_words_are_one_question_however_the_answer_is_had(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    prompts = []
    for number, ask in enumerate(("generate", "choice", "likelihood")):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        vlm_prompt.fit((), (), TASK, Settings(ask=ask), Bench(scratch))
        prompts.append(facts(Bench(scratch))["prompt"])
    assert len({one["question"] for one in prompts}) == 1 and len({one["hash"] for one in prompts}) == 3
    assert [one["reading"] for one in prompts] == ["strict", "strict", None]
    scratch = tmp_path / "other"
    scratch.mkdir()
    vlm_prompt.fit((), (), TASK, Settings(ask="likelihood", prompt="json"), Bench(scratch))
    assert facts(Bench(scratch))["prompt"]["question"] != prompts[0]["question"]


@pytest.mark.parametrize("settings", [{}, {"orders": 4, "unknown": 0.2}, {"score": "pmi", "orders": 2}, {"score": "byte"}])
def test_saved_and_loaded_it_gives_the_same_numbers(fake: Fake, bench: Bench, tmp_path: Path, settings: dict[str, Any]) -> None:
    model = fitted(bench, **settings)
    before = list(model.predict(images()))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    opened, asked = len(fake.opened), len(fake.asked)
    again = vlm_prompt.load(tmp_path / "model")
    assert len(fake.opened) == opened, "loading opened the model"
    assert again.weighing == model.weighing and again.askings == model.askings
    assert list(again.predict(images())) == before
    assert len(fake.asked) == asked + 9 * len(model.askings), "the grey picture is not asked about again"
    assert read_json(tmp_path / "model" / "weighing.json")["form"] == again.weighing.form  # type: ignore[union-attr]
    assert list(again.at(bench).predict(images())) == before and len(fake.asked) == asked + 9 * len(model.askings)


def test_a_picture_lacks_an_answer_until_every_order_has_one(fake: Fake, bench: Bench) -> None:
    model = fitted(bench, orders=3)
    keys = [one.key for one in images()]
    assert model.lacking(keys) == 9 and len(model.askings) == 3
    for questions in worded.orders_of(model).questions[:2]:
        list(questions.put(images(count=4)))
    assert model.lacking(keys) == 9
    list(model.predict(images(count=2)))
    assert model.lacking(keys) == 7
    assert facts(bench)["prompt"]["hashes"] == [asking.hash for asking in model.askings]


def test_a_limit_stops_the_fit_and_the_same_call_goes_on(fake: Fake, bench: Bench) -> None:
    fake.ahead = 1
    with pytest.raises(Unanswered, match="the limit of 4 new questions was reached") as raised:
        fitted(dataclasses.replace(bench, limit=4))
    assert isinstance(raised.value, EnvironmentProblem) and raised.value.sitting.asked == 4 == len(fake.asked)
    with pytest.raises(Unanswered, match="The grey picture"):
        fitted(dataclasses.replace(bench, limit=5))
    model = fitted(dataclasses.replace(bench, limit=5))
    assert len(fake.asked) == 10 and model.sitting.asked == 1, "nothing was asked twice"
    assert [one.error is None for one in model.predict(images())] == [True] * 4 + [False] * 5


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"score": "pmi"}, "score belongs to probabilities"),
        ({"orders": 2, "ask": "choice"}, "orders belongs to probabilities"),
        ({"unknown": 0.1}, "unknown belongs to probabilities"),
        ({"ask": "decision", "score": "token"}, "a letter stands for each name"),
        ({"ask": "likelihood", "score": "best"}, "score"),
        ({"ask": "likelihood", "orders": 0}, "orders"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageProblem, match=why):
        build(Settings, given, "The contestant")


def test_each_order_is_a_question_that_is_paid_for() -> None:
    sizes, far = (
        Sizes(100, 20, 30),
        {"model": "served/x", "server": "https://api.example.org/v1", "price_in": 1.0, "price_out": 5.0},
    )

    def sent(**more: Any) -> Any:
        return vlm_prompt.sends(Settings(**{**far, **more}), TASK, sizes)

    one, three = sent(ask="likelihood"), sent(ask="likelihood", orders=3)
    assert (one.pictures, three.pictures) == (50, 50) and three.tokens_in == 3 * one.tokens_in
    assert three.money == pytest.approx(3 * one.money)
    money = vlm_prompt.estimate(Settings(**far, ask="likelihood", orders=3), TASK, sizes).money
    before = vlm_prompt.first(Settings(**far))
    assert before is not None and money == pytest.approx(three.money + before.money)
    here = vlm_prompt.estimate(Settings(ask="likelihood", price_in=0.0, price_out=5.0), TASK, sizes)
    assert here.money == 0.0, "a model of this process writes no token"


# --- asked again in other words ---------------------------------------------------------------------------------------------------


def vary(model: Prompted, bench: Bench, **more: Any) -> Prompted:
    change = {"check": "example", "id": "a", "name": "a change", "prompt": model.prompt, **more}
    return model.varied(Variation(**change), bench)


@pytest.mark.parametrize("ask", ["generate", "choice", "likelihood"])
def test_the_same_words_again_are_the_same_question(fake: Fake, bench: Bench, ask: str) -> None:
    model = fitted(bench, ask=ask, examples=1, train=pictures(salt="train"), **({"orders": 2} if ask == "likelihood" else {}))
    assert model.prompt.shots == 1
    same = vary(model.at(bench), bench)
    assert same.askings == model.askings and same.weighing == model.weighing and set(same.examples) == set(model.examples)
    first, asked = list(model.predict(images())), len(fake.asked)
    assert list(same.predict(images())) == first and len(fake.asked) == asked


def test_other_words_are_another_question_to_the_same_model(fake: Fake, bench: Bench) -> None:
    model = fitted(bench, score="pmi").at(bench)
    other = vary(model, bench, prompt=model.prompt.model_copy(update={"order": ("c2",)}))
    assert "blue tit, red kite, green finch" in other.asking.text() and other.door is model.door
    assert other.weighing.greys == () and other.weighing.temperature == model.weighing.temperature  # type: ignore[union-attr]
    asked = len(fake.asked)
    found = list(other.predict(images()))
    assert len(fake.asked) == asked + 10 and [one.label for one in found] == [one.label for one in pictures()]
    assert other.prompt.order == ("c2",)
    opened = len(fake.opened)
    for number in range(3):
        list(vary(model, bench, prompt=model.prompt.model_copy(update={"closing": str(number)})).predict(images(count=1)))
    assert len(fake.opened) == opened, "the weights are loaded once for all"


@pytest.mark.parametrize("ask", ["choice", "likelihood"])
def test_a_shorter_list_is_answered_with_its_own_labels_alone(fake: Fake, bench: Bench, ask: str) -> None:
    def by_list(asking: Asking, pixels: Pixels) -> Said:
        if ask == "choice":
            return Said(asking.answers[-1], "stop", 100, 3)
        return Said(
            dumps(Weighed(tuple(-float(len(asking.answers) - at) for at in range(len(asking.answers))))), "stop", 100, 0
        )

    fake.rule = by_list
    model = fitted(bench, ask=ask, examples=1, train=pictures(salt="train"))
    short = vary(model, bench, check="length", only=("c0", "c1"))
    assert short.asking.answers == ("red kite", "green finch") and short.task.ids == ("c0", "c1")
    assert "blue tit" not in short.asking.text() and len(short.asking.examples) == 2
    (found,) = short.predict(images(count=1))
    assert found.label == "c1" and (found.probabilities is None or len(found.probabilities) == 2)
    renamed = model.prompt.model_copy(update={"classes": {"c0": Words(name="Milvus")}})
    other = vary(model, bench, check="synonyms", prompt=renamed)
    assert other.asking.answers[0] == "Milvus" and other.task.say("c0") == "Milvus"


def test_alone_and_again_nothing_from_before_counts(fake: Fake, bench: Bench) -> None:
    model = fitted(bench).at(bench)
    first, asked = list(model.predict(images())), len(fake.asked)
    for number, more in enumerate(
        ({"again": True, "id": "again-1"}, {"again": True, "id": "again-2"}, {"alone": True, "id": "1"})
    ):
        other = vary(model, bench, **more)  # type: ignore[arg-type]
        assert other.lacking(one.key for one in images()) == 9
        assert list(other.predict(images())) == first
        assert len(fake.asked) == asked + 9 * (number + 1)
        assert list(vary(model, bench, **more).predict(images())) == first  # type: ignore[arg-type]
        assert len(fake.asked) == asked + 9 * (number + 1), "a call that was stopped goes on"
    assert (fake.opened[-1].batch_size, fake.opened[-1].at_once) == (1, 1)
    with Answers(bench.answers) as kept:  # type: ignore[arg-type]
        assert kept.spent("one", [model.asking.hash]).asked == 19, "what an audit asked is not counted as what the answers cost"


def test_a_local_model_is_not_loaded_again_to_answer_alone(fake: Fake, bench: Bench) -> None:
    single = dataclasses.replace(fake, ahead=1, most_taken=0)
    fake.alone = lambda: single  # type: ignore[attr-defined]
    model = fitted(bench).at(bench)
    first, opened = list(model.predict(images())), len(fake.opened)
    assert fake.most_taken > 1
    assert list(vary(model, bench, alone=True, id="x").predict(images())) == first
    assert len(fake.opened) == opened and single.most_taken == 1


@pytest.mark.parametrize("ask", ["generate", "likelihood"])
def test_without_the_picture_the_grey_one_is_asked_about_once(fake: Fake, bench: Bench, ask: str) -> None:
    if ask == "generate":
        fake.rule = lambda asking, pixels: Said("red kite" if pixels.std() == 0 else "blue tit", "stop", 100, 3)
    model = fitted(bench, ask=ask, val=())
    other = vary(model, bench, check="picture", blank=True)
    found = list(other.predict(images()))
    assert [one.image for one in found] == [one.key for one in images()] and len(fake.asked) == 1
    assert fake.asked[0] == grey(16).pixels(16).tobytes() and len({one.label for one in found}) == 1
    list(other.predict(images()))
    assert len(fake.asked) == 1 and other.shelf is not None and other.shelf.lacking([grey(16).key]) == 0


# --- explained ----------------------------------------------------------------------------------------------------------------------


def test_occlusion_explains_the_gap_in_nats(fake: Fake, bench: Bench) -> None:
    model = fitted(bench, unknown=0.3)
    assert model.gives_probabilities
    pixels = np.full((24, 24, 3), 40, np.uint8)
    pixels[:12, :12, 0], pixels[:12, :12, 1:] = 255, 0
    held = pictures(count=1)[0].image
    held.reader.arrays[held.key] = pixels  # type: ignore[attr-defined]
    found = Explainer(model, TASK.ids, Wish(grid=4, orders=0)).explain(held)
    (one,) = found.explained
    assert [answer.label for answer in model.predict([grey(16)])] == [None], "what is covered may be too unsure to answer"
    assert found.answer == "c0" and found.gap > 0
    marked = one.maps.values[0]
    assert marked[:2, :2].min() > 0.05 > marked[2:, 2:].max(), "what is red speaks for it"
    with Answers(bench.answers) as kept:  # type: ignore[arg-type]
        assert len(kept) == 10, "what is varied is nobody's picture and is not kept; the grey one is"


def test_no_picture_is_sent_elsewhere_for_an_explanation(fake: Fake, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    away = dataclasses.replace(bench, consented=True)
    model = fitted(away, model="served/x", server="https://api.example.org/v1")
    asked = len(fake.asked)
    assert not model.gives_probabilities and "sent elsewhere" in model.unexplained
    with pytest.raises(fieldguide.explain.maps.NotApplicable, match="sent elsewhere"):
        Explainer(model, TASK.ids).explain(images()[0])
    assert len(fake.asked) == asked
    here = fitted(bench, model="served/x", server="http://localhost:1/v1")
    assert here.gives_probabilities and not fitted(bench, ask="choice").gives_probabilities


# --- in a study -----------------------------------------------------------------------------------------------------------------------

WORD = "vlm_prompt/drawn:ask=likelihood,as=scored"


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("weighed") / "colours", each=10)


def by_name(asking: Asking, pixels: Pixels) -> Said:
    looks = np.asarray(pixels, float).reshape(-1, 3).mean(axis=0) / 40
    sums = [float(looks[("red", "green", "blue").index(name)]) - 9 for name in asking.answers]
    return Said(dumps(Weighed(tuple(sums), (2,) * 3, (4,) * 3)), "stop", 100, 0, 60, 0.01, "likelihood")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr(vlm_prompt, "check", lambda settings, online: None)
    monkeypatch.setattr(vlm_prompt, "pixels", lambda settings: 16)
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    return Fake(by_name, ahead=1).install(monkeypatch)


def compare(colours: Path, out: Path, *words: str, **more: Any) -> fieldguide.study.Study:
    return fieldguide.compare(colours, words, out=out, **more)


def test_in_a_study_it_has_calibration_beside_accuracy_and_counts_what_it_asked(
    colours: Path, tmp_path: Path, study: Fake
) -> None:
    found = compare(colours, tmp_path, f"{WORD},orders=2,price_in=10")
    part = found.scores("scored")["parts"]["test"]["metrics"]
    assert found.exit_code == DONE and part["accuracy"]["value"] == 1
    assert part["log_loss"]["value"] < 0.5
    count = len(read_predictions(tmp_path / "runs" / "scored" / "predictions.parquet"))
    cost = found.cost("scored")
    assert len(study.asked) == 2 * count + 2, "each in both orders, and the grey one"
    assert (cost["asked"], cost["tokens_in"], cost["tokens_out"]) == (count, 200 * count, 0)
    assert cost["money"] == pytest.approx(200 * count * 10 / 1e6)
    assert not (tmp_path / "runs" / "scored" / "readings.json").exists(), "there are no words to read"
    compare(colours, tmp_path, f"{WORD},orders=2,price_in=10")
    assert len(study.asked) == 2 * count + 2


def test_what_a_fit_asked_before_it_was_stopped_counts_for_the_limit(colours: Path, tmp_path: Path, study: Fake) -> None:
    words = (WORD, "vlm_prompt/drawn:ask=likelihood,prompt=json,as=other")
    found = compare(colours, tmp_path, *words, terms=Terms(limit=3))
    assert set(found.outcomes.values()) == {"failed"} and len(study.asked) == 3, "the limit is of the call"
    problem = found.failure("scored")
    assert problem is not None and "validation pictures have no answer yet" in str(problem)
    assert not (tmp_path / "runs" / "scored" / "model").exists()
    found = compare(colours, tmp_path, *words, terms=Terms(limit=3))
    assert len(study.asked) == 6
    found = compare(colours, tmp_path, *words)
    assert found.exit_code == DONE
    count = len(read_predictions(tmp_path / "runs" / "scored" / "predictions.parquet"))
    assert len(study.asked) == 2 * (count + 1), "nothing was asked twice"


def test_without_consent_no_validation_picture_is_sent(colours: Path, tmp_path: Path, study: Fake) -> None:
    far = "vlm_prompt/served/far:server=https://api.example.org/v1,ask=likelihood,orders=2,as=far"
    with pytest.raises(UsageProblem, match=r"9 pictures would be sent.*in 2 questions each"):
        compare(colours, tmp_path / "s", far)
    assert not study.opened and not (tmp_path / "s").exists()
    assert compare(colours, tmp_path / "s", far, terms=Terms(yes=True)).exit_code == DONE


def test_a_kill_in_the_fit_and_one_in_the_answers_end_in_the_same_numbers(
    colours: Path, tmp_path: Path, study: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldguide.runs, "CHUNK", 4)
    word = f"{WORD},orders=2"
    compare(colours, tmp_path / "whole", word)
    expected, every = read_predictions(tmp_path / "whole" / "runs" / "scored" / "predictions.parquet"), len(study.asked)
    study.asked.clear()
    for stop in (3, 4, 2, 5):
        left = stop

        def dying(asking: Asking, pixels: Pixels) -> Said:
            nonlocal left
            left -= 1
            if left < 0:
                study.asked.pop()
                raise KeyboardInterrupt
            return by_name(asking, pixels)

        study.rule = dying
        with pytest.raises(KeyboardInterrupt):
            compare(colours, tmp_path / "killed", word)
    study.rule = by_name
    assert compare(colours, tmp_path / "killed", word).exit_code == DONE
    assert len(study.asked) == every, "a picture was asked about twice, or never"
    found = read_predictions(tmp_path / "killed" / "runs" / "scored" / "predictions.parquet")
    assert found == expected
    models = [json.loads((tmp_path / name / "runs/scored/model/weighing.json").read_text()) for name in ("whole", "killed")]
    assert models[0] == models[1]
