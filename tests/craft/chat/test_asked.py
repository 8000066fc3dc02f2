"""A stream of pictures and a chat: every picture its own answer, in order, and nothing asked that need not be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Held
from tests.fake_chat import Fake, by_colour

from fieldguide.craft.chat import Said
from fieldguide.craft.chat.asked import Questions, Shelf, Sitting
from fieldguide.craft.chat.kept import About, Answers
from fieldguide.files import digest
from fieldguide.records import Image, Pixels
from fieldguide.tasks.asking import Asking, Message, Shown, open_question

ASKING = Asking((Message("user", (Shown(), "Which?")),), ("red", "green", "blue"))
COLOURS = ("red", "green", "blue", "blue", "red", "green", "green", "red", "blue", "red")


def picture(colour: str, number: int = 0) -> Pixels:
    pixels = np.full((4, 4, 3), number, np.uint8)
    pixels[:, :, ("red", "green", "blue").index(colour)] = 200
    return pixels


def images(broken: tuple[int, ...] = ()) -> list[Image]:
    held = {digest(at): picture(colour, at) for at, colour in enumerate(COLOURS) if at not in broken}
    reader = Held(held)
    return [Image(digest(at), reader) for at in range(len(COLOURS))]


def shelf(path: Path) -> Shelf:
    return Shelf(Answers(path / "answers.sqlite"), ASKING, "r", 4, About("m", ASKING.hash, "one"))


def words(found: Iterator[tuple[str, Said]]) -> list[str]:
    return [said.text if said.error is None else said.error for _, said in found]


@pytest.mark.parametrize("ahead", [1, 3, 50])
def test_every_picture_gets_its_own_answer_in_order(ahead: int) -> None:
    fake = Fake(ahead=ahead)
    found = list(Questions(ASKING, lambda: fake, 4).put(images()))
    assert [key for key, _ in found] == [digest(at) for at in range(len(COLOURS))]
    assert tuple(said.text for _, said in found) == COLOURS
    assert len(fake.askings) == 1 and fake.most_taken <= ahead


@pytest.mark.parametrize("broken", [(0,), (3, 4, 5), (9,), tuple(range(10))])
def test_a_picture_that_cannot_be_read_is_told_in_its_place(broken: tuple[int, ...]) -> None:
    fake = Fake()
    found = words(Questions(ASKING, lambda: fake, 4).put(images(broken)))
    assert len(fake.asked) == len(COLOURS) - len(broken)
    for at, colour in enumerate(COLOURS):
        assert found[at] == ("unreadable picture: truncated: lost" if at in broken else colour)


@pytest.mark.parametrize("kept", [(), (0, 1, 2), (2, 5, 9), (0, 3, 4, 7, 8), tuple(range(10))])
def test_what_is_kept_is_not_asked_and_stands_in_its_place(kept: tuple[int, ...], tmp_path: Path) -> None:
    before = shelf(tmp_path)
    for at in kept:
        before.keep(digest(at), Said(f"kept {at}"))
    fake = Fake()

    def door() -> Fake:
        assert len(kept) < len(COLOURS), "a door was opened with nothing to ask"
        return fake

    found = words(Questions(ASKING, door, 4, shelf=before).put(images()))
    assert found == [f"kept {at}" if at in kept else colour for at, colour in enumerate(COLOURS)]
    assert len(fake.asked) == len(COLOURS) - len(kept)
    again = Questions(ASKING, lambda: pytest.fail("asked twice"), 4, shelf=shelf(tmp_path))
    assert words(again.put(images())) == found
    assert before.lacking([image.key for image in images()]) == 0


def test_a_stream_without_end_is_answered_as_it_comes_also_where_all_is_kept(tmp_path: Path) -> None:
    kept = shelf(tmp_path)
    for at in range(1, 10):
        kept.keep(digest(at), Said(f"kept {at}"))
    taken = 0

    def endless() -> Iterator[Image]:
        nonlocal taken
        for image in itertools.cycle(images()[:1] + images()[1:] * 500):
            taken += 1
            yield image

    found = list(itertools.islice(Questions(ASKING, lambda: Fake(), 4, shelf=kept).put(endless()), 2000))
    assert found[0][1].text == "red" and found[1][1].text == "kept 1"
    assert taken < 2600, "more pictures were taken than memory should hold"


def test_failures_are_told_and_asked_again_and_answers_are_not(tmp_path: Path) -> None:
    def moody(asking: Asking, pixels: Pixels) -> Said:
        return Said(error="no whole reply within 2 s") if pixels.min() in (2, 6) else by_colour(asking, pixels)

    first = Questions(ASKING, lambda: Fake(moody), 4, shelf=shelf(tmp_path))
    found = words(first.put(images()))
    assert [at for at, text in enumerate(found) if open_question(text)] == [2, 6]
    assert found[2] == "server failed: no whole reply within 2 s"
    fake = Fake()
    assert tuple(words(Questions(ASKING, lambda: fake, 4, shelf=shelf(tmp_path)).put(images()))) == COLOURS
    assert len(fake.asked) == 2


def test_after_what_would_befall_every_picture_no_more_are_asked() -> None:
    def gone(asking: Asking, pixels: Pixels) -> Said:
        return Said(error="the key is refused", lasting=True) if pixels.min() >= 3 else by_colour(asking, pixels)

    fake, sitting = Fake(gone, ahead=2), Sitting()
    found = words(Questions(ASKING, lambda: fake, 4, sitting=sitting).put(images()))
    assert tuple(found[:3]) == COLOURS[:3]
    assert found[3] == "server failed: the key is refused"
    assert all(open_question(text) for text in found[3:])
    assert found[-1] == "not asked: because of a picture before it: the key is refused"
    assert len(fake.asked) <= 5
    assert words(Questions(ASKING, lambda: fake, 4, sitting=sitting).put(images()[:1])) == [found[-1]], "the sitting is over"


def test_a_limit_bounds_new_questions_and_not_kept_answers(tmp_path: Path) -> None:
    kept = shelf(tmp_path)
    kept.keep(digest(1), Said("green"))
    fake, sitting = Fake(), Sitting(4)
    found = words(Questions(ASKING, lambda: fake, 4, shelf=kept, sitting=sitting).put(images()))
    assert tuple(found[:5]) == COLOURS[:5]
    assert found[5:] == ["not asked: the limit of 4 new questions was reached"] * 5
    assert len(fake.asked) == sitting.asked == 4


def test_what_an_explanation_varies_is_never_kept(tmp_path: Path) -> None:
    kept, fake = shelf(tmp_path), Fake()
    for colour in ("red", "blue"):
        varied = [Image("variation 0", Held({"variation 0": picture(colour)}))]
        assert words(Questions(ASKING, lambda: fake, 4, shelf=kept).put(varied)) == [colour]
    assert len(fake.asked) == 2


def test_a_chat_that_stops_is_no_silence() -> None:
    class Short(Fake):
        def ask(self, *given: object) -> Iterator[Said]:
            yield next(super().ask(*given))  # type: ignore[arg-type]

    found = words(Questions(ASKING, lambda: Short(), 4).put(images()))
    assert len(found) == len(COLOURS)
    assert all(open_question(text) or text == COLOURS[at] for at, text in enumerate(found))
