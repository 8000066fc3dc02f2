"""What a contestant cost, in its ``cost.json``: time, size, and where answers are paid for tokens and money."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import families
from fieldguide.before_after import arithmetic
from fieldguide.families import Contestant
from fieldguide.files import write_json
from fieldguide.machine import weights_hash
from fieldguide.records import SCHEMA_VERSION, Prediction
from fieldguide.tasks.asking import open_question

if TYPE_CHECKING:
    from fieldguide.runs import Table


def write_cost(
    entry: Contestant, table: Table, folder: Path, answers: Sequence[Prediction], spent: Sequence[dict[str, Any]]
) -> None:
    """Write ``cost.json`` of the contestant in `folder`; `spent` are the ``fit.json`` of its fits, the last of them that of ``model/``."""
    seconds = [answer.seconds for answer in answers if answer.seconds is not None]
    walls = [part["answer_wall_seconds"] for part in spent if "answer_wall_seconds" in part]
    facts = spent[-1]["facts"]
    write_json(
        folder / "cost.json",
        {
            "schema": SCHEMA_VERSION,
            "fit_seconds": sum(part["seconds"] for part in spent),
            "fits": len(spent),
            "sittings": sum(part["sittings"] for part in spent),
            "by_chance": families.by_chance(entry),
            "predict_seconds": sum(seconds) if seconds else None,
            "answer_wall_seconds": sum(walls) if walls else None,
            "predicted": len(answers),
            "ms_per_image": 1000 * sum(seconds) / len(seconds) if seconds else None,
            "parameters": facts.get("parameters"),
            "trained_parameters": facts.get("trained_parameters"),
            "precision": arithmetic(facts),
            "model_bytes": sum(path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file()),
            "model_sha256": weights_hash(folder / "model"),
            "device": table.device,
            **_paid(entry, table, answers, spent),
        },
    )


def _paid(entry: Contestant, table: Table, answers: Sequence[Prediction], spent: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return tokens and money of all answers at full price, and how many of them this contestant asked itself.

    The others were there before, asked by a contestant with the same question. Tokens that a server does not count are not known.
    """
    from fieldguide.craft.chat.costs import money
    from fieldguide.craft.chat.kept import Answers, Spent

    told_in, told_out = _sum(answer.tokens_in for answer in answers), _sum(answer.tokens_out for answer in answers)
    price_in, price_out = (getattr(entry.settings, name, None) for name in ("price_in", "price_out"))
    # An encoder's fact of this name is a word: what it was told of a class.
    prompts = [part["facts"]["prompt"] for part in spent if part["facts"].get("kind") == "prompted"]
    # A picture that is asked about with its list in several orders was asked about once all of them were.
    askings = [hash for prompt in prompts for hash in prompt.get("hashes", [prompt["hash"]])]
    orders = max((len(prompt.get("hashes", "1")) for prompt in prompts), default=1)
    own: Spent | None = None
    if askings:
        with Answers(table.answers) as kept:
            own = kept.spent(entry.name, askings)
    return {
        "tokens_in": told_in,
        "tokens_out": told_out,
        "tokens_cached": None if own is None else own.cached,
        "questions_each": orders * _requests(spent) if askings else None,
        "asked": None if own is None else min(-(-own.asked // orders), len(answers)),
        "unanswered": sum(open_question(answer.error) for answer in answers) if askings else None,
        "money": money(told_in, told_out, price_in, price_out) if told_in is not None or told_out is not None else None,
    }


def _requests(spent: Sequence[dict[str, Any]]) -> int:
    """Return how many questions to a server one picture took in one order of the list; elsewhere one."""
    told = [part["facts"].get("likelihood") for part in spent]
    return max((one.get("requests") or 1 for one in told if isinstance(one, dict)), default=1)


def _sum(counts: Any) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
