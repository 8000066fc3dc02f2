"""Which few pictures tell most about a comparison: those worth a look at why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fieldguide.evaluate.answers import AnswerSheet


def telling(sheets: Sequence[AnswerSheet], kinds: Mapping[str, str], most: int) -> list[tuple[str, str]]:
    """Return at most `most` (content hash, why) of pictures of `sheets`, which are lined up and stand in leaderboard order.

    In turn: missed by all; missed by the leader and right by the best of every other family; the other way round; right by all. The
    surest answers stand first, equal ones in the order of their hashes. `kinds` says of which family each run is.
    """
    if not sheets:
        return []
    best = _best_of_each(sheets, kinds)
    right = np.stack([sheet.right for sheet in sheets])
    rivals = np.stack([sheet.right for sheet in best[1:]]) if len(best) > 1 else right[:0]
    leader, sure = right[0], _sureness(best)
    groups = [
        ("missed by all", ~right.any(axis=0)),
        (
            f"missed by {sheets[0].run}, right by the best of every other family",
            ~leader & rivals.all(axis=0) if len(rivals) else np.zeros_like(leader),
        ),
        (
            f"right by {sheets[0].run}, missed by the best of every other family",
            leader & ~rivals.any(axis=0) if len(rivals) else np.zeros_like(leader),
        ),
        ("right by all", right.all(axis=0)),
        (f"missed by {sheets[0].run}", ~leader),
        (f"right by {sheets[0].run}", leader),
    ]
    queues = [(why, sorted(np.flatnonzero(mask), key=lambda at: (-sure[at], sheets[0].keys[at]))) for why, mask in groups]
    chosen: dict[str, str] = {}
    # The last two groups only fill up what the first four leave open.
    for turn in (queues[:4], queues[4:]):
        while len(chosen) < most and any(queue for _, queue in turn):
            for why, queue in turn:
                while queue and sheets[0].keys[queue[0]] in chosen:
                    queue.pop(0)
                if queue and len(chosen) < most:
                    chosen[sheets[0].keys[queue.pop(0)]] = why
    return list(chosen.items())


def _best_of_each(sheets: Sequence[AnswerSheet], kinds: Mapping[str, str]) -> list[AnswerSheet]:
    found: dict[str, AnswerSheet] = {}
    for sheet in sheets:
        found.setdefault(kinds.get(sheet.run, sheet.run), sheet)
    return list(found.values())


def _sureness(sheets: Sequence[AnswerSheet]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the mean of the probabilities that contestants give to their answers, 0 where none gives any; ``"pictures"``."""
    given = [np.nan_to_num(sheet.probabilities).max(axis=1) for sheet in sheets if sheet.probabilities is not None]
    return np.asarray(np.mean(given, axis=0) if given else np.zeros(sheets[0].n))
