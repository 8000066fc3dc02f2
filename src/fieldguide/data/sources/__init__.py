"""Where labelled pictures come from: folders, tables, archives and Hugging Face data sets, all read into one `Source`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fieldguide.data.sources import archive, coco, coco_counts, count_table, folder, hub, table
from fieldguide.data.sources.common import Source, SourceFile, SourceKind, finish
from fieldguide.errors import DataProblem, UsageProblem, nearest, plain
from fieldguide.files import twice

__all__ = ["Source", "SourceFile", "SourceKind", "open_counts", "open_source"]


def open_source(where: str, unpack_to: Path, *, online: bool = False, labelled: bool = True) -> Source:
    """Return the source at `where`: a folder, table, archive, stored data set, or ``hf:owner/name``.

    Archives and data sets are unpacked below `unpack_to`, whole or not at all, and found again the next time. The network is
    used only for ``hf:`` and only with `online`. Without `labelled`, folders and archives of loose pictures (kind
    ``pictures``) and sets for detection (kind ``coco``) are read, too; their labels are empty. Raises `UsageProblem` (no such
    path, no such column), `DataProblem` (nothing that can be compared) and `EnvironmentProblem` (missing package, no network
    allowed, full disk).
    """
    if where.startswith(hub.SCHEME):
        return finish("hub", where, hub.read_hub(where, unpack_to, online=online))
    path = Path(os.path.expanduser(where))
    try:
        twice(lambda: os.stat(path), where)
    except (OSError, ValueError) as error:
        raise _no_such(where, path, error) from None
    if path.is_dir():
        if hub.is_saved(path):
            return finish("hub", where, hub.read_local(path, unpack_to, where))
        return _open_folder(path, where, "folder", labelled)
    if archive.is_archive(path):
        return _open_folder(archive.unpacked(path, unpack_to), where, "archive", labelled)
    if path.suffix.lower() in table.TABLE_SUFFIXES:
        if path.suffix.lower() == ".parquet" and hub.holds_pictures(path):
            return finish("hub", where, hub.read_local(path, unpack_to, where))
        return finish("table", where, table.read_table(path, where))
    raise UsageProblem(
        f"{plain(where)} is a file of a kind that is no source.",
        "A folder of class folders, a table (.csv, .tsv, .jsonl, .parquet), an archive (.zip, .tar, .tar.gz) or hf:owner/name.",
        f"Give the folder that holds {'the list and its pictures' if coco.is_list(path) else 'the class folders'}.",
    )


def open_counts(where: str, unpack_to: Path, wanted: Sequence[str] = ()) -> Source:
    """Return the source at `where` with the counts of its pictures: a folder or archive with ``*.coco.json`` lists, or a table of counts.

    `wanted` are the classes that are counted, all if none is given. Raises as `open_source`.
    """
    path = Path(os.path.expanduser(where))
    try:
        twice(lambda: os.stat(path), where)
    except (OSError, ValueError) as error:
        raise _no_such(where, path, error) from None
    packed = not path.is_dir() and archive.is_archive(path)
    if path.suffix.lower() in table.TABLE_SUFFIXES and not path.is_dir():
        return finish("table", where, count_table.only(count_table.read_count_table(path, where, wanted), wanted, where))
    root = archive.unpacked(path, unpack_to) if packed else path
    lists = coco.find_lists(root) if root.is_dir() else []
    if not lists:
        raise UsageProblem(
            f"{plain(where)} says of no picture how many of each class it shows.",
            "A folder or archive with lists as COCO has them (train/_annotations.coco.json, or *.coco.json at its top), or a table "
            "with a column for each class or the columns image,label,count.",
            "Give the folder that holds the lists, or leave out --task count.",
        )
    return finish(
        "archive" if packed else "coco", where, count_table.only(coco_counts.read_counted(root, lists), wanted, where)
    )


def _open_folder(root: Path, where: str, kind: SourceKind, labelled: bool) -> Source:
    """Read class folders; where there are none, what else it may be: a set for detection, or loose pictures."""
    lists = coco.find_lists(root)
    try:
        found = folder.read_folder(root, where)
    except DataProblem:
        if not lists:
            loose = None if labelled else folder.read_pictures(root)
            if loose is None:
                raise
            return finish("pictures", where, loose)
    else:
        if not (lists and coco.are_places(file.label for file in found.files)):
            found.notes += [coco.not_used(listed) for listed in lists]
            return finish(kind, where, found)
    if labelled:
        raise coco.no_classes(where, lists)
    return finish("coco", where, coco.read_lists(root, lists))


def _no_such(where: str, path: Path, error: Exception) -> UsageProblem:
    """Return the error for a path that does not exist, with what lies near it, or that may not be entered."""
    if isinstance(error, PermissionError):
        return UsageProblem(
            f"{plain(where)} cannot be reached: {error.strerror}.",
            "A path whose folders you may enter.",
            "Change the permissions of the folders on the way (chmod u+x), or run as somebody who may enter them.",
        )
    parent = path.parent
    while not os.path.isdir(parent) and parent != parent.parent:
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
