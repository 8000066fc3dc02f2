"""Checks of pictures against each other."""

from __future__ import annotations

from collections.abc import Sequence

from fieldguide.data.checks.finding import NO_LABELS, Facts, Told, counted, outcome
from fieldguide.data.copies import DUPLICATE, LEAKED, TWO_CLASSES, TWO_COUNTS


def duplicates(facts: Facts) -> Told:
    """Find files with the same bytes, and files of other bytes with the same pixels.

    A picture that is there twice counts twice in every score. Of the same bytes one file stays and the others are excluded, each
    naming the one that stays. Of the same pixels in different files all stay, on one side of the split.

    Nothing needs to be done; delete the copies to silence this.
    """
    copies = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith(f"{DUPLICATE} ")]
    same = _usable(facts, facts.copies.same_pixels)
    detail = f"{len(copies):,} exact copies are excluded, one of each stays."
    if same:
        detail += (
            f" {_members(same):,} files hold the same pixels as another in different bytes; they stay on one side of the split."
        )
    return outcome([*copies, *_equations(facts, same)], detail, "No picture is there twice.")


def near_duplicates(facts: Facts) -> Told:
    """Find pictures that show the same as another one: resized, recompressed, turned, mirrored or mildly cropped.

    With one of them in training and the other in the test part, memory passes for skill: on CIFAR-100 such pairs lifted the
    accuracy by about a tenth (Barz and Denzler, arXiv 1902.00423). By default all of a group stay on one side of the split, and the
    report also shows scores that count each group once. Candidates come from a perceptual hash, each pair is then laid on
    top of each other and compared. Pictures under 32 pixels and pictures without detail are not compared.

    Look at the pairs. ``--alike free`` splits without regard to them.
    """
    near = facts.copies.near
    compared = sum(look.sketch is not None for look, row in zip(facts.looks, facts.rows, strict=True) if row.format)
    readable = sum(row.format is not None for row in facts.rows)
    if readable and not compared:
        return Told("skipped", "Every picture has under 32 pixels or hardly any detail; such pictures cannot be told apart.")
    names = [f"{facts.rows[pair.a].path} ~ {facts.rows[pair.b].path} ({pair.how})" for pair in near]
    pictures = len({at for pair in near for at in (pair.a, pair.b)})
    left = f" {readable - compared:,} pictures were too small or too plain to compare." if readable > compared else ""
    detail = f"{pictures:,} pictures are near copies of another one ({counted([pair.how for pair in near])}); {_where(facts)}."
    told = outcome(names, detail + left, f"No picture is a near copy of another one.{left}")
    return Told(told.state, told.detail, pictures, told.examples)


def two_classes(facts: Facts) -> Told:
    """Find one picture under two labels.

    No answer to it could be right. The same bytes under different labels are all excluded; the same pixels and near copies in
    different classes stay, because one of the labels may be right, and are listed.

    Decide which label is right and delete the other file.
    """
    if any(row.counts is not None for row in facts.rows):
        odd = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith(TWO_COUNTS)]
        return outcome(
            odd, f"{len(odd):,} files with the same bytes and different counts are excluded.", "No picture has two counts."
        )
    if not facts.labelled:
        return NO_LABELS
    same = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith(TWO_CLASSES)]
    alike, named = [], []
    for sign, groups in ((" = ", facts.copies.same_pixels), (" ~ ", [(pair.a, pair.b) for pair in facts.copies.near])):
        for group in _usable(facts, groups):
            if len({facts.rows[at].label for at in group}) > 1:
                alike.append(group)
                named.append(sign.join(f"{facts.rows[at].path} ({facts.rows[at].label})" for at in group))
    detail = f"{len(same):,} files with the same bytes under different labels are excluded: no answer to them would be right."
    if alike:
        detail += f" {_members(alike):,} with the same pixels or nearly the same in different classes are kept; look at them."
    told = outcome([*same, *named], detail, "No picture has two labels.")
    return Told(told.state, told.detail, len(same) + _members(alike), told.examples)


def leaks(facts: Facts) -> Told:
    """Find pictures that the source itself put into two of its splits, as copies or near copies, and groups on both sides.

    A test picture that was in training is remembered, not recognised. By default the copies on the training side are left out of
    training (``--leaks drop``); with ``--leaks keep`` the source's split stays as it is, for figures that are to be compared with
    published ones. Either way the report shows every score with and without those test pictures.

    Mend the split at its source.
    """
    if len({row.split for row in facts.rows}) < 2:
        return Told("not applicable", "The source names no splits; fieldguide keeps copies on one side.")
    dropped = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith(f"{LEAKED} ")]
    marked = [row for row in facts.usable if "leaked" in row.marks]
    kept = [] if dropped else [f"{row.path}: a copy is in another split" for row in marked]
    sides: dict[str, set[str]] = {}
    told_already = {row.group for row in marked}
    for row in facts.usable:
        if row.group is not None and row.split is not None and row.group not in told_already:
            sides.setdefault(row.group, set()).add(row.split)
    across = [f"group {group}: {', '.join(sorted(splits))}" for group, splits in sorted(sides.items()) if len(splits) > 1]
    parts = counted([f"{row.split} pictures" for row in marked]) or "no pictures"
    detail = f"Of {parts} the source has a copy in another split"
    detail += f"; {len(dropped):,} such copies are left out of training." if dropped else "; they stay where they are."
    if across:
        detail += f" {len(across):,} other groups (bursts, or the source's own) lie on both sides of the given split, which is kept as it is."
    return outcome([*dropped, *kept, *across], detail, "The given splits share no picture and no group.")


def bursts(facts: Facts) -> Told:
    """Find pictures of one scene taken moments apart, or made from one original by augmentation.

    They are no copies, but a model that has seen one has nearly seen the others. Evidence is the EXIF time or consecutive
    numbers in the file names, together with a similar look; and the names that augmentation services give. By default a
    burst stays on one side of the split.

    A column ``group`` in a table source says it better than any check. ``--alike free`` splits without regard to bursts.
    """
    groups = _usable(facts, facts.copies.bursts)
    names = [", ".join(facts.rows[at].path for at in group) for group in groups]
    many = "1 burst" if len(groups) == 1 else f"{len(groups):,} bursts"
    told = outcome(
        names,
        f"{_members(groups):,} pictures in {many}; {_where(facts)}.",
        "No pictures seem to be of one scene, moments apart.",
    )
    return Told(told.state, told.detail, _members(groups), told.examples)


def _where(facts: Facts) -> str:
    """Return which side of the split those come to that belong together."""
    if len({row.split for row in facts.rows}) > 1:
        return "the source's own split stays as it is (see FG006)"
    return (
        "each group stays on one side of the split"
        if facts.copies.together
        else "the split pays no regard to them (alike = free)"
    )


def _usable(facts: Facts, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the groups without excluded members, those of at least two."""
    left = ([at for at in group if facts.rows[at].excluded is None] for group in groups)
    return [group for group in left if len(group) > 1]


def _members(groups: Sequence[Sequence[int]]) -> int:
    return len({at for group in groups for at in group})


def _equations(facts: Facts, groups: Sequence[Sequence[int]]) -> list[str]:
    return [f"{facts.rows[first].path} = {facts.rows[at].path}" for first, *others in groups for at in others]
