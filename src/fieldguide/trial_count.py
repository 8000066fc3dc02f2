"""The contract's bench for families that count: what its toy pictures are said to show, and the form of an answer."""

from __future__ import annotations

from fieldguide.records import ClassInfo, Example, Prediction
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import MOST, Count, Task


def counting(task: Classify) -> Count:
    """Return the task of counting the classes of `task`."""
    return Count(tuple(ClassInfo(info.id, info.name) for info in task.classes))


def toy_counts(key: str, kind: int, ids: tuple[str, ...]) -> dict[str, int]:
    """Return how many of each class a toy picture of this `kind` is said to show: one to three of its own, perhaps one of the next."""
    draw = int(key[:6], 16)
    own, beside = 1 + draw % 3, draw // 3 % 2
    return {ids[kind]: own, **({ids[(kind + 1) % len(ids)]: 1} if beside else {})}


def usable(answer: Prediction, task: Task) -> bool:
    """Tell whether an answer is one: counts where things are counted, else a label."""
    return answer.counts is not None if isinstance(task, Count) else answer.label is not None


def shows(example: Example, id: str, task: Task) -> bool:
    """Tell whether a training picture shows the class `id`."""
    return bool((example.counts or {}).get(id)) if isinstance(task, Count) else example.label == id


def wrong_counts(answer: Prediction, task: Count) -> tuple[str, str] | None:
    """Return what is wrong with the form of counts, and what is expected; `None` where nothing is, or there are none."""
    if answer.label is not None or answer.probabilities is not None:
        return f"label {answer.label!r} and {len(answer.probabilities or ())} probabilities", "counts alone"
    if answer.counts is None:
        return None
    if tuple(answer.counts) != task.ids:
        return f"counts of {', '.join(answer.counts)}", f"one for each of {', '.join(task.ids)}, in that order"
    odd = next((count for count in answer.counts.values() if type(count) is not int or not 0 <= count <= MOST), None)
    return None if odd is None else (f"the count {odd!r}", f"a whole number from 0 to {MOST}")
