"""Nothing but the answers: every path ends in one of them, and an answer that begins another one can be said."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldguide.craft.chat.trie import Decided, Finite, OnlyAnswers, Sampled, Trie, listed
from fieldguide.errors import UsageProblem

END = 0
BEAR, CUB, CAT = [1, 2, END], [1, 2, 3, END], [4, END]


def test_the_end_of_the_turn_is_a_choice_like_any_other() -> None:
    trie = Trie([BEAR, CUB, CAT])
    scores = torch.tensor([[9.0, 1.0, 9.0, 9.0, 0.5, 9.0]])
    assert OnlyAnswers(trie, 2)(torch.tensor([[8, 8]]), scores).isfinite().tolist() == [
        [False, True, False, False, True, False]
    ]
    for end, cub, told in ((5.0, 4.0, END), (4.0, 5.0, 3)):
        scores = torch.tensor([[end, 9.0, 9.0, cub, 9.0, 9.0]])
        assert int(OnlyAnswers(trie, 1)(torch.tensor([[8, 1, 2]]), scores).argmax()) == told
    assert trie.decided([1]) is None
    assert trie.decided([1, 2]) is None
    assert [trie.decided(tokens) for tokens in (BEAR, [1, 2, 3], [4], [4, 7, 7])] == [0, 1, 2, 2]
    assert Decided(trie, 1)(torch.tensor([[8, 1], [8, 4]]), None).tolist() == [False, True]
    assert trie.depth == 4


@settings(max_examples=40)
@given(st.sets(st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple), min_size=1, max_size=12), st.randoms())
def test_any_walk_ends_in_an_answer(answers: set[tuple[int, ...]], chance: object) -> None:
    texts = sorted(answers)
    trie = Trie([[*answer, END] for answer in texts])
    tokens: list[int] = []
    while (place := trie.decided(tokens) if tokens else None) is None:
        scores = torch.tensor([[chance.random() for _ in range(6)]])  # type: ignore[attr-defined]
        tokens.append(int(OnlyAnswers(trie, 0)(torch.tensor([tokens], dtype=torch.long), scores).argmax()))
        assert len(tokens) <= trie.depth
    assert (*texts[place], END)[: len(tokens)] == tuple(tokens)


def test_of_two_that_are_written_alike_the_first_counts() -> None:
    assert Trie([CAT, CAT]).decided([4]) == 0


def test_a_draw_has_the_probabilities_of_its_temperature_and_its_own_seed() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0]).repeat(4000, 1)
    drawn = Sampled(2.0, 5, [str(number) for number in range(4000)])(torch.zeros(4000, 1), scores).argmax(1)
    shares = drawn.bincount() / 4000
    assert torch.allclose(shares, torch.softmax(scores[0] / 2, 0).float(), atol=0.03)
    alone = Sampled(2.0, 5, ["17"])(torch.zeros(1, 1), scores[:1]).argmax(1)
    assert int(alone) == int(drawn[17])
    others = Sampled(2.0, 6, [str(number) for number in range(4000)])(torch.zeros(4000, 1), scores).argmax(1)
    assert not torch.equal(drawn, others)
    unlikely = Sampled(1.0, 0, ["a"])(torch.zeros(1, 1), torch.tensor([[-torch.inf, 0.0]]))
    assert int(unlikely.argmax()) == 1


def test_what_is_no_number_is_remembered() -> None:
    finite = Finite(3)
    scores = torch.tensor([[1.0, 2.0], [torch.nan, 1.0], [-torch.inf, -torch.inf]])
    finite(torch.zeros(3, 1), scores)
    finite(torch.zeros(3, 1), torch.zeros(3, 2))
    assert finite.broken.tolist() == [False, True, True]


def test_a_schema_that_lists_its_values_is_written_out() -> None:
    label = {"type": "object", "properties": {"label": {"type": "string", "enum": ["cat", 'a "sea" lion', "Öl"]}}}
    assert listed(label) == ['{"label": "cat"}', '{"label": "a \\"sea\\" lion"}', '{"label": "Öl"}']
    assert json.loads(listed(label)[1]) == {"label": 'a "sea" lion'}
    two = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}, "sure": {"const": True}}}
    assert listed(two) == ['{"label": "a", "sure": true}', '{"label": "b", "sure": true}']
    for wrong in ({"type": "object"}, {"type": "object", "properties": {"count": {"type": "integer"}}}):
        with pytest.raises(UsageProblem, match="values are listed"):
            listed(wrong)
