"""What answers in words took: tokens, seconds and money, what a right answer costs, and on which machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from fieldguide.report import say
from fieldguide.report.prompted_files import Json, Prompted, number, whole, words
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import NOT_APPLICABLE, NOT_RECORDED, Value

_KINDS = {"openai": "OpenAI-compatible server", "ollama": "Ollama"}
_ASKED = ("prompted", "tuned")
_FILE = "answers from a file: what they cost was not measured here"
_NONE_RIGHT = "no test answer is right"


@dataclass(frozen=True, slots=True)
class Cost:
    """One contestant: what all its answers took, and what one right answer did, under the headline.

    `model`, `where` and `machine` are words; everything of a right answer is the mean of a picture over the test accuracy.
    """

    contestant: Contestant
    model: str
    where: str
    machine: str
    pictures: Value
    asked: Value
    kept: Value
    tokens_in: Value
    cached: Value
    tokens_out: Value
    seconds: Value
    wall: Value
    money: Value
    right_money: Value
    right_seconds: Value
    right_tokens: Value


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine that fieldguide ran on, whether any answer has a price, and whether anything but files was asked at all."""

    here: str
    money: bool
    measured: bool


def costs(told: Sequence[tuple[Contestant, Prompted]], study: Study) -> tuple[Cost, ...]:
    """Return the rows."""
    here = machine(study.environment)
    return tuple(_cost(contestant, read, here) for contestant, read in told)


def hardware(told: Sequence[Cost], study: Study) -> Hardware:
    """Return what stands beneath the rows."""
    measured = any(row.contestant.facts.get("kind") in _ASKED for row in told)
    return Hardware(machine(study.environment), any(not row.money.absent for row in told), measured)


def machine(environment: Json | None) -> str:
    """Return the machine in words, as the study noted it."""
    noted = environment or {}
    cores, memory = whole(noted.get("cores")), number(noted.get("memory_bytes"))
    parts = [
        words(noted.get("platform")),
        f"{say.count(cores)} CPU core{'' if cores == 1 else 's'}" if cores else "",
        words(noted.get("gpu")),
        f"{say.size(memory)} memory" if memory else "",
    ]
    return say.clean(", ".join(part for part in parts if part), 200) or NOT_RECORDED


def _cost(contestant: Contestant, read: Prompted, here: str) -> Cost:
    cost, facts = contestant.cost or {}, contestant.facts
    server = facts.get("server")
    server = server if isinstance(server, dict) else {}
    prompted = facts.get("kind") in _ASKED
    why = "" if prompted else _FILE
    pictures, asked = whole(cost.get("predicted")), whole(cost.get("asked"))
    each = {name: _a_picture(cost, name, pictures) for name in ("tokens_in", "tokens_out", "money")}
    each["seconds"] = (number(cost.get("ms_per_image")) or 0) / 1000 or None
    tokens = None if each["tokens_in"] is None or each["tokens_out"] is None else each["tokens_in"] + each["tokens_out"]
    right = _accuracy(read)
    local = not server or _is_here(words(server.get("host")))
    return Cost(
        contestant=contestant,
        model=say.clean(say.pathless(facts.get("model")), 120)
        if facts.get("model")
        else NOT_APPLICABLE
        if why
        else NOT_RECORDED,
        where=_where(server) if server else "in this process" if prompted else "a file of answers",
        machine=(here if local else "the server’s, not known") if prompted else NOT_APPLICABLE,
        pictures=say.number(pictures, say.count),
        asked=_asked(asked, whole(cost.get("unanswered")), why),
        kept=say.number(_kept(pictures, asked, whole(cost.get("unanswered"))), say.count, why),
        tokens_in=say.number(whole(cost.get("tokens_in")), say.count, why),
        cached=say.number(whole(cost.get("tokens_cached")), say.count, why),
        tokens_out=say.number(whole(cost.get("tokens_out")), say.count, why),
        seconds=say.number(each["seconds"] if prompted else None, say.seconds, why),
        wall=say.number(number(cost.get("answer_wall_seconds")) if prompted else None, say.seconds, why),
        money=say.number(number(cost.get("money")), money, why or "no price is given"),
        right_money=_a_right_one(each["money"], right, money, why or ("no price is given" if each["money"] is None else "")),
        right_seconds=_a_right_one(each["seconds"], right, say.seconds, why),
        right_tokens=_a_right_one(tokens, right, tokens_said, why),
    )


def _kept(pictures: int | None, asked: int | None, unanswered: int | None) -> int | None:
    """Return how many answers were there before: all that are neither asked for nor still open."""
    return None if pictures is None or asked is None else max(0, pictures - asked - (unanswered or 0))


def _asked(asked: int | None, unanswered: int | None, why: str) -> Value:
    """Return how many were asked; where some have no answer yet, how many, too."""
    told = say.number(asked, say.count, why)
    return replace(told, note=f"{say.count(unanswered)} without an answer") if unanswered and not told.absent else told


def _where(server: Json) -> str:
    host = words(server.get("host")) or _host(words(server.get("url")))
    kind = words(server.get("kind"))
    named = " ".join(part for part in (_KINDS.get(kind, kind), words(server.get("version"))) if part)
    return say.clean(", ".join(part for part in (named, host) if part), 120) or NOT_RECORDED


def _host(url: str) -> str:
    """Return the host of an address alone: what stands before an @ or behind a slash is nobody else's."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_here(host: str) -> bool:
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    return name.strip("[]") in ("localhost", "127.0.0.1", "::1")


def _a_picture(cost: Json, name: str, pictures: int | None) -> float | None:
    total = number(cost.get(name))
    return total / pictures if total is not None and pictures else None


def _accuracy(read: Prompted) -> float | None:
    """Return the test accuracy under the headline, from its counts."""
    head = read.test.reading(read.headline)
    return head.right / read.test.n if head and head.right is not None and read.test.n else None


def _a_right_one(each: float | None, accuracy: float | None, said: object, why: str) -> Value:
    if why:
        return Value(NOT_APPLICABLE, title=why)
    if each is None or accuracy is None:
        return say.MISSING
    if accuracy == 0:
        return Value(NOT_APPLICABLE, title=_NONE_RIGHT)
    return say.number(each / accuracy, said)


def money(amount: float) -> str:
    """Return an amount in the currency of its prices: two decimals, or two digits that count where it is small."""
    return f"{amount:.2f}" if amount >= 1 or amount == 0 else f"{amount:.2g}" if amount >= 0.0001 else f"{amount:.1e}"


def tokens_said(number: float) -> str:
    """Return a mean number of tokens."""
    return say.count(number) if number >= 100 else say.decimal(number, 1)
