"""One question with its list in several orders: which they are, how they are put, and what is made of what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.conftest import Held
from tests.fake_chat import Fake

from fieldguide.bench import Silent
from fieldguide.craft.chat import Said, orders
from fieldguide.craft.chat.asked import Questions, Sitting
from fieldguide.craft.chat.orders import Orders, Unanswered, askings, grey, greys, hear, in_grey
from fieldguide.craft.chat.weighing import Weighing
from fieldguide.files import digest
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.prompting import read_prompt
from fieldguide.tasks.weighed import Weighed, dumps

CLASSES = tuple(ClassInfo(f"c{at}", name) for at, name in enumerate(("red kite", "green finch", "blue tit")))
IDS = tuple(info.id for info in CLASSES)


def seen(asking: Asking, pixels: Pixels) -> Said:
    """Give the colour that there is most of the most, and each name less by its place in the list; grey is leaning alone."""
    text = asking.text()
    places = sorted(range(3), key=lambda at: text.rindex(asking.answers[at]))
    looks = np.asarray(pixels, float).reshape(-1, 3).mean(axis=0) / 50
    sums = [float(looks[at]) - 10 - 2.0 * places.index(at) for at in range(3)]
    return Said(dumps(Weighed(tuple(sums), (2, 3, 3), (8, 11, 8))), "stop", 100, 0, 60, 0.01, "likelihood")


def examples(count: int = 9) -> list[Example]:
    held = {}
    for at in range(count):
        pixels = np.full((20, 20, 3), at, np.uint8)
        pixels[:, :, at % 3] = 200
        held[digest("orders", at)] = pixels
    reader = Held(held)
    return [Example(Image(key, reader), f"c{at % 3}") for at, key in enumerate(held)]


def images(count: int = 9) -> list[Image]:
    return [one.image for one in examples(count)]


def of(fake: Fake, number: int = 1, **more: Any) -> Orders:
    asked = askings(read_prompt("plain"), CLASSES, "likelihood", (), number)
    sitting = Sitting(**more)
    return Orders(tuple(Questions(asking, lambda: fake, 16, sitting=sitting) for asking in asked), IDS)


def test_the_first_order_is_the_prompts_own_and_all_others_are_others() -> None:
    found = askings(read_prompt("plain"), CLASSES, "likelihood", (), 6)
    assert len(found) == len({asking.text() for asking in found}) == 6, "three names have six orders"
    assert "red kite, green finch, blue tit" in found[0].text()
    assert {asking.answers for asking in found} == {("red kite", "green finch", "blue tit")}, (
        "scores stay in the order of the classes"
    )
    assert askings(read_prompt("plain"), CLASSES, "likelihood", (), 100) == found, "there are no others"
    assert askings(read_prompt("plain"), CLASSES, "likelihood", (), 3) == found[:3], "more begin with the same"
    assert len(askings(read_prompt("plain"), CLASSES, "likelihood", (), 1)) == 1


def test_what_stands_as_the_example_does_not_move_with_the_list() -> None:
    prompt = read_prompt("plain").model_copy(update={"question": "Of {classes}? For example {example}."})
    found = askings(prompt, CLASSES, "likelihood", (), 6)
    assert len(found) == 6 and all(asking.text().count("For example red kite.") == 1 for asking in found)
    bare = prompt.model_copy(update={"question": "What is it?"})
    assert len(askings(bare, CLASSES, "likelihood", (), 6)) == 1, "without a list there is no order"


def test_every_picture_is_asked_about_in_every_order_and_answers_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_TOGETHER", 4)
    fake = Fake(seen)
    found = of(fake, 3)
    answers = list(found.put(images()))
    assert [key for key, _ in answers] == [image.key for image in images()]
    assert len(fake.asked) == 27 and {len(said) for _, said in answers} == {3}
    for (_, said), image in zip(answers, images(), strict=True):
        alone = [seen(questions.asking, image.pixels(16)).text for questions in found.questions]
        assert [one.text for one in said] == alone and len(set(alone)) == 3


def test_the_requests_of_one_order_alone_are_on_their_way_at_a_time() -> None:
    fake = Fake(seen)
    list(of(fake, 3).put(images()))
    turns = [fake.askings.index(asking) for asking in fake.askings]
    assert len(fake.askings) == 3 and turns == sorted(turns)


def test_a_stream_without_end_is_answered_as_it_comes() -> None:
    def endless() -> Iterator[Image]:
        while True:
            yield from images()

    answers = of(Fake(seen), 2).put(endless())
    assert [next(answers)[0] for _ in range(9)] == [image.key for image in images()]


def test_the_place_in_the_list_is_averaged_away() -> None:
    one, all_six = (next(of(Fake(seen), number).predict([grey(16)], Weighing(), 16)).probabilities for number in (1, 6))
    assert one is not None and all_six is not None
    assert max(one) > 0.8 and all_six == pytest.approx([1 / 3] * 3)


def test_probabilities_follow_the_classes_and_cost_what_all_orders_cost() -> None:
    found = list(of(Fake(seen), 2).predict(images(), Weighing(), 16))
    assert [one.label for one in found] == [one.label for one in examples()]
    first = found[0]
    assert first.probabilities is not None and first.probabilities.index(max(first.probabilities)) == 0
    assert (first.raw, first.error, first.tokens_in, first.tokens_out) == (None, None, 200, 0)
    assert first.seconds == pytest.approx(0.02)
    fake = Fake(lambda asking, pixels: replace(seen(asking, pixels), tokens_in=None))
    assert next(of(fake, 2).predict(images(1), Weighing(), 16)).tokens_in is None, "not known is not zero"


def test_the_grey_picture_takes_away_what_would_be_said_of_nothing() -> None:
    fake = Fake(seen)
    found = of(fake)
    own = list(found.predict(images(), Weighing("pmi"), 16))
    assert len(fake.asked) == 10, "it is asked about once"
    beside = found.of_grey(16)
    assert not isinstance(beside, str)
    assert [one.probabilities for one in found.predict(images(), Weighing("pmi", greys=beside), 16)] == [
        one.probabilities for one in own
    ]
    (bare,) = found.predict([grey(16)], Weighing("pmi", greys=beside), 16)
    assert bare.probabilities == pytest.approx([1 / 3] * 3), "of itself it says nothing"
    assert len(grey(16).key) == 64 and grey(16).key != grey(17).key, (
        "it is called by its content, so that an answer can be kept"
    )
    assert set(np.unique(grey(16).pixels(16))) == {orders.GREY}


def test_in_place_of_every_picture_the_grey_one_is_answered_for_once() -> None:
    fake = Fake(seen)
    found = list(in_grey(images(), lambda some: of(fake).predict(some, Weighing(), 16), 16))
    assert [one.image for one in found] == [image.key for image in images()] and len({one.probabilities for one in found}) == 1
    assert len(fake.asked) == 1 and [one.tokens_in for one in found] == [100] + [0] * 8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (dumps(Weighed((-1.0, -1.0, -1.0), found=(False, False, False))), "undecided"),
        (dumps(Weighed((-0.5, -1.0, -2.0), found=(False, True, True))), "undecided"),
        ("red kite", "no probabilities: it answered in words"),
    ],
)
def test_what_is_no_answer_has_no_label_and_says_why(text: str, why: str) -> None:
    (found,) = of(Fake(lambda *_: Said(text, "stop", 100, 0))).predict(images(1), Weighing(), 16)
    assert (found.label, found.probabilities) == (None, None) and str(found.error).startswith(why)
    assert found.tokens_in == 100, "it was paid for"


def test_an_answer_that_is_too_unsure_keeps_its_probabilities() -> None:
    sure, unsure = (next(of(Fake(seen)).predict(images(1), Weighing(threshold=least), 16)) for least in (0.1, 0.999))
    assert sure.label == "c0" and unsure.label is None and unsure.probabilities == sure.probabilities
    assert str(unsure.error).startswith("too unsure: c0 with probability 0.")


def sometimes(failing: Callable[[int], bool]) -> Fake:
    """Return a chat that fails where `failing` of the number of the question says so."""
    fake = Fake(seen, ahead=1)
    fake.rule = lambda asking, pixels: Said(error="hiccup") if failing(len(fake.asked)) else seen(asking, pixels)
    return fake


def test_validation_pictures_are_heard_with_their_labels() -> None:
    heard = hear(of(Fake(seen), 2), examples(), Sitting(), Silent())
    assert heard.labels == tuple(at % 3 for at in range(9)) and len(heard.rows) == 9 and heard.left_out == 0
    assert {len(row) for row in heard.rows} == {2}


def test_what_fails_once_is_asked_again_and_little_that_fails_twice_is_left_out() -> None:
    fake = sometimes(lambda number: number in (3, 5))
    heard = hear(of(fake), examples(40), Sitting(), Silent())
    assert (len(heard.rows), heard.left_out, len(fake.asked)) == (40, 0, 42)
    assert sorted(heard.labels) == sorted(at % 3 for at in range(40))
    cursed = images(40)[7].pixels(16).tobytes()
    fake = Fake(seen)
    fake.rule = lambda asking, pixels: Said(error="refused") if pixels.tobytes() == cursed else seen(asking, pixels)
    heard = hear(of(fake), examples(40), Sitting(), Silent())
    assert (len(heard.rows), heard.left_out) == (39, 1)


def test_without_enough_answers_nothing_is_chosen() -> None:
    with pytest.raises(Unanswered, match=r"40 of 40 validation pictures have no answer yet: hiccup") as raised:
        hear(of(sometimes(lambda number: True)), examples(40), Sitting(), Silent())
    assert "The same command goes on" in raised.value.next
    for limit, chat in ((7, Fake(seen)), (None, Fake(lambda *_: Said(error="gone", lasting=True)))):
        found = of(chat, limit=limit)
        with pytest.raises(Unanswered, match="of 9 validation pictures have no answer yet") as raised:
            hear(found, examples(), found.questions[0].sitting, Silent())
        assert raised.value.sitting.asked == (limit or raised.value.sitting.asked) >= 1
    with pytest.raises(Unanswered, match="it answered in words"):
        hear(of(Fake(lambda *_: Said("red kite"))), examples(), Sitting(), Silent())


def test_a_picture_that_cannot_be_read_says_nothing() -> None:
    reader = Held({})
    broken = [Example(Image(digest("not there", at), reader), "c0") for at in range(3)]
    heard = hear(of(Fake(seen)), [*examples(), *broken], Sitting(), Silent())
    assert (len(heard.rows), heard.left_out) == (9, 3)


def test_without_the_grey_picture_it_is_said_what_to_do() -> None:
    assert len(greys(of(sometimes(lambda number: number == 1), 2), 16, Sitting())) == 2, "it is asked about again"
    with pytest.raises(Unanswered, match="hiccup") as raised:
        greys(of(sometimes(lambda number: True)), 16, Sitting())
    assert "score=sum needs none" in raised.value.next
