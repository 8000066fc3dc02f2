"""Log-likelihoods of labels: what full passes give, on every architecture, and each way to get them wrong is told or cannot happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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

from fieldguide.craft.chat import Said, Wanted, passes, scoring
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.prefix import Prefix
from fieldguide.craft.chat.scoring import Scorer, Way
from fieldguide.craft.chat.tiny import END, architectures
from fieldguide.craft.chat.tree import Tree, cut, planted
from fieldguide.errors import UsageProblem
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.weighed import loads

#: Alike in length but not in shape, so that positions in space differ from one to the next.
PICTURES = [picture(1), picture(2, 32, 96), picture(3, 64, 32)]
#: Enough for labels that begin alike, and one that is the beginning of another.
FEW = asking(NAMES[:10], how="likelihood")
#: Ways that are not full passes.
ALL: tuple[Way, ...] = scoring.WAYS[:-1]
#: Against full passes, in nats, in float32.
CLOSE = 1e-4


def opened(tiny_chats: Path, architecture: str = "idefics3", **more: Any) -> Local:
    return open_local(Wanted(f"hf/{tiny_chats / architecture}", **more))


def weighing(names: tuple[str, ...] = NAMES, **more: Any) -> Asking:
    return asking(names, how="likelihood", **more)


def scorer_of(
    chat: Local, question: Asking, *ways: Way, examples: Mapping[str, Pixels] | None = None, once: bool = True
) -> Scorer:
    """Return what scores for a question that is asked anew, by one of `ways`; with `once` unset nothing is read before the picture."""
    chat.close()
    prompt = chat._written(question, examples or {})
    prompt.tried = not once
    assert isinstance(prompt.weigher, Scorer)
    prompt.weigher.ways = ways or scoring.WAYS
    return prompt.weigher


def weighed(
    chat: Local, question: Asking, pictures: list[Pixels] | None = None, examples: Mapping[str, Pixels] | None = None
) -> Tensor:
    """Return sums ``"pictures labels"`` as they are asked for."""
    found = list(chat.ask(question, PICTURES if pictures is None else pictures, examples or {}))
    assert [one.error for one in found] == [None] * len(found)
    return torch.tensor([loads(one.text).sums for one in found], dtype=torch.float64)


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
    chat = opened(tiny_chats, architecture, batch_size=4)
    expected = written_out(chat, FEW, PICTURES[:2], {})
    assert float((expected[0] - expected[1]).abs().max()) > 0.05, "what it sees makes a difference"
    for way in scoring.WAYS:
        scorer = scorer_of(chat, FEW, way)
        found = weighed(chat, FEW, PICTURES[:2])
        assert scorer.way == chat.facts["likelihood"]["way"] == way
        assert torch.allclose(found, expected, rtol=0, atol=CLOSE), float((found - expected).abs().max())
        assert torch.equal(found.argmax(1), expected.argmax(1))
    assert "why" not in chat.facts["likelihood"]
    scorer = scorer_of(chat, FEW)
    said = list(chat.ask(FEW, PICTURES[:2], {}))
    told = chat.facts["likelihood"]
    assert (told["way"], told["labels"]) == ("joined", 10)
    assert told["behind"] < told["tokens"] - told["labels"], "what labels begin with in common is read once"
    assert told["once"] + told["picture"] + told["behind"] == said[0].tokens_in < told["full"] / 5
    assert {(one.level, one.finish, one.tokens_out, one.seconds is not None) for one in said} == {
        ("likelihood", "stop", 0, True)
    }
    assert [one.cached for one in said] == [0, told["once"]]
    assert (told["once"] == 0) is (architecture == "mllama")


@pytest.mark.parametrize("architecture", architectures())
def test_a_picture_has_the_same_numbers_alone_and_in_any_batch(
    tiny_chats: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(seed, 32, 32 + 16 * (seed % 3)) for seed in range(7)]
    chat = opened(tiny_chats, architecture, batch_size=4)
    scorer, rows, tokens = scorer_of(chat, FEW), [], []
    honest, behind = scoring.by_joined, scoring.by_tree

    def joined(model: Any, before: Prefix | None, inputs: Any, tree: Tree, labels: int) -> Tensor:
        rows.append(len(inputs["input_ids"]))
        return honest(model, before, inputs, tree, labels)

    def counted(model: Any, looked: passes.Looked, tree: Tree, labels: int) -> Tensor:
        tokens.append(len(looked.first) * len(tree.tokens))
        return behind(model, looked, tree, labels)

    monkeypatch.setattr(scoring, "by_joined", joined)
    monkeypatch.setattr(scoring, "by_tree", counted)
    found = weighed(chat, FEW, pictures)
    assert scorer.way == "joined" and max(rows) > 1 and not tokens, "pictures went through together"
    alone = torch.cat([weighed(chat, FEW, [one]) for one in pictures])
    assert torch.allclose(found, alone, rtol=0, atol=1e-5), float((found - alone).abs().max())
    assert torch.allclose(weighed(chat, FEW, pictures[::-1]), found.flip(0), rtol=0, atol=1e-5)
    # So have they where a pass may hold the logits of 20 tokens: of fewer pictures, and of a few of the labels.
    scorer.most = 2 * 10 * chat.model.config.get_text_config().vocab_size
    scorer._plant()
    scorer.way = "tree"
    assert len(scorer.trees) > 1
    assert torch.allclose(weighed(chat, FEW, pictures), found, rtol=0, atol=1e-5)
    assert max(tokens) <= 20


@pytest.mark.parametrize("architecture", ["idefics3", "qwen3_vl"])
def test_pictures_that_are_shown_as_examples_count_and_may_be_read_once_or_not(tiny_chats: Path, architecture: str) -> None:
    examples = {"a": picture(10), "b": picture(11, 32, 64)}
    chat, question = opened(tiny_chats, architecture), weighing(NAMES[:6], examples=("a", "b"))
    expected = written_out(chat, question, PICTURES[:2], examples)
    for once in (True, False):
        scorer = scorer_of(chat, question, examples=examples, once=once)
        assert torch.allclose(weighed(chat, question, PICTURES[:2], examples), expected, rtol=0, atol=CLOSE)
        assert ((scorer.prompt.prefix is not None), scorer.way) == (once, "joined")


def test_labels_are_whole_answers_with_their_tokens_and_bytes(tiny_chats: Path) -> None:
    names = ("bear", "bear cub", "bär", "", "cat", "bear")
    chat, question = opened(tiny_chats), weighing(names)
    scorer = scorer_of(chat, question)
    one = loads(next(chat.ask(question, [PICTURES[0]], {})).text)
    assert scorer.labels == names
    assert one.sizes == (4, 8, 4, 0, 3, 4)
    assert one.tokens == tuple(len(tokens) for tokens in scorer.tokens)
    assert one.tokens[3] == 1 and all(tokens[-1] == chat.hand.end for tokens in scorer.tokens)
    assert one.sums[0] == one.sums[5]
    # Whole answers exclude each other, one that begins another one included: with all its continuations it would not be so.
    assert sum(np.exp(one.sums[:5])) < 1
    expected = written_out(chat, question, PICTURES[:1], {})[0]
    for way in ALL:
        scorer_of(chat, question, way)
        assert torch.allclose(weighed(chat, question, PICTURES[:1])[0], expected, rtol=0, atol=CLOSE)
        # Of one name, and of one that is nothing but the end of a turn, there is no tree.
        for only in (("bear",), ("",)):
            scorer_of(chat, weighing(only), way)
            assert torch.allclose(
                weighed(chat, weighing(only), PICTURES[:1]),
                written_out(chat, weighing(only), PICTURES[:1], {}),
                rtol=0,
                atol=CLOSE,
            )


def test_an_answer_in_json_is_scored_as_it_would_be_written(tiny_chats: Path) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": list(NAMES[:4])}}}
    chat, question = opened(tiny_chats), weighing(NAMES[:4], schema=schema)
    assert scorer_of(chat, question).labels[0] == '{"label": "bear"}'
    assert weighed(chat, question, PICTURES[:1]).shape == (1, 4)
    with pytest.raises(UsageProblem, match="allows 4 texts, and there are 5 names"):
        chat.ask(weighing(NAMES[:5], schema=schema), PICTURES, {})


def _uncopied(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(self: Prefix, at: Tensor | None = None) -> Any:
        if at is not None:
            self.cache.reorder_cache(at)
        return self.cache

    monkeypatch.setattr(Prefix, "copied", same)


def _astray(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> None:
    """Let what is read of a picture be told wrongly to what follows."""
    honest = scoring.look

    def spoilt(*given: Any) -> Any:
        looked = honest(*given)
        return replace(looked, **{name: make(getattr(looked, name)) for name, make in wrong.items()})

    monkeypatch.setattr(scoring, "look", spoilt)


def _unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every token of the tree see all that stand before it, whatever their label."""
    monkeypatch.setattr(
        scoring, "planted", lambda labels, some: replace(made := planted(labels, some), seen=torch.ones_like(made.seen).tril())
    )


