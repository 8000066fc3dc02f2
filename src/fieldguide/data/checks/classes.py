"""Checks of classes and labels."""

from __future__ import annotations

from pathlib import PurePosixPath

from fieldguide.data.checks.finding import NO_LABELS, SHOWN, Facts, Told, outcome
from fieldguide.tasks.classify import fold

#: Largest class over smallest from which a data set is called imbalanced.
IMBALANCE = 3.0
#: A class with fewer usable pictures cannot be in train, validation and test.
FEWEST = 3


def small(facts: Facts) -> Told:
    """Find classes without pictures, with one, or with fewer than three.

    Three is what it takes to be in training, validation and test. What a model does on a class with one test picture
    says nothing about that class.

    Add pictures, join classes, or use ``--folds`` so that every picture is tested once.
    """
    if not facts.labelled:
        return NO_LABELS
    names = [f"{label}: {count}" for label, count in sorted(facts.counts.items()) if count < FEWEST]
    names += [f"{name}: 0" for name, reason in facts.source.ignored if reason == "class folder without pictures"]
    detail = f"Classes with fewer than {FEWEST} usable pictures cannot be in train, validation and test."
    return outcome(names, detail, f"Every class has at least {FEWEST} usable pictures.")


def imbalance(facts: Facts) -> Told:
    """Compare the largest class with the smallest; three to one is called imbalance.

    Accuracy then rewards a model for the large classes alone.

    Read balanced accuracy and macro-F1, which the report shows beside accuracy.
    """
    if not facts.labelled:
        return NO_LABELS
    counts = {label: count for label, count in facts.counts.items() if count}
    if len(counts) < 2:
        return Told("not applicable", "Fewer than two classes have usable pictures.")
    most, fewest = max(counts, key=lambda label: (counts[label], label)), min(counts, key=lambda label: (counts[label], label))
    ratio = counts[most] / counts[fewest]
    detail = f"{most} has {counts[most]:,} pictures, {ratio:.1f} times as many as {fewest} with {counts[fewest]:,}."
    if ratio < IMBALANCE:
        return Told("fine", detail)
    behind = sorted(label for label, count in counts.items() if counts[most] / count >= IMBALANCE)
    return Told("found", f"{detail} Read balanced accuracy and macro-F1.", len(behind), tuple(behind[:SHOWN]))


def names(facts: Facts) -> Told:
    """Find class names that differ only in case, in Unicode form, or in spaces, hyphens and underscores.

    They are probably one class written twice, and a file system that ignores case would join them. Folder names in
    different Unicode forms are brought into one (NFC), which may join folders: that is told here too.

    Rename one of the folders, or merge them.
    """
    if not facts.labelled:
        return NO_LABELS
    folded: dict[str, list[str]] = {}
    for label in facts.source.classes:
        folded.setdefault(fold(label), []).append(label)
    collide = [" = ".join(labels) for labels in folded.values() if len(labels) > 1]
    joined = [note for note in facts.source.notes if note.startswith("The folder ")]
    told = []
    if collide:
        told.append(
            f"{len(collide)} sets of class names differ only in case, Unicode form or separators: probably one class written twice."
        )
    if joined:
        told.append(f"{len(joined)} folder names were brought into one Unicode form.")
    return outcome([*collide, *joined], " ".join(told), "Class names are distinct.")


def suspects(facts: Facts) -> Told:
    """List pictures whose label is probably wrong, by confident learning (Northcutt, Jiang and Chuang, arXiv 1911.00068; cleanlab).

    It needs probabilities for pictures that a model was not trained on. A comparison has them: the report lists suspects
    among the validation and test pictures, or among all with ``--folds``. ``fieldguide look PHOTOS --suspects linear`` makes
    them by cross-validation; a good frozen network finds more (``linear/MODEL:weights=FILE``).

    Look at each suspect: to a model a hard picture looks the same as a wrong label, and on clean data most suspects are hard
    pictures. Correct the label, or leave it.
    """
    if not facts.labelled:
        return NO_LABELS
    return Told("skipped", "It needs the answers of a model: compare contestants, or add --suspects linear.")


def folders(facts: Facts) -> Told:
    """Compare the labels of a table with the folders its files lie in, where folders carry names of classes.

    A picture in ``dog/`` that the table calls cat was moved, or mislabelled, or the table is shifted by a row.

    Correct the table or move the file. The table's label is the one that counts.
    """
    if facts.source.kind != "table" or not facts.labelled:
        return Told("not applicable", "Labels come from the folders themselves." if facts.labelled else NO_LABELS.detail)
    known = {fold(label) for label in facts.source.classes}
    placed = [(row, PurePosixPath(row.path).parent.name) for row in facts.rows]
    placed = [(row, folder) for row, folder in placed if fold(folder) in known]
    if not placed:
        return Told("not applicable", "No folder carries the name of a class.")
    wrong = [f"{row.path}: labelled {row.label}" for row, folder in placed if fold(folder) != fold(row.label)]
    detail = (
        f"{len(wrong):,} of {len(placed):,} files lie in the folder of another class than the table says. The table counts."
    )
    return outcome(wrong, detail, f"All {len(placed):,} files in folders named like classes have that label.")
