"""Checks of files as files."""

from __future__ import annotations

from pathlib import PurePosixPath

from fieldguide.data.checks.finding import Facts, Told, counted, outcome

_LIES = "extension says"
_BESIDE = "text beside a picture"


def unreadable(facts: Facts) -> Told:
    """Find files that are no pictures, are damaged, or cannot be opened.

    Each is excluded with its reason and stays in the manifest, so that every contestant answers for the same list. A damaged
    picture is never patched up: half a picture filled with grey would be scored as a whole one.

    Mend or delete the files, then run the same command with ``--extend`` (or make a new study).
    """
    lost = [row for row in facts.rows if row.excluded is not None and row.format is None]
    reasons = counted([str(row.excluded).partition(":")[0] for row in lost])
    return outcome([f"{row.path}: {row.excluded}" for row in lost], f"Excluded: {reasons}.", "Every file decodes.")


def converted(facts: Facts) -> Told:
    """Find pictures whose pixels are not simply those of the file.

    Rotated by their EXIF tag, more than 8 bits a channel, CMYK or Lab colour, transparency laid on white, the first of several
    frames: libraries disagree on all of these, many get them wrong without a word. fieldguide converts them the same way for
    every contestant and names each.

    Nothing needs to be done. Convert the same way where you use the winner outside of fieldguide.
    """
    changed = [(row, note) for row in facts.rows for note in row.notes if not note.startswith(_LIES)]
    kinds = ["first frame only" if note.startswith("first of") else note for _, note in changed]
    names = list(dict.fromkeys(row.path for row, _ in changed))
    return outcome(
        names, f"Read with a conversion: {counted(kinds)}.", "Every picture is upright 8-bit colour or gray as it is."
    )


def extensions(facts: Facts) -> Told:
    """Find files whose extension names another format than their content.

    fieldguide reads by content. Programs that go by the extension may fail on such files or skip them.

    Rename them if other programs are to read them.
    """
    wrong = [f"{row.path}: {note}" for row in facts.rows for note in row.notes if note.startswith(_LIES)]
    detail = "Read by content, which is what counts; other programs may fail on them."
    return outcome(wrong, detail, "Every extension fits its content.")


def ignored(facts: Facts) -> Told:
    """List what lies in the source and was never a candidate: hidden files, text files, what systems leave behind.

    It is told so that no picture goes missing unseen. A text that lies beside a picture of the same name is called what it is.

    If a picture is among them, give it a picture's extension or none. Texts beside pictures come in by ``fieldguide texts STUDY --add FOLDER``.
    """
    pictures = {PurePosixPath(row.path).with_suffix("") for row in facts.rows}
    found = [
        (name, _BESIDE if name.lower().endswith(".txt") and PurePosixPath(name).with_suffix("") in pictures else reason)
        for name, reason in facts.source.ignored
    ]
    names = [f"{name}: {reason}" for name, reason in found]
    return outcome(
        names, f"Passed over: {counted([reason for _, reason in found])}.", "Every file in the source is a candidate."
    )