def _placed(monkeypatch: pytest.MonkeyPatch, make: Callable[[Tensor], Tensor]) -> None:
    """Let what follows a picture stand elsewhere."""
    honest = passes._begun

    def spoilt(*given: Any) -> Any:
        begun, mask, place = honest(*given)
        return begun, mask, make(place)

    monkeypatch.setattr(passes, "_begun", spoilt)


POSITIONS = "positions that count every token of a picture"
TRAPS: dict[str, tuple[str, Any, tuple[Way, ...]]] = {
    "a cache that is used again without a copy": ("idefics3", _uncopied, ("copied",)),
    "a tree without its mask": ("idefics3", _unmasked, ("joined", "tree")),
    "positions that are one too far": ("llava", lambda patch: _placed(patch, lambda at: at + 1), ALL),
    POSITIONS: (
        "qwen3_vl",
        lambda patch: _placed(patch, lambda at: at[:1].expand(4, -1)),
        ALL,
    ),
    "positions of another picture": (
        "qwen3_vl",
        lambda patch: _placed(patch, lambda at: at + torch.tensor([0, 4, 4, 4])[:, None]),
        ALL,
    ),
    "cross-attention that is let through no more": (
        "mllama",
        lambda patch: _astray(patch, crossing=torch.zeros_like),
        ("tree", "copied"),
    ),
    "another picture's first token": (
        "llava",
        lambda patch: _astray(patch, first=lambda found: found.roll(1, 1)),
        ("tree", "copied"),
    ),
}


