"""A picture and its answer as inputs of a network, and several of them as a batch; the loss stands on the answer alone.

The prompt is what `Local` makes of the picture when it is asked, the very same numbers; behind it come the tokens of the answer as they
would follow it, the end of the turn included. Labels are -100 everywhere but on those, by construction: no chat template and no mask
decides it. Rows are padded on the right, where nothing that counts can see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional as F
from transformers import LogitsProcessor, LogitsProcessorList

from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.local import Local
from fieldguide.craft.chat.prefix import Inputs
from fieldguide.craft.chat.ready import Prepared
from fieldguide.craft.tuning import Lesson
from fieldguide.craft.tuning.looked import Looked, Looks
from fieldguide.errors import DataProblem, plain
from fieldguide.records import Image, Pixels
from fieldguide.tasks.asking import Asking

#: What torch's loss passes over.
IGNORED = -100
#: Sizes of pictures for which the prompt is remembered, and answers whose tokens are.
_REMEMBERED = 4096


@dataclass(frozen=True, eq=False)
class Row:
    """One lesson: `inputs` ``"1 tokens"`` (and those of the picture) hold `prompt` tokens and then those of `answer`.

    `looks` are stored features that stand for the picture's pixels, `None` where there are none.
    """

    inputs: Inputs
    prompt: int
    answer: tuple[int, ...]
    looks: Looks | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows side by side: `inputs` of the network, and `labels` ``"rows tokens"``; `on_answer` counts those labels that are of an answer."""

    inputs: Mapping[str, Any]
    labels: Tensor
    on_answer: int

    @property
    def tokens(self) -> int:
        """Tokens that the loss stands on."""
        return int((self.labels != IGNORED).sum())


@dataclass
class Rows:
    """Makes rows of lessons for one `asking`; pictures are read when they are asked for, and none is kept.

    `looked` are stored features that stand for pixels; `alike` tells whether answers from them are those from pixels, once that is known.
    """

    chat: Local
    asking: Asking
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    looked: Looked | None = None
    alike: bool | None = None
    _prompts: dict[tuple[int, ...], Inputs] = field(default_factory=dict, repr=False)
    _answers: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def row(self, lesson: Lesson) -> Row:
        """Return the inputs of one lesson. Raises `PictureError` for a picture that cannot be read, `DataProblem` for one too long."""
        asked = self.asked(lesson.image)
        answer = self.tokens(lesson.answer)
        made = Row(followed(asked.inputs, answer), asked.prompt, answer, asked.looks)
        most, length = self.chat.context, made.inputs["input_ids"].shape[1]
        if most is not None and length > most:
            raise DataProblem(
                f"Prompt, picture and answer have {length:,} tokens, and the model reads {most:,} at most.",
                "Allowed: a shorter prompt, or smaller pictures.",
                "Set image_size lower, or take another prompt.",
            )
        return made

    def asked(self, image: Image) -> Row:
        """Return the inputs of a picture that is asked about, without an answer."""
        prompt = self._prompt()
        looks = None if self.looked is None else self.looked.of(image)
        if looks is not None:
            inputs = self._words(prompt, looks.size)
            return Row(inputs, inputs["input_ids"].shape[1], (), looks)
        inputs = self.chat._whole(prompt, self.chat._sized(image.pixels(self.chat.size)))
        return Row(inputs, inputs["input_ids"].shape[1], ())

    def tokens(self, answer: str) -> tuple[int, ...]:
        """Return the tokens of an answer as they follow the prompt, the end of the turn included."""
        if answer not in self._answers:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            (found,) = self.chat.hand.answers(self._prompt().written, [answer])
            self._answers[answer] = tuple(found)
        return self._answers[answer]

    def _prompt(self) -> Prepared:
        """Return the prompt; what is computed once for answering is of no use here, because weights change."""
        return self.chat._written(self.asking, self.examples)

    def _words(self, prompt: Prepared, size: tuple[int, ...]) -> Inputs:
        """Return all inputs but pixels for a picture of `size` (height, width): they depend on nothing else of it."""
        if size not in self._prompts:
            made = self.chat._whole(prompt, Pillow.new("RGB", (size[1], size[0])))
            if len(self._prompts) >= _REMEMBERED:
                self._prompts.clear()
            self._prompts[size] = {name: tensor for name, tensor in made.items() if not tensor.is_floating_point()}
        return self._prompts[size]

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Return `rows` as one batch."""
        inputs, labels = padded(rows, self.chat.pad)
        on_answer = sum(
            int((labels[at, row.prompt : row.prompt + len(row.answer)] != IGNORED).sum()) for at, row in enumerate(rows)
        )
        looks = [row.looks for row in rows if row.looks is not None]
        if looks and self.looked is not None:
            inputs = {**inputs, **self.looked.given(looks)}
        return Batch(inputs, labels, on_answer)


def followed(inputs: Mapping[str, Tensor], answer: Sequence[int]) -> Inputs:
    """Return new inputs: a prompt ``"1 tokens"`` with the tokens of an answer behind it."""
    ids = inputs["input_ids"]
    made = dict(inputs)
    words = torch.tensor([list(answer)], dtype=ids.dtype, device=ids.device)
    for name in prefixes._along(inputs):
        more = {"input_ids": words, "attention_mask": torch.ones_like(words)}.get(name, torch.zeros_like(words))
        made[name] = torch.cat([inputs[name], more.to(inputs[name].dtype)], dim=1)
    if "cross_attention_mask" in inputs:  # what is said looks at the same pictures as the last token of the prompt
        mask = inputs["cross_attention_mask"]
        made["cross_attention_mask"] = torch.cat([mask, mask[:, -1:].expand(-1, len(answer), -1, -1)], dim=1)
    return made


def padded(rows: Sequence[Row], pad: int) -> tuple[Inputs, Tensor]:
    """Return the inputs of `rows` side by side, filled on the right, and labels ``"rows tokens"``."""
    longest = max(row.inputs["input_ids"].shape[1] for row in rows)
    made: Inputs = {}
    for name in rows[0].inputs:
        tensors = [row.inputs[name] for row in rows]
        fill = pad if name == "input_ids" else 0
        if name in prefixes._along(rows[0].inputs):
            made[name] = torch.cat([F.pad(one, (0, longest - one.shape[1]), value=fill) for one in tensors])
        else:
            most = [max(one.shape[at] for one in tensors) for at in range(1, tensors[0].ndim)]
            made[name] = torch.cat([_filled(one, most) for one in tensors])
    labels = torch.full_like(made["input_ids"], IGNORED)
    for at, row in enumerate(rows):
        labels[at, row.prompt : row.prompt + len(row.answer)] = torch.tensor(row.answer, device=labels.device)
    return made, labels


def _filled(tensor: Tensor, sides: Sequence[int]) -> Tensor:
    """Return `tensor` with zeros behind it in all dimensions but the first; processors fill pictures that are lacking so, too."""
    wanted = [more for side, own in zip(reversed(sides), reversed(tensor.shape[1:]), strict=True) for more in (0, side - own)]
    return F.pad(tensor, wanted) if any(wanted) else tensor


def loss(network: Any, batch: Batch) -> Tensor:
    """Return the negative log-likelihood in nats, summed over the tokens of all answers; logits are computed for those alone."""
    targets = batch.labels[:, 1:]
    places = (targets != IGNORED).any(0).nonzero()[:, 0]
    logits = network(**batch.inputs, use_cache=False, logits_to_keep=places).logits
    return F.cross_entropy(logits.float().flatten(0, 1), targets[:, places].flatten(), ignore_index=IGNORED, reduction="sum")


def told(rows: Rows, lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Return where the loss stands, counted on the batch that these lessons make."""
    made = [rows.row(lesson) for lesson in lessons]
    batch = rows.batch(made)
    return {
        "pictures": len(made),
        "prompt_tokens": sum(row.prompt for row in made) / len(made),
        "answer_tokens": sum(len(row.answer) for row in made) / len(made),
        "loss_tokens": batch.tokens,
        "loss_tokens_on_answer": batch.on_answer / max(1, batch.tokens),
    }


