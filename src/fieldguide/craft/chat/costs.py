"""What questions about pictures are expected to come to, before any is asked: letters are counted, and pictures by their size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fieldguide.craft.chat.coded import Coded
from fieldguide.craft.chat.sent import USUAL_SIZE
from fieldguide.records import Sending
from fieldguide.tasks.asking import WEIGHING, Asking, Shown

#: Letters of a token, about right for English, too many for most other languages; turns cost a few tokens each beside their words.
LETTERS, _TURN = 4, 5
#: Side of the square that is one token of a picture in most models of today (Qwen-VL: two patches of 14 a side), in pixels.
_PATCH = 28

#: Of a question that finds out what a server can do: its words and its answer in tokens, and the side of its picture in pixels.
_SHORT, _BRIEF, _MADE = 30, 16, 224


def tokens_of(asking: Asking, image_size: int | None) -> tuple[int, int]:
    """Return the tokens of one question, examples and picture included, and of its answer, where a server gives it."""
    letters = sum(len(part) for turn in asking.messages for part in turn.parts if isinstance(part, str))
    shown = sum(isinstance(part, Shown) for turn in asking.messages for part in turn.parts)
    told = letters / LETTERS + _TURN * len(asking.messages) + shown * picture_tokens(image_size)
    if asking.how in WEIGHING:  # the code of a name is one token, and a model of this process writes none
        return math.ceil(told), 1
    names = [len(name) for name in asking.answers]
    if asking.made.get("format") == "counts":  # every name, a number and what stands around them
        return math.ceil(told), min(math.ceil(sum(names) / LETTERS) + 4 * len(names) + 2, asking.most_tokens)
    said = sum(names) / max(len(names), 1) / LETTERS + (8 if asking.schema else 2)
    return math.ceil(told), min(math.ceil(said), asking.most_tokens)


@dataclass(frozen=True)
class Each:
    """What one picture comes to: so many `questions`, and the tokens of all of them together."""

    questions: int
    tokens_in: int
    tokens_out: int


def of_picture(asking: Asking, image_size: int | None, *, served: bool) -> Each:
    """Return what one picture comes to. Behind a server, a likelihood takes several questions where labels are many."""
    asked = list(Coded(asking).questions()) if served and asking.how == "likelihood" else [asking]
    counts = [tokens_of(one, image_size) for one in asked]
    return Each(len(asked), sum(read for read, _ in counts), sum(written for _, written in counts))


def times(one: Sending, orders: int) -> Sending:
    """Return what is sent where every picture is asked about in so many `orders` of the list."""
    return replace(
        one,
        questions=orders * one.questions,
        tokens_in=orders * one.tokens_in,
        tokens_out=orders * one.tokens_out,
        money=None if one.money is None else orders * one.money,
    )


def first(host: str, questions: int, prices: tuple[float | None, float | None]) -> Sending:
    """Return what finding out sends to `host` before any picture: so many short questions, each counted with a made picture."""
    read, written = questions * (_SHORT + picture_tokens(_MADE)), questions * _BRIEF
    return Sending(host, 0, read, written, money(read, written, *prices), made=questions)


def picture_tokens(image_size: int | None) -> int:
    """Return the tokens of a square picture of this side."""
    return math.ceil((image_size or USUAL_SIZE) / _PATCH) ** 2


def money(tokens_in: float | None, tokens_out: float | None, price_in: float | None, price_out: float | None) -> float | None:
    """Return what tokens cost at these prices for a million, in their currency; `None` where prices or tokens are not known."""
    if price_in is None and price_out is None:
        return None
    if (tokens_in is None and price_in) or (tokens_out is None and price_out):
        return None
    return ((tokens_in or 0) * (price_in or 0.0) + (tokens_out or 0) * (price_out or 0.0)) / 1e6


def sending(
    host: str, pictures: int, asking: Asking, image_size: int | None, prices: tuple[float | None, float | None], examples: int
) -> Sending:
    """Return what asking about so many pictures would send to `host`; `examples` pictures more stand in each question."""
    each = of_picture(asking, image_size, served=True)
    known = sum(isinstance(part, Shown) for turn in asking.messages for part in turn.parts) - 1
    shown = each.questions * max(0, examples - known) * picture_tokens(image_size)
    every_in, every_out = pictures * (each.tokens_in + shown), pictures * each.tokens_out
    return Sending(host, pictures, every_in, every_out, money(every_in, every_out, *prices), examples, questions=each.questions)