@pytest.mark.parametrize(
    ("trap", "precision"), [*((trap, "fp32") for trap in TRAPS), ("a tree without its mask", "bf16"), (POSITIONS, "bf16")]
)
def test_a_way_that_would_change_a_number_is_not_taken_and_told(
    tiny_chats: Path, trap: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, spoil, wrong = TRAPS[trap]
    chat = opened(tiny_chats, architecture, precision=precision)
    scorer_of(chat, FEW, "naive")
    expected = weighed(chat, FEW, PICTURES[:1])
    spoil(monkeypatch)
    # Copies are cut in two, so that a cache is used twice; and the prompt is read as a whole, or the prefix would be what is found out.
    monkeypatch.setattr(passes, "_COPIED", 1)
    scorer = scorer_of(chat, FEW, *wrong, "naive", once=False)
    assert torch.equal(weighed(chat, FEW, PICTURES[:1]), expected)
    assert scorer.way == chat.facts["likelihood"]["way"] == "naive"
    assert set(chat.facts["likelihood"]["why"]) == set(wrong)
    assert "by a full pass each" in chat.facts["notes"][-1]


@pytest.mark.parametrize("architecture", ["idefics3", "mllama"])
def test_what_was_read_is_there_unchanged_after_use(tiny_chats: Path, architecture: str) -> None:
    chat = opened(tiny_chats, architecture)
    scorer = scorer_of(chat, FEW)
    ready = chat._ready(scorer.prompt, 0, PICTURES[0])
    assert not isinstance(ready, Said)
    with torch.inference_mode():
        looked = passes.look(chat.model, scorer.prompt.prefix, ready.inputs)
        shapes = [(layer.keys.shape, float(layer.keys.sum())) for layer in looked.read.cache.layers]
        found = []
        for most in (1, 2**20):
            found.append(passes.by_tree(chat.model, looked, scorer.trees[0], 10))
            found.append(passes.by_copies(chat.model, looked, scorer.tokens, most))
    assert torch.equal(found[0], found[2])
    assert torch.allclose(found[1], found[3], rtol=0, atol=CLOSE)
    # Cross-attention's own are those of the picture, which no label lengthens or cuts.
    assert [(layer.keys.shape, float(layer.keys.sum())) for layer in looked.read.cache.layers] == shapes


@pytest.mark.parametrize("way", ALL)
def test_what_the_model_remembers_of_another_picture_is_not_read(tiny_chats: Path, way: Way) -> None:
    chat = opened(tiny_chats, "qwen3_vl")
    scorer_of(chat, FEW, way)
    expected = weighed(chat, FEW)
    chat.model.model.rope_deltas = torch.tensor([[-40]])
    assert torch.equal(weighed(chat, FEW), expected)
    assert torch.equal(weighed(chat, FEW, PICTURES[::-1]), expected.flip(0))
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
    chat, question = opened(tiny_chats, "qwen3_vl"), weighing(NAMES[:8])
    chat.model = hybrid(chat)
    expected = written_out(chat, question, PICTURES[:2], {})
    scorer = scorer_of(chat, question)
    found = weighed(chat, question, [*PICTURES[:2], PICTURES[0]])
    assert torch.allclose(found[:2], expected, rtol=0, atol=CLOSE), float((found[:2] - expected).abs().max())
    assert torch.allclose(found[0], found[2], rtol=0, atol=1e-5)
    assert scorer.way == "copied"
    assert "log-probabilities differ by" in chat.facts["likelihood"]["why"]["tree"]
    assert set(chat.facts["likelihood"]["why"]) == {"joined", "tree"}
    assert "as rows of a batch" in chat.facts["notes"][-1]


def test_a_model_that_sees_through_a_window_is_scored_behind_copies(tiny_chats: Path) -> None:
    from transformers import Idefics3ForConditionalGeneration, MistralConfig

    chat, question = opened(tiny_chats), weighing(NAMES[:8])
    config, old = chat.model.config, chat.model.config.text_config
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers")
    sizes = {name: getattr(old, name) for name in (*same, "pad_token_id", "bos_token_id", "eos_token_id", "initializer_range")}
    config.text_config = MistralConfig(**sizes, head_dim=16, sliding_window=12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        chat.model = Idefics3ForConditionalGeneration(config).eval()
    expected = written_out(chat, question, PICTURES[:2], {})
    scorer = scorer_of(chat, question)
    found = weighed(chat, question, PICTURES[:2])
    assert torch.allclose(found, expected, rtol=0, atol=CLOSE), float((found - expected).abs().max())
    assert scorer.way == "copied"


def test_a_large_tree_is_cut_and_narrow_numbers_are_near(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat, question = opened(tiny_chats), weighing()
    expected = weighed(chat, question)
    narrow = opened(tiny_chats, precision="bf16")
    scorer = scorer_of(narrow, question)
    assert torch.allclose(weighed(narrow, question), expected, rtol=0.05)
    assert scorer.way == "joined"
    monkeypatch.setattr(scoring, "_MOST", 10 * chat.model.config.get_text_config().vocab_size)
    scorer = scorer_of(chat, question)
    assert len(scorer.trees) > 3
    assert torch.allclose(weighed(chat, question), expected, rtol=0, atol=CLOSE)


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


def test_what_goes_wrong_with_one_picture_is_told_and_decides_nothing(tiny_chats: Path) -> None:
    chat, empty = opened(tiny_chats), np.zeros((0, 4, 3), np.uint8)
    scorer = scorer_of(chat, FEW)
    found = list(chat.ask(FEW, [empty, PICTURES[0], empty], {}))
    assert [one.error is None for one in found] == [False, True, False]
    assert (scorer.way, found[1].seconds is not None) == ("joined", True)
    chat.context = chat.facts["likelihood"]["once"] + chat.facts["likelihood"]["picture"] + 2
    told = next(chat.ask(FEW, PICTURES[:1], {}))
    assert told.lasting and "in the longest name" in str(told.error)
    chat = opened(tiny_chats)
    with torch.no_grad():
        chat.model.lm_head.weight[5] = torch.nan
    scorer = scorer_of(chat, FEW)
    assert "not a number" in str(next(chat.ask(FEW, PICTURES[:1], {})).error)
    assert scorer.way is None


def test_where_memory_runs_out_fewer_pictures_and_then_fewer_labels_go_through(
    tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(seed) for seed in range(6)]
    chat = opened(tiny_chats, batch_size=6)
    expected = weighed(chat, FEW, pictures)
    scorer = scorer_of(chat, FEW)
    chat._ready(scorer.prompt, 0, pictures[0])
    honest, sizes = chat.model.forward, []

    def hungry(*given: Any, logits_to_keep: int = 0, **more: Any) -> Any:
        rows, tokens = more["input_ids"].shape
        sizes.append(rows * (logits_to_keep or tokens))
        if sizes[-1] > most and more["use_cache"]:  # full passes show what is right
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return honest(*given, logits_to_keep=logits_to_keep, **more)

    monkeypatch.setattr(chat.model, "forward", hungry)
    most = 3 * (len(scorer.trees[0].tokens) + 1)
    assert torch.allclose(weighed(chat, FEW, pictures), expected, rtol=0, atol=1e-5)
    assert (chat.batch, scorer.way) == (3, "joined"), "what is short of memory is not taken for what is wrong"
    sizes.clear()
    most = len(scorer.trees[0].tokens) // 3
    assert torch.allclose(weighed(chat, FEW, pictures), expected, rtol=0, atol=1e-5)
    assert (chat.batch, scorer.way, len(scorer.trees) >= 3) == (1, "tree", True)
    sizes.clear()
    weighed(chat, FEW, pictures)
    assert max(sizes) <= most, "it is remembered"
    most = 0
    said = list(chat.ask(FEW, pictures[:2], {}))
    assert [(one.lasting, "memory" in str(one.error)) for one in said] == [(True, True)] * 2


@pytest.mark.parametrize("way", scoring.WAYS)
def test_a_way_is_found_out_once_where_questions_take_turns(
    tiny_chats: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, other, passed = opened(tiny_chats), weighing(NAMES[9::-1]), []
    honest = scoring.full_passes
    monkeypatch.setattr(scoring, "full_passes", lambda *given: passed.append(len(given[2])) or honest(*given))
    scorer_of(chat, FEW, way)
    expected = weighed(chat, FEW, PICTURES[:1])
    weighed(chat, other, PICTURES[:1])
    passed.clear()
    again = list(chat.ask(FEW, PICTURES[:1], {}))
    assert torch.allclose(torch.tensor([loads(again[0].text).sums], dtype=torch.float64), expected, rtol=0, atol=1e-5)
    assert passed == ([10] if way == "naive" else [])
    assert chat._prompt is not None and (chat._prompt.prefix is None) is (way == "naive")


@pytest.mark.parametrize("way", ["joined", "copied"])
def test_numbers_come_as_they_are_had(tiny_chats: Path, way: Way) -> None:
    chat, taken = opened(tiny_chats, batch_size=2), []
    scorer_of(chat, FEW, way)

    def stream() -> Iterator[Pixels]:
        for number in range(8):
            taken.append(number)
            yield picture(number)

    answers = chat.ask(FEW, stream(), {})
    assert taken == []
    for number, _ in enumerate(answers):
        assert len(taken) - number <= (2 if way == "joined" or number == 0 else 1)
