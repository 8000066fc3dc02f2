"""What tells one fitted contestant from another without looking inside: a hash of its settings and the SHA-256 of its weights."""

from __future__ import annotations

from dataclasses import dataclass

from fieldguide.files import digest
from fieldguide.report import say
from fieldguide.report.read import Contestant, Study


@dataclass(frozen=True, slots=True)
class Hashes:
    """One contestant; what it does not have says so."""

    contestant: Contestant
    settings: str
    weights: str

    @property
    def name(self) -> str:
        """Name of the contestant."""
        return self.contestant.name


def hashes(study: Study) -> tuple[Hashes, ...]:
    """Return the hashes of every contestant of `study` that was fitted, in leaderboard order."""
    return tuple(
        Hashes(contestant, settings_hash(contestant) or say.NOT_RECORDED, _weights(contestant)) for contestant in study.scored
    )


def settings_hash(contestant: Contestant) -> str | None:
    """Return 16 hex characters that stand for family and settings: the same ones have the same."""
    return digest(contestant.family, contestant.settings)[:16] if contestant.settings else None


def _weights(contestant: Contestant) -> str:
    cost = contestant.cost or {}
    if "model_sha256" not in cost:
        return say.NOT_RECORDED
    return str(cost["model_sha256"] or say.NOT_APPLICABLE)