def where(loss: Mapping[str, Any]) -> str:
    """Return what `told` counted as a line for people."""
    share, counted = float(loss["loss_tokens_on_answer"]), f"{loss['loss_tokens']:,} tokens, {loss['pictures']} pictures"
    return f"Loss: {100 * share:.1f} % of its tokens stand on the answer ({counted} counted)."


@torch.no_grad()
def agrees(network: Any, rows: Rows, stored: Rows, lesson: Lesson) -> str:
    """Return why stored features do not stand for the picture itself; empty where they do, to the last step of rounding."""
    try:
        plainly, instead = (float(loss(network, one.batch([one.row(lesson)]))) for one in (rows, stored))
    except Exception as error:  # an architecture that was not made for this fails in ways of its own
        return plain(error)
    near = abs(plainly - instead) <= prefixes.CLOSE * max(1.0, abs(plainly))
    return "" if near else f"the loss is {instead:.4f} with them, and {plainly:.4f} without"


class _Said(LogitsProcessor):  # type: ignore[misc]
    """Lets a model say nothing but `answer`; `start` is the length of the prompt."""

    def __init__(self, answer: Sequence[int], start: int) -> None:
        self.answer, self.start = answer, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return `scores` with minus infinity for all but the next token of the answer."""
        only = torch.full_like(scores, -torch.inf)
        only[:, self.answer[input_ids.shape[1] - self.start]] = 0.0
        return only


@torch.no_grad()
def require_honest(network: Any, rows: Rows, lesson: Lesson) -> None:
    """Raise `DataProblem` where an answer is foreseen otherwise in training than when the model says it, token by token.

    So it would be where an architecture lets the prompt see the answer, or looks at the picture only as long as nothing was said.
    """
    asked, row = rows.asked(lesson.image), rows.row(lesson)
    made = network.generate(
        **asked.inputs,
        do_sample=False,
        max_new_tokens=len(row.answer),
        logits_processor=LogitsProcessorList([_Said(row.answer, row.prompt)]),
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=rows.chat.pad,
    )
    said = torch.stack(list(made.logits), dim=1)[0].float()
    taught = network(**rows.batch([row]).inputs, use_cache=False).logits[0, row.prompt - 1 : -1].float()
    ends = said[said > -torch.inf]
    allowed = prefixes.CLOSE if network.dtype == torch.float32 else prefixes.NARROW * float(ends.max() - ends.min())
    far = float((said - taught).abs().max())
    if not far <= allowed:
        raise DataProblem(
            f"This model foresees an answer otherwise when it is taught than when it is asked: logits differ by {far:.2g}.",
            "Allowed: architectures in which a token sees those before it alone, and the picture always.",
            "Take another model.",
        )
