"""Plurals lead back to their singulars, and what is no plural leads nowhere."""

from __future__ import annotations

import pytest

from fieldguide.tasks.plurals import singular_names, singulars


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("cats", "cat"),
        ("foxes", "fox"),
        ("finches", "finch"),
        ("walruses", "walrus"),
        ("octopuses", "octopus"),
        ("octopi", "octopus"),
        ("irises", "iris"),
        ("flies", "fly"),
        ("magpies", "magpie"),
        ("donkeys", "donkey"),
        ("wolves", "wolf"),
        ("calves", "calf"),
        ("knives", "knife"),
        ("doves", "dove"),
        ("buffaloes", "buffalo"),
        ("flamingos", "flamingo"),
        ("mice", "mouse"),
        ("geese", "goose"),
        ("mongooses", "mongoose"),
        ("oxen", "ox"),
        ("emus", "emu"),
        ("horses", "horse"),
        ("bees", "bee"),
        ("hippopotamuses", "hippopotamus"),
        ("hippopotami", "hippopotamus"),
    ],
)
def test_a_plural_may_be_its_singular(plural: str, one: str) -> None:
    assert one in singulars(plural)


@pytest.mark.parametrize("word", ["bus", "grass", "iris", "octopus", "as", "is", "cat", "3s", "s", "", "deer", "ß", "c++s"])
def test_what_is_no_plural_leads_nowhere(word: str) -> None:
    assert singulars(word) == ()


def test_the_noun_of_a_name_is_bent_wherever_it_stands() -> None:
    assert "bird of paradise" in singular_names("birds of paradise")
    assert "sea lion" in singular_names("sea lions")
    assert "polar bear" in singular_names("polar bears")
    assert singular_names("sea lion") == {"sea lion"}
