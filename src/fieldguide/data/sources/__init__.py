"""Where labelled pictures come from: folders, tables, archives and Hugging Face data sets, all read into one `Source`."""

from __future__ import annotations

from pathlib import Path

from fieldguide.data.sources import archive, folder, hub, table
from fieldguide.data.sources.common import Source, SourceFile, SourceKind, finish
from fieldguide.errors import UsageProblem, nearest, plain

__all__ = ["Source", "SourceFile", "SourceKind", "open_source"]


def open_source(where: str, unpack_to: Path, *, online: bool = False) -> Source:
    """Return the source at `where`: a folder, table, archive, stored data set, or ``hf:owner/name``.

    Archives and data sets are unpacked below `unpack_to`, whole or not at all, and found again the next time. The network is
    used only for ``hf:`` and only with `online`. Raises `UsageProblem` (no such path, no such column), `DataProblem` (nothing
    that can be compared) and `EnvironmentProblem` (missing package, no network allowed, full disk).
    """
    if where.startswith(hub.SCHEME):
        return finish("hub", where, hub.read_hub(where, unpack_to, online=online))
    path = Path(where).expanduser()
    if not path.exists():
        raise _no_such(where, path)
    if path.is_dir():
        if hub.is_saved(path):
            return finish("hub", where, hub.read_local(path, unpack_to, where))
        return finish("folder", where, folder.read_folder(path, where))
    if archive.is_archive(path):
        return finish("archive", where, archive.read_archive(path, unpack_to, where))
    if path.suffix.lower() in table.TABLE_SUFFIXES:
        if path.suffix.lower() == ".parquet" and hub.holds_pictures(path):
            return finish("hub", where, hub.read_local(path, unpack_to, where))
        return finish("table", where, table.read_table(path, where))
    raise UsageProblem(
        f"{plain(where)} is a file of a kind that is no source.",
        "A folder of class folders, a table (.csv, .tsv, .jsonl, .parquet), an archive (.zip, .tar, .tar.gz) or hf:owner/name.",
        "Give the folder that holds the class folders.",
    )


def _no_such(where: str, path: Path) -> UsageProblem:
    """Return the error for a path that does not exist, with what lies near it."""
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    missing = path.relative_to(parent).parts[0] if path.is_relative_to(parent) else path.name
    try:
        beside = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        beside = []
    near = nearest(missing, beside)
    allowed = f"In {plain(parent)} there is: {', '.join(plain(name) for name in (near or beside)[:8]) or 'nothing'}."
    hint = f"Did you mean {plain(parent / near[0])}?" if near else "Check the path; it is taken from the folder you are in."
    if where.count("/") == 1 and not where.startswith((".", "/", "~")) and not near:
        hint = f"For a data set of the Hugging Face hub write hf:{plain(where)} and add --online."
    return UsageProblem(f"{plain(where)} does not exist.", allowed, hint)
