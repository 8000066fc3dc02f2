"""Group T5: kill -9 while a local model is asked for probabilities: among the validation pictures that choose a temperature, and later.

The child kills itself behind an answer that was just kept. The same command then goes on, asks for what is missing, and comes to the same
form, temperature, threshold and probabilities: to rounding, because a picture may have another company in its batch.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rooms import write_colours
from tests.torture.faults import Plan, start
from tests.torture.small_study import partial

import fieldguide
from fieldguide.craft.chat.kept import Answers
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE
from fieldguide.files import read_json

pytestmark = [pytest.mark.torture("T5", "Kills"), pytest.mark.slow(keep=1)]
WORD = "vlm_prompt/drawn:ask=likelihood,orders={orders},unknown=0.2,as=scored"
#: How far a probability may move with the company that a picture is in.
CLOSE = 1e-5


def dying(at: int) -> Callable[[], None]:
    """Let a child die behind the answer number `at`, counted from 1; 0 lets it live."""

    def setup() -> None:
        import os

        from fieldguide import runs, study

        runs.CHUNK = 2
        study._draw = lambda *_: study.Drawn()  # type: ignore[assignment]
        keep, count = Answers.add, 0

        def add(self: Answers, *of_an_answer: Any) -> None:
            nonlocal count
            keep(self, *of_an_answer)
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        Answers.add = add  # type: ignore[method-assign]

    return setup


def numbers(study: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what was chosen, and the probabilities."""
    run = study / "runs" / "scored"
    rows = read_predictions(run / "predictions.parquet")
    assert rows and all(one.probabilities for one in rows)
    chosen = read_json(run / "model" / "weighing.json")
    return chosen, np.array([one.probabilities for one in rows])


@pytest.mark.parametrize("orders", [1, 2])
def test_killed_while_weighing(orders: int, tmp_path: Path, told: Callable[[str], None]) -> None:
    base, word = tmp_path / "base", WORD.format(orders=orders)
    pictures = write_colours(base / "pictures", each=8)

    def compare(name: str, at: int = 0) -> int:
        ended = start(base, "compare", pictures, word, "--out", base / name, plan=Plan(), setup=dying(at))
        found = ended.end()
        assert found.code in (DONE, -signal.SIGKILL), found.text
        return found.code

    # In this process, which imports with it what the forked children need.
    assert fieldguide.compare(pictures, [word], out=base / "whole").exit_code == DONE
    chosen, expected = numbers(base / "whole")
    with Answers(base / "whole" / "answers.sqlite") as kept:
        every = len(kept)
    study, models = base / "killed", []
    kills = (2, 4 * orders - 1)
    for at in kills:
        assert compare("killed", at) == -signal.SIGKILL
        assert not partial(study), "something half-written lies under a final name"
        models.append((study / "runs" / "scored" / "model").exists())
        with Answers(study / "answers.sqlite") as kept:
            assert len(kept) == sum(kills[: len(models)]), "an answer was lost, or asked for twice"
    assert models == [False, True], "one kill came before anything was chosen, one behind it"
    assert compare("killed") == DONE
    with Answers(study / "answers.sqlite") as kept:
        assert len(kept) == every
    again, found = numbers(study)
    assert np.allclose(found, expected, rtol=0, atol=CLOSE)
    assert (again["form"], again["further_orders"]) == (chosen["form"], chosen["further_orders"])
    for name in ("temperature", "threshold"):
        assert again[name] == pytest.approx(chosen[name], rel=1e-3)
    told(
        f"{every} answers, {len(kills)} kills: what was kept was not asked for again, and the same command ended in the same numbers"
    )
