"""Both tasks behind one way of asking: which question is meant, what the right answer is, how an answer is read and scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldguide.errors import Problem, UsageProblem
from fieldguide.records import ClassInfo, Example, Image
from fieldguide.tasks import spoken
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count
from fieldguide.tasks.count_asking import CountPrompt
from fieldguide.tasks.prompting import Prompt
from fieldguide.trial import MemoryReader

CLASSES = (ClassInfo("p", "penny", ("copper",)), ClassInfo("d", "dime"))
NAMES, COUNTS = Classify(CLASSES), Count(CLASSES)
COIN = (
    "How many of each type of the currency (dime, penny) are there? "
    "Respond in JSON format with the currency type as the key and a integer count as the value."
)


def example(key: str, **known: object) -> Example:
    return Example(Image(key, MemoryReader({})), **known)  # type: ignore[arg-type]


def test_a_name_that_both_tasks_have_means_that_of_the_study() -> None:
    assert isinstance(spoken.prompt_of("plain", NAMES), Prompt) and isinstance(spoken.prompt_of("plain", COUNTS), CountPrompt)
    assert isinstance(spoken.prompt_of("plain", None), Prompt) and isinstance(spoken.prompt_of("currency", None), CountPrompt)
    assert {type(one) for one in spoken.both("plain")} == {Prompt, CountPrompt} and len(spoken.both("currency")) == 1
    changed = spoken.prompt_of("currency", COUNTS, shots=3, most_tokens=7, temperature=None)
    assert isinstance(changed, CountPrompt) and (changed.most_tokens, changed.temperature) == (7, 0.0)


def test_a_question_of_the_other_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="asks for counts, and this study is about classes"):
        spoken.prompt_of("currency", NAMES)
    other = next(name for name in spoken.prompt_names() if name not in spoken.count_prompt_names())
    with pytest.raises(UsageProblem, match=r"(?s)asks which class a picture shows, and this study counts things.*currency"):
        spoken.prompt_of(other, COUNTS)
    for task in (NAMES, COUNTS, None):
        with pytest.raises(UsageProblem, match="nothing"):
            spoken.prompt_of(str(tmp_path / "nothing.toml"), task)


def test_the_published_question_is_asked_letter_for_letter_and_answered_in_its_form() -> None:
    prompt = spoken.prompt_of("currency", COUNTS)
    asking = spoken.asked(prompt, spoken.known(prompt, COUNTS), "generate")
    assert [part for turn in asking.messages for part in turn.parts if isinstance(part, str)] == [COIN]
    assert spoken.right(prompt, COUNTS, example("k", counts={"p": 2, "d": 1})) == '{\n  "dime": 1,\n  "penny": 2\n}'
    assert spoken.right(prompt, COUNTS, example("k", counts={"p": 2})) == '{\n  "penny": 2\n}'
    written = spoken.prompt_of("plain", COUNTS)
    assert spoken.right(written, COUNTS, example("k", counts={"p": 2})) == '{"penny": 2, "dime": 0}'
    assert spoken.right(spoken.prompt_of("plain", NAMES), NAMES, example("k", label="d")) == "dime"


def test_answers_are_read_as_the_question_wants_them() -> None:
    plainly, currency = (spoken.prompt_of(name, COUNTS) for name in ("plain", "currency"))
    assert spoken.read("k", '{"penny": 2}', "stop", COUNTS, currency, None).counts == {"p": 2, "d": 0}
    lacking = spoken.read("k", '{"penny": 2}', "stop", COUNTS, plainly, None)
    assert (lacking.counts, lacking.raw) == (None, '{"penny": 2}') and str(lacking.error).startswith("missing key")
    fenced = '```json\n{"penny": 1, "dime": 3}\n```'
    assert spoken.read("k", fenced, "stop", COUNTS, plainly, None).counts is None
    assert spoken.read("k", fenced, "stop", COUNTS, plainly, "json").counts == {"p": 1, "d": 3}
    assert spoken.read("k", '{"penny": 1', "length", COUNTS, plainly, None).error is not None
    named = spoken.read("k", "Copper.", "stop", NAMES, spoken.prompt_of("plain", NAMES), "alias")
    assert (named.label, named.counts, named.raw) == ("p", None, "Copper.")


def test_scores_while_training_are_those_of_the_task() -> None:
    counted = spoken.judge(spoken.prompt_of("currency", COUNTS), COUNTS, None)
    truth = ['{"penny": 2}', '{"dime": 1}', "{}", '{"penny": 5}']
    assert counted(['{"penny": 2}', '{"dime": 3}', "none", None], truth) == {"accuracy": 0.25, "mae": 0.5}
    assert counted([None], ["{}"]) == {"accuracy": 0.0}
    assert counted(['{"penny":2, "dime": 0}'], truth[:1])["accuracy"] == 1.0, "equal counts, however they are written"
    named = spoken.judge(spoken.prompt_of("plain", NAMES), NAMES, None)
    assert named(["penny", "penny"], ["penny", "dime"]) == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}


def test_examples_are_drawn_by_seed_and_shown_with_their_counts() -> None:
    train = [example(f"k{at}", counts={"p": at}) for at in range(6)]
    prompt = spoken.prompt_of("currency", COUNTS)
    shown = spoken.picked(prompt, train, COUNTS, 2, 1)
    assert (
        len(shown) == 2
        and shown == spoken.picked(prompt, train[::-1], COUNTS, 2, 1) == spoken.picked(prompt, train, COUNTS, 3, 1)[:2]
    )
    assert shown != spoken.picked(prompt, train, COUNTS, 2, 2)
    asking = spoken.asked(prompt, COUNTS, "choice", shown)
    assert asking.examples == tuple(key for key, _ in shown)
    said = [turn.parts[0] for turn in asking.messages if turn.role == "assistant"]
    assert said == [spoken.right(prompt, COUNTS, example(key, counts=counts)) for key, counts in shown]


def test_two_classes_of_one_name_cannot_be_counted() -> None:
    with pytest.raises(UsageProblem, match="both called 'penny'"):
        spoken.known(spoken.prompt_of("plain", COUNTS), Count((ClassInfo("a", "penny"), ClassInfo("b", "penny"))))


def test_a_task_survives_json() -> None:
    for task in (NAMES, COUNTS):
        again = spoken.from_json(spoken.as_json(task))
        assert type(again) is type(task) and again == task
    old = {"classes": spoken.as_json(NAMES)["classes"]}
    assert spoken.from_json(old) == NAMES, "what was written before there were counts"


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("count", ("plain", "likelihood", None, "words"), "ask=likelihood"),
        ("count", ("plain", "decision", None, "words"), "ask=decision"),
        ("count", ("plain", "generate", None, "labels"), "head=labels"),
        ("count", ("plain", "generate", "alias", "words"), "reading=alias"),
        ("classify", ("currency", "generate", None, "words"), "asks for counts"),
    ],
)
def test_settings_of_the_other_task_are_refused(task: str, given: tuple[str, str, str | None, str], said: str) -> None:
    problem = spoken.unfit(task, *given)
    assert isinstance(problem, Problem) and said in problem.given and problem.next


def test_settings_that_fit_are_not_refused() -> None:
    assert spoken.unfit("count", "currency", "choice", "json") is None
    assert spoken.unfit("classify", "plain", "likelihood", "alias", "labels") is None
