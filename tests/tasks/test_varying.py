"""What an audit asks: one thing is varied and all else is as it was, nothing is asked twice, and what cannot be varied says why."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest

from fieldguide.records import ClassInfo
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.prompting import Prompt, Words, called, prompt_names, read_prompt, render
from fieldguide.tasks.reading import read
from fieldguide.tasks.unexampled import unexampled
from fieldguide.tasks.varying import CHECKS, NO_EXAMPLE, Check, Variation, not_applicable, present, variations

CAT = ClassInfo("n01", "cat", ("kitty", "house cat"), "a small animal")
FOUR = (CAT, ClassInfo("dog", "dog", ("Cat", "hound")), ClassInfo("eel", "moray eel"), ClassInfo("emu", "emu"))
DIGITS = tuple(ClassInfo(digit, digit) for digit in "0123456789")
LIST = "Which of these {class_count}? {classes}. Answer with the name alone."


def asked(variation: Variation, classes: tuple[ClassInfo, ...]) -> Asking:
    return render(variation.prompt, [info for info in classes if variation.concerns(info.id)])


def of(check: Check, prompt: Prompt, classes: tuple[ClassInfo, ...] = FOUR, **more: int) -> dict[str, Variation]:
    return {one.id: one for one in variations(prompt, classes, [check], **more)}


@pytest.mark.parametrize("name", prompt_names())
def test_every_prompt_is_varied_or_says_why_not(name: str) -> None:
    classes = tuple(ClassInfo(info.id, info.name, info.synonyms, "what it looks like") for info in FOUR)
    prompt = read_prompt(name)
    made, why = variations(prompt, classes), not_applicable(prompt, classes)
    assert {one.check for one in made} | set(why) == set(get_args(Check)) == set(CHECKS)
    assert not {one.check for one in made} & set(why) and all(reason.endswith(".") for reason in why.values())
    assert [one.check for one in made] == sorted((one.check for one in made), key=list(CHECKS).index)
    assert len({one.id for one in made}) == len(made)
    base = render(prompt, classes)
    hashes = [asked(one, classes).hash for one in made if not (one.blank or one.alone or one.again)]
    assert len(set(hashes)) == len(hashes) and base.hash not in hashes, "nothing is asked twice"
    for one in made:
        now = asked(one, classes)
        assert (now.temperature, now.most_tokens, now.how, one.prompt.format) == (
            0.0 + base.temperature,
            64,
            "generate",
            prompt.format,
        )
        assert [turn.role for turn in now.messages] == [turn.role for turn in base.messages]
        assert [[isinstance(part, str) for part in turn.parts] for turn in now.messages] == [
            [isinstance(part, str) for part in turn.parts] for turn in base.messages
        ]
    assert variations(prompt, classes, seed=7) == variations(prompt, classes, seed=7)


@pytest.mark.parametrize("name", ["llava_mnist", "llava_animals"])
def test_without_its_example_a_published_prompt_is_its_twin(name: str) -> None:
    bare, left_out = unexampled(read_prompt(name)) or (None, "")
    assert bare is not None and bare.system == read_prompt(f"{name}_no_example").system
    assert left_out.startswith("For example if you identify a {example}")


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("Which? For example, for {example} answer: {example_answer}", "Which?"),
        ("{classes} Say the name alone (e.g. {example}).", "{classes} Say the name alone."),
        ("{classes}.\nSay the name alone,\nfor example {example}.\nBe brief.", "{classes}.\nSay the name alone.\nBe brief."),
        ('Say it in quotes, like "{example}".', "Say it in quotes."),
        ("{classes}.\nExample:\n{example_answer}\nBe brief.", "{classes}.\nBe brief."),
        ("If you see a {example}, say {example_answer}. Which? {classes}.", "Which? {classes}."),
        (
            "It is one, e.g. {class_count}, of {classes}, etc. A {example} is called {example}.",
            "It is one, e.g. {class_count}, of {classes}, etc.",
        ),
        ("Braces {{example}} stay. An example: {example}", "Braces {{example}} stay."),
        ("Which? {classes}. Say it like this: {example_answer}.", None),
        ("Which? {classes}. Say it like this:\n{example_answer}", None),
        ("Which? {classes}. If unsure, say {example}.", None),
        ("Which of {classes}, e.g. {example}, is it?", None),
        ("For example, {example} of {classes}.", None),
        ("For example, {example}.", None),
    ],
)
def test_an_example_is_left_out_where_the_rest_is_whole(question: str, left: str | None) -> None:
    found = unexampled(Prompt(question=question))
    assert (found[0].question if found else None) == left


def test_an_example_that_alone_shows_the_format_is_not_left_out() -> None:
    shape = '{{"label": "..."}}'
    assert unexampled(Prompt(question="{classes}: answer in JSON. For example, {example_answer}", format="json")) is None
    kept = unexampled(Prompt(question=f"{{classes}}: answer in JSON, {shape}. For example, {{example_answer}}", format="json"))
    assert kept is not None and kept[0].question == f"{{classes}}: answer in JSON, {shape}."
    turn = {"role": "user", "text": "A {example}"}
    assert unexampled(Prompt(question="Which?", turns=(turn,))) is None  # type: ignore[arg-type]


def test_the_example_is_each_label_and_the_present_one_is_not_asked_again() -> None:
    prompt = read_prompt("llava_mnist")
    found = of("example", prompt, DIGITS)
    assert list(found) == [NO_EXAMPLE, *(f"example={digit}" for digit in "012456789")]
    assert present(prompt, DIGITS).example == "3"
    base = render(prompt, DIGITS).text()
    for digit in "012456789":
        assert asked(found[f"example={digit}"], DIGITS).text() == base.replace("identify a 3", f"identify a {digit}").replace(
            'with "3"', f'with "{digit}"'
        )
    few = of("example", prompt, DIGITS, labels_most=4)
    assert len(few) == 1 + 3 and few.items() <= found.items() and of("example", prompt, DIGITS, labels_most=4, seed=1) != few
    first = Prompt(question=f"{LIST} For example: {{example}}")
    assert present(first, FOUR).example == "n01" and "example=n01" not in of("example", first)
    word = first.model_copy(update={"example": "unicorn"})
    assert present(word, FOUR).example is None and len(of("example", word)) == 5


def test_orders_differ_and_the_example_stays() -> None:
    prompt = Prompt(question=f"{LIST} For example: {{example}}")
    found = of("order", prompt)
    assert found["reversed"].order == ("emu", "eel", "dog", "n01") and found["first-last"].order == ("dog", "eel", "emu", "n01")
    assert found["sorted"].order == ("n01", "dog", "emu", "eel") and len({one.order for one in found.values()}) == len(found)
    assert all(" For example: cat" in asked(one, FOUR).text() for one in found.values())
    assert "moray eel, dog, cat" in asked(found["reversed"], FOUR).text()
    assert list(of("order", prompt, FOUR[:2])) == ["reversed"], "two labels have two orders"
    # An id that is another class's name cannot say where it stands; what is told is what is asked.
    odd = (ClassInfo("a", "b"), ClassInfo("b", "x"), ClassInfo("c", "y"))
    for one in of("order", prompt, odd).values():
        listed = asked(one, odd).text().split("3? ")[1].split(".")[0].split(", ")
        assert [{"a": "b", "b": "x", "c": "y"}[id] for id in one.order or ()] == listed


def test_halves_have_every_class_once_and_the_example_twice() -> None:
    halves = [of("length", read_prompt("llava_mnist"), DIGITS)[f"half-{number}"] for number in (1, 2)]
    both = [set(half.only or ()) for half in halves]
    assert both[0] | both[1] == set("0123456789") and both[0] & both[1] == {"3"}
    bare = [set(of("length", Prompt(question=LIST), DIGITS)[f"half-{number}"].only or ()) for number in (1, 2)]
    assert not bare[0] & bare[1] and [len(half) for half in bare] == [5, 5]
    assert "Which of these 5?" in asked(of("length", Prompt(question=LIST), DIGITS)["half-1"], DIGITS).text()
    assert list(of("length", Prompt(question=LIST, shots=1), DIGITS)) == ["longer"], "it shows classes that a half would lack"
    assert list(of("length", Prompt(question=LIST), FOUR[:3])) == ["longer"]


def test_a_longer_list_is_written_as_the_list_is() -> None:
    numbered = Prompt(
        question="These {class_count}:\n{classes}\nName one. {{classes}}", numbered=True, one_a_line=True, quote="'"
    )
    text = asked(of("length", numbered)["longer"], FOUR).text()
    assert text.startswith(
        "user:\nThese 8:\n1. 'cat'\n2. 'dog'\n3. 'moray eel'\n4. 'emu'\n5. 'umbrella'\n6. 'teapot'\n7. 'ladder'\n8. 'wallet'\nName"
    )
    assert "{classes}" in text
    taken = (ClassInfo("a", "red Umbrellas"), ClassInfo("b", "b", ("teapot",)), *FOUR)
    assert "5. 'emu'" not in text and "teapot" not in asked(of("length", numbered, taken)["longer"], taken).text().replace(
        "'b'", ""
    )
    braces = Prompt(question="{classes}", separator="{x}")
    assert "{x}umbrella" in asked(of("length", braces)["longer"], FOUR).text()
    assert "longer" not in of("length", Prompt(question="{classes}", descriptions=True)), "added names would have none"


@pytest.mark.parametrize("format", ["name", "json"])
@pytest.mark.parametrize("place", ["system", "question", "closing"])
def test_other_words_stand_where_the_words_stood(format: str, place: str) -> None:
    texts = {
        "question": "What is it?",
        place: "Which of these {class_count}? {classes}. For example: {example_answer}",
        "format": format,
    }
    prompt = Prompt(**texts, one_a_line=True, example="dog")  # type: ignore[arg-type]
    found = of("paraphrase", prompt)
    assert len(found) == 4
    for one in found.values():
        text = asked(one, FOUR).text()
        assert "\ncat\ndog\nmoray eel\nemu\n" in text and " 4 " in text and ('"label": "..."' in text) == (format == "json")
        assert text.rstrip().count('{"label": "dog"}' if format == "json" else " dog") >= 1
        others = {"system", "question", "closing"} - {place}
        assert all(getattr(one.prompt, part) == getattr(prompt, part) for part in others)
    bare = of("paraphrase", Prompt(question="Which? {classes}"))
    assert all("{" not in asked(one, FOUR).text() and " 4 " not in asked(one, FOUR).text() for one in bare.values())
    openings = sorted(asked(one, FOUR).text()[:40] for one in bare.values())
    assert all(one != other for one, other in pairwise(openings))
    assert "more than once" in not_applicable(Prompt(question="{classes} {classes}"), FOUR)["paraphrase"]


def test_other_names_keep_the_order_and_the_reading() -> None:
    prompt = Prompt(question=f"{LIST} For example: {{example}}", order=("emu", "cat"), example="cat", synonyms=True)
    (one,) = of("synonyms", prompt).values()
    asking = asked(one, FOUR)
    assert "emu, kitty (also: cat, house cat), hound (also: dog, Cat), moray eel." in asking.text()
    assert asking.text().rstrip().endswith("[picture]") and "For example: kitty" in asking.text()
    assert asking.answers == ("kitty", "hound", "moray eel", "emu"), "cat is no other name of the dog"
    other = (FOUR[1], CAT, *FOUR[2:])
    assert "? emu, kitty" in asked(of("synonyms", prompt, other)["synonyms"], other).text(), "its order named the cat"
    assert one.name == "the names kitty for cat, hound for dog"
    task = Classify(called(one.prompt, FOUR))
    assert read("kitty", task, "strict", "stop").label == "n01" and read("hound", task, "strict", "stop").label == "dog"
    assert "synonyms" in not_applicable(Prompt(question=LIST), DIGITS)
    own = Prompt(question=LIST, classes={"0": Words(synonyms=("zero",))})
    assert "zero, 1" in asked(of("synonyms", own, DIGITS)["synonyms"], DIGITS).text()


def test_what_is_not_about_words_asks_the_same() -> None:
    prompt = Prompt(question=LIST, temperature=0.7)
    blank, alone, again = variations(prompt, FOUR, ["repeat", "picture", "batch"])
    assert blank.blank and alone.alone and again.again
    assert all(one.prompt == prompt for one in (blank, alone, again))
    assert "temperature 0.7" in again.name
