"""What a file that a family saved may not be: a pickle, whose loading would run somebody's code."""

from __future__ import annotations

import contextlib
import pickletools
import zipfile
from pathlib import Path

_PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".bin", ".joblib", ".ckpt"})


def pickled(path: Path) -> str | None:
    """Return why a file counts as a pickle, or `None`. Archives are looked into: a torch file is a zip with a pickle inside."""
    if path.suffix.casefold() in _PICKLES:
        return "has the suffix of a pickle"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if Path(name).suffix.casefold() in _PICKLES]
        return f"holds {inside[0]}" if inside else None
    content = path.read_bytes()
    if content[:1] == b"\x80" and content[1:2] <= b"\x05" and content[-1:] == b".":
        return "begins and ends like a pickle"
    if content.startswith(b"\x93NUMPY") and b"'|O'" in content[:256]:
        return "is an array of objects, which NumPy pickles"
    if len(content) > 4 and content[-1:] == b".":
        with contextlib.suppress(ValueError, UnicodeDecodeError, IndexError):
            last = list(pickletools.genops(content))[-1]
            if last[2] == len(content) - 1:
                return "reads as a pickle from end to end"
    return None
