"""All of it together: a model is opened, what is trained is told, what is frozen is computed once, and the loop runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fieldguide.bench import Bench
from fieldguide.craft.chat import Wanted
from fieldguide.craft.tuning import Lesson, Tuning, adapters, heads, looked, parts, rows
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.heads import Head, Kind
from fieldguide.craft.tuning.rows import Rows
from fieldguide.craft.tuning.training import Course, Judge, Plan, exact
from fieldguide.errors import DataProblem, plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: Lessons on which it is counted where the loss stands.
COUNTED = 8


@dataclass(frozen=True)
class Teaching:
    """What is taught to which model, and how. `store` tells whether features of frozen towers are kept: ``auto`` or ``off``.

    `checkpointing` computes activations a second time instead of keeping them. `weighs` tells that who was taught words will be asked
    how probable each label is: so do looks at validation, by the sum of each label.
    """

    wanted: Wanted
    tuning: Tuning
    plan: Plan
    asking: Asking
    head: Kind = "words"
    checkpointing: bool = False
    store: Literal["auto", "off"] = "auto"
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    weighs: bool = False


def opened(teaching: Teaching, lessons: Sequence[Lesson], bench: Bench) -> tuple[Student, Head]:
    """Return the model, ready to be trained, and its head; tells what is trained, where the loss stands and what is stored.

    `lessons` are those of training and validation. What binds its user (a licence) is said before anything is trained.
    """
    student = adapters.opened(teaching.wanted, teaching.tuning, bench.seed, checkpointing=teaching.checkpointing)
    for note in student.chat.facts.get("notes", ()):
        bench.progress.say(str(note))
    bench.progress.say(parts.told(student.counts))
    plainly = Rows(student.chat, teaching.asking, teaching.examples)
    rows.require_honest(student.network, plainly, lessons[0])
    some = list(lessons[:COUNTED])
    loss = rows.told(plainly, some)
    bench.fact(**student.facts(), loss=loss)
    if teaching.head == "words":
        bench.progress.say(rows.where(loss))
    chosen, why = _stored(student, plainly, teaching, lessons, bench)
    bench.fact(stored_features={"used": chosen.looked is not None, "why": why})
    head = heads.head_of(teaching.head, student, chosen, bench.seed)
    if isinstance(head, heads.Labels):
        heads.require_weighable(head, lessons[0])
    if isinstance(head, heads.Words) and teaching.weighs:
        head.among = _among(student, chosen, lessons[0])
        bench.fact(looked_by="words" if head.among is None else "sums")
    return student, head


def _among(student: Student, made: Rows, lesson: Lesson) -> heads.Labels | None:
    """Return what weighs labels in one pass; `None` where this architecture cannot: looks are then taken by what it says."""
    found = heads.Labels(student, made)
    try:
        heads.require_weighable(found, lesson)
    except DataProblem:
        return None
    return found


def _stored(student: Student, plainly: Rows, teaching: Teaching, lessons: Sequence[Lesson], bench: Bench) -> tuple[Rows, str]:
    """Return rows that read stored features where that is possible and wanted, and why or why not."""
    if teaching.store == "off":
        return plainly, "not wanted"
    if teaching.asking.examples:
        return plainly, "the prompt shows other pictures, too"
    images = [lesson.image for lesson in lessons]
    store, why = looked.opened(student.chat, images, student.base, student.tuning.parts, bench)
    if store is None:
        return plainly, why
    chosen = Rows(student.chat, teaching.asking, looked=store)
    differs = rows.agrees(student.network, plainly, chosen, lessons[0])
    if differs:
        return plainly, differs
    try:
        store.prepare(images)
    except ValueError as error:
        return plainly, f"not all pictures are alike in what is stored of them: {plain(error)}"
    return chosen, why


def taught(
    teaching: Teaching, train: Sequence[Lesson], val: Sequence[Lesson], bench: Bench, judge: Judge = exact
) -> tuple[Student, Head]:
    """Train, or go on where the last sitting was stopped; return the student with its best weights, and its head."""
    student, head = opened(teaching, [*train, *val], bench)
    plan = teaching.plan
    bench.fact(planned={"steps": plan.steps, "pictures_a_step": plan.batch_size * plan.accumulate, "lessons": len(train)})
    Course(head, train, val, teaching.plan, bench, judge).go()
    return student, head
