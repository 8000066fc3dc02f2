"""Before a picture leaves this machine: for whom, how many, what it is expected to cost, and whether somebody agrees.

Nothing is sent and nothing is written before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fieldguide import terminal
from fieldguide.asked import Terms
from fieldguide.bench import Progress
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import Sending


@dataclass
class Allowance:
    """How many questions one call may still put, all contestants together, and the hosts that somebody agreed to send pictures to."""

    terms: Terms = field(default_factory=Terms)
    hosts: frozenset[str] = frozenset()
    put: int = 0

    def agreed(self, host: str | None) -> bool:
        """Tell whether pictures may be sent to `host`."""
        return host is not None and (self.terms.yes or host in self.hosts)

    @property
    def left(self) -> int | None:
        """New questions that may still be put; `None` without a limit."""
        return None if self.terms.limit is None else max(0, self.terms.limit - self.put)

    def spend(self, asker: object) -> None:
        """Count what `asker`, a contestant or the problem that stopped it, has put in its sitting and was not counted before."""
        sitting = getattr(asker, "sitting", None)
        if sitting is not None:
            self.put += sitting.uncounted()


def require(
    sendings: Sequence[Sending | None],
    yes: bool,
    progress: Progress,
    confirm: Callable[[str], bool | None] = terminal.confirm,
) -> None:
    """Tell what would be sent, and return once somebody agreed: by `yes`, or at the terminal. Nothing to send needs nobody.

    Raises `UsageProblem` where nobody does.
    """
    found = [one for one in sendings if one is not None and one.pictures]
    if not found:
        return
    for one in found:
        progress.say(line(one))
    if yes:
        return
    hosts = ", ".join(dict.fromkeys(plain(one.host, 100) for one in found))
    agreed = confirm(f"Send {_pictures(sum(one.pictures for one in found))} to {hosts}?")
    if agreed:
        return
    why = "nobody agreed to that" if agreed is None else "that was refused"
    raise UsageProblem(
        f"{_pictures(sum(one.pictures for one in found))} would be sent to {hosts}, and {why}. {' '.join(map(line, found))}",
        "Pictures leave this machine only where somebody agrees: at the terminal, or by --yes. Nothing was sent, and nothing written.",
        "The same command with --yes agrees; a model or a server on this machine needs nobody.",
    )


def line(one: Sending) -> str:
    """Return what would be sent, in a sentence or two."""
    who = f"{plain(one.who, 60)}: " if one.who else ""
    shown = f", each with {one.examples:,} training picture{'s' * (one.examples != 1)} as examples" if one.examples else ""
    cost = f"about {one.tokens_in:,} tokens in and {one.tokens_out:,} out"
    money = "; no price was given" if one.money is None else f", {one.money:,.4g} at the prices given"
    often = f", in {one.questions} questions each" if one.questions > 1 else ""
    first = f", after up to {one.made} short questions about made pictures" if one.made else ""
    return f"{who}{_pictures(one.pictures)} to {plain(one.host, 100)}{often}{shown}{first}: {cost}{money}."


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' * (count != 1)}"
