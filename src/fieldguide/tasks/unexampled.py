"""A prompt without the example that it gives: the words around {example} are left out where what stays behind is whole.

What may go is a bracket, the end of a sentence that says "for example" or "such as", or a sentence that is nothing but an example ("If
you see a {example}, answer ..."). Anything else may say what an answer should look like, too: left out, it would take that along, and a
difference would not be the example's work alone. Then there is no clean form without it.
"""

from __future__ import annotations

import re

from fieldguide.tasks.prompting import KEY, Prompt

_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_EXAMPLES = ("example", "example_answer")
_END = re.compile(r"""[.!?]+["'”’»)\]]*(?=\s|$)""")
#: Ends of words that look like the end of a sentence.
_SHORT = re.compile(r"(?:\be\.g|\bi\.e|\bvs|\bcf|\bex|\bapprox)\.$", re.IGNORECASE)
#: What begins the part of a sentence that can go.
_CLAUSE = re.compile(
    r"\s*(?:[,;:–—-]\s*(?:for example|for instance|e\.g\.|i\.e\.|such as|like|as in)|(?<=\s)(?:for example|for instance|e\.g\.|such as))"
    r"(?=[\s,:])",
    re.IGNORECASE,
)
#: What may stand behind the last example of such a part: what closes it, and the full stop, which stays.
_TAIL = re.compile(r"""(["'`*”’»}\])]*)[.!?]*["'”’»]*""")
#: How a sentence begins that is nothing but an example.
_OPENING = re.compile(
    r"\W*(?:(?:(?:here is|as|take|so|thus),? )?(?:an |one )?examples?\b|(?:so,? |thus,? )?(?:for example|for instance|e\.g\.)"
    r"|(?:so,? |thus,? )?(?:if|when|suppose|imagine|let us say|in case|given|for|where|a|an|the)\b[^,.;:]*\{example|\{example)",
    re.IGNORECASE,
)


def unexampled(prompt: Prompt) -> tuple[Prompt, str] | None:
    """Return `prompt` without its example, and the words that were left out; `None` where there is no clean form without it."""
    if any(holds(turn.text, *_EXAMPLES) for turn in prompt.turns):
        return None
    left_out: list[str] = []
    kept: dict[str, str] = {}
    for part in ("system", "question", "closing"):
        template = getattr(prompt, part)
        cut = _cut(template, left_out)
        if cut is None:
            return None
        kept[part] = cut
    said = " ".join(kept.values())
    if not said.strip() or (prompt.format == "json" and not all(word in said.casefold() for word in ("json", KEY))):
        return None  # nobody asks, or nobody says what an answer in JSON looks like
    return prompt.model_copy(update=kept), " ".join(left_out)


def holds(template: str, *names: str) -> bool:
    """Tell whether a template has one of these places."""
    return any(match[1] in names for match in _PLACE.finditer(template))


def _cut(template: str, left_out: list[str]) -> str | None:
    """Return `template` without what holds an example, which is added to `left_out`; `None` where it cannot be taken out."""
    while (at := next((match.start() for match in _PLACE.finditer(template) if match[1] in _EXAMPLES), None)) is not None:
        span = _bracket(template, at) or _clause(template, at) or _sentence(template, at)
        if span is None:
            return None
        start, end = span
        gone = template[start:end]
        if holds(gone, "classes", "class_count"):
            return None
        before, after = template[:start], template[end:]
        if before.rstrip() == "":
            after = after.lstrip(" ") if before else after.lstrip()
        left_out.append(gone.strip())
        template = before + after
    return template


def _bracket(template: str, at: int) -> tuple[int, int] | None:
    """Return the innermost bracket around `at`, with the blanks in front of it; braces are no brackets."""
    for open_, close in ("()", "[]"):
        start, end = template.rfind(open_, 0, at), template.find(close, at)
        if start >= 0 and end >= 0 and close not in template[start:at] and open_ not in template[at:end]:
            return len(template[:start].rstrip(" ")), end + 1
    return None


def _clause(template: str, at: int) -> tuple[int, int] | None:
    """Return the end of the sentence around `at` from its "for example" on, without its last full stop."""
    start, end = _around(template, at)
    start += len(template[start:end]) - len(template[start:end].lstrip())
    found = [match for match in _CLAUSE.finditer(template, start, at) if match.start() > start]
    if not found or holds(template[start : found[-1].start()], *_EXAMPLES):
        return None
    if _OPENING.match(template, start, end):  # the whole of it is an example
        return None
    last = [match.end() for match in _PLACE.finditer(template, at, end) if match[1] in _EXAMPLES][-1]
    rest = _TAIL.fullmatch(
        template[last:end].rstrip()
    )  # what goes on behind it is no part of it: "which of {classes}, e.g. {example}, is it?"
    return (found[-1].start(), last + len(rest[1])) if rest else None


def _sentence(template: str, at: int) -> tuple[int, int] | None:
    """Return the sentence around `at`, with the white space in front of it, where it is nothing but an example."""
    start, end = _around(template, at)
    lead = template[:start].rstrip()
    if lead.endswith(":"):  # "Example:", and the example on a line of its own
        start, _ = _around(template, len(lead) - 1)
    text = template[start:end]
    return (start, start + len(text.rstrip())) if _OPENING.match(text.lstrip()) else None


def _around(template: str, at: int) -> tuple[int, int]:
    """Return where the sentence around `at` begins (white space in front of it included) and ends."""
    cuts = [0, *(cut for cut in _boundaries(template) if 0 < cut < len(template)), len(template)]
    start = max(cut for cut in cuts if cut <= at)
    return start, min(cut for cut in cuts if cut > at)


def _boundaries(template: str) -> list[int]:
    """Return where sentences end: behind a full stop, at an empty line, and at the end of a line that is not wrapped."""
    found = []
    for match in _END.finditer(template):
        following = template[match.end() :].lstrip()
        if not _SHORT.search(template[: match.start() + 1]) and not following[:1].islower():
            found.append(match.end())
    for match in re.finditer(r"\n", template):
        before, after = template[: match.start()].rstrip(" "), template[match.end() :].lstrip(" ")
        wrapped = (
            bool(before)
            and (before[-1].isalnum() or before[-1] == ",")
            and (after[:1].islower() or after.startswith("{example"))
        )
        if not wrapped:
            found.append(len(before))
    return sorted(set(found))
