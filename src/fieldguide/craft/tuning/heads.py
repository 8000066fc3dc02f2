"""Three ways to be taught the answer to one picture, on the same adapters, to be compared on the same pictures.

    words     the likelihood of the answer's tokens; it is then asked, and says it
    labels    the share of the right label among all labels, a softmax over their log-likelihoods: what is wrong is pushed down, too
    linear    a linear layer on the last hidden state of the prompt, one number for each label; words are not used at all

All labels are read in one row behind the prompt as a tree (`fieldguide.craft.chat.scoring`), each token seeing those of its own labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.tree import Tree, planted
from fieldguide.craft.tuning import Lesson
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.rows import Batch, Row, Rows, loss
from fieldguide.craft.tuning.saying import said
from fieldguide.errors import DataProblem, plain
from fieldguide.records import Image

Kind = Literal["words", "labels", "linear"]


class Head(Protocol):
    """What a student is taught: a loss over lessons, and the answers that come of it. `module` has parameters of its own, or is `None`."""

    student: Student
    module: nn.Module | None
    rows: Rows

    def weight(self, lesson: Lesson) -> int:
        """Return how many terms a lesson adds to the loss."""
        ...

    def loss(self, lessons: Sequence[Lesson]) -> Tensor:
        """Return the loss in nats, summed over the terms of `lessons`."""
        ...

    def answers(self, lessons: Sequence[Lesson]) -> Iterator[str | None]:
        """Yield what is answered now, in order; `None` where nothing came."""
        ...


@dataclass
class Words:
    """The answer, token by token. With `among`, what it answers while it is taught is the likeliest label as a whole."""

    student: Student
    rows: Rows
    module: nn.Module | None = None
    among: Labels | None = None

    def weight(self, lesson: Lesson) -> int:
        """Return the tokens of the answer."""
        return len(self.rows.tokens(lesson.answer))

    def loss(self, lessons: Sequence[Lesson]) -> Tensor:
        """Return the negative log-likelihood of the answers."""
        return loss(self.student.network, self.rows.batch([self.rows.row(lesson) for lesson in lessons]))

    def answers(self, lessons: Sequence[Lesson]) -> Iterator[str | None]:
        """Yield what the model says when it is asked, or the label that is likeliest."""
        if self.among is not None:
            yield from self.among.answers(lessons)
            return
        for one in said(self.rows, [lesson.image for lesson in lessons]):
            yield None if one.error else one.text


@dataclass
class Labels:
    """The share of each label of the asking among all of them."""

    student: Student
    rows: Rows
    module: nn.Module | None = None
    batch: int = 8
    _tree: Tree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Plant the labels."""
        tokens = [self.rows.tokens(label) for label in self.rows.asking.answers]
        self._tree = planted(tokens, range(len(tokens)))

    def weight(self, lesson: Lesson) -> int:
        """Return 1: a picture counts once, however long its label is."""
        return 1

    def loss(self, lessons: Sequence[Lesson]) -> Tensor:
        """Return the cross-entropy of the right labels."""
        right = _places(self.rows, lessons).to(self.student.network.device)
        return F.cross_entropy(self.sums([lesson.image for lesson in lessons]), right, reduction="sum")

    def weighed(self, images: Sequence[Image]) -> Tensor:
        """Return what a softmax makes shares of."""
        return self.sums(images)

    def sums(self, images: Sequence[Image]) -> Tensor:
        """Return log-likelihoods ``"pictures labels"`` of all labels, by one pass; gradients flow."""
        rows = [self.rows.asked(image) for image in images]
        return behind(self.student.network, self.rows.batch(rows), rows, self._tree, len(self.rows.asking.answers))

    @torch.no_grad()
    def answers(self, lessons: Sequence[Lesson]) -> Iterator[str | None]:
        """Yield the likeliest label as a whole."""
        for start in range(0, len(lessons), self.batch):
            sums = self.sums([lesson.image for lesson in lessons[start : start + self.batch]])
            yield from (self.rows.asking.answers[place] for place in sums.argmax(1).tolist())


@dataclass
class Linear:
    """A linear layer on the last hidden state of the prompt; its weights are drawn from `seed`."""

    student: Student
    rows: Rows
    seed: int = 0
    batch: int = 8
    module: nn.Module | None = None

    def __post_init__(self) -> None:
        """Draw the layer."""
        network = self.student.network
        width = network.config.get_text_config().hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.module = nn.Linear(width, len(self.rows.asking.answers)).to(network.device)

    def weight(self, lesson: Lesson) -> int:
        """Return 1."""
        return 1

    def loss(self, lessons: Sequence[Lesson]) -> Tensor:
        """Return the cross-entropy of the right labels."""
        right = _places(self.rows, lessons).to(self.student.network.device)
        return F.cross_entropy(self.logits([lesson.image for lesson in lessons]), right, reduction="sum")

    def weighed(self, images: Sequence[Image]) -> Tensor:
        """Return what a softmax makes shares of."""
        return self.logits(images)

    def logits(self, images: Sequence[Image]) -> Tensor:
        """Return ``"pictures labels"`` in float32."""
        rows = [self.rows.asked(image) for image in images]
        hidden = self.student.network.model(**self.rows.batch(rows).inputs, use_cache=False)[0]
        last = torch.tensor([row.prompt - 1 for row in rows], device=hidden.device)
        assert self.module is not None
        found: Tensor = self.module(hidden[torch.arange(len(rows), device=hidden.device), last].float())
        return found.float()

    @torch.no_grad()
    def answers(self, lessons: Sequence[Lesson]) -> Iterator[str | None]:
        """Yield the label with the largest number."""
        for start in range(0, len(lessons), self.batch):
            logits = self.logits([lesson.image for lesson in lessons[start : start + self.batch]])
            yield from (self.rows.asking.answers[place] for place in logits.argmax(1).tolist())


