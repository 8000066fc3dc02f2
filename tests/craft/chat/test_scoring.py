"""Log-likelihoods of labels: what full passes give, on every architecture, and each way to get them wrong is told or cannot happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.craft.chat.asking import NAMES, asking, picture
from torch import Tensor

from fieldguide.craft.chat import Wanted, scoring
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.prefix import Prefix
from fieldguide.craft.chat.scoring import Scorer, Way, cut, planted
from fieldguide.craft.chat.tiny import END, architectures
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: Alike in length but not in shape, so that positions in space differ from one to the next.
PICTURES = [picture(1), picture(2, 32, 96), picture(3, 64, 32)]
#: Enough for labels that begin alike, and one that is the beginning of another.
FEW = asking(NAMES[:10])
#: Against full passes, in nats, in float32.
CLOSE = 1e-4


def opened(tiny_chats: Path, architecture: str = "idefics3", **more: Any) -> Local:
    return open_local(Wanted(f"hf/{tiny_chats / architecture}", **more))


def sums(scorer: Scorer, pictures: list[Pixels] | None = None) -> Tensor:
    """Return sums ``"pictures labels"``."""
    found = list(scorer.score(PICTURES if pictures is None else pictures))
    assert [one.error for one in found] == [None] * len(found)
    return torch.tensor([one.sums for one in found], dtype=torch.float64)


def written_out(chat: Local, question: Asking, pictures: list[Pixels], examples: Mapping[str, Pixels]) -> Tensor:
    """Return sums of texts that are written whole, the answer in them, by the processor; nothing of `scoring` is used."""
    prompt, rows = chat._written(question, examples), []
    written = prompt.written
    for pixels in pictures:
        row = []
        shown = [
            *(prompt.shown[key] for key in written.ahead),
            chat._sized(pixels),
            *(prompt.shown[key] for key in written.behind),
        ]
        for answer, tokens in zip(question.answers, chat.hand.answers(written, question.answers), strict=True):
            inputs = chat._inputs(written.text + written.lead + answer + END, shown, begun=not written.marked)
            assert inputs["input_ids"][0, -len(tokens) :].tolist() == tokens
            with torch.inference_mode():
                logits = chat.model(**inputs, use_cache=False).logits[0].float().log_softmax(-1)
            at = torch.arange(len(logits) - len(tokens) - 1, len(logits) - 1)
            row.append(float(logits[at, torch.tensor(tokens)].double().sum()))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("architecture", architectures())
def test_every_way_gives_what_full_passes_give(tiny_chats: Path, architecture: str) -> None:
    chat, question = opened(tiny_chats, architecture, batch_size=4), FEW
    expected = written_out(chat, question, PICTURES[:2], {})
    assert float((expected[0] - expected[1]).abs().max()) > 0.05, "what it sees makes a difference"
    for way in scoring.WAYS:
        scorer = Scorer(chat, question, {}, ways=(way,))
        found = sums(scorer, PICTURES[:2])
        assert scorer.way == chat.facts["likelihood"]["way"] == way
        assert torch.allclose(found, expected, rtol=0, atol=CLOSE), float((found - expected).abs().max())
        assert torch.equal(found.argmax(1), expected.argmax(1))
    assert "why" not in chat.facts["likelihood"]
    sums(Scorer(chat, question, {}), PICTURES[:1])
    told = chat.facts["likelihood"]
    assert (told["way"], told["labels"]) == ("tree", 10)
    assert told["nodes"] < told["tokens"] - told["labels"], "what labels begin with in common is read once"


@pytest.mark.parametrize("architecture", ["idefics3", "qwen3_vl"])
def test_pictures_that_are_shown_as_examples_count_and_may_be_read_once_or_not(tiny_chats: Path, architecture: str) -> None:
    examples = {"a": picture(10), "b": picture(11, 32, 64)}
    chat, question = opened(tiny_chats, architecture), asking(NAMES[:6], examples=("a", "b"))
    expected = written_out(chat, question, PICTURES[:2], examples)
    for once in (True, False):
        scorer = Scorer(chat, question, examples)
        if not once:
            scorer._prompt.prefix, scorer._prompt.tried = None, True
        assert torch.allclose(sums(scorer, PICTURES[:2]), expected, rtol=0, atol=CLOSE)
        assert ((scorer._prompt.prefix is not None), scorer.way) == (once, "tree")


def test_labels_are_whole_answers_with_their_tokens_and_bytes(tiny_chats: Path) -> None:
    names = ("bear", "bear cub", "bär", "", "cat", "bear")
    chat = opened(tiny_chats)
    scorer = Scorer(chat, asking(names), {})
    one = next(scorer.score([PICTURES[0]]))
    assert scorer.labels == names
    assert one.sizes == (4, 8, 4, 0, 3, 4)
    assert one.tokens == tuple(len(tokens) for tokens in scorer.tokens)
    assert one.tokens[3] == 1 and all(tokens[-1] == chat.hand.end for tokens in scorer.tokens)
    assert one.sums[0] == one.sums[5]
    # Whole answers exclude each other, one that begins another one included: with all its continuations it would not be so.
    assert sum(np.exp(one.sums[:5])) < 1
    expected = written_out(chat, asking(names), PICTURES[:1], {})[0]
    for way in scoring.WAYS:
        assert torch.allclose(sums(Scorer(chat, asking(names), {}, ways=(way,)), PICTURES[:1])[0], expected, rtol=0, atol=CLOSE)


def test_an_answer_in_json_is_scored_as_it_would_be_written(tiny_chats: Path) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": list(NAMES[:4])}}}
    scorer = Scorer(opened(tiny_chats), asking(NAMES[:4], schema=schema), {})
    assert scorer.labels[0] == '{"label": "bear"}'
    assert len(next(scorer.score([PICTURES[0]])).sums) == 4


def _uncopied(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(self: Prefix, rows: int, device: torch.device) -> Any:
        if rows > 1:
            self.cache.batch_repeat_interleave(rows)
        return self.cache

    monkeypatch.setattr(Prefix, "_copied", same)


def _astray(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> None:
    """Let what is read of a picture be told wrongly to what follows."""
    honest = scoring.look

    def spoilt(*given: Any) -> Any:
        looked = honest(*given)
        return replace(looked, **{name: make(getattr(looked, name)) for name, make in wrong.items()})

    monkeypatch.setattr(scoring, "look", spoilt)


TRAPS = {
    "a cache that is used again without a copy": ("idefics3", _uncopied),
    "positions that count every token of a picture": (
        "qwen3_vl",
        lambda patch: _astray(patch, place=lambda at: at[:1].expand(4)),
    ),
    "positions of another picture": (
        "qwen3_vl",
        lambda patch: _astray(patch, place=lambda at: at + torch.tensor([0, 4, 4, 4])),
    ),
    "cross-attention that is let through no more": ("mllama", lambda patch: _astray(patch, crossing=torch.zeros_like)),
    "another picture's first token": ("llava", lambda patch: _astray(patch, first=lambda found: found.roll(1))),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_way_that_would_change_a_number_is_not_taken_and_told(
    tiny_chats: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, spoil = TRAPS[trap]
    chat = opened(tiny_chats, architecture, batch_size=1)
    expected = sums(Scorer(chat, FEW, {}, ways=("naive",)), PICTURES[:1])
    spoil(monkeypatch)
    scorer = Scorer(chat, FEW, {}, ways=("copied", "naive") if spoil is _uncopied else scoring.WAYS)
    # One prompt is read as a whole, else the prefix would be what is found out.
    scorer._prompt.prefix, scorer._prompt.tried = None, True
    assert torch.equal(sums(scorer, PICTURES[:1]), expected)
    assert scorer.way == chat.facts["likelihood"]["way"] == "naive"
    assert set(chat.facts["likelihood"]["why"]) == set(scorer.ways) - {"naive"}
    assert "by a full pass each" in chat.facts["notes"][-1]


@pytest.mark.parametrize("architecture", ["idefics3", "mllama"])
def test_what_was_read_is_there_unchanged_after_use(tiny_chats: Path, architecture: str) -> None:
    chat = opened(tiny_chats, architecture)
    scorer = Scorer(chat, FEW, {})
    ready = chat._ready(scorer._prompt, 0, PICTURES[0])
    with torch.inference_mode():
        looked = scoring.look(chat.model, scorer._prompt.prefix, ready.inputs)  # type: ignore[union-attr]
        shapes = [(layer.keys.shape, float(layer.keys.sum())) for layer in looked.read.cache.layers]
        tree = scorer._trees[0]
        first = [scoring.by_tree(chat.model, looked, tree, 10), scoring.by_copies(chat.model, looked, scorer.tokens, 3)]
        again = [scoring.by_tree(chat.model, looked, tree, 10), scoring.by_copies(chat.model, looked, scorer.tokens, 20)]
    assert torch.equal(first[0], again[0])
    assert torch.allclose(first[1], again[1], rtol=0, atol=CLOSE)
    # Cross-attention's own are those of the picture, which no label lengthens or cuts.
    assert [(layer.keys.shape, float(layer.keys.sum())) for layer in looked.read.cache.layers] == shapes


@pytest.mark.parametrize("way", ["tree", "copied"])
def test_what_the_model_remembers_of_another_picture_is_not_read(tiny_chats: Path, way: Way) -> None:
    chat = opened(tiny_chats, "qwen3_vl")
    scorer = Scorer(chat, FEW, {}, ways=(way,))
    expected = sums(scorer)
    chat.model.model.rope_deltas = torch.tensor([[-40]])
    assert torch.equal(sums(scorer), expected)
    assert torch.equal(sums(scorer, PICTURES[::-1]), expected.flip(0))
    # Nor is anything left behind that changes what is said.
    said = [one.text for one in chat.ask(asking(most_tokens=3), PICTURES, {})]
    assert said == [one.text for one in opened(tiny_chats, "qwen3_vl").ask(asking(most_tokens=3), PICTURES, {})]


def hybrid(chat: Local) -> Any:
    """Return a tiny Qwen3.5 (a layer with a running state, then one of attention) that reads what `chat` writes."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    old = chat.model.config
    looks = {
        name: value
        for name, value in old.vision_config.to_dict().items()
        if name not in ("deepstack_visual_indexes", "model_type")
    }
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
    text = {name: getattr(old.text_config, name) for name in (*same, "pad_token_id", "bos_token_id", "eos_token_id")}
    states = {f"linear_{name}": number for name, number in (("num_key_heads", 2), ("num_value_heads", 4))}
    states |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "num_hidden_layers": 2}
    text |= {"initializer_range": 0.08, "layer_types": ["linear_attention", "full_attention"], "max_position_embeddings": 4096}
    text["rope_parameters"] = {**old.text_config.rope_parameters, "partial_rotary_factor": 1.0}
    marks = {name: getattr(old, name) for name in ("image_token_id", "video_token_id")}
    marks |= {name: getattr(old, name) for name in ("vision_start_token_id", "vision_end_token_id")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Qwen3_5ForConditionalGeneration(
            Qwen3_5Config(text_config={**text, **states}, vision_config=looks, **marks)
        ).eval()


def test_a_model_with_a_running_state_is_scored_behind_copies(tiny_chats: Path) -> None:
    chat = opened(tiny_chats, "qwen3_vl")
    chat.model = hybrid(chat)
    expected = written_out(chat, asking(NAMES[:8]), PICTURES[:2], {})
    scorer = Scorer(chat, asking(NAMES[:8]), {})
    found = sums(scorer, PICTURES[:2])
    assert torch.allclose(found, expected, rtol=0, atol=CLOSE), float((found - expected).abs().max())
    assert scorer.way == "copied"
    assert "log-probabilities differ by" in chat.facts["likelihood"]["why"]["tree"]
    assert "as rows of a batch" in chat.facts["notes"][-1]


def test_a_large_tree_is_cut_and_narrow_numbers_are_near(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = opened(tiny_chats)
    expected = sums(Scorer(chat, asking(), {}))
    narrow = Scorer(opened(tiny_chats, precision="bf16"), asking(), {})
    assert torch.allclose(sums(narrow), expected, rtol=0.05)
    assert narrow.way == "tree"
    monkeypatch.setattr(scoring, "_MOST", 10 * chat.model.config.get_text_config().vocab_size)
    scorer = Scorer(chat, asking(), {})
    assert len(scorer._trees) > 3
    assert torch.allclose(sums(scorer), expected, rtol=0, atol=CLOSE)


@settings(max_examples=12)
@given(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=10), st.integers(1, 12))
def test_every_label_has_its_own_path_in_one_tree_and_nothing_else_is_seen(answers: list[list[int]], most: int) -> None:
    labels = [[*answer, 0] for answer in answers]
    groups = cut(labels, most)
    assert sorted(at for group in groups for at in group) == list(range(len(labels)))
    for group in groups:
        tree = planted(labels, group)
        assert len(tree.tokens) <= most or len(group) == 1
        assert len(tree.tokens) == len({tuple(labels[at][:end]) for at in group for end in range(1, len(labels[at]))})
        for at in group:
            own = tree.owner == at
            assert tree.words[own].tolist() == labels[at]
            path = tree.after[own].tolist()
            assert path[0] == 0
            for number, node in enumerate(path[1:], start=1):
                assert tree.depths[node - 1] == number - 1
                assert (tree.seen[node - 1].nonzero()[:, 0] + 1).tolist() == sorted(path[1 : number + 1])
                assert tree.tokens[torch.tensor(path[1 : number + 1]) - 1].tolist() == labels[at][:number]


def test_what_goes_wrong_with_one_picture_is_told_and_decides_nothing(
    tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, empty = opened(tiny_chats), np.zeros((0, 4, 3), np.uint8)
    scorer = Scorer(chat, FEW, {})
    found = list(scorer.score([empty, PICTURES[0], empty]))
    assert [one.error is None for one in found] == [False, True, False]
    assert (scorer.way, found[0].sums, found[1].seconds is not None) == ("tree", (), True)

    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "look", full)
        assert [(one.lasting, "memory" in str(one.error)) for one in scorer.score(PICTURES[:1])] == [(True, True)]
    chat.context = found[1].tokens_in + 2  # type: ignore[operator]
    told = next(scorer.score(PICTURES[:1]))
    assert told.lasting and "longest label" in str(told.error)
    chat = opened(tiny_chats)
    with torch.no_grad():
        chat.model.lm_head.weight[5] = torch.nan
    scorer = Scorer(chat, asking(), {})
    assert "not a number" in str(next(scorer.score(PICTURES[:1])).error)
    assert scorer.way is None
