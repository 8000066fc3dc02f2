"""How a language model was taught: what was trained and how, trained parameters by part, loss and validation over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fieldguide.evaluate.fitting import Fitting, fitting
from fieldguide.report import say
from fieldguide.report.charts import curve
from fieldguide.report.prompted_files import share, whole, words
from fieldguide.report.read import Contestant, Json
from fieldguide.report.say import MISSING, Value

_METHODS = {"lora": "LoRA", "qlora": "QLoRA: weights in four bits", "full": "all weights of the parts"}
_HEADS = {
    "words": "the words of the answer",
    "labels": "the right label among all",
    "linear": "a linear layer on the last hidden state",
}
#: Settings of adapters, as they stand behind the method.
_ADAPTER = ("rank", "alpha", "dropout")


@dataclass(frozen=True, slots=True)
class Lesson:
    """How one contestant was taught: facts by name, trained parameters by part, and validation over steps."""

    contestant: Contestant
    facts: tuple[tuple[str, Value], ...]
    parts: tuple[tuple[str, Value, Value, Value], ...]
    curve: Markup
    loss: Markup
    notes: tuple[str, ...]


def lesson_of(contestant: Contestant) -> Lesson:
    """Return what its files tell."""
    events = contestant.epochs
    best = contestant.chosen_epoch
    step = next((whole(event.get("step")) for event in events if event["epoch"] == best), None)
    accuracy = [
        (whole(e.get("step")) or 0, float(e["val_accuracy"])) for e in events if share(e.get("val_accuracy")) is not None
    ]
    loss = [(whole(e.get("step")) or 0, float(e["train_loss"])) for e in events if isinstance(e.get("train_loss"), int | float)]
    name = contestant.name
    return Lesson(
        contestant=contestant,
        facts=tuple(_facts(contestant, step)),
        parts=tuple(_parts(contestant)),
        curve=curve(f"Validation accuracy of {name} by step", {"val": accuracy}, step, as_percent=True),
        loss=curve(f"Training loss of {name} by step", {"train": loss}, step),
        notes=tuple(_notes(contestant)),
    )


def _facts(contestant: Contestant, best: int | None) -> Iterator[tuple[str, Value]]:
    facts, settings, cost = contestant.facts, contestant.settings, contestant.cost or {}
    loss, stored = _object(facts.get("loss")), _object(facts.get("stored_features"))
    answer = _number(loss.get("answer_tokens")) or 0
    kept = "computed once, and stored" if stored.get("used") else f"computed at each step: {stored.get('why')}"
    yield "Method", _said(_method(contestant))
    yield "Taught", _said(_HEADS.get(words(facts.get("head")), ""))
    on_answer = share(loss.get("loss_tokens_on_answer"))
    yield "Loss on the answer", say.number(on_answer, lambda part: f"{say.percent(part)} of the tokens that count")
    prompt = _number(loss.get("prompt_tokens"))
    yield "A prompt has", say.number(prompt, lambda count: f"{count:.0f} tokens, and the answer {answer:.1f}")
    yield "Steps", _said(_steps(contestant))
    yield "Kept step", say.number(best, lambda step: f"{say.count(step)}, the best look at validation")
    rate = _number(settings.get("learning_rate"))
    yield "Training minus validation", _gap(fitting(contestant.kept, contestant.epochs, 0, 0))
    yield "Rate", say.number(rate, lambda most: f"{most:g} at most, {settings.get('schedule', say.NOT_RECORDED)}")
    yield "Optimiser", _said(str(settings.get("optimiser") or ""))
    yield "Arithmetic", _said(str(facts.get("precision") or ""))
    yield "What the model sees", _said(kept if stored else "")
    yield "Teaching took", say.number(_number(cost.get("fit_seconds")), say.seconds)


def _gap(found: Fitting) -> Value:
    """Return by how many points of accuracy the kept weights know their training pictures better, and of how many pictures each."""
    if found.gap is None or found.train is None or found.val is None:
        return MISSING
    train, val = (
        f"{say.percent(part)} of {say.count(n)}" for part, n in ((found.train, found.n_train), (found.val, found.n_val))
    )
    return Value(f"{say.points(found.gap)} points: {train} pictures, and {val}", found.gap)


def _method(contestant: Contestant) -> str:
    how = words(_object(contestant.facts.get("tuning")).get("method"))
    told = [f"{name} {contestant.settings[name]}" for name in _ADAPTER if name in contestant.settings and how != "full"]
    return ", ".join([_METHODS.get(how, how), *told]) if how else ""


def _steps(contestant: Contestant) -> str:
    """Return how many were made, of how many, and how many pictures each saw."""
    planned = _object(contestant.facts.get("planned"))
    last = whole(contestant.epochs[-1].get("step")) if contestant.epochs else None
    steps, each = whole(planned.get("steps")), whole(planned.get("pictures_a_step"))
    if last is None:
        return ""
    return say.count(last) + (f" of {say.count(steps)} planned" if steps else "") + (f", {each} pictures each" if each else "")


def _object(told: Any) -> Json:
    return told if isinstance(told, dict) else {}


def _said(text: str) -> Value:
    return Value(say.clean(text, 200), 0.0) if text else MISSING


def _number(told: Any) -> float | None:
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0 else None


def _parts(contestant: Contestant) -> Iterator[tuple[str, Value, Value, Value]]:
    """Yield name, trained and all parameters, and the share, of each part."""
    for name, counts in _object(contestant.facts.get("trained_parts")).items():
        trained, every = (whole(_object(counts).get(key)) for key in ("trained", "all"))
        part = None if trained is None or not every else trained / every
        yield (
            say.clean(name, 40),
            say.number(trained, say.count),
            say.number(every, say.count),
            say.number(part, say.percent),
        )


def _notes(contestant: Contestant) -> Iterator[str]:
    facts = contestant.facts
    found = fitting(contestant.kept, contestant.epochs, 0, 0)
    if found.gap is not None:
        yield f"Did it learn or memorise? {say.glued(found.sentence)}"
    notes: Sequence[Any] = facts["notes"] if isinstance(facts.get("notes"), list) else ()
    yield from (say.clean(note, 400) for note in notes[:6] if isinstance(note, str))
    if (pieces := whole(facts.get("batches_cut_into"))) is not None:
        yield f"Memory ran out: batches went through in {pieces} pieces; steps kept their size."
    unreached = whole(_object(facts.get("unreached")).get("parameters"))
    if unreached:
        yield f"No gradient reaches {say.count(unreached)} of the parameters that are trained: the model has them and does not use them."
