"""What a chat template does is found out by trying it: marks of pictures, system messages, what stands round an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.craft.chat.asking import NAMES, asking

from fieldguide.craft.chat.local_files import processor_of
from fieldguide.craft.chat.tiny import END
from fieldguide.craft.chat.written import Hand
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.tasks.asking import Asking, Message, Shown

_TURN = "{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}"
#: A space follows the colon where text follows, as in SmolVLM's; the answer is written with one, the prompt ends without.
COLONS = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}{{ ':' if m.content[0].type == 'image' else ': ' }}"
    + _TURN
    + "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
#: Pictures before the text of their turn, as in LLaVA's; no token ends a turn.
FIRST = (
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.role | upper }}: {% endif %}"
    "{% for part in m.content if part.type == 'image' %}<image>\n{% endfor %}"
    "{% for part in m.content if part.type == 'text' %}{{ part.text }} {% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
#: A system message is refused, as in Llama's where there is a picture, and thinking can be left out.
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n" + _TURN + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
#: A system message is passed over without a word.
DEAF = STRICT.replace("{{ raise_exception('no system messages') }}{% endif %}", "{% else %}").replace(
    "<|im_end|>\n{% endfor %}", "<|im_end|>\n{% endif %}{% endfor %}"
)


@pytest.fixture
def hand(tiny_chats: Path) -> Any:
    def made(template: str | None = None) -> Hand:
        processor = processor_of("tiny", tiny_chats / "idefics3")
        if template is not None:
            processor.chat_template = template
        return Hand(processor)

    return made


def said(hand: Hand, tokens: list[int]) -> str:
    return str(hand.tokenizer.decode(tokens))


def test_the_prompt_is_cut_at_the_picture_that_is_asked_about(hand: Any) -> None:
    one = hand()
    written = one.write(asking(examples=("a", "b")))
    assert written.before.count("<image>") == 2
    assert written.after.startswith("<image>Say its name.")
    assert (written.ahead, written.behind) == (("a", "b"), ())
    assert written.text.endswith("<|im_start|>assistant\n")
    assert said(one, [written.end]) == END
    later = Asking((Message("user", (Shown(), "or", Shown("a"), "?")),), ("x",))
    assert (one.write(later).ahead, one.write(later).behind) == ((), ("a",))


def test_answers_are_tokenised_as_they_follow_the_prompt(hand: Any) -> None:
    one, colons = hand(), hand(COLONS)
    for who, lead, end in ((one, "", END), (colons, " ", "<end_of_utterance>")):
        written = who.write(asking())
        assert (written.lead, said(who, [written.end])) == (lead, end)
        tokens = who.answers(written, NAMES)
        assert [said(who, found) for found in tokens] == [f"{lead}{name}{end}" for name in NAMES]
    assert colons.write(asking()).before.endswith("Which?")
    assert colons.mark == "<image>"


def test_a_template_that_writes_pictures_first_shortens_what_is_the_same(hand: Any) -> None:
    one = hand(FIRST)
    written = one.write(asking())
    assert written.after.startswith("<image>\nWhich?")
    assert any("pictures of a turn before its text" in note for note in written.notes)
    assert written.end == one.tokenizer.eos_token_id
    assert [said(one, found) for found in one.answers(written, NAMES[:1])] == [f" bear{END}"]


@pytest.mark.parametrize("template", [STRICT, DEAF])
def test_a_system_message_that_is_not_taken_begins_the_first_turn(hand: Any, template: str) -> None:
    written = hand(template).write(asking())
    assert written.before.startswith("<|im_start|>user\nAnswer with one of: bear, bear cub")
    assert "Which?" in written.before
    assert any("takes no system message" in note for note in written.notes)
    assert written.text.endswith("</think>\n\n"), "it is not asked to think aloud"
    assert said(hand(template), [written.end]) == END


def test_what_is_not_written_is_told(hand: Any) -> None:
    with pytest.raises(DataProblem, match="does not write the whole prompt"):
        hand("{% for m in messages %}<image>{{ m.role }}{% endfor %}").write(asking())


@pytest.mark.parametrize("word", ["<image>", "a <|im_end|>", "<fake_token_around_image>"])
def test_a_name_that_is_a_mark_of_the_model_is_refused(hand: Any, word: str) -> None:
    with pytest.raises(UsageProblem, match="a mark of its own"):
        hand().write(asking((*NAMES, word)))
