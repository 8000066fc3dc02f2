"""What a task asks in words and how it reads what comes back, the same for both: to name a class, and to count.

A room that asks a language model takes its question, its right answers, its readings and its scores while training from here.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fieldguide.errors import Problem, UsageProblem, plain
from fieldguide.records import ClassInfo, Example, Prediction
from fieldguide.tasks import reading
from fieldguide.tasks.asking import WEIGHING, Asking, How
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task, name_of
from fieldguide.tasks.count_asking import CountPrompt, count_prompt_names, read_count_prompt, render_count
from fieldguide.tasks.count_reading import READINGS as COUNT_READINGS
from fieldguide.tasks.count_reading import read_counts
from fieldguide.tasks.prompting import Prompt, answer, called, pick_examples, prompt_names, read_prompt, render

#: A question of either task.
Spoken = Prompt | CountPrompt
#: Scores of answers in words about pictures whose right answer is known; `None` where nothing came.
Judged = Callable[[Sequence[str | None], Sequence[str]], Mapping[str, float]]


def prompt_of(name: str, task: Task | None, **said: Any) -> Spoken:
    """Return the question called `name`, or the file, with what is `said` (and not `None`) in place of its own.

    Without a task, whichever question that is. Raises `UsageProblem` for none, and for one of the other task.
    """
    prompt = _read(name, task)
    own = {key: value for key, value in said.items() if value is not None and key in type(prompt).model_fields}
    return prompt.model_copy(update=own)


def _read(name: str, task: Task | None) -> Spoken:
    first, second = (read_count_prompt, read_prompt) if isinstance(task, Count) else (read_prompt, read_count_prompt)
    try:
        return first(name)
    except Problem as problem:
        try:
            other = second(name)
        except Problem:
            raise problem from None
    if task is None:
        return other
    counts = isinstance(task, Count)
    raise UsageProblem(
        f"The prompt {plain(name)!r} asks {'which class a picture shows' if counts else 'for counts'}, "
        f"and this study {'counts things' if counts else 'is about classes'}.",
        f"Allowed: {', '.join(count_prompt_names() if counts else prompt_names())}, or a file of your own.",
        f"For example prompt={'plain' if counts else 'plain, or task = count in a new study'}",
    )


def both(name: str) -> tuple[Spoken, ...]:
    """Return every question that `name` can mean: of both tasks there may be one, and which is wanted is told by the study."""
    found: list[Spoken] = []
    for read in (read_prompt, read_count_prompt):
        try:
            found.append(read(name))
        except Problem:
            continue
    return tuple(found)


def from_words(words: str, task: Task) -> Spoken:
    """Return a question from its JSON."""
    return (CountPrompt if isinstance(task, Count) else Prompt).model_validate_json(words)


def known(prompt: Spoken, task: Task) -> Task:
    """Return `task` with the classes as the prompt calls them; raises `UsageProblem` where two have one name."""
    if isinstance(prompt, Prompt):
        return Classify(called(prompt, task.classes))
    called(Prompt(question="?"), task.classes)
    return task


def as_json(task: Task) -> dict[str, Any]:
    """Return `task` as JSON values."""
    return {"task": name_of(task), "classes": [dataclasses.asdict(info) for info in task.classes]}


def from_json(values: Mapping[str, Any]) -> Any:
    """Return what `as_json` wrote: a `Classify` or a `Count`."""
    classes = tuple(ClassInfo(**{**info, "synonyms": tuple(info["synonyms"])}) for info in values["classes"])
    return Count(classes) if values.get("task") == "count" else Classify(classes)


def reading_of(prompt: Spoken, wanted: str | None) -> Any:
    """Return how answers are read: as is wanted, else as the prompt says."""
    if isinstance(prompt, CountPrompt):
        return wanted or prompt.reading
    return wanted or ("json" if prompt.format == "json" else "strict")


def answers_in(prompt: Spoken) -> str:
    """Return the format of an answer: ``name``, ``json`` or ``counts``."""
    return "counts" if isinstance(prompt, CountPrompt) else prompt.format


def asked(prompt: Spoken, task: Task, how: How, examples: Sequence[tuple[str, Any]] = ()) -> Asking:
    """Return what is asked about every picture; `examples` are (content hash, class id or counts)."""
    if isinstance(prompt, CountPrompt):
        return render_count(prompt, Count(task.classes), how, examples)
    return render(prompt, task.classes, how, examples)


def picked(prompt: Spoken, train: Sequence[Example], task: Task, number: int, seed: int) -> tuple[tuple[str, Any], ...]:
    """Draw the training pictures that are shown: `number` of each class, or, where things are counted, so many in all."""
    if isinstance(prompt, Prompt):
        return pick_examples(train, task.classes, number, seed).examples
    by_key = {one.image.key: dict(one.counts or {}) for one in train}
    order = sorted(by_key)
    random.Random(f"{seed} counts").shuffle(order)  # noqa: S311
    return tuple((key, by_key[key]) for key in order[:number])


def right(prompt: Spoken, task: Any, example: Example) -> str:
    """Return the right answer about a picture, letter for letter; `task` has the prompt's names."""
    if isinstance(prompt, CountPrompt):
        return str(task.say(example.counts or {}, prompt.written(task)))
    return answer(prompt, task.say(str(example.label)))


