"""What a prompt audit varies, one thing at a time, and what it leaves as it is.

A variation asks the same model about the same pictures in other words. What its answers then do differently is the work of that change
alone, because all else is equal: that is what answers to one prompt, however many, cannot show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fieldguide.tasks.prompting import Prompt

Check = Literal["picture", "example", "order", "length", "paraphrase", "synonyms", "batch", "repeat"]
#: What is checked, in the order of the report, and what each asks.
CHECKS: dict[Check, str] = {
    "picture": "Does the picture reach the model?",
    "example": "Does the example in the prompt pull the answers?",
    "order": "Does the order of the list matter?",
    "length": "Does the length of the list matter?",
    "paraphrase": "Do other words for the same question change the answers?",
    "synonyms": "Do other names for the same classes change the answers?",
    "batch": "Is a picture answered the same alone and among others?",
    "repeat": "Is the same question answered the same twice?",
}


@dataclass(frozen=True)
class Variation:
    """One change of what is asked: `prompt` in place of the contestant's own, for the reason `check`.

    `id` is a name for files (``example=3``, ``reversed``), `name` says it in words. `example` is the class id that stands as the
    example, where one does. `order` are class ids in the order of the list, where it was varied; `only` are those that may be listed and
    answered, where not all. `blank`: a grey picture is shown instead of the picture. `alone`: one picture at a time; `again`: what is
    kept from before does not count as an answer.
    """

    check: Check
    id: str
    name: str
    prompt: Prompt
    example: str | None = None
    order: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    blank: bool = False
    alone: bool = False
    again: bool = False
