"""Settings: frozen, described, and refused in three breaths."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from fieldguide import families
from fieldguide.errors import UsageProblem
from fieldguide.settings import Settings, build, type_name


class Kitchen(Settings):
    """A room that cooks."""

    heat: int = Field(3, ge=0, le=9)
    """Level of the stove."""
    fuel: Literal["gas", "wood"] = "gas"
    """What burns."""
    cook: str
    """Who stands there."""
    area: float | None = None
    """Floor, in square metres."""
    tiles: tuple[float, float, float] | None = None
    """Colour of the tiles."""

    @field_validator("cook")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("a cook has a name")
        return value


def refused(values: dict[str, Any]) -> UsageProblem:
    with pytest.raises(UsageProblem) as caught:
        build(Kitchen, values, "The contestant 'k'")
    assert caught.value.next
    return caught.value


def test_they_are_frozen_and_described() -> None:
    kitchen = build(Kitchen, {"cook": "Ann", "heat": "5"}, "x")
    assert (kitchen.heat, kitchen.fuel) == (5, "gas")
    with pytest.raises(ValidationError):
        kitchen.heat = 1  # type: ignore[misc]
    assert Kitchen.model_fields["area"].description == "Floor, in square metres."
    assert Kitchen.NAME_FIELD is None


def test_a_wrong_name_leads_to_the_nearest() -> None:
    problem = refused({"cook": "Ann", "heet": 3})
    assert problem.given == "The contestant 'k' has no setting called 'heet'."
    assert problem.allowed == "Did you mean heat? Allowed: heat, area, cook, fuel, tiles."
    assert "fieldguide families" in problem.next


def test_a_missing_one_is_named_with_its_description() -> None:
    problem = refused({})
    assert problem.given == "The contestant 'k' needs the setting 'cook'."
    assert problem.allowed == "Allowed: str (no default). Who stands there."


@pytest.mark.parametrize(
    ("name", "value", "given", "allowed"),
    [
        ("heat", "hot", "heat = 'hot' is not possible", "Allowed: int (default 3). Level of the stove."),
        ("heat", 10, "heat = 10 is not possible", "Allowed: int (default 3)."),
        ("heat", 2.5, "heat = 2.5 is not possible", "Allowed: int (default 3)."),
        ("fuel", "coal", "fuel = 'coal' is not possible", "Allowed: 'gas' or 'wood' (default 'gas'). What burns."),
        ("cook", "", "cook = '' is not possible: a cook has a name.", "Allowed: str (no default)."),
        ("area", "wide", "area = 'wide' is not possible", "Allowed: float or nothing (default None)."),
        (
            "tiles",
            [1, 2, "x"],
            "tiles.2 = 'x' is not possible",
            "Allowed: tuple of float, float, float or nothing (default None).",
        ),
    ],
)
def test_a_wrong_value_says_what_is_allowed(name: str, value: object, given: str, allowed: str) -> None:
    problem = refused({"cook": "Ann", name: value})
    assert problem.given.startswith(f"The contestant 'k': {given}")
    assert problem.allowed.startswith(allowed)


def test_a_rule_over_several_names_those_it_is_about() -> None:
    with pytest.raises(UsageProblem) as told:
        families.parse("vlm_lora:parts=vision")
    assert "parts with vision or language needs attention" in told.value.given and "{" not in told.value.given
    assert told.value.allowed.startswith("Allowed: tuple of 'vision'") and "rank" not in told.value.allowed


def test_what_was_given_cannot_act_on_the_terminal() -> None:
    assert "\x1b" not in str(refused({"cook": "Ann", "\x1b[2J": 1}))
    assert "\x1b" not in refused({"cook": "Ann", "heat": "\x1b[2J"}).given
    assert len(refused({"cook": "Ann", "heat": "x" * 100_000}).given) < 1000


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (int | None, "int or nothing"),
        (Literal["a", 2], "'a' or 2"),
        (tuple[str, ...], "tuple of str"),
        (Annotated[float, "x"], "float"),
        (dict[str, Any], "dict of str, Any"),
    ],
)
def test_types_are_written_as_a_person_would(annotation: object, name: str) -> None:
    assert type_name(annotation) == name


def test_what_was_asked_of_a_study_is_checked() -> None:
    from fieldguide.asked import Asked, fractions, study_folder

    assert fractions("70/15/15") == (0.7, 0.15, 0.15)
    assert fractions("test-only") == (0.0, 0.0, 1.0)
    assert fractions("85/0/15") == (0.85, 0.0, 0.15)
    for wrong in ("70/30", "70/20/20", "0/50/50", "70/30/0", "a/b/c", "70/15/15/0", "-10/55/55", "100/-15/15", "", "inf/0/0"):
        with pytest.raises(UsageProblem, match="split"):
            build(Asked, {"source": "x", "split": wrong}, "study.toml")
    for folds in (1, 2, 21, -1):
        with pytest.raises(UsageProblem, match="folds"):
            build(Asked, {"source": "x", "folds": folds}, "study.toml")
    assert build(Asked, {"source": "x", "folds": 5}, "study.toml").folds == 5
    for source, folder in (
        ("a/pets", "pets"),
        ("a/pets/", "pets"),
        ("p.tar.gz", "p"),
        ("p.zip", "p"),
        ("hf:u/beans", "beans"),
        ("/", "pictures"),
    ):
        assert str(study_folder(source)) == f"{folder}-study"
