"""Three ways to be taught one answer: they agree with what answers, and they learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import asking
from tests.craft.tuning.taught import PLAN, bench, lessons, losses, student, teaching

from fieldguide.craft.chat.tiny import architectures
from fieldguide.craft.tuning import Lesson, heads, rows
from fieldguide.craft.tuning.teaching import taught
from fieldguide.errors import DataProblem
from fieldguide.tasks.weighed import loads


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", architectures())
def test_labels_are_weighed_as_a_model_that_is_asked_weighs_them(tiny_chats: Path, architecture: str) -> None:
    made, (some, shelf) = student(tiny_chats, architecture), lessons(3)
    head = heads.Labels(made, rows.Rows(made.chat, asking()))
    with torch.no_grad():
        found = head.sums([lesson.image for lesson in some])
    pictures = [shelf.pictures[lesson.image.key] for lesson in some]
    weighing = dataclasses.replace(asking(), how="likelihood")
    expected = [loads(said.text).sums for said in made.chat.ask(weighing, pictures, {})]
    assert torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-3)
    heads.require_weighable(head, some[1])


def test_a_tree_that_is_mixed_up_is_noticed(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats), lessons(3)
    head = heads.Labels(made, rows.Rows(made.chat, asking()))
    head._tree = dataclasses.replace(head._tree, seen=torch.ones_like(head._tree.seen))
    with pytest.raises(DataProblem, match="weighs a label otherwise"):
        heads.require_weighable(head, some[1])


@pytest.mark.parametrize("kind", ["labels", "linear"])
def test_weighed_heads_learn_their_lessons(tiny_chats: Path, tmp_path: Path, kind: Any) -> None:
    some = lessons(5)[0][4:]
    plan = dataclasses.replace(PLAN, steps=12, every=6, batch_size=1, learning_rate=1e-2)
    made, head = taught(teaching(tiny_chats, plan=plan, head=kind), some, some, bench(tmp_path))
    curve = losses(tmp_path)
    assert curve[-1] < 0.9 * curve[0]
    assert list(head.answers(some)) == [some[0].answer]
    fresh = heads.head_of(kind, made, head.rows, 5)
    assert (list(fresh.answers(some)) == [some[0].answer]) is (kind == "labels"), "labels have nothing but the adapter"


def test_an_answer_that_is_no_label_is_refused(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats), lessons(1)
    with pytest.raises(DataProblem, match="'whale' is no label"):
        heads.Labels(made, rows.Rows(made.chat, asking())).loss([Lesson(some[0].image, "whale")])
