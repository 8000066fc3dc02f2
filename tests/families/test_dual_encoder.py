"""Zero-shot, descriptions and heads on an encoder made by hand, whose answers are known, and on a tiny real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.craft.by_colour import Reads, Sees, install
from tests.craft.tiny_clip import save_clip
from tests.rooms import COLOURS

from fieldguide import families
from fieldguide.bench import Bench, read_log
from fieldguide.errors import Problem, UsageProblem
from fieldguide.families import Sizes, dual_encoder, parse
from fieldguide.families.dual_encoder import Dual, Settings
from fieldguide.records import ClassInfo, Example, Image, Line, Pixels, Texts
from fieldguide.settings import build
from fieldguide.tasks.classify import Classify

Held = Callable[[Sequence[Pixels | None]], list[Image]]
#: Ids tell nothing; names do.
NAMED = Classify((ClassInfo("1", "blue"), ClassInfo("2", "green", ("grey",)), ClassInfo("3", "red")))
#: Names tell nothing; lines do.
UNNAMED = Classify((ClassInfo("1", "wren"), ClassInfo("2", "robin"), ClassInfo("3", "finch")))
LINES = {
    "1": (Line("it is blue", "coat"), Line("nothing to see")),
    "2": (Line("so green"),),
    "3": (Line("red"), Line("all red.")),
}
TRUTH = [at % 3 for at in range(60)]


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> tuple[Sees, Reads]:
    return install(monkeypatch)


@pytest.fixture
def examples(held: Held) -> list[Example]:
    random = np.random.default_rng(0)
    colours = list(COLOURS.values())
    pictures = [np.clip(colours[at] + random.normal(0, 75, 3) + np.zeros((10, 10, 3)), 0, 255).astype(np.uint8) for at in TRUTH]
    return [Example(image, "123"[at]) for image, at in zip(held(pictures), TRUTH, strict=True)]


def fitted(examples: Sequence[Example], settings: Settings, scratch: Path, task: Classify = NAMED, **more: Any) -> Dual:
    """Fit on the first 24, validate on the next 18."""
    texts = more.pop("texts", LINES)
    bench = Bench(scratch, texts=lambda source: Texts(source, texts, dict.fromkeys(("p050", "p051"), ("red",))))
    return dual_encoder.fit(more.pop("train", examples[:24]), more.pop("val", examples[24:42]), task, settings, bench)


def said(model: Dual, examples: Sequence[Example]) -> list[str | None]:
    return [answer.label for answer in model.predict(example.image for example in examples)]


def right(model: Dual, examples: Sequence[Example]) -> float:
    return float(np.mean([a == example.label for a, example in zip(said(model, examples), examples, strict=True)]))


def facts(scratch: Path) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for event in read_log(scratch / "log.jsonl"):
        told |= event if event["event"] == "fact" else {}
    return told


def test_names_are_what_zero_shot_answers_by(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    assert right(fitted(examples, Settings(), tmp_path, train=()), examples) > 0.85
    turned = Classify(tuple(ClassInfo(id, name) for id, name in (("1", "red"), ("2", "blue"), ("3", "green"))))
    assert right(fitted(examples, Settings(), tmp_path, turned, train=()), examples) < 0.1, "permuted names, permuted answers"
    told = facts(tmp_path)
    assert (told["kind"], told["weights"], told["scale"], told["templates"]) == (
        "zero-shot",
        "made by hand",
        10.0,
        ["a photo of a {}."],
    )
    assert (told["trained_parameters"], told["sentences"], told["sentences_cut"]) == (0, 3, 0)


def test_no_training_picture_is_looked_at_and_nothing_twice(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    sees, reads = halves
    fitted(examples, Settings(), tmp_path)
    assert sum(sees.looked) == 18, "validation, for the temperature"
    fitted(examples, Settings(head="ridge"), tmp_path)
    assert sum(sees.looked) == 18 + 24
    read = len(reads.read)
    fitted(examples, Settings(head="gda"), tmp_path)
    fitted(examples, Settings(templates="a photo of a {}.|{}"), tmp_path)
    assert sum(sees.looked) == 18 + 24 and len(reads.read) == read + 3
    assert [dual_encoder.learns(Settings()), dual_encoder.learns(Settings(head="ridge"))] == [False, True]


def test_descriptions_tell_what_names_do_not(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    names = right(fitted(examples, Settings(), tmp_path, UNNAMED), examples)
    for prompt in ("texts", None):
        model = fitted(examples, Settings(texts="own", prompt=prompt), tmp_path, UNNAMED)
        assert right(model, examples) > 0.85 > 0.5 > names
    turned = {"1": LINES["2"], "2": LINES["3"], "3": LINES["1"]}
    assert right(fitted(examples, Settings(texts="own"), tmp_path, UNNAMED, texts=turned), examples) < 0.1
    told = facts(tmp_path)
    assert (told["prompt"], told["lines"], told["sentences"], told["texts"]) == ("name+texts", 5, 5, "own")


def test_every_way_is_kept_beside_the_one_that_was_asked_for(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    model = fitted(examples, Settings(texts="own", prompt="name"), tmp_path, UNNAMED)
    features = halves[0].pictures
    from fieldguide.data.batches import evaluation_batches

    (batch,) = evaluation_batches([example.image for example in examples], halves[0].preprocessing, 64)
    ways = model.said(features(batch.pixels).numpy())
    assert list(ways) == ["name", "name+texts", "texts"]
    assert [UNNAMED.ids[at] for at in ways["name"]] == said(model, examples)
    share = {way: float(np.mean(places == np.array(TRUTH))) for way, places in ways.items()}
    assert share["texts"] > 0.85 > 0.5 > share["name"]
    logged = {event["way"]: event["val_accuracy"] for event in read_log(tmp_path / "log.jsonl") if event["event"] == "way"}
    assert logged == {way: float(np.mean((places == np.array(TRUTH))[24:42])) for way, places in ways.items()}
    part = fitted(examples, Settings(texts="own"), tmp_path, UNNAMED, texts={"1": LINES["1"]})
    assert list(part.ways) == ["name", "name+texts"] and fitted(examples, Settings(), tmp_path).ways == {}
    assert facts(tmp_path)["classes_without_texts"] == []
    with pytest.raises(UsageProblem, match="say nothing of 2 of 3 classes, such as 2"):
        fitted(examples, Settings(texts="own", prompt="texts"), tmp_path, UNNAMED, texts={"1": LINES["1"]})


def test_synonyms_join_where_they_are_asked_for(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    fitted(examples, Settings(templates="name"), tmp_path)
    assert sorted(set(halves[1].read)) == ["blue", "green", "red"]
    fitted(examples, Settings(templates="name", synonyms=True), tmp_path)
    assert halves[1].read[3:] == ["grey"]


def test_calibration_changes_no_answer(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    for head in ("zero-shot", "ridge", "gda", "logistic", "linear"):
        strengths = None if head == "zero-shot" else (0.1,)
        plain, set_ = (
            fitted(examples, Settings(head=head, strengths=strengths, calibrate=value), tmp_path) for value in (False, True)
        )
        assert said(plain, examples) == said(set_, examples), head
        told = facts(tmp_path)
        assert told["temperature"] != 1.0 and told["calibration_pictures"] == 18
        a, b = (np.array([p.probabilities for p in model.predict(e.image for e in examples[:3])]) for model in (plain, set_))
        assert np.allclose(np.log(a / a[:, :1]) / told["temperature"], np.log(b / b[:, :1])), head
    alone = fitted(examples, Settings(), tmp_path, val=())
    assert np.allclose(alone.head.weights, fitted(examples, Settings(calibrate=False), tmp_path).head.weights), "its own scale"


def test_unsure_answers_are_refused_and_stay_in_the_count(halves: Any, examples: list[Example], tmp_path: Path) -> None:
    free = fitted(examples, Settings(), tmp_path, val=examples)
    model = fitted(examples, Settings(unknown=0.2), tmp_path, val=examples)
    answers, before = (list(m.predict(e.image for e in examples)) for m in (model, free))
    assert len(answers) == len(examples)
    good = [new for new, old, example in zip(answers, before, examples, strict=True) if old.label == example.label]
    refused = [answer for answer in answers if answer.label is None]
    assert sum(answer.label is None for answer in good) == int(0.2 * len(good))
    assert refused and all("too unsure" in str(answer.error) and answer.probabilities for answer in refused)
    assert model.threshold == facts(tmp_path)["threshold"] > max(max(answer.probabilities or ()) for answer in refused)
    assert fitted(examples, Settings(unknown=0.2), tmp_path, val=()).threshold is None


@pytest.mark.parametrize("head", ["linear", "logistic", "ridge", "gda"])
def test_heads_learn_from_pictures_and_never_answer_what_they_never_saw(
    halves: Any, examples: list[Example], tmp_path: Path, head: str
) -> None:
    settings = Settings(head=head, strengths=(0.1, 0.01))
    assert right(fitted(examples, settings, tmp_path, UNNAMED), examples) > 0.85
    assert facts(tmp_path)["kind"] == "probe" and facts(tmp_path)["trained_parameters"] == 12
    seen = [example for example in examples[:24] if example.label != "3"]
    model = fitted(examples, settings, tmp_path, UNNAMED, train=seen)
    assert set(said(model, examples)) == {"1", "2"}
    assert right(fitted(examples, Settings(), tmp_path, train=seen), examples) > 0.85, "zero-shot does"
    turned = [Example(example.image, "231"[int(str(example.label)) - 1]) for example in examples[:24]]
    assert right(fitted(examples, settings, tmp_path, UNNAMED, train=turned), examples) < 0.1


@pytest.mark.parametrize(
    ("values", "heard"),
    [
        ({"prompt": "texts"}, "needs a source of texts"),
        ({"normalisation": "standardise"}, "compares directions"),
        ({"strengths": (1.0,)}, "strengths belong to a head"),
        ({"head": "ridge", "texts": "own"}, "texts belongs to zero-shot"),
        ({"head": "ridge", "templates": "photos"}, "templates belongs to zero-shot"),
        ({"head": "ridge", "strengths": ()}, "above 0"),
        ({"head": "gda", "strengths": (2.0,)}, "1 at most"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
        ({"unknown": 1.0}, "unknown = 1.0"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(values: dict[str, object], heard: str) -> None:
    with pytest.raises(UsageProblem) as wrong:
        build(Settings, values, "The command")
    assert heard in wrong.value.given and wrong.value.allowed and wrong.value.next


def test_what_was_asked_is_complete() -> None:
    assert (Settings().prompt, Settings().normalisation, Settings().strengths) == ("name", "l2", None)
    assert (Settings(texts="own").prompt, Settings(head="ridge").normalisation) == ("name+texts", "standardise")
    assert Settings(head="ridge").strengths and Settings(head="ridge").prompt is None
    entry = parse("drawn:head=ridge,strengths=0.1+1")
    assert (entry.family, entry.settings) == ("dual_encoder", Settings(head="ridge", strengths=(0.1, 1.0)))
    assert [families.learns(entry), families.learns(parse("dual_encoder")), families.learns(parse("majority"))] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("words", "given", "allowed"),
    [
        ("dual_encoder/drawnn", "no encoder called 'drawnn'", "Did you mean drawn?"),
        ("dual_encoder/resnet18:weights=none", "reads no text", "drawn"),
        ("dual_encoder:templates=photo", "no templates called 'photo'", "photos"),
        ("dual_encoder:weights=none", "weights belongs to a network without text", "hub"),
        ("dual_encoder/resnet18:head=ridge,weights=/none.safetensors", "no weights file", "file"),
        ("dual_encoder/hf//no/such/folder", "There is no network of transformers in the folder", "save_pretrained"),
    ],
)
def test_what_stops_the_fit_is_said_before_it(words: str, given: str, allowed: str) -> None:
    with pytest.raises(Problem) as wrong:
        dual_encoder.check(parse(words).settings, online=False)  # type: ignore[arg-type]
    assert given in wrong.value.given and allowed in wrong.value.allowed and wrong.value.next


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf/{save_clip(tmp_path_factory.mktemp('models') / 'clip')}"


def test_a_saved_one_answers_the_same_without_its_words(clip: str, examples: list[Example], tmp_path: Path) -> None:
    from safetensors import safe_open

    for settings in (Settings(model=clip, texts="own", unknown=0.3), Settings(model=clip, head="ridge", image_size=32)):
        model, folder = fitted(examples, settings, tmp_path), tmp_path / settings.head
        folder.mkdir()
        model.save(folder)
        again = dual_encoder.load(folder)
        assert said(again, examples) == said(model, examples)
        a, b = (np.array([p.probabilities for p in one.predict(e.image for e in examples)]) for one in (again, model))
        assert np.allclose(a, b, atol=1e-9)
        assert list(again.ways) == list(model.ways) and again.threshold == model.threshold
        with safe_open(folder / "encoder.safetensors", "np") as kept:
            assert not [name for name in kept.keys() if name.startswith("text_model")]  # noqa: SIM118 - no mapping
        assert {path.name for path in folder.iterdir()} == {
            *("dual_encoder.json", "dual_encoder.safetensors", "encoder.json", "encoder.safetensors")
        }


def test_sizes_and_costs_are_known_before(clip: str) -> None:
    assert dual_encoder.pixels(Settings(model=clip)) == 32 and dual_encoder.pixels(Settings(model=clip, image_size=16)) == 16
    assert dual_encoder.pixels(Settings(model="resnet18", head="ridge", weights="none", image_size=64)) == 64
    few, many = (dual_encoder.estimate(Settings(model=clip, head="ridge"), NAMED, Sizes(n, 10, 10)) for n in (10, 10**7))
    assert few.seconds is not None and many.seconds is not None and many.seconds > few.seconds + 10
    shot, no = (dual_encoder.estimate(Settings(model=clip), NAMED, Sizes(n, 10, 10)) for n in (10**7, 10))
    assert shot.seconds is not None and shot.seconds < 60 and shot.memory_bytes == no.memory_bytes
    assert dual_encoder.estimate(Settings(model="hf/some/absent"), NAMED, Sizes(10, 10, 10)).seconds is None


def test_what_is_seen_inside_answers_as_it_does(clip: str, examples: list[Example], tmp_path: Path) -> None:
    from fieldguide.data.batches import evaluation_batches

    for settings in (Settings(model=clip), Settings(model=clip, head="ridge")):
        model = fitted(examples, settings, tmp_path)
        sight = model.sight()
        assert sight is not None and sight.ids == NAMED.ids
        (batch,) = evaluation_batches([example.image for example in examples], sight.preprocessing, 64)
        answers = np.array([answer.probabilities for answer in model.predict(example.image for example in examples)])
        assert np.allclose(sight.logits(batch.pixels).softmax(1).numpy(), answers, atol=1e-4)
    assert "right" in facts(tmp_path)["self_test"] and "Are these trained weights?" in facts(tmp_path)["warning"]
