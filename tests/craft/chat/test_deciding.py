"""transformers' decision pipeline as a floor: its own numbers, its limits in words, and nothing of the model changed by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tests.craft.chat.asking import NAMES, asking, picture

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.deciding import stated
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.tiny import architectures
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.weighed import loads

PICTURES = [picture(1), picture(2, 32, 96), picture(3)]


def deciding(names: tuple[str, ...] = NAMES, **more: Any) -> Asking:
    return asking(names, how="decision", **more)


def opened(folder: Path, **more: Any) -> Local:
    return open_local(Wanted(f"hf/{folder}", **more))


@pytest.mark.parametrize("architecture", architectures())
def test_it_gives_the_probabilities_of_the_pipeline_and_changes_nothing(tiny_chats: Path, architecture: str) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.decision import DecisionConfig
    from transformers.pipelines.decision import DecisionPipeline

    folder, examples = tiny_chats / architecture, {"a": picture(10)}
    question = deciding(examples=("a",))
    chat = opened(folder, batch_size=3)
    spoken = [one.text for one in chat.ask(asking(most_tokens=4), PICTURES, {})]
    tokens = len(chat.hand.tokenizer)
    said = list(chat.ask(question, PICTURES, examples))
    assert {(one.error, one.level, one.finish, one.tokens_out, one.cached) for one in said} == {
        (None, "decision", "stop", 0, 0)
    }
    sums = torch.tensor([loads(one.text).sums for one in said])
    assert float((sums[0] - sums[1]).abs().max()) > 0.01, "what it sees makes a difference"
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    plain = DecisionConfig(sanitize_control_tokens=False)
    pipe = DecisionPipeline(
        model=model, tokenizer=processor.tokenizer, processor=processor, decision_config=plain, device=torch.device("cpu")
    )
    for pixels, row in zip(PICTURES, sums, strict=True):
        state, assets = stated(question, {"a": Pillow.fromarray(examples["a"])}, Pillow.fromarray(pixels))
        request = {"state": state, "questions": {"q": {"type": "choice", "criteria": dict.fromkeys(NAMES)}}, "assets": assets}
        probabilities = pipe(request)["q"]["probabilities"]
        assert np.allclose(row.exp().numpy(), [probabilities[name] for name in NAMES], atol=1e-5)
    alone = [loads(next(chat.ask(question, [one], examples)).text).sums for one in PICTURES]
    assert np.allclose(sums.numpy(), alone, atol=1e-5)
    assert chat.facts["decision"] == {"labels": 20, "first": "A", "last": "T", "most": 26}
    assert len(chat.hand.tokenizer) == tokens
    assert [one.text for one in chat.ask(asking(most_tokens=4), PICTURES, {})] == spoken


def test_the_prompt_is_put_with_its_pictures_in_their_places() -> None:
    question = deciding(("bear", "<picture-0> of a cat"), examples=("a",))
    one, two = (Pillow.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    state, assets = stated(question, {"a": one}, two)
    assert state == (
        "Answer with one of: bear, <picture-0> of a cat.\n\nThis one?\n<picture_-0>\n\nAnswer: bear\n\n"
        "Which?\n<picture_-1>\nSay its name."
    )
    assert assets == {"<picture_-0>": one, "<picture_-1>": two}


def test_narrow_numbers_serve_too(tiny_chats: Path) -> None:
    wide, narrow = (
        [loads(one.text).sums for one in opened(tiny_chats / "llava", precision=given).ask(deciding(), PICTURES, {})]
        for given in ("fp32", "bf16")
    )
    assert np.allclose(wide, narrow, atol=0.05)


def test_what_it_cannot_do_is_told_before_a_picture_is_taken(tiny_chats: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_chats / "idefics3", folder)
    names = tuple(f"class {number}" for number in range(27))
    with pytest.raises(UsageProblem, match="tells 26 options apart, and there are 27 names") as told:
        opened(folder).ask(deciding(names), iter(()), {})
    assert "ask=likelihood" in told.value.next
    # With labels of its own it takes more, and another revision is another model.
    revision = opened(folder).revision
    labels = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a"]
    (folder / "decision.json").write_text(json.dumps({"labels": {"choice": labels}}))
    chat = opened(folder)
    assert chat.revision != revision
    assert len(loads(next(chat.ask(deciding(names), PICTURES, {})).text).sums) == 27
    (folder / "decision.json").write_text(json.dumps({"labels": {"choice": ["no such token", "B"]}}))
    with pytest.raises(UsageProblem, match="not distinct single tokens"):
        opened(folder).ask(deciding(names[:2]), PICTURES, {})
    for content, why in (("{", "cannot be read"), ('{"adapter": "lora"}', "names an adapter")):
        (folder / "decision.json").write_text(content)
        with pytest.raises(DataProblem, match=why):
            opened(folder).ask(deciding(names[:2]), PICTURES, {})


def test_what_goes_wrong_with_one_picture_is_told(tiny_chats: Path) -> None:
    chat = opened(tiny_chats / "idefics3")
    said = list(chat.ask(deciding(), [np.zeros((0, 4, 3), np.uint8), PICTURES[0]], {}))
    assert [one.error is None for one in said] == [False, True]
    chat.context = 40
    assert next(chat.ask(deciding(), PICTURES, {})).lasting
    chat = opened(tiny_chats / "idefics3")
    with torch.no_grad():
        chat.model.lm_head.weight[:] = torch.nan
    assert "not a number" in str(next(chat.ask(deciding(), PICTURES, {})).error)
