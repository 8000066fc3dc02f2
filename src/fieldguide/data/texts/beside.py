"""Text files: one beside each picture (Reed's captions of birds and flowers lie so, too), or one for each class.

cat/001.jpg, cat/001.txt              beside the picture, one caption a line
text_c10/001.Albatross/x_0001.txt     Reed et al. 2016 (arXiv 1605.05395): a folder for each class, a file for each picture
American Crow.txt                     AdaptCLIPZS (arXiv 2401.02460): a file for each class, one sentence a line
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fieldguide.data.sources.common import litter, readable
from fieldguide.data.texts.common import Kind, Said, lines_of
from fieldguide.data.texts.matching import Whom
from fieldguide.errors import UsageProblem, plain


def files_below(folder: Path) -> list[Path]:
    """Return every file below `folder` in one order, without what systems leave behind; links to folders are not followed."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if litter(name) is None)
        found += [Path(here, name) for name in names if litter(name) is None]
    return sorted(found)


def read(files: list[Path], root: Path, whom: Whom) -> Iterator[Said]:
    """Yield the lines of text `files` below `root`; they tell of pictures or of classes, whichever more of their names are."""
    # The folder's own name counts, too: a single class folder of Reed's says by it whose pictures these are.
    named = {path: readable((Path(root.name) / path.relative_to(root)).with_suffix("").as_posix()) for path in files}
    pictures = sum(whom.picture(name) is not None for name in named.values())
    classes = sum(whom.id(last(name)) is not None for name in named.values())
    flat = all(path.parent == root for path in named)
    kind: Kind = "class" if classes > pictures or (flat and not pictures) else "picture"
    for path, name in named.items():
        for line in lines_of(path):
            yield Said(last(name) if kind == "class" else name, line, kind)


def last(name: str) -> str:
    """Return what follows the last ``/``."""
    return name.rpartition("/")[2]


def refuse_torch(path: Path) -> UsageProblem:
    """Return the problem of Reed's other layout, tables of the old Torch."""
    return UsageProblem(
        f"{plain(path)} is a table of Lua's Torch (.t7): captions as numbers of letters, which nothing but that library reads well.",
        "The same captions as text: text_c10/<class>/<picture>.txt, one caption a line; the published archive has both.",
        "Add the folder text_c10 of that archive, or convert the table as docs/texts.md shows (section Reed's captions).",
    )
