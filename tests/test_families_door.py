"""The door: contestants in words, nearest names, folder-safe names. timm is kept out: its rooms are played by small ones."""

from __future__ import annotations

import importlib.metadata
import types
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from fieldguide import families
from fieldguide.errors import EnvironmentProblem, UsageProblem
from fieldguide.families import Contestant, Sizes, contestant, estimate, family, folder_name, names, needs_extra, parse
from fieldguide.records import ClassInfo, Estimate
from fieldguide.settings import Settings
from fieldguide.tasks.classify import Classify


class Nets(Settings):
    """Played networks."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "vit_small"
    """Name of the network."""
    train: Literal["all", "head"] = "all"
    """What is trained."""
    epochs: int = Field(20, ge=1)
    """Passes over the pictures."""
    mean: tuple[float, float, float] | None = None
    """Mean of the colours, 0 to 1."""


class Nothing(Settings):
    """Nothing to set but one."""

    depth: int = 3
    """How deep it looks."""


_NETS = ["vit_small_patch16", "vit_base_patch16", "resnet18", "resnet50"]


@pytest.fixture(autouse=True)
def _rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three played rooms; the last is not installed."""
    played: dict[str, Any] = {
        "nets": types.SimpleNamespace(Settings=Nets, LEARNS=True, knows=_NETS.__contains__, names=lambda: _NETS),
        "plain": types.SimpleNamespace(
            Settings=Nothing, LEARNS=True, estimate=lambda settings, task, sizes: Estimate(seconds=sizes.train)
        ),
    }

    def open_room(name: str) -> Any:
        if name == "absent":
            raise ModuleNotFoundError("No module named 'absentia'", name="absentia")
        return played[name]

    monkeypatch.setattr(families, "names", lambda: ("absent", "nets", "plain"))
    monkeypatch.setattr(families, "family", open_room)


def test_a_family_name_alone_has_its_defaults() -> None:
    assert parse("plain") == Contestant("plain", "plain", Nothing())
    assert parse("nets") == Contestant("nets", "nets", Nets())


def test_a_name_that_a_family_knows_goes_to_that_family() -> None:
    assert parse("resnet50") == Contestant("resnet50", "nets", Nets(model="resnet50"))
    assert parse("nets/resnet50") == Contestant("nets-resnet50", "nets", Nets(model="resnet50"))
    # Written out, a name goes in unchecked: the family's own check says what is wrong with it.
    assert parse("nets/a/b.csv").settings == Nets(model="a/b.csv")


def test_settings_follow_the_first_colon() -> None:
    entry = parse("resnet18:train=head, epochs=3")
    assert entry == Contestant("resnet18-train=head-epochs=3", "nets", Nets(model="resnet18", train="head", epochs=3))
    assert parse("nets/C:weights=1:2".replace("weights=1:2", "epochs=2")).settings == Nets(model="C", epochs=2)
    assert parse("nets:model=hub:thing").settings == Nets(model="hub:thing")


def test_tuples_are_joined_by_plus() -> None:
    assert parse("nets:mean=0.5+0.25+1").settings == Nets(mean=(0.5, 0.25, 1.0))


def test_commas_in_brackets_do_not_split() -> None:
    assert parse("nets:model=f(a,b),epochs=2").settings == Nets(model="f(a,b)", epochs=2)


@pytest.mark.parametrize(
    ("text", "given", "allowed"),
    [
        ("resnet5O", "No family knows a contestant called 'resnet5O'", "Did you mean resnet50?"),
        ("vit_smal_patch16", "No family knows", "Did you mean vit_small_patch16?"),
        ("plein", "No family knows", "Did you mean plain?"),
        ("other/resnet50", "No family knows a contestant called 'other/resnet50'", "Allowed: "),
        ("", "No family knows a contestant called ''", "Allowed: absent"),
        ("plain/thing", "the family plain takes no name, but got 'thing'", "Allowed: plain."),
        ("plain:dept=4", "has no setting called 'dept'", "Did you mean depth?"),
        ("plain:depth", "'depth' is not a setting", "key=value"),
        ("plain:depth=deep", "depth = 'deep' is not possible", "Allowed: int (default 3). How deep it looks."),
        ("nets:epochs=0", "epochs = '0' is not possible", "Passes over the pictures."),
        ("nets:train=tail", "train = 'tail' is not possible", "'all' or 'head'"),
        ("nets:mean=0.5+0.5", "mean", "Mean of the colours"),
    ],
)
def test_wrong_words_are_told_with_what_is_allowed(text: str, given: str, allowed: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse(text)
    assert given in caught.value.given
    assert allowed in caught.value.allowed
    assert caught.value.next


def test_what_is_not_installed_does_not_stand_in_the_way_of_other_names() -> None:
    assert parse("vit_base_patch16").family == "nets"
    with pytest.raises(ModuleNotFoundError) as caught:
        parse("absent")
    assert "absentia" in needs_extra(caught.value).given


def test_evil_names_are_shown_harmlessly() -> None:
    with pytest.raises(UsageProblem) as caught:
        parse("\x1b[31mred\u202e")
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vit:train=last-2", "vit-train=last-2"),
        ("recorded/../../etc/passwd", "recorded-..-..-etc-passwd"),
        ("..", "contestant"),
        ("  ", "contestant"),
        (".hidden", "hidden"),
        ("a\x00b\nc", "a-b-c"),
        ("蝴蝶 and فراشة", "蝴蝶-and-فراشة"),
        ('con<>:"|?*', "con"),
    ],
)
def test_folder_names_are_safe_and_readable(text: str, expected: str) -> None:
    assert folder_name(text) == expected


