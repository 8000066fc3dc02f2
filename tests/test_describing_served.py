"""`transformers serve` as a user runs it, with a model of a real class and random weights: it speaks the protocol, and talks rubbish.

A server in a process of its own imports torch and takes long to start, so this runs with all slow cases alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real_server import transformers_serve
from tests.test_describing import describe, study  # noqa: F401 - a fixture

from fieldguide.craft.served import Chat, Patience, Question
from fieldguide.craft.server import Server
from fieldguide.craft.troubles import ServerProblem
from fieldguide.data.texts import folder_of
from fieldguide.errors import EnvironmentProblem

pytestmark = pytest.mark.slow(keep=0)
_TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def write_model(folder: Path) -> None:
    """Write a language model of 30,000 random weights, with a tokenizer of bytes and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, bos_token=special[0], eos_token=special[1], pad_token=special[1], chat_template=_TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a running server, and the name it has for its model."""
    folder = tmp_path_factory.mktemp("served")
    write_model(folder / "tiny-llama")
    with transformers_serve(folder / "tiny-llama", folder) as url:
        yield url, str(folder / "tiny-llama")


def test_the_protocol_works_and_tokens_are_counted(served: tuple[str, str]) -> None:
    url, model = served
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    messages = ({"role": "system", "content": "say a"}, {"role": "user", "content": "hello"})
    chat, other = (Chat(Server(url), Patience(attempts=1, seconds=120)) for _ in range(2))
    reply = chat.ask(Question(model, messages, schema, 0.0, 1, 24))
    again = chat.ask(Question(model, messages, schema, 0.0, 1, 24))
    with pytest.raises(ServerProblem) as wrong:
        other.ask(Question("another", messages, schema))
    chat.close()
    other.close()
    prompt = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages) + "<|im_start|>assistant"
    tokens = len(prompt.replace("<|im_start|>", "s").replace("<|im_end|>", "e").encode())
    assert (reply.tokens_in, reply.tokens_out, reply.finish) == (tokens, 24, "length") and len(reply.text) > 0
    assert reply.text == again.text and Path(reply.model.removesuffix("@main")) == Path(model)
    assert wrong.value.lasting and "HTTP 4" in wrong.value.given


def test_rubbish_becomes_named_failures_and_is_kept(served: tuple[str, str], study: Path) -> None:  # noqa: F811
    url, model = served
    with pytest.raises(EnvironmentProblem) as failed:
        describe(study, url, model=model, most_tokens=64, at_once=2, timeout=120)
    assert (
        failed.value.given.startswith("None of the 18 replies of") and "it was cut at the limit of tokens" in failed.value.given
    )
    lines = [json.loads(line) for line in (folder_of(study) / "tiny-llama.replies.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in lines}) == 18 and all(line["reply"]["tokens_out"] == 64 for line in lines)
