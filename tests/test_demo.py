"""The demo's contestants: as many as the documents say, of every family that answers without files of a user's."""

from __future__ import annotations

from pathlib import Path

from fieldguide import demo, families, plan

ROOT = Path(__file__).parent.parent


def test_the_contestants_are_nine_and_of_every_family() -> None:
    found = plan.read_contestants(demo.CONTESTANTS)
    assert len(found) == 9 and "nine contestants" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert {one.family for one in found} == set(families.names()) - {"recorded"}
    assert all(plan.obstacle(one, online=False) is None for one in found), "it runs offline"


def test_the_list_of_classes_stands_before_the_picture() -> None:
    """So the text in front of all pictures is computed once."""
    from fieldguide.data.classes import propose
    from fieldguide.tasks.asking import Shown
    from fieldguide.tasks.prompting import read_prompt, render

    (asked,) = (one for one in plan.read_contestants(demo.CONTESTANTS) if one.family == "vlm_prompt")

    (turn,) = render(read_prompt(asked.settings.prompt), propose(map(str, range(10)))).messages  # type: ignore[attr-defined]
    assert turn.parts[-1] == Shown() and "0, 1, 2, 3" in str(turn.parts[0])
