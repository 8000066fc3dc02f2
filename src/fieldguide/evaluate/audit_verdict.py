"""What a prompt audit says: a sentence for each check, and one verdict that begins with the gravest finding.

It tells what was varied and what the answers then did, in numbers with intervals; it names no cause that was not varied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fieldguide.errors import plain
from fieldguide.evaluate.audit_findings import FINDERS, Told, variant_of
from fieldguide.evaluate.audit_words import Json, bare, begun, gap_text, holds, listed, p_text, percent_text, points, share_text

#: Variants that are put together of other answers.
MADE = ("rotating", "halves", "swapped")
#: What a verdict calls each check, where another one is graver.
_ALSO = {
    "example": "the example",
    "order": "the order of the list",
    "length": "the length of the list",
    "paraphrase": "the wording",
    "synonyms": "what the classes are called",
    "batch": "the company of other pictures",
}


def say(check: Json, told: Told) -> None:
    """Write ``found``, ``alarm``, ``advice`` and ``sentence`` into a check that was asked."""
    findings = FINDERS[check["id"]](check, told)
    check["_findings"] = findings
    check["alarm"] = any(one.harm for one in findings)
    check["advice"] = findings[0].advice if findings else None
    if check["id"] not in ("picture", "batch", "repeat"):
        still = all(one["flips"]["value"] == 0 for one in check["variants"] if one["n"])
        check["found"] = "yes" if findings else "no" if still else "not distinguishable"
    sentences = [f"{one.clause}." for one in findings] or [_nothing(check, told)]
    sentences += [_facts(check, told), _missing(check)]
    check["sentence"] = " ".join(begun(one) for one in sentences if one)


def verdict(checks: Sequence[Json], told: Told) -> str:
    """Return one sentence: the gravest finding and what to do about it, or that there is none."""
    asked = [check for check in checks if check["state"] == "ok"]
    if not asked:
        return "Nothing was varied yet, so nothing can be said."
    found = [(check, one) for harm in (True, False) for check in asked for one in check["_findings"] if one.harm == harm]
    if not found:
        return _none(asked, told)
    first, gravest = found[0]
    others = dict.fromkeys(_ALSO[check["id"]] for check, _ in found if check is not first and check["id"] in _ALSO)
    also = (
        f"; {listed(others)} {'matter' if len(others) > 1 else 'matters'}, too" if others and first["id"] != "picture" else ""
    )
    return f"{begun(gravest.clause)}: {gravest.advice}{also}."


def _none(asked: Sequence[Json], told: Told) -> str:
    """Return the verdict where nothing was found, with how small a difference would have been."""
    judged = [check for check in asked if check["p_holm"] is not None]
    if not judged:
        return (
            "The picture reaches the model, and nothing else was varied."
            if _reaches(asked)
            else "Nothing was varied that could tell."
        )
    sizes = [check["detectable"] for check in judged]
    if None in sizes:
        size = f"{told.pictures:,} pictures are too few to tell differences of accuracy that matter"
    else:
        size = f"with {told.pictures:,} pictures, a difference of {points(max(sizes))} would be found four times in five"
    flipped = _most_flips([check for check in asked if check["id"] not in ("picture", "batch", "repeat")])
    noise = told.noise if told.noise is not None else 1.0 if told.temperature > 0 else 0.0
    if flipped is not None and flipped["flips"]["low"] > noise:
        what = f"up to {percent_text(flipped['flips'])} of the answers change ({plain(flipped['name'], 60)})"
        return f"Nothing that was varied moves accuracy distinguishably, but {what}; {size}."
    return f"Nothing that was varied moves the answers distinguishably: {size}."


def _reaches(asked: Sequence[Json]) -> bool:
    return any(check["id"] == "picture" and check["found"] == "yes" for check in asked)


def _nothing(check: Json, told: Told) -> str:
    """Return what is said where a check found nothing to be told first."""
    kind = check["id"]
    if kind == "picture":
        return _seen(check)
    if kind in ("batch", "repeat"):
        flips = check["variants"][0]["flips"]
        if flips["value"] == 0:
            return f"All {flips['n']:,} answers are the same (at most {share_text(flips['high'])} of all pictures would be answered differently)."
        drawn = (
            f" At temperature {told.temperature:g} answers are drawn: that measures drawing, too."
            if told.temperature > 0
            else ""
        )
        return f"{percent_text(flips)} of {flips['n']:,} answers change.{drawn}"
    if check["found"] == "no":
        return f"Not one answer changed, in {sum(one['n'] for one in check['variants'] if one['id'] not in MADE):,}."
    tested = [test for group in check["_tests"] for test in group if "discordant" in test]
    if not tested:
        return "Nothing is distinguishable, which is no proof of none."
    low, high = min(test["low"] for test in tested), max(test["high"] for test in tested)
    size = check["detectable"]
    seen = (
        f"one of {points(size)} would be found four times in five" if size is not None else "even a large one might be missed"
    )
    return f"No difference of accuracy is distinguishable, which is no proof of none: they lie within [{bare(low)}, {bare(high)}] points; {seen}."


def _seen(check: Json) -> str:
    other = variant_of(check, "swapped")
    if check["found"] == "yes" and other is not None and other["difference"]:
        own = other["accuracy"]["value"] - other["difference"]["value"]
        return (
            f"Yes: {share_text(own)} of the answers are right for their own picture, and {share_text(other['accuracy']['value'])} would be for one "
            f"of another class ({p_text(check['p'])})."
        )
    return "Yes." if check["found"] == "yes" else "Too few pictures to tell."


def _facts(check: Json, told: Told) -> str:
    """Return what else is worth knowing of a check: how many answers changed, and what was said of a pull that does not hold."""
    kind = check["id"]
    if kind == "picture":
        blank = variant_of(check, "blank")
        return (
            f"With a grey picture {percent_text(blank['flips'])} of the answers change."
            if blank is not None and blank["n"]
            else ""
        )
    if kind in ("batch", "repeat"):
        return ""
    parts = []
    most = _most_flips([check])
    if most is not None and check["found"] != "no":
        noise = "" if told.noise is None else f"; asked twice without a change, {share_text(told.noise)} do"
        parts.append(f"up to {percent_text(most['flips'])} of the answers change ({plain(most['name'], 80)}{noise}).")
    pulled = check.get("pull")
    if pulled and not holds(pulled["overall"]):
        gap = pulled["overall"]
        parts.append(
            f"The pull towards the example is {gap_text({**gap, 'p_holm': gap['p_holm']})}, not distinguishable from none."
        )
    stands = check.get("places")
    if stands and not holds(stands):
        tested = "" if stands["p_holm"] is None else f" ({stands['orders']} orders, {p_text(stands['p_holm'])})"
        parts.append(f"Whether places of the list take more: {stands['outcome']}{tested}.")
    if kind == "example" and variant_of(check, "no-example") is None:
        parts.append("The prompt without an example was not asked.")
    if kind == "length" and variant_of(check, "halves") is not None and variant_of(check, "halves")["difference"]:  # type: ignore[index]
        gap = variant_of(check, "halves")["difference"]  # type: ignore[index]
        parts.append(f"With half of the list accuracy changes by {gap_text(gap)}; there, fewer wrong names can be chosen.")
    return " ".join(begun(one) for one in parts)


def _missing(check: Json) -> str:
    lost = sum(one["unanswered"] for one in check["variants"] if one["id"] not in MADE)
    if not lost:
        return ""
    return (
        f"{lost:,} {'answers are' if lost > 1 else 'answer is'} missing; each comparison is over the pictures that have both."
    )


def _most_flips(checks: Iterable[Json]) -> Json | None:
    """Return the variation that changed most answers, of those whose list is not a shorter one."""
    found = [
        one
        for check in checks
        for one in check["variants"]
        if one["n"] and one["id"] not in MADE and not one["id"].startswith("half-")
    ]
    return max(found, key=lambda one: one["flips"]["value"], default=None)
