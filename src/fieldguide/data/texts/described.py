"""Descriptions of classes in JSON: ``{class: [sentence, ...]}``, or ``{class: {field: sentence}}``.

So are classify_by_description (Menon and Vondrick 2023, arXiv 2210.07183) and CuPL (Pratt et al. 2023, arXiv 2209.03320).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fieldguide.data.texts.common import Kind, Said, texts_in
from fieldguide.data.texts.matching import Whom


def is_one(value: Any) -> bool:
    """Tell whether a JSON value is a table of descriptions."""
    return isinstance(value, dict) and bool(value) and all(isinstance(said, str | list | dict) for said in value.values())


def read(value: Mapping[str, Any], path: Path, whom: Whom) -> Iterator[Said]:
    """Yield every sentence of every name, of classes or of pictures, whichever more names are; one without any counts as blank."""
    pictures = sum(whom.picture(name) is not None for name in value)
    classes = sum(whom.id(name) is not None for name in value)
    kind: Kind = "class" if classes >= pictures else "picture"
    for name, said in value.items():
        if isinstance(said, Mapping):
            for field, more in said.items():
                yield from (Said(name, text, kind, field) for text in texts_in(more, path, f"{name!r}, {field!r}"))
        else:
            yield from (Said(name, text, kind) for text in texts_in(said, path, repr(name)))
        if not said:
            yield Said(name, "", kind)
