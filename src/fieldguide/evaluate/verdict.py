"""The verdict: one plain sentence with its uncertainty. Names stand in it as they are; whoever shows it escapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import wilson
from fieldguide.evaluate.pairs import Pair

#: More names than this in one place become a count.
_NAMES = 3
_SMALLEST_P = 0.001


@dataclass(frozen=True)
class Evidence:
    """What the sentence stands on. `sheets` are in order of test accuracy; `pairs` name the earlier of the two as `a`.

    `chance` is what `blind`, an answer without looking, would score.
    """

    sheets: Sequence[AnswerSheet]
    pairs: Mapping[tuple[str, str], Pair]
    chance: float
    above_chance: Mapping[str, bool]
    chosen: str | None
    alpha: float
    blind: str = "chance"

    @property
    def leader(self) -> AnswerSheet:
        """The contestant with the most right answers on the test pictures."""
        return self.sheets[0]

    @property
    def against_leader(self) -> list[Pair]:
        """The leader's pair with each of the others, in order."""
        return [self.pairs[(self.leader.run, other.run)] for other in self.sheets[1:]]


def verdict(evidence: Evidence) -> str:
    """Return the sentence: who leads and how surely, who cannot be told from it, who is beaten, what validation chose."""
    leader, alone, chance = evidence.leader, len(evidence.sheets) == 1, _percent(evidence.chance)
    if not evidence.above_chance[leader.run]:
        limit = f"better than {evidence.blind} ({chance}) as far as {leader.n} pictures can tell"
        if alone:
            return f"{leader.run} is not {limit}: it is right on {_scored(leader)}."
        return f"no contestant is {limit}: the best, {leader.run}, is right on {_scored(leader)}."
    if alone:
        only = "there is no other contestant to compare it with"
        return f"{leader.run} is right on {_scored(leader)}, better than {evidence.blind} ({chance}); {only}."
    return "; ".join([*_leading(evidence), *_beaten(evidence), *_chosen(evidence)]) + "."


def format_p(p: float, alpha: float = 0.05) -> str:
    """Return ``p = 0.017`` or ``p < 0.001``: two digits, or as many as it takes not to be rounded onto or across `alpha`."""
    if p < _SMALLEST_P:
        return f"p < {_SMALLEST_P}"
    text = ""
    for digits in range(2, 8):
        text = f"{p:.{digits}g}"
        shown = float(text)
        if p == alpha or (shown != alpha and (shown < alpha) == (p < alpha)):
            break
    return f"p = {text}"


def _leading(evidence: Evidence) -> list[str]:
    """Return who leads, level with whom, and whom the leader cannot be told from."""
    leader, *others = evidence.sheets
    level = [sheet.run for sheet in others if sheet.correct == leader.correct]
    same = f", level with {_names(level)}" if level else ""
    parts = [f"{leader.run} leads with {_scored(leader)}{same}"]
    tied = [pair for pair in evidence.against_leader if not pair.real and pair.b not in level]
    everyone = len(level) + len(tied) == len(others) > 1
    blind = [pair for pair in tied if pair.outcome == "too few pictures to tell"]
    if tied and everyone and len(blind) < len(tied):
        parts.append(f"not distinguishable from any of the other {len(others)} ({_among(tied, 'smallest', evidence.alpha)})")
        return parts
    seen = [pair for pair in tied if pair not in blind]
    if seen:
        parts.append(
            f"not distinguishable from {_names([pair.b for pair in seen])} ({_among(seen, 'smallest', evidence.alpha)})"
        )
    if blind:
        parts.append(f"too few pictures to tell it from {_names([pair.b for pair in blind])}")
    return parts


def _beaten(evidence: Evidence) -> list[str]:
    """Return whom the leader's group beats; where not all of the group beat all of them, only what the leader beats."""
    leader = evidence.leader.run
    losers = [pair.b for pair in evidence.against_leader if pair.real]
    if not losers:
        return []
    group = [sheet.run for sheet in evidence.sheets if sheet.run not in losers]
    # The group need not stand above every loser: a near contestant can be told from the leader where a farther one cannot.
    meetings = [evidence.pairs.get((winner, loser)) for winner in group for loser in losers]
    wins = [pair for pair in meetings if pair is not None and pair.outcome == "a better"]
    if len(wins) == len(meetings):
        who = {1: "it beats", 2: "both beat"}.get(len(group), f"all {len(group)} beat")
    else:
        who, wins = f"{leader} beats", [pair for pair in wins if pair.a == leader]
    whom = _names(losers) if len(losers) <= _NAMES else f"the other {len(losers)}"
    return [f"{who} {whom} ({_among(wins, 'largest', evidence.alpha)})"]


def _chosen(evidence: Evidence) -> list[str]:
    """Return what validation chose where that is not the leader: choosing by the test would spoil the test."""
    leader = evidence.leader.run
    if evidence.chosen in (None, leader):
        return []
    chosen = next(sheet for sheet in evidence.sheets if sheet.run == evidence.chosen)
    real = evidence.pairs[(leader, chosen.run)].real
    versus = f"although {leader} did better on these pictures" if real else f"for {leader} is not shown to be better"
    return [f"validation chose {chosen.run} ({_percent(chosen.accuracy)} here), and that choice stands, {versus}"]


def _scored(sheet: AnswerSheet) -> str:
    low, high = wilson(sheet.correct, sheet.n)
    pictures = "pictures" if sheet.n > 1 else "picture"
    return f"{_percent(sheet.accuracy)} [{100 * low:.1f}-{100 * high:.1f}] of {sheet.n} {pictures}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _names(names: Sequence[str]) -> str:
    if len(names) > _NAMES:
        return f"{len(names)} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _among(pairs: Sequence[Pair], which: str, alpha: float) -> str:
    """Return the corrected p of one pair, or the `which` (smallest, largest) of several."""
    values = [pair.p_holm for pair in pairs]
    text = format_p(min(values) if which == "smallest" else max(values), alpha)
    return text if min(values) == max(values) or text.startswith("p <") else f"{which} {text}"