def read(key: str, text: str, finish: str, task: Any, prompt: Spoken, wanted: str | None) -> Prediction:
    """Return what an answer says about the picture `key`, its text kept as it is."""
    if isinstance(prompt, CountPrompt):
        counted = read_counts(text, task, reading_of(prompt, wanted), finish, prompt.zeros)
        return Prediction(key, counts=counted.counts, raw=text, error=counted.error)
    named = reading.read(text, task, reading_of(prompt, wanted), finish)
    return Prediction(key, named.label, raw=text, error=None if named.kind is None else reading.words_of(named.kind))


def judge(prompt: Spoken, task: Any, wanted: str | None) -> Judged:
    """Return what scores answers while training: top-1 accuracy and macro-F1; of counts, how many are all right, and the mean error.

    The mean error is that of one class, of answers that give counts.
    """

    def told(text: str | None) -> Prediction:
        return Prediction("", error="nothing") if text is None else read("", text, "stop", task, prompt, wanted)

    def names(answers: Sequence[str | None], truth: Sequence[str]) -> Mapping[str, float]:
        from sklearn.metrics import f1_score

        given, there = ([str(told(one).label) for one in some] for some in (answers, truth))
        hits = sum(a == b for a, b in zip(given, there, strict=True))
        f1 = f1_score(there, given, labels=list(dict.fromkeys(there)), average="macro", zero_division=0)
        return {"accuracy": hits / max(1, len(there)), "macro_f1": float(f1)}

    def counts(answers: Sequence[str | None], truth: Sequence[str]) -> Mapping[str, float]:
        pairs = [(told(a).counts, dict(told(b).counts or {})) for a, b in zip(answers, truth, strict=True)]
        off = [abs(given[id] - there[id]) for given, there in pairs if given is not None for id in task.ids]
        exact = sum(given == there for given, there in pairs) / max(1, len(pairs))
        return {"accuracy": exact, **({"mae": sum(off) / len(off)} if off else {})}

    return counts if isinstance(prompt, CountPrompt) else names


def unfit(task: str, prompt: str, how: str, wanted: str | None, head: str = "words") -> Problem | None:
    """Return what keeps a contestant with these settings from a study with this task, before anything is opened; `None` where nothing does."""
    given: Task = Count(()) if task == "count" else Classify(())
    try:
        _read(prompt, given)
    except Problem as problem:
        return problem
    if task != "count":
        return None if wanted is None or wanted in reading.READINGS else _reads(wanted, reading.READINGS)
    if how in WEIGHING or head != "words":
        said = f"ask={how}" if how in WEIGHING else f"head={head}"
        return UsageProblem(
            f"Counts cannot be had with {said}: it weighs the names of a list, and an answer here is a whole object of counts.",
            "Allowed: "
            + ("ask=generate (free text), ask=choice (held to the JSON schema)." if how in WEIGHING else "head=words."),
            "Use ask=generate" if how in WEIGHING else "Use head=words",
        )
    return None if wanted in (None, *COUNT_READINGS) else _reads(str(wanted), COUNT_READINGS)


def _reads(wanted: str, allowed: Sequence[str]) -> UsageProblem:
    return UsageProblem(
        f"Answers of this study cannot be read with reading={plain(wanted)}.",
        f"Allowed: {', '.join(allowed)}.",
        f"Use reading={allowed[0]}, or leave it out",
    )
