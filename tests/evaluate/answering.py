"""Simulated models that answer a prompt audit, with planted effects: what is found can be held against what was put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fieldguide.evaluate.audited import Facts, Varied
from fieldguide.records import ClassInfo
from fieldguide.tasks.prompting import Prompt, example_of, in_list
from fieldguide.tasks.varying import Check, Variation, not_applicable, present, variations

PROMPT = Prompt(question="Which? {classes}. Name it. For example, for {example} say {example_answer}.")


@dataclass(frozen=True)
class Model:
    """A model that is right about a picture with the chance `skill`, the same whenever it is asked, but for what is planted.

    `noise` is the chance to answer anew when the words change, `drawn` that when nothing does. `example`: to say the example; `first`:
    to say what stands first in the list; `blind`: no picture tells it anything. `blank`: it answers a grey picture as it does a real
    one. `better` are variations which it is right in more often, by how much.
    """

    skill: float = 0.8
    noise: float = 0.05
    drawn: float = 0.0
    example: float = 0.0
    first: float = 0.0
    blind: bool = False
    blank: bool = False
    better: tuple[tuple[str, float], ...] = ()


def truths(pictures: int, classes: int) -> dict[str, str]:
    return {f"{at:05}": f"c{at % classes}" for at in range(pictures)}


def infos(classes: int) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(f"c{at}", f"name{at}", (f"other{at}",)) for at in range(classes))


def facts(
    model: Model,
    seed: int,
    pictures: int = 200,
    classes: int = 6,
    checks: Iterable[Check] | None = None,
    prompt: Prompt = PROMPT,
    temperature: float = 0.0,
) -> Facts:
    """Return what an audit of `model` gets."""
    known, truth = infos(classes), truths(pictures, classes)
    random = np.random.default_rng(seed)
    own = {key: _own(model, label, classes, random) for key, label in truth.items()}
    now = present(prompt, known)
    made = variations(prompt, known, checks, seed=seed)
    base = _answers(model, None, prompt, truth, own, random)
    varied = [Varied.of(one, _answers(model, one, one.prompt, truth, own, random)) for one in made]
    reasons = not_applicable(prompt, known, checks)
    ids = tuple(info.id for info in known)
    return Facts(
        truth,
        base,
        varied,
        ids,
        now.example,
        now.order,
        reasons,
        names={info.id: info.name for info in known},
        temperature=temperature,
    )


def _own(model: Model, label: str, classes: int, random: np.random.Generator) -> str:
    if model.blind:
        return "c0"
    return _drawn(model, label, [f"c{at}" for at in range(classes)], random)


def _drawn(model: Model, label: str, among: Sequence[str], random: np.random.Generator) -> str:
    return label if random.random() < model.skill else among[random.integers(len(among))]


def _answers(
    model: Model, one: Variation | None, prompt: Prompt, truth: dict[str, str], own: dict[str, str], random: np.random.Generator
) -> dict[str, str | None]:
    known = infos(len(set(truth.values())))
    listed, _ = in_list(prompt, known)
    word = example_of(prompt, known, listed) if "{example" in prompt.question else ""
    example = next((info.id for info in known if word in (info.name, *info.synonyms)), None)
    said: dict[str, str | None] = {}
    same = one is None or one.alone or one.again or one.blank
    better = dict(model.better).get(one.id, 0.0) if one is not None else 0.0
    for key, label in truth.items():
        if one is not None and not one.concerns(label):
            continue
        among = [info.id for info in listed if one is None or one.only is None or info.id in one.only]
        answer = own[key]
        if one is not None and one.blank and not model.blank:
            answer = among[0]
        if answer not in among or (
            not model.blind and one is not None and random.random() < (model.drawn if same else model.noise)
        ):
            answer = _drawn(model, label, [info.id for info in known], random)
            while answer not in among:  # names that are not listed leave the others their odds
                answer = _drawn(model, label, [info.id for info in known], random)
        if random.random() < better:
            answer = label
        if example is not None and random.random() < model.example:
            answer = example
        if random.random() < model.first:
            answer = among[0]
        said[key] = answer
    return said
