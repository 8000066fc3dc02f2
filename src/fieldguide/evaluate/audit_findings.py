"""What each check of a prompt audit found: what holds after all corrections, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldguide.errors import plain
from fieldguide.evaluate.audit_words import Json, gap_text, holds, p_text, percent_text, pictures_text, share_text, turned
from fieldguide.evaluate.leaning import ALPHA


@dataclass(frozen=True)
class Told:
    """What sentences need to know of the audit: `noise` is the share of answers that change when the same is asked twice."""

    names: Mapping[str, str]
    example: str | None
    pictures: int
    temperature: float
    noise: float | None


@dataclass(frozen=True)
class Finding:
    """Something that holds after all corrections: in a `clause` for a verdict, with what to do; `harm` where it should be changed."""

    clause: str
    advice: str
    harm: bool = True


def variant_of(check: Json, id: str) -> Json | None:
    """Return what came out of one variation."""
    return next((one for one in check["variants"] if one["id"] == id), None)


def _picture(check: Json, told: Told) -> list[Finding]:
    """Answers must fit their own picture better than others', and some must change when there is nothing to see."""
    blank, other = variant_of(check, "blank"), variant_of(check, "swapped")
    tells = check["p"] is not None and check["p"] <= ALPHA
    changed = None if blank is None or not blank["n"] else blank["flips"]["value"]
    noise = told.noise if told.noise is not None else None if told.temperature > 0 else 0.0
    moved = changed is not None and noise is not None and blank is not None and blank["flips"]["low"] > noise
    check["found"] = "yes" if tells or moved else "no" if changed == 0 and told.temperature == 0 else "not distinguishable"
    if tells:
        return []
    advice = "nothing else can be trusted before it does"
    if changed == 0 and blank is not None and told.temperature == 0:
        return [
            Finding(
                f"the picture does not reach the model (with a grey picture all {blank['n']:,} answers stay as they are)",
                advice,
            )
        ]
    if other is None or other["n"] < 2 or not other["difference"]:
        return []
    own = other["accuracy"]["value"] - other["difference"]["value"]
    fit = (
        f"{share_text(own)} are right for their own picture and {share_text(other['accuracy']['value'])} for one of another class, "
        f"{p_text(check['p'])}"
    )
    if _fewest(other["n"]):
        return []
    if moved:
        clause = f"the picture changes the answers but they do not fit its class ({fit})"
        return [Finding(clause, "the model cannot do this task as it is asked")]
    return [Finding(f"nothing shows that the picture reaches the model ({fit})", advice)]


def _fewest(n: int) -> bool:
    """Tell whether so few pictures cannot show what they show."""
    return n < 10


def _example(check: Json, told: Told) -> list[Finding]:
    without, pulled = variant_of(check, "no-example"), check.get("pull")
    word = (
        f"your example ({plain(told.names.get(told.example, told.example), 40)})"
        if told.example is not None
        else "your example"
    )
    found = []
    overall = pulled["overall"] if pulled else None
    pulls = overall is not None and holds(overall)
    if without is not None and holds(without["difference"]):
        gap = without["difference"]
        if gap["value"] > 0:
            found.append(Finding(f"{word} costs {gap_text(gap)}", "remove it"))
        else:
            found.append(Finding(f"{word} helps by {gap_text(turned(gap))}", "keep it", harm=False))
    elif without is None:
        found += _better(check, word, "take that one")
    if pulls and overall is not None:
        way = "more" if overall["value"] > 0 else "less"
        size = overall if overall["value"] > 0 else turned(overall)
        clause = (
            f"the example {'pulls' if way == 'more' else 'repels'} the answers: where another label is right, a label is named "
        )
        clause += f"{gap_text(size)} {way} often when it is the example"
        helps = any(not one.harm for one in found)
        found.append(Finding(clause, "it helps all the same" if helps else "remove it, or name no class in it", harm=not helps))
    return found


