"""``fieldguide ask``: a question about pictures, answered in words; nothing leaves the machine before somebody agreed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from tests.counted import write_set

import fieldguide
from fieldguide import asking, cli
from fieldguide.asking import Answered, Order, ask, askings, classes_of, exit_code, read_order, show
from fieldguide.bench import Silent
from fieldguide.craft.chat import Said, Wanted
from fieldguide.data.classes import write_classes
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY, USAGE, DataProblem, EnvironmentProblem, Problem, UsageProblem
from fieldguide.prompts_shown import show_prompts
from fieldguide.records import ClassInfo, Pixels
from fieldguide.tasks.asking import Asking, Shown


@dataclass
class Parrot:
    """A chat that says what colour it was shown, takes `ahead` pictures first, and fails on blue ones."""

    revision: str = "parrot"
    size: int = 32
    ahead: int = 2
    facts: Mapping[str, Any] = field(default_factory=dict)
    where: str | None = None
    heard: list[Asking] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    closed: bool = False

    def __call__(self, wanted: Wanted) -> Parrot:
        self.wanted.append(wanted)
        self.closed = False
        return self

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        assert not self.closed
        self.heard.append(asking)
        waiting: list[Pixels] = []
        for pixels in pictures:
            waiting.append(pixels)
            if len(waiting) == self.ahead:
                yield from map(self.say, waiting)
                waiting = []
        yield from map(self.say, waiting)

    def say(self, pixels: Pixels) -> Said:
        colour = ("red", "green", "blue")[int(pixels[0, 0].argmax())]
        if colour == "blue":
            return Said(error="the server is out of ink")
        return Said(f"It is {colour}.\nYes.", "stop", 20, 5, seconds=0.25)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(("red", "lime", "blue", "red")):
        Pillow.new("RGB", (40, 40), colour).save(folder / f"{number}.png")
    (folder / "1-torn.png").write_bytes((folder / "0.png").read_bytes()[:40])
    return folder


def order(folder: Path, *words: str, model: str = "drawn", yes: bool = False, **given: Any) -> Order:
    return read_order(model, [str(folder), *words], given, yes=yes)


def test_every_picture_gets_its_own_answer_whatever_fails_between(pictures: Path) -> None:
    parrot = Parrot()
    answered = ask(order(pictures, "Which colour?", also=["Sure?"]), Silent(), parrot)
    found = [(one.question, one.path.name, one.text[:9], one.seen) for one in answered]
    assert found == [
        (question, name, text, seen)
        for question in ("Which colour?", "Sure?")
        for name, text, seen in (
            ("0.png", "It is red", True),
            ("1-torn.png", "", False),
            ("1.png", "It is gre", True),
            ("2.png", "", True),
            ("3.png", "It is red", True),
        )
    ]
    assert [one.error for one in answered if one.error] == [answered[1].error, "the server is out of ink"] * 2
    assert exit_code(answered) == PARTLY and parrot.closed


def test_a_free_question_is_put_without_a_system_message(pictures: Path) -> None:
    parrot = Parrot()
    ask(order(pictures, "What is a {rook}?", seed=7, most_tokens=9), Silent(), parrot)
    (heard,) = parrot.heard
    assert [(turn.role, turn.parts) for turn in heard.messages] == [("user", (Shown(), "What is a {rook}?"))]
    assert (heard.how, heard.answers, heard.seed, heard.most_tokens, heard.temperature) == ("generate", (), 7, 9, 0.0)
    assert parrot.wanted[0].model == "drawn" and parrot.wanted[0].online is False


def test_answers_can_be_a_choice(pictures: Path) -> None:
    (pair,) = askings(order(pictures, "Red?", choice="yes, no,yes"))
    assert pair[1].how == "choice" and pair[1].answers == ("yes", "no")
    with pytest.raises(UsageProblem, match="nothing to choose"):
        askings(order(pictures, "Red?", choice="yes"))


def test_a_prompt_for_counts_is_read_as_counts(pictures: Path, tmp_path: Path) -> None:
    parrot = Parrot()

    def told(text: str, prompt: str, classes: str) -> str | None:
        parrot.say = lambda pixels: Said(text)  # type: ignore[method-assign, assignment, misc]
        return ask(order(pictures / "0.png", prompt=prompt, classes=classes), Silent(), parrot)[0].read

    assert told('{"penny": 2}', "currency", "penny,dime") == 'read as {"penny": 2} (strict)'
    assert "pennies" in parrot.heard[0].text() or "penny" in parrot.heard[0].text()
    assert str(told("Two.", "currency", "penny,dime")).startswith("read as no counts: no JSON")
    study = fieldguide.compare(
        write_set(tmp_path / "set", {"train": 4, "test": 2}), ("count_baseline",), out=tmp_path / "s", task="count"
    )
    assert told('{"dot": 1, "ring": 0}', "plain", str(study.folder)) == 'read as {"dot": 1} (strict)', (
        "the study counts, so plain asks for counts"
    )


def test_a_prompt_may_stand_in_place_of_a_question(pictures: Path) -> None:
    parrot = Parrot()
    answered = ask(order(pictures, prompt="plain", classes="cat,dog"), Silent(), parrot)
    assert len(answered) == 5 and answered[0].question == "prompt plain"
    assert "cat, dog." in parrot.heard[0].text()
    assert answered[0].read is not None and answered[0].read.startswith("read as no class: ")
    assert answered[0].read.endswith(" (strict)") and answered[1].read is None
    said = [Said("dog"), Said('{"label": "cat"}'), Said("cat", "length")]
    told = []
    for prompt, one in zip(("plain", "json", "plain"), said, strict=True):
        parrot.say = lambda pixels, one=one: one  # type: ignore[method-assign, misc]
        told.append(ask(order(pictures / "0.png", prompt=prompt, classes="cat,dog"), Silent(), parrot)[0].read)
    assert told[:2] == ["read as dog (strict)", "read as cat (json)"] and "no class: cut" in str(told[2])
    for given in (
        {"prompt": "plain"},
        {"prompt": "currency", "classes": "a,b", "likelihood": True},
        {"prompt": "plain", "classes": "a,b", "choice": "a,b"},
        {"prompt": "nosuch", "classes": "a,b"},
    ):
        with pytest.raises(UsageProblem):
            askings(order(pictures, **given))


def test_classes_come_from_a_file_or_from_words(tmp_path: Path) -> None:
    infos = (ClassInfo("b", "a bee", ("bumble",), "yellow"), ClassInfo("a", "an ant"))
    write_classes(tmp_path / "classes.toml", infos)
    assert classes_of(str(tmp_path / "classes.toml")) == infos
    assert classes_of(" x, y z,x,") == (ClassInfo("x", "x"), ClassInfo("y z", "y z"))
    assert len(classes_of(",".join(f"class {number}" for number in range(500)))) == 500
    (tmp_path / "other.toml").write_text("no = ")
    for words in (None, " ", str(tmp_path / "other.toml"), str(tmp_path)):
        with pytest.raises(Problem):
            classes_of(words)


@pytest.mark.parametrize("words", [["x.png"], ["x.png", " "], []])
def test_a_question_is_needed(words: list[str], pictures: Path) -> None:
    with pytest.raises(UsageProblem, match="question"):
        read_order("drawn", words, {})
    with pytest.raises(UsageProblem, match="last word"):
        read_order("drawn", [str(pictures / "0.png"), str(pictures / "1.png")], {})
    assert read_order("drawn", ["x.png", "why " * 200], {}).questions == ("why " * 200,)
    assert read_order("vlm_prompt/drawn", ["x.png", "why?"], {}).model == "drawn"  # as a contestant is called


def test_nothing_is_sent_elsewhere_before_somebody_agrees(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = order(pictures, "What?", model="served/big", server="http://example.org/v1")
    parrot = Parrot()
    with pytest.raises(UsageProblem, match=r"5 pictures would be sent to example\.org, and nobody agreed") as caught:
        ask(far, Silent(), parrot)
    assert parrot.wanted == [] and "--yes" in caught.value.next
    assert len(ask(replace(far, yes=True), Silent(), parrot)) == 5
    near = order(pictures, "What?", model="ollama/llava")
    assert len(ask(near, Silent(), parrot)) == 5, "this machine needs nobody"
    assert len(ask(order(pictures, "What?", model="served/x", server="http://127.0.0.1:9/v1"), Silent(), parrot)) == 5


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        ("llava", {}, "ollama/NAME"),
        ("served/", {"server": "http://127.0.0.1:9"}, "served/NAME"),
        ("served/x", {}, "--server http"),
        ("served/x", {"server": "example.org:8000"}, "no address"),
        ("ollama/x", {"server": "http://example.org", "key_variable": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ("hf/a/b", {"server": "http://127.0.0.1:9"}, "runs on this machine"),
    ],
)
def test_a_model_that_cannot_be_reached_is_told_at_once(pictures: Path, model: str, given: dict[str, Any], told: str) -> None:
    parrot = Parrot()
    with pytest.raises(Problem) as caught:
        ask(order(pictures, "What?", model=model, **given), Silent(), parrot)
    assert told in str(caught.value) and parrot.wanted == []


def test_what_kept_a_choice_to_its_list_is_told(pictures: Path) -> None:
    free, held = (ask(order(pictures, "Red?", **given), Silent(), Parrot()) for given in ({}, {"choice": "yes,no"}))
    assert {one.held for one in free} == {None}
    assert {one.held for one in held if one.error is None} == {"text"}


def test_where_nothing_was_answered_the_command_says_why() -> None:
    torn = Answered(Path("a.png"), "q", error="cut: ends early", seen=False)
    failed = Answered(Path("b.png"), "q", error="HTTP 500")
    good = Answered(Path("c.png"), "q", "yes")
    assert exit_code([good]) == DONE and exit_code([good, torn]) == PARTLY
    with pytest.raises(DataProblem, match="ends early") as caught:
        exit_code([torn, torn])
    assert caught.value.code == DATA
    with pytest.raises(EnvironmentProblem, match="HTTP 500") as other:
        exit_code([torn, failed])
    assert other.value.code == ENVIRONMENT


def test_a_missing_package_is_named(pictures: Path) -> None:
    def lacking(wanted: Wanted) -> Any:
        raise ModuleNotFoundError("No module named 'openai'", name="openai")

    with pytest.raises(EnvironmentProblem, match="openai"):
        ask(order(pictures, "What?"), Silent(), lacking)


def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [
            Answered(Path("a.png"), "What?", "A rook.\n[red]Yes\x1b[0m", None, "length", 1200, 9, 1.26),
            Answered(Path("b.png"), "What?", " ", None, "stop", held="text"),
            Answered(Path("b.png"), "What?", "no", None, "stop", 3, None, None, "json_schema", "read as no (strict)"),
            Answered(Path("c.png"), "What?", error="HTTP 500"),
        ]
    )
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "a.png: What?",
        "  A rook.",
        "  [red]Yes\\u001b[0m",
        "  1,200 tokens in, 9 out, 1.26 s; cut at the limit of tokens (--most-tokens)",
        "b.png: What?",
        "  (nothing was said)",
        "  tokens not counted; nothing kept it to the list",
        "b.png: What?",
        "  no",
        "  read as no (strict)",
        "  3 tokens in; kept to the list by json schema",
        "c.png: What?",
        "  no answer: HTTP 500",
    ]


def test_prompts_are_listed_and_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    show_prompts()
    assert "llava_mnist" in capsys.readouterr().out
    show_prompts("described")
    assert "barn owl: a pale owl" in capsys.readouterr().out
    show_prompts("llava_chess")
    told = capsys.readouterr().out
    assert '"KING", QUEEN"' in told and "temperature 0.5" in told and "written for llava" in told and "not named" not in told
    show_prompts("plain", "x,y")
    assert "x, y." in capsys.readouterr().out
    (tmp_path / "Modelfile").write_text("FROM a\nSYSTEM hi\nADAPTER b")
    show_prompts(str(tmp_path / "Modelfile"), "cat,dog")
    told = capsys.readouterr().out
    assert "ADAPTER shapes" in told and "2 of 2 classes are not named" in told


def test_the_commands(pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(list(words))
        got = capsys.readouterr()
        return int(left.value.code or 0), got.out + got.err

    monkeypatch.setattr("fieldguide.craft.chat.door.opened", Parrot())
    red = str(pictures / "0.png")
    code, told = run("ask", "drawn", red, "What is this?")
    assert code == DONE and "It is red." in told and "20 tokens in, 5 out, 0.25 s" in told
    code, told = run("ask", "drawn", str(pictures), "What is this?", "--also", "And this?", "--choice", "a,b")
    assert code == PARTLY and "And this?" in told
    assert run("ask", "drawn", str(pictures / "2.png"), "What?")[0] == ENVIRONMENT
    assert run("ask", "drawn", str(pictures / "1-torn.png"), "What?")[0] == DATA
    assert run("ask", "drawn", "nowhere.png", "What?")[0] == USAGE
    code, told = run("ask", "served/x", red, "What?", "--server", "https://example.org")
    assert code == USAGE and "--yes" in told
    assert run("ask", "served/x", red, "What?", "--server", "https://example.org", "--yes")[0] == DONE
    code, told = run("prompts")
    assert code == DONE and "animals90" in told
    assert run("prompts", "nosuch")[0] == USAGE
    _, told = run("ask", "--help")
    for name in ("--server", "--choice", "--prompt", "--most-tokens", "--yes"):
        assert name in told


def test_a_real_model_is_asked(pictures: Path, tmp_path: Path) -> None:
    from fieldguide.craft.chat.tiny import write_chat

    model = f"hf/{write_chat(tmp_path / 'tiny')}"
    free = ask(order(pictures / "0.png", "What is this?", model=model, most_tokens=5), Silent())
    assert free[0].error is None and free[0].tokens_out == 5 and free[0].finish == "length" and (free[0].tokens_in or 0) > 16
    held = ask(order(pictures, "Is it red?", model=model, choice="yes,no"), Silent())
    assert {one.text for one in held if one.seen} <= {"yes", "no"} and {one.held for one in held if one.seen} == {"trie"}
    assert [one.seen for one in held] == [True, False, True, True, True]


def test_the_module_writes_nothing(pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    ask(order(pictures, "What?"), Silent(), Parrot())
    assert list(here.iterdir()) == [] and len(list(pictures.iterdir())) == 5
    assert asking.__doc__


def test_probable_answers_are_told_in_place_of_one(pictures: Path) -> None:
    from fieldguide.tasks.weighed import Weighed, dumps

    class Scale(Parrot):
        def say(self, pixels: Pixels) -> Said:
            said = super().say(pixels)
            sums = (-1.0, -3.0) if "red" in said.text else (-3.0, -1.0)
            return said if said.error else replace(said, text=dumps(Weighed(sums, found=(True, "red" not in said.text))))

    scale = Scale()
    answered = ask(order(pictures, "Red?", choice="yes,no", likelihood=True), Silent(), scale)
    assert [asking.how for asking in scale.heard] == ["likelihood"] and scale.heard[0].answers == ("yes", "no")
    told = {one.path.name: one.text for one in answered if one.error is None}
    assert told["0.png"] == "88.1%  yes\n11.9%  no (at most)" and told["1.png"].startswith("88.1%  no\n")
    assert {one.held for one in answered} == {None} and sum(one.error is not None for one in answered) == 2
    many = ask(order(pictures, prompt="plain", classes="red,green", likelihood=True), Silent(), scale)
    assert scale.heard[-1].how == "likelihood" and {one.read for one in many} == {None}
    with pytest.raises(UsageProblem, match="none are named"):
        askings(order(pictures, "Red?", likelihood=True))
