"""Facts as an examination would gather them, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldguide.data.alike import Pair
from fieldguide.data.checks import CHECKS, Facts, Finding, find
from fieldguide.data.copies import Copies, Look
from fieldguide.data.sources import Source, SourceFile
from fieldguide.records import ManifestRow

NOTHING = Copies((), (), (), (), together=True)


def row(path: str, **known: Any) -> ManifestRow:
    """A usable picture of 100 x 80 pixels; its key and its class are read off the path."""
    usual = {"width": 100, "height": 80, "format": "PNG", "bytes": 24_000}
    return ManifestRow(**{"key": path, "path": path, "label": path.partition("/")[0], **usual, **known})


def lost(path: str, why: str) -> ManifestRow:
    return row(path, excluded=why, width=None, height=None, format=None)


def facts(rows: Sequence[ManifestRow], copies: Copies = NOTHING, looks: Sequence[Look] | None = None, **source: Any) -> Facts:
    files = tuple(SourceFile(Path(row.path), row.path, row.label, row.split) for row in rows)
    default = Look("pixels", 40.0, object(), None)  # type: ignore[arg-type]
    return Facts(
        rows, Source(**{"kind": "folder", "origin": "pets", "files": files, **source}), looks or [default] * len(rows), copies
    )


def finding(code: str, given: Facts) -> Finding:
    told = {one.code: one for one in find(given)}
    assert list(told) == [check.code for check in CHECKS]
    return told[code]


def clean(each: int = 4) -> list[ManifestRow]:
    return [row(f"{label}/{number}.png") for label in ("cat", "dog") for number in range(each)]


def pair(a: int, b: int, how: str = "resized") -> Pair:
    """Two near copies."""
    return Pair(a, b, how, 1.0)
