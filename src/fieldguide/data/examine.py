"""One pass over all files of a source: what each picture is, which take no part and why, what a careful person should know.

Every file is read once and held only while it is worked on: at most `IN_FLIGHT` files for each thread are in memory,
whatever the number of pictures.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from fieldguide.bench import Progress, Silent, cores
from fieldguide.data import images
from fieldguide.data.alike import sketch
from fieldguide.data.checks import Facts, Finding, find
from fieldguide.data.copies import UNSEEN, USUAL_CARE, Care, Look, find_copies, settle
from fieldguide.data.sources import Source, SourceFile
from fieldguide.data.store import size_class
from fieldguide.errors import DataProblem, PictureError, plain
from fieldguide.records import SCHEMA_VERSION, ManifestRow, Pixels

#: Shorter side, in pixels, at which pictures are decoded when no store asks for more.
LOOK_SIZE = 64
#: Files each thread may hold at a time, one of them in work.
IN_FLIGHT = 3

_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif"),
}
_KNOWN = frozenset(extension for several in _EXTENSIONS.values() for extension in several)


class PixelSink(Protocol):
    """Where decoded pixels go while they are at hand: the store."""

    def has(self, key: str, at_least: int) -> bool:
        """Tell whether the pixels of this size class are there already."""
        ...

    def add(self, key: str, at_least: int, pixels: Pixels) -> None:
        """Keep `pixels`, ``"height width 3"``, of the picture `key` as the size class `at_least`."""
        ...


@dataclass(frozen=True)
class Examination:
    """What one pass found.

    `rows` follow the order of the source's files; `split` is the source's own or `None`, `excluded` says why a picture takes
    no part. `seconds` is wall time.
    """

    rows: tuple[ManifestRow, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def usable(self) -> tuple[ManifestRow, ...]:
        """Rows that take part."""
        return tuple(row for row in self.rows if row.excluded is None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that have at least one usable picture, sorted."""
        return tuple(sorted({row.label for row in self.usable}))


@dataclass(frozen=True)
class _Seen:
    """One file after it was read. `pixels` is what the store still lacks: (size class, pixels)."""

    row: ManifestRow
    look: Look = UNSEEN
    pixels: tuple[tuple[int, Pixels], ...] = ()


def examine(
    source: Source,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
    store: PixelSink | None = None,
    sizes: Sequence[int] = (),
    care: Care = USUAL_CARE,
) -> Examination:
    """Read every file of `source` once and return what is there.

    With a `store`, pixels for each of `sizes` (shorter side, in pixels) are handed to it in the same pass, in the order of the
    files. `threads` defaults to the cores this process may use. A bad picture never stops the pass: it becomes a row with a
    reason. `care` says what is done about copies. The result does not depend on the number of threads.
    """
    start = time.perf_counter()
    classes = tuple(sorted({size_class(size) for size in sizes})) if store is not None else ()
    seen: list[_Seen] = []
    given: set[str] = set()
    with (progress or Silent()).bar("examining pictures", len(source.files)) as bar:
        for one in _in_order(source.files, threads or cores(), lambda file: _look(file, store, classes)):
            if store is not None and one.row.key not in given:
                given.add(one.row.key)
                for size, pixels in one.pixels:
                    store.add(one.row.key, size, pixels)
            seen.append(replace(one, pixels=()))
            bar.advance()
    rows, looks = [one.row for one in seen], [one.look for one in seen]
    copies = find_copies(rows, looks, care, progress)
    rows = settle(rows, copies, care)
    findings = find(Facts(rows, source, looks, copies))
    return Examination(tuple(rows), findings, time.perf_counter() - start)


def require_two_classes(examination: Examination, source: Source) -> None:
    """Raise `DataProblem` where fewer than two classes have a usable picture."""
    if len(examination.classes) >= 2:
        return
    lost = [row for row in examination.rows if row.excluded is not None]
    first = f" The first: {plain(lost[0].path)} ({plain(lost[0].excluded)})." if lost else ""
    raise DataProblem(
        f"Of {len(examination.rows)} files in {plain(source.origin)}, {len(lost)} cannot be used; "
        f"classes that are left: {len(examination.classes)}.{first}",
        "A comparison needs at least two classes with usable pictures.",
        f"fieldguide look {plain(source.origin)} lists every file with its reason.",
    )


def findings_json(examination: Examination, source: Source) -> dict[str, Any]:
    """Return the content of ``findings.json``."""
    return {
        "schema": SCHEMA_VERSION,
        "findings": [
            {
                "code": finding.code,
                "state": finding.state,
                "title": finding.title,
                "count": finding.count,
                "detail": finding.detail,
                "examples": list(finding.examples),
            }
            for finding in examination.findings
        ],
        "ignored": [[name, reason] for name, reason in source.ignored],
        "notes": list(source.notes),
        "seconds": round(examination.seconds, 3),
    }


def _in_order(files: Iterable[SourceFile], threads: int, work: Callable[[SourceFile], _Seen]) -> Iterator[_Seen]:
    """Yield `work(file)` in the order of `files` from a pool that never runs far ahead."""
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="examine")
    window: deque[Future[_Seen]] = deque()
    try:
        for file in files:
            window.append(pool.submit(work, file))
            if len(window) >= IN_FLIGHT * max(1, threads):
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _look(file: SourceFile, store: PixelSink | None, classes: tuple[int, ...]) -> _Seen:
    """Read and decode one file; for the store in every size class it lacks, in any case once, to see that the file is whole."""
    row = ManifestRow("", file.name, file.label, file.split, group=file.group, counts=file.counts, boxes=file.boxes)
    try:
        data = images.read_file(file.path)
        row = replace(row, key=images.content_hash(data), bytes=len(data))
        loaded = images.load(data, classes[-1] if classes else LOOK_SIZE)
        lacking = [size for size in classes if store is not None and not store.has(row.key, size)]
        pixels = tuple((size, loaded.pixels if size == classes[-1] else images.load(data, size).pixels) for size in lacking)
    except PictureError as error:
        return _Seen(replace(row, excluded=str(error)))
    notes = (*loaded.notes, *_mismatch(file.name, loaded.format))
    row = replace(row, width=loaded.width, height=loaded.height, format=loaded.format, notes=notes)
    return _Seen(row, _look_of(loaded), pixels)


def _look_of(loaded: images.Loaded) -> Look:
    head = f"{loaded.width} {loaded.height} {loaded.pixels.shape}".encode()
    key = hashlib.sha256(head + loaded.pixels.tobytes()).hexdigest()
    step = max(1, min(loaded.pixels.shape[:2]) // 32)
    spread = float(loaded.pixels[::step, ::step].std(axis=(0, 1)).max())
    return Look(key, spread, sketch(loaded.pixels), loaded.taken)


def _mismatch(name: str, format: str) -> tuple[str, ...]:
    extension = PurePosixPath(name).suffix.lower()
    if extension not in _KNOWN or extension in _EXTENSIONS.get(format, ()):
        return ()
    return (f"extension says {extension[1:]}, content is {format}",)
