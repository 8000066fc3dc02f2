"""One test for each health check: what it finds, when it is fine, when it does not apply or is skipped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.data.checks.seen import NOTHING, clean, facts, finding, lost, pair, row

from fieldguide.data.checks import CHECKS, Finding, find
from fieldguide.data.copies import Copies, Look


def states(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {one.code: one.state for one in findings if one.state != "fine"}


def test_a_clean_folder_is_fine() -> None:
    assert states(find(facts(clean()))) == {
        "FG006": "not applicable",  # it names no splits
        "FG014": "skipped",  # no model has answered
        "FG015": "not applicable",  # labels are the folders
        "FG018": "not applicable",  # too few pictures
    }


def test_without_labels_only_pictures_are_checked() -> None:
    told = states(find(facts([row(f"{number}.png", label="") for number in range(4)])))
    assert {code for code, state in told.items() if state == "not applicable"} == {
        *("FG005", "FG006", "FG008", "FG009", "FG013", "FG014", "FG015", "FG018")
    }


def test_codes_and_titles_are_distinct_and_every_check_is_explained() -> None:
    assert [check.code for check in CHECKS] == [f"FG{number:03}" for number in range(1, len(CHECKS) + 1)]
    assert len({check.title for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert len(check.text.split("\n\n")) >= 3, f"{check.code} does not say what it is, why it matters and what to do"


def test_unreadable() -> None:
    told = finding("FG001", facts([*clean(), lost("cat/x.jpg", "truncated: ends early"), lost("cat/y.jpg", "truncated: too")]))
    assert (told.state, told.count) == ("found", 2)
    assert "2 truncated" in told.detail and told.examples[0] == "cat/x.jpg: truncated: ends early"


def test_converted_counts_kinds_and_names_each_picture_once() -> None:
    several = row("cat/t.jpg", notes=("rotated by EXIF", "CMYK converted"))
    told = finding("FG002", facts([*clean(), several, row("cat/a.gif", notes=("first of 7 frames",))]))
    assert (told.state, told.count, told.examples) == ("found", 2, ("cat/t.jpg", "cat/a.gif"))
    assert "1 CMYK converted, 1 first frame only, 1 rotated by EXIF" in told.detail
    assert finding("FG002", facts([row("cat/a.jpg", notes=("extension says png, content is JPEG",))])).state == "fine"


def test_exact_duplicates_and_same_pixels() -> None:
    rows = [*clean(), row("cat/copy.png", excluded="duplicate of cat/0.png")]
    told = finding("FG003", facts(rows, replace(NOTHING, same_pixels=((1, 2),))))
    assert (told.state, told.count) == ("found", 2)
    assert told.examples == ("cat/copy.png: duplicate of cat/0.png", "cat/1.png = cat/2.png")
    alone = rows[:1] + [replace(one, excluded="duplicate of x") for one in rows[1:3]]
    assert "same pixels" not in finding("FG003", facts(alone, replace(NOTHING, same_pixels=((1, 2),)))).detail


def test_near_duplicates_say_how_and_what_follows() -> None:
    pairs = (pair(0, 1), pair(0, 2, "mirrored"))
    told = finding("FG004", facts(clean(), Copies((), (), pairs, (), together=True)))  # type: ignore[arg-type]
    assert (told.state, told.count) == ("found", 3)
    assert "1 mirrored, 1 resized" in told.detail and "one side" in told.detail
    assert told.examples[0] == "cat/0.png ~ cat/1.png (resized)"
    free = finding("FG004", facts(clean(), Copies((), (), pairs, (), together=False)))  # type: ignore[arg-type]
    assert "no regard" in free.detail and "one side" not in free.detail
    given = [replace(one, split="test" if one.label == "cat" else "train") for one in clean()]
    theirs = finding("FG004", facts(given, Copies((), (), pairs, (), together=True)))  # type: ignore[arg-type]
    assert "own split stays as it is" in theirs.detail and "one side" not in theirs.detail


def test_near_duplicates_are_skipped_where_nothing_can_be_compared() -> None:
    rows = clean()
    none = [Look("pixels", 40.0, None)] * len(rows)
    assert finding("FG004", facts(rows, looks=none)).state == "skipped"
    some = [Look("pixels", 40.0, object()), *none[1:]]  # type: ignore[arg-type]
    told = finding("FG004", facts(rows, looks=some))
    assert told.state == "fine" and "7 pictures were too small or too plain" in told.detail


def test_two_classes() -> None:
    rows = [*clean(), row("cat/z.png", excluded="same picture in two classes: cat, dog")]
    given = replace(NOTHING, same_pixels=((0, 4),), near=(pair(1, 5), pair(2, 3)))  # type: ignore[arg-type]
    told = finding("FG005", facts(rows, given))
    assert told.examples == (
        "cat/z.png: same picture in two classes: cat, dog",
        "cat/0.png (cat) = dog/0.png (dog)",
        "cat/1.png (cat) ~ dog/1.png (dog)",
    )
    assert (told.state, told.count) == ("found", 5)


def test_leaks_dropped_kept_and_groups_across() -> None:
    train = [row(f"cat/{n}.png", split="train") for n in range(3)]
    test = [row(f"dog/{n}.png", split="test", marks=("leaked",) if n == 0 else ()) for n in range(3)]
    dropped = replace(train[0], excluded="also in the test split: dog/0.png")
    told = finding("FG006", facts([dropped, *train[1:], *test]))
    assert (told.state, told.count) == ("found", 1)
    assert "Of 1 test pictures" in told.detail and "left out of training" in told.detail
    kept = finding("FG006", facts([*train, *test]))
    assert (
        kept.state == "found"
        and "stay where they are" in kept.detail
        and kept.examples == ("dog/0.png: a copy is in another split",)
    )
    grouped = [replace(one, group="walk", marks=()) for one in (train[0], test[0])]
    across = finding("FG006", facts(grouped))
    assert across.examples == ("group walk: test, train",)
    assert finding("FG006", facts([*train, *(replace(one, marks=()) for one in test)])).state == "fine"


def test_bursts() -> None:
    told = finding("FG007", facts(clean(), replace(NOTHING, bursts=((0, 1, 2), (4, 5)))))
    assert (told.state, told.count) == ("found", 5)
    assert told.examples[0] == "cat/0.png, cat/1.png, cat/2.png" and "2 bursts" in told.detail


def test_small_classes_count_what_is_usable() -> None:
    rows = [*clean(), row("emu/0.png"), lost("fox/0.png", "empty file: no bytes")]
    told = finding("FG008", facts(rows, ignored=(("gnu", "class folder without pictures"),)))
    assert (told.state, told.examples) == ("found", ("emu: 1", "fox: 0", "gnu: 0"))
    assert finding("FG008", facts(clean(3))).state == "fine" and finding("FG008", facts(clean(2))).count == 2


def test_imbalance() -> None:
    rows = [*clean(4), *(row(f"cat/more{n}.png") for n in range(8))]
    told = finding("FG009", facts(rows))
    assert (told.state, told.count, told.examples) == ("found", 1, ("dog",)) and "3.0 times" in told.detail
    assert finding("FG009", facts(rows[:-1])).state == "fine"
    assert finding("FG009", facts(clean()[:4])).state == "not applicable"


def test_tiny_blank_and_extreme_pictures() -> None:
    rows = [*clean(), row("cat/t.png", width=31, height=90), row("cat/long.png", width=500, height=120)]
    assert finding("FG010", facts(rows)).examples == ("cat/t.png: 31 x 90",)
    assert finding("FG012", facts(rows)).examples == ("cat/long.png: 500 x 120",)
    assert finding("FG012", facts([*clean(), row("cat/edge.png", width=480, height=120)])).state == "fine"


def test_blank_pictures_and_classes_of_nothing_else() -> None:
    rows = clean(2)
    looks = [Look("a", 40.0), Look("b", 0.5), Look("c", 0.0), Look("d", 2.9)]
    told = finding("FG011", facts(rows, looks=looks))
    assert (told.state, told.examples) == ("found", ("cat/1.png", "dog/0.png", "dog/1.png"))
    assert told.detail.endswith("Classes with no other pictures: dog.")
    assert finding("FG011", facts(rows, looks=[Look("a", 3.0)] * 4)).state == "fine"


@pytest.mark.parametrize("twin", ["Cat", "CAT", " cat", "ｃａｔ"])
def test_class_names_that_collide(twin: str) -> None:
    told = finding("FG013", facts([*clean(), row("x.png", label=twin)]))
    assert (told.state, told.count) == ("found", 1) and "cat" in told.examples[0] and twin in told.examples[0]


def test_labels_that_contradict_the_folder() -> None:
    rows = [row("photos/cat/1.png", label="cat"), row("photos/cat/2.png", label="dog"), row("photos/dog/3.png", label="Dog")]
    told = finding("FG015", facts(rows, kind="table"))
    assert (told.state, told.count, told.examples) == ("found", 1, ("photos/cat/2.png: labelled dog",))
    assert finding("FG015", facts([replace(rows[0]), rows[2]], kind="table")).state == "fine"
    assert finding("FG015", facts([row("a/1.png", label="cat")], kind="table")).state == "not applicable"


def test_extensions_and_ignored_files() -> None:
    liar = row("cat/a.jpg", notes=("extension says jpg, content is PNG",))
    assert finding("FG016", facts([*clean(), liar])).examples == ("cat/a.jpg: extension says jpg, content is PNG",)
    told = finding("FG017", facts(clean(), ignored=((".DS_Store", "hidden"), ("a.txt", "not a picture by its extension"))))
    assert told.count == 2 and "1 hidden" in told.detail
    beside = tuple((f"cat/{name}.txt", "not a picture by its extension") for name in ("a", "b"))
    told = finding("FG017", facts([row("cat/a.jpg")], ignored=beside))
    assert "1 text beside a picture" in told.detail and "1 not a picture" in told.detail


def test_file_facts_that_give_the_class_away() -> None:
    """Cats from one camera, dogs from another; then both from both."""
    cats = [row(f"cat/{n}.jpg", width=640 + n, height=480, bytes=60_000 + 999 * (n * 7 % 13)) for n in range(30)]
    dogs = [row(f"dog/{n}.jpg", width=640 + n, height=480, bytes=60_000 + 999 * (n * 5 % 13)) for n in range(30)]
    assert finding("FG018", facts([*cats, *dogs])).state == "fine"
    told = finding("FG018", facts([*cats, *(replace(dog, height=427) for dog in dogs)]))
    assert told.state == "found" and "100%" in told.detail
    same = [row(f"{label}/{n}.png") for label in ("cat", "dog") for n in range(20)]
    assert finding("FG018", facts(same)).state == "fine"
