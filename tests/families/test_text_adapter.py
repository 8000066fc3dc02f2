"""The room of heads from pictures and text: what it is told, what it keeps to itself, and what it writes down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pictures import stripes

from fieldguide.bench import Bench, read_log
from fieldguide.craft import layers, texted
from fieldguide.data.classes import propose
from fieldguide.errors import UsageProblem
from fieldguide.families import Sizes, parse, text_adapter
from fieldguide.families.text_adapter import Adapter, Settings
from fieldguide.records import Example, Image, Line, Pixels, Texts
from fieldguide.settings import build
from fieldguide.tasks.classify import Classify

Held = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify(propose(("a", "b", "c")))
SAID = Texts(
    "birds",
    {
        id: (Line(f"a {word} one"), Line(f"it is {word} all over"))
        for id, word in zip("abc", ("red", "lined", "old"), strict=True)
    },
)
QUICK: dict[str, Any] = {"steps": 6, "batch_size": 8, "weight": (0.0, 1.0)}
NETWORK: dict[str, Any] = {"model": "test_resnet", "weights": "none", "image_size": 32, **QUICK}


@pytest.fixture
def examples(held: Held) -> list[Example]:
    random = np.random.default_rng(0)
    images = held([stripes(at % 3, random, size=40, noise=20) for at in range(30)])
    return [Example(image, "abc"[at % 3]) for at, image in enumerate(images)]


def fitted(
    examples: list[Example], settings: Settings, scratch: Path, texts: Texts = SAID, train: int = 18, seed: int = 1
) -> Adapter:
    scratch.mkdir(exist_ok=True)
    bench = Bench(scratch, seed, "cpu", texts=lambda name: texts, shared=scratch.parent / "store")
    return text_adapter.fit(examples[:train], examples[train : train + 9], TASK, settings, bench)


def facts(scratch: Path) -> dict[str, Any]:
    events = [event for event in read_log(scratch / "log.jsonl") if event["event"] == "fact"]
    return {name: value for event in events for name, value in event.items()}


def answers(model: Adapter, examples: list[Example]) -> np.ndarray:
    return np.array([answer.probabilities for answer in model.predict(example.image for example in examples)])


def test_a_network_that_reads_nothing_reads_through_words(examples: list[Example], tmp_path: Path) -> None:
    model = fitted(examples, Settings(**NETWORK, method="mix", texts="birds"), tmp_path / "run")
    told = facts(tmp_path / "run")
    assert (told["text_model"], told["translator"], told["normalisation"], told["kind"]) == (
        "words",
        "ridge",
        "centre+l2",
        "adapter",
    )
    assert told["text_rows"] == told["lines"] == 6 and told["taught"]["folds"] == 3 and "leak" not in told
    assert told["text_weight"] in (0, 1) and told["text_weight_chosen"] == "on 9 validation pictures"
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    # What a store keeps was looked at in other batches.
    assert np.allclose(answers(text_adapter.load(tmp_path / "model"), examples), answers(model, examples), atol=1e-6)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "encoder.json",
        "network.json",
        "network.safetensors",
        "text_adapter.json",
        "text_adapter.safetensors",
    }


@pytest.mark.parametrize("method", ["bias", "init", "rows", "noise"])
def test_every_method_runs_with_every_kind_of_text(method: str, examples: list[Example], tmp_path: Path) -> None:
    spoken = {example.image.key: (f"a {word}",) for example, word in zip(examples, ("red", "lined", "old") * 10, strict=True)}
    both = Texts("birds", SAID.classes, spoken)
    quick = {key: value for key, value in NETWORK.items() if key != "weight" or method != "noise"}
    asked = Settings(**quick, method=method, texts="birds", translator="memory")
    table = answers(fitted(examples, asked, tmp_path / "run", both), examples)
    assert np.allclose(table.sum(1), 1) and np.isfinite(table).all()
    told = facts(tmp_path / "run")
    assert told["captions"] == 18 and told["method"] == method
    assert told["text_weight"] == "text alone" if method == "noise" else told["text_weight"] in (0, 1)


def test_captions_of_other_pictures_are_never_read(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = {example.image.key: (f"said of {at}",) for at, example in enumerate(examples)}
    read: list[str] = []
    of_words = texted.said
    monkeypatch.setattr(
        texted, "said", lambda reads, features, lines, tokens: (read.extend(lines), of_words(reads, features, lines, tokens))[1]
    )
    fitted(examples, Settings(**NETWORK, method="mix", texts="it"), tmp_path / "run", Texts("it", {}, spoken))
    told = facts(tmp_path / "run")
    assert sorted(read) == sorted(f"said of {at}" for at in range(18))
    assert told["captions"] == 18 and told["lines"] == 0 and "18 captions of 18 training pictures" in told["pairs"]
    fitted(examples, Settings(**NETWORK, method="mix", texts="it", captions=False), tmp_path / "no", Texts("it", {}, spoken))
    assert facts(tmp_path / "no")["captions"] == 0


def test_the_own_class_teaches_only_where_that_was_asked_and_told(examples: list[Example], tmp_path: Path) -> None:
    fitted(examples, Settings(**NETWORK, texts="birds", folds=1), tmp_path / "run")
    assert facts(tmp_path / "run")["leak"] == "pairs of the same class taught it"


def test_text_that_cannot_be_brought_over_is_dropped_with_its_reason(examples: list[Example], tmp_path: Path) -> None:
    one = [example for example in examples if example.label == "a"]
    bench = Bench(tmp_path, 1, "cpu", texts=lambda name: SAID)
    text_adapter.fit(one, (), TASK, Settings(**NETWORK, texts="birds"), bench)
    told = facts(tmp_path)
    assert "takes two" in told["text_dropped"] and told["text_weight"] == 0
    with pytest.raises(UsageProblem) as wrong:
        text_adapter.fit(one, (), TASK, Settings(**NETWORK, texts="birds", method="noise"), bench)
    assert "text alone" in wrong.value.given
    for name in ("identity", "shift"):
        with pytest.raises(UsageProblem) as misfit:
            fitted(examples, Settings(**NETWORK, texts="birds", translator=name), tmp_path / name)
        assert "2,048 features" in misfit.value.given and "ridge" in misfit.value.next


def test_without_validation_the_middle_weight_is_told_and_text_answers_an_absent_class(
    examples: list[Example], tmp_path: Path
) -> None:
    few = [example for example in examples if example.label != "b"]
    bench = Bench(tmp_path, 1, "cpu", texts=lambda name: SAID)
    model = text_adapter.fit(
        few, (), TASK, Settings(**{**NETWORK, "weight": (0.0, 0.5, 2.0)}, method="mix", texts="birds"), bench
    )
    told = facts(tmp_path)
    assert told["text_weight"] == 0.5 and told["text_weight_chosen"].startswith("the middle one")
    assert (answers(model, examples)[:, 1] > 1e-6).all()


def test_a_stopped_fit_goes_on_to_the_same_bits(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Settings(**{**NETWORK, "steps": 10}, method="mix", texts="birds")
    whole = answers(fitted(examples, asked, tmp_path / "whole"), examples)
    monkeypatch.setattr(layers, "_CHECKPOINT", 0.0)
    calls, losses = 0, layers._losses

    def stops(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return losses(*given)

    monkeypatch.setattr(layers, "_losses", stops)
    with pytest.raises(KeyboardInterrupt):
        fitted(examples, asked, tmp_path / "cut")
    assert np.array_equal(answers(fitted(examples, asked, tmp_path / "cut"), examples), whole)
    assert calls == 7 + 4
    other = answers(fitted(examples, asked, tmp_path / "other", seed=2), examples)
    assert not np.array_equal(other, whole)


def test_the_drawn_encoder_begins_as_zero_shot(examples: list[Example], tmp_path: Path) -> None:
    from fieldguide.craft import encoders, prompts
    from fieldguide.craft.heads import unit

    asked = Settings(method="init", steps=0, weight=(1.0,), calibrate=False, templates="a {}.|one {}")
    model = fitted(examples, asked, tmp_path / "run")
    encoder = encoders.build(text_adapter._lens(asked), seed=1, device="cpu", online=False)
    assert encoder.reads is not None
    reads = encoder.reads
    means = prompts.averaged(
        prompts.named([("a",), ("b",), ("c",)], ("a {}.", "one {}")), lambda lines: reads.texts(lines).numpy(), again=True
    )
    assert np.allclose(model.head.weights, encoder.scale * means.T, atol=encoder.scale * 2e-3)  # texts are kept in float16
    told = facts(tmp_path / "run")
    assert (told["text_model"], told["translator"], told["normalisation"]) == ("drawn", "identity", "l2")
    assert np.allclose(unit(model.head.weights.T), unit(means), atol=2e-3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weight": (0.5, 1.0)}, "0 is among"),
        ({"weight": (-1.0,)}, "0 or more"),
        ({"method": "mix", "head": "gda"}, "head belongs to method=bias"),
        ({"sigma": (0.1,)}, "sigma belongs to method=noise"),
        ({"prompt": "texts"}, "needs a source of texts"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem) as wrong:
        build(Settings, values, "The command")
    assert said in wrong.value.given


def test_what_was_asked_is_complete_and_named_after_the_slash() -> None:
    assert Settings().head == "gda" and Settings(method="noise").sigma and Settings(method="mix").head is None
    entry = parse("text_adapter/test_resnet:method=mix,weight=0+0.5,translator=memory")
    assert entry.family == "text_adapter" and entry.settings.weight == (0.0, 0.5)  # type: ignore[attr-defined]


def test_what_stops_the_fit_is_said_before_it(tmp_path: Path) -> None:
    text_adapter.check(Settings(**NETWORK), online=False)
    for settings, word in (
        (Settings(**NETWORK, text_model="test_resnet"), "reads no text"),
        (Settings(**NETWORK, pairs=str(tmp_path / "no.json")), "no.json"),
        (Settings(weights="none"), "weights belongs"),
        (Settings(**NETWORK, templates="nothing"), "templates"),
    ):
        with pytest.raises(UsageProblem) as wrong:
            text_adapter.check(settings, online=False)
        assert word in wrong.value.given


def test_sizes_and_costs_are_told_beforehand() -> None:
    assert text_adapter.pixels(Settings(**NETWORK)) >= 32
    bias, mixed = (Settings(**NETWORK, method=method) for method in ("bias", "mix"))
    few, many = (text_adapter.estimate(bias, TASK, Sizes(count, 10, 10)) for count in (10, 10**6))
    more = text_adapter.estimate(mixed, TASK, Sizes(10, 10, 10))
    assert few.seconds and many.seconds and many.seconds > few.seconds + 10 and more.disk_bytes == few.disk_bytes
