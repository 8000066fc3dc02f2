"""Ollama's Modelfiles, read as prompts: what is said before the picture comes, and how an answer is decoded.

Instructions are read as Ollama's own parser reads them (its documentation calls the file a Modelfile): in any case, a comment a line
of its own, a value plain to the end of its line or in ``"`` or ``\"\"\"`` over several, and what stands between quotes is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.tasks.places import PLACES

#: Instructions that Ollama knows. All but the first four shape the model and not what is asked.
INSTRUCTIONS = (
    "FROM",
    "PARAMETER",
    "SYSTEM",
    "MESSAGE",
    "TEMPLATE",
    "ADAPTER",
    "LICENSE",
    "REQUIRES",
    "RENDERER",
    "PARSER",
    "DRAFT",
)
ROLES = ("system", "user", "assistant")
#: Parameters that fill a field of a prompt, and that field.
_PARAMETERS = {"temperature": "temperature", "num_predict": "most_tokens", "seed": "seed"}
_WORD = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+")
_NAME = re.compile(r"[A-Za-z0-9_]+(?=[ \t])")


def looks_like_one(name: str, text: str) -> bool:
    """Tell whether a file of this name and text is a Modelfile: it is called one, or its first line that counts is an instruction."""
    lowered = name.casefold()
    if lowered.startswith("modelfile") or lowered.endswith("modelfile"):
        return True
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    word = _WORD.match(first)
    return not lowered.endswith(".toml") and word is not None and word[1].upper() in INSTRUCTIONS


def read(text: str, where: str) -> dict[str, Any]:
    """Return the fields of a prompt that a Modelfile fills; braces are doubled, because a Modelfile knows no placeholders.

    Raises `UsageProblem` for what Ollama would refuse.
    """
    values: dict[str, Any] = {"question": "", "turns": []}
    notes: dict[str, None] = {}
    for instruction, value in _instructions(text.removeprefix("\ufeff"), where):
        if instruction == "FROM":
            values["model"] = value
        elif instruction == "SYSTEM":
            values["system"] = literal(value)
        elif instruction == "MESSAGE":
            values["turns"].append(_message(value, where))
        elif instruction == "PARAMETER":
            name, _, given = value.partition(" ")
            notes |= _parameter(name, given.strip(), values, where)
        else:
            notes[f"{instruction} shapes the model, not the question, and is not used"] = None
    if "model" not in values:
        raise UsageProblem(
            f"{where} has no FROM.", "A Modelfile names the model that it is made from.", "Put FROM NAME in its first line."
        )
    if re.search(rf"\{{(?:{'|'.join(PLACES)})\}}", text):
        notes["a Modelfile is taken letter for letter: names in braces are not filled in; write a TOML file for that"] = None
    return {**values, "notes": list(notes)}


def literal(text: str) -> str:
    """Return a template that comes out as `text`."""
    return text.replace("{", "{{").replace("}", "}}")


def unquoted(value: str) -> str | None:
    """Return a value without its quotes; `None` where they are opened and not closed."""
    for quote in ('"""', '"'):
        if value.startswith(quote):
            whole = len(value) >= 2 * len(quote) and value.endswith(quote)
            return value[len(quote) : -len(quote)] if whole else None
    return value


def _instructions(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Yield every instruction and its value, without quotes; that of PARAMETER and MESSAGE still has its name or role in front."""
    lines = re.split(r"\r\n|\r|\n", text)
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word = _WORD.match(line)
        if word is None or word[1].upper() not in INSTRUCTIONS:
            said = line.split(maxsplit=1)[0]
            raise UsageProblem(
                f"{where}, line {number}: {plain(said, 60)!r} is no instruction"
                + (" with a value." if said.upper() in INSTRUCTIONS else "."),
                f"{allowed_names(said, INSTRUCTIONS, most=20)} One to a line, then a blank and its value.",
                "Correct that line.",
            )
        instruction, rest = word[1].upper(), line[word.end() :]
        named = _NAME.match(rest) if instruction in ("PARAMETER", "MESSAGE") else None
        lead = f"{named[0]} " if named else ""
        value = unquoted(rest[len(lead) :].strip())
        while value is None and at < len(lines):
            rest += "\n" + lines[at]
            at += 1
            value = unquoted(rest[len(lead) :].strip())
        if value is None:
            raise UsageProblem(
                f"{where}, line {number}: the quotes after {instruction} are never closed.",
                'A value over several lines stands between """ and """.',
                "Close them.",
            )
        yield instruction, lead + value


def _message(value: str, where: str) -> dict[str, str]:
    role, _, said = value.partition(" ")
    if role not in ROLES:
        raise UsageProblem(
            f"{where}: MESSAGE {plain(role, 60)!r} is nobody's turn.",
            allowed_names(role, ROLES),
            "For example MESSAGE user ...",
        )
    return {"role": role, "text": literal(said)}


def _parameter(name: str, given: str, values: dict[str, Any], where: str) -> dict[str, None]:
    """Fill the field of a parameter into `values`, and return a note where it has none."""
    field = _PARAMETERS.get(name)
    if field is None:
        return {f"PARAMETER {plain(name, 60)} is not used": None}
    try:
        number = float(given) if field == "temperature" else int(given)
    except ValueError as error:
        raise UsageProblem(
            f"{where}: PARAMETER {name} {plain(given, 60)!r} is no {'number' if field == 'temperature' else 'whole number'}.",
            "Numbers, with a point where they have a fraction.",
            "Correct that line.",
        ) from error
    if field == "most_tokens" and number < 1:
        return {f"PARAMETER num_predict {given} asks for answers without end; they stay bounded": None}
    values[field] = number
    return {}