def _order(check: Json, told: Told) -> list[Finding]:
    found = []
    stands = check.get("places")
    if stands is not None and stands["p"] is not None and holds(stands):
        end = "start" if stands["outcome"] == "earlier" else "end"
        clause = f"the answers lean to the {end} of the list, whatever stands there ({pictures_text(stands['pictures'])}, {stands['orders']} orders, "
        found.append(Finding(f"{clause}{p_text(stands['p_holm'])})", "average over several orders"))
    return found + _better(check, "your order of the list", "average over several orders")


def _length(check: Json, told: Told) -> list[Finding]:
    found = []
    for one in check["variants"]:
        gap = one.get("beside_choice")
        if gap and holds(gap):
            more = "more" if gap["value"] > 0 else "less"
            size = gap if gap["value"] > 0 else turned(gap)
            what = "a list of half the length" if one["id"] == "halves" else "a longer list"
            clause = f"with {what} accuracy is {gap_text(size)} {'higher' if more == 'more' else 'lower'}, over answers that both lists have"
            short = (one["id"] == "halves") == (gap["value"] > 0)
            advice = (
                "ask with fewer names at a time"
                if short
                else "keep the list whole"
                if one["id"] == "halves"
                else "a longer one does no harm"
            )
            found.append(Finding(clause, advice, harm=short))
    return found


def _paraphrase(check: Json, told: Told) -> list[Finding]:
    return _better(check, "your wording", "take those words")


def _synonyms(check: Json, told: Told) -> list[Finding]:
    return _better(check, "what your prompt calls the classes", "take those names")


def _better(check: Json, own: str, advice: str) -> list[Finding]:
    """Return the strongest change that holds for better, and the strongest for worse."""
    held = [one for one in check["variants"] if one["difference"] and one["id"] != "rotating" and holds(one["difference"])]
    found = []
    best = max(held, key=lambda one: one["difference"]["value"], default=None)
    if best is not None and best["difference"]["value"] > 0:
        clause = f"{own} costs {gap_text(best['difference'])} against {plain(best['name'], 80)}"
        found.append(Finding(clause, advice))
    worst = min(held, key=lambda one: one["difference"]["value"], default=None)
    if worst is not None and worst["difference"]["value"] < 0:
        clause = f"{own} helps by {gap_text(turned(worst['difference']))} against {plain(worst['name'], 80)}"
        found.append(Finding(clause, "keep it", harm=False))
    return found


def _batch(check: Json, told: Told) -> list[Finding]:
    one = check["variants"][0]
    flips, beyond = one["flips"], check.get("beyond_repeat")
    found = []
    if holds(one["difference"]):
        gap = one["difference"]
        size, way = (gap, "higher") if gap["value"] > 0 else (turned(gap), "lower")
        found.append(
            Finding(
                f"asked alone, accuracy is {gap_text(size)} {way}",
                "ask one picture at a time" if gap["value"] > 0 else "batch them",
            )
        )
    elif beyond is not None and holds(beyond):
        tested = f"({pictures_text(flips['n'])}, {p_text(beyond['p_holm'])})"
        clause = f"asked alone, {percent_text(flips)} of the answers are others than among other pictures {tested}"
        found.append(Finding(clause, "ask in batches of one, or take that as noise"))
    still = flips["value"] == 0
    check["found"] = (
        "no"
        if found or (flips["value"] and told.temperature == 0 and told.noise == 0)
        else "yes"
        if still
        else "not distinguishable"
    )
    return found


def _repeat(check: Json, told: Told) -> list[Finding]:
    flips = check["variants"][0]["flips"]
    check["found"] = "yes" if flips["value"] == 0 else "no"
    if not flips["value"] or told.temperature > 0:
        return []
    clause = f"the same question, asked twice at temperature 0, is answered differently for {percent_text(flips)} of {pictures_text(flips['n'])}"
    return [Finding(clause, "take smaller differences as noise")]


#: What looks for findings, by check.
FINDERS = {
    "picture": _picture,
    "example": _example,
    "order": _order,
    "length": _length,
    "paraphrase": _paraphrase,
    "synonyms": _synonyms,
    "batch": _batch,
    "repeat": _repeat,
}