def test_long_names_stay_short_and_apart() -> None:
    long, other = folder_name("蝶" * 300), folder_name("蝶" * 301)
    assert long != other
    assert max(len(long.encode()), len(other.encode())) < 200


def test_contestants_that_differ_have_names_that_differ() -> None:
    words = [
        *("nets/resnet50.a1_in1k", "nets/resnet50.a2_in1k", "nets/a/answers.csv", "nets/b/answers.csv", "nets/hub/net.a1"),
        *("nets:model=hub/resnet50.a1", "nets:model=hub/resnet50.a2", "nets:epochs=2", "nets:epochs=3", "resnet50", "resnet18"),
    ]
    called = [parse(text).name for text in words]
    assert len(set(called)) == len(words), called
    assert called[2] == "nets-a-answers"


def test_a_contestant_can_be_called_something_else() -> None:
    assert parse("resnet18:epochs=2,as=mine") == Contestant("mine", "nets", Nets(model="resnet18", epochs=2))
    assert parse("plain:as=a/b").name == "a-b"


def test_a_contestant_from_a_table_keeps_its_own_name() -> None:
    entry = contestant("nets", None, {"model": "resnet18", "mean": [0.5, 0.5, 0.5]}, where="study.toml", name="mine")
    assert entry == Contestant("mine", "nets", Nets(model="resnet18", mean=(0.5, 0.5, 0.5)))
    with pytest.raises(UsageProblem, match=r"study\.toml has no setting called 'modle'"):
        contestant("nets", None, {"modle": "resnet18"}, where="study.toml", name="mine")


def test_estimates_come_from_the_family_or_are_unknown() -> None:
    task, sizes = Classify((ClassInfo("a", "a"), ClassInfo("b", "b"))), Sizes(70, 15, 15)
    assert estimate(parse("plain"), task, sizes) == Estimate(seconds=70)
    assert estimate(parse("nets"), task, sizes) == Estimate()


def test_a_missing_package_names_the_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2", "py-thing[x]>=1 ; extra == 'hub'", "py-thing-more ; extra == 'other'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    problem = needs_extra(ModuleNotFoundError("No module named 'py_thing'", name="py_thing.inner"))
    assert isinstance(problem, EnvironmentProblem)
    assert problem.next == "pip install 'fieldguide[hub]'"
    assert needs_extra(ModuleNotFoundError(name="unheard_of")).next == "pip install unheard_of"


class TestRealDoor:
    """The real listing, which opens no room and so imports nothing heavy."""

    @pytest.fixture(autouse=True)
    def _real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(families, "names", names)
        monkeypatch.setattr(families, "family", family)

    def test_files_of_the_folder_are_families(self) -> None:
        assert {"backbone", "linear", "majority", "recorded"} <= set(names())
        assert all(not name.startswith("_") for name in names())

    def test_an_unknown_family_is_told_with_the_nearest(self) -> None:
        with pytest.raises(UsageProblem, match=r"Did you mean majority\?"):
            family("majorety")

    def test_majority_takes_nothing(self) -> None:
        assert parse("majority").family == "majority"
        with pytest.raises(UsageProblem, match="takes no name"):
            parse("majority/thing")

    def test_a_setting_of_a_family_without_any(self) -> None:
        with pytest.raises(UsageProblem) as caught:
            parse("majority:depth")
        assert "'depth' is not a setting" in caught.value.given

    def test_recorded_takes_a_path(self) -> None:
        entry = parse("recorded/some/answers.csv")
        assert entry.family == "recorded"
        assert str(entry.settings.file) == "some/answers.csv"  # type: ignore[attr-defined]

    @pytest.mark.slow
    def test_a_timm_name_with_a_slip_names_the_nearest(self) -> None:
        with pytest.raises(UsageProblem, match=r"Did you mean resnet50\?"):
            parse("resnet5O")
        assert parse("test_vit:weights=none").family == "backbone"

    def test_installed_packages_join_through_their_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        room = types.SimpleNamespace(Settings=Nothing, LEARNS=True)
        point = types.SimpleNamespace(name="elsewhere", load=lambda: room)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == families.ENTRY_POINTS else [])
        names.cache_clear()
        try:
            assert "elsewhere" in names()
            assert family("elsewhere") is room
            assert parse("elsewhere:depth=9").settings == Nothing(depth=9)
        finally:
            names.cache_clear()