def head_of(kind: Kind, student: Student, rows: Rows, seed: int) -> Head:
    """Return a head by its name."""
    if kind == "words":
        return Words(student, rows)
    return Labels(student, rows) if kind == "labels" else Linear(student, rows, seed)


def _places(rows: Rows, lessons: Sequence[Lesson]) -> Tensor:
    """Return the places ``"lessons"`` of the right labels; raises `DataProblem` for an answer that is none of them."""
    known = {label: at for at, label in reversed(list(enumerate(rows.asking.answers)))}
    for lesson in lessons:
        if lesson.answer not in known:
            raise DataProblem(
                f"{plain(lesson.answer)!r} is no label of the prompt.",
                "Allowed: answers that the prompt lists, where labels are weighed against each other.",
                "Teach by words instead.",
            )
    return torch.tensor([known[lesson.answer] for lesson in lessons])


def behind(network: Any, batch: Batch, rows: Sequence[Row], tree: Tree, labels: int) -> Tensor:
    """Return log-likelihoods ``"rows labels"`` of all labels of `tree` behind the prompts of `batch`, in one pass without a cache."""
    inputs = dict(batch.inputs)
    ids, real = inputs["input_ids"], inputs["attention_mask"].bool()
    count, (many, length), device = len(tree.tokens), ids.shape, ids.device
    lengths = torch.tensor([row.prompt for row in rows], device=device)
    positions = _positions(network, batch, real, lengths, tree.depths.to(device))
    inputs["input_ids"] = torch.cat([ids, tree.tokens.to(device).expand(many, -1)], dim=1)
    inputs["attention_mask"] = _mask(real, tree, network.dtype)
    inputs["position_ids"] = positions
    for name in prefixes._along({name: one for name, one in batch.inputs.items() if isinstance(one, Tensor)}):
        if name not in ("input_ids", "attention_mask"):
            inputs[name] = F.pad(inputs[name], (0, count))
    if "cross_attention_mask" in inputs:
        mask = inputs["cross_attention_mask"]
        last = mask[torch.arange(many, device=device), lengths - 1]
        inputs["cross_attention_mask"] = torch.cat([mask, last[:, None].expand(-1, count, -1, -1)], dim=1)
    ends = torch.tensor(sorted({row.prompt - 1 for row in rows}), device=device)
    keep = torch.cat([ends, torch.arange(length, length + count, device=device)])
    logits = network(**inputs, use_cache=False, logits_to_keep=keep).logits.float()
    first = logits[torch.arange(many, device=device), torch.searchsorted(ends, lengths - 1)]
    table = torch.cat([first[:, None], logits[:, len(ends) :]], dim=1).log_softmax(-1)
    found = table[:, tree.after.to(device), tree.words.to(device)]
    return torch.zeros(many, labels, device=device).index_add(1, tree.owner.to(device), found)


def _mask(real: Tensor, tree: Tree, dtype: torch.dtype) -> Tensor:
    """Return an additive mask ``"rows 1 tokens tokens"``: prompts as ever, each node of the tree sees the prompt and its own ancestors."""
    many, length = real.shape
    count, device = len(tree.tokens), real.device
    seen = torch.zeros(many, length + count, length + count, dtype=torch.bool, device=device)
    seen[:, :length, :length] = torch.ones(length, length, dtype=torch.bool, device=device).tril() & real[:, None]
    # What only fills a row sees itself: a token that sees nothing has no softmax.
    seen[:, :length, :length] |= torch.eye(length, dtype=torch.bool, device=device)
    seen[:, length:, :length] = real[:, None]
    seen[:, length:, length:] = tree.seen.to(device)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _positions(network: Any, batch: Batch, real: Tensor, lengths: Tensor, depths: Tensor) -> Tensor:
    """Return positions ``"rows tokens"``, or ``"4 rows tokens"`` in text, time, height and width, of prompts and the tree behind them."""
    own = real.long().cumsum(1) - 1
    if not hasattr(network.model, "get_rope_index"):
        return torch.cat([own.clamp_min(0), lengths[:, None] + depths], dim=1)
    places = prefixes._positions(network, batch.inputs, None)
    after = places[1:].masked_fill(~real, -1).amax(dim=(0, 2)) + 1
    text = torch.cat([own.clamp_min(0), lengths[:, None] + depths], dim=1)
    space = torch.cat([places[1:], (after[:, None] + depths).expand(3, -1, -1)], dim=2)
    return torch.cat([text[None], space])


@torch.no_grad()
def require_weighable(head: Labels, lesson: Lesson) -> None:
    """Raise `DataProblem` where the sum of a label is not the one that its words alone have."""
    row = head.rows.row(lesson)
    alone = -float(loss(head.student.network, head.rows.batch([row])))
    place = int(_places(head.rows, [lesson]))
    among = float(head.sums([lesson.image])[0, place])
    narrow = head.student.network.dtype != torch.float32
    allowed = prefixes.NARROW * max(1.0, abs(alone)) if narrow else prefixes.CLOSE
    if not abs(alone - among) <= allowed:
        raise DataProblem(
            f"This model weighs a label otherwise among others ({among:.4f}) than alone ({alone:.4f}).",
            "Allowed: architectures in which a token sees what its mask lets it see, and no more.",
            "Teach by words instead.",
        )
