"""Group T5: kill -9 while a language model is taught: behind a step, in the middle of a checkpoint's turn, when it answers, and when it is audited.

The child kills itself. The same command goes on from the last step that was kept, and ends in the same adapter, bit for bit, the same learning
curve and the same answers.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rooms import write_colours
from tests.torture.faults import Plan, start
from tests.torture.small_study import curves, numbers, partial
from tests.torture.test_t5_audits import unclocked

import fieldguide
from fieldguide.bench import read_log
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE
from fieldguide.files import read_json

pytestmark = [pytest.mark.torture("T5", "Kills"), pytest.mark.slow(keep=0)]
WORD = "vlm_lora/drawn:most_steps=4,batch_size=3,accumulate=1,looks=2,looked_at=3,rank=2,dropout=0.1,ask=choice,{more}as=taught"


def dying(moment: str, at: int) -> Callable[[], None]:
    """Let a child die behind the step number `at`, or behind the answer of that number; counted from 1, 0 lets it live."""

    def setup() -> None:
        import os

        from fieldguide import study
        from fieldguide.craft import loop
        from fieldguide.craft.chat.kept import Answers
        from fieldguide.craft.tuning.training import Course

        loop.CHECKPOINT_SECONDS = 0.0
        study._draw = lambda *_: study.Drawn()  # type: ignore[assignment]
        of: Any = Course if moment == "step" else Answers
        name = "_one" if moment == "step" else "add"
        do, count = getattr(of, name), 0

        def counted(self: Any, *given: Any) -> None:
            nonlocal count
            do(self, *given)
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(of, name, counted)

    return setup


@pytest.mark.parametrize("more", ["", "method=full,"], ids=["adapters", "all weights"])
def test_killed_while_it_is_taught(more: str, tmp_path: Path, told: Callable[[str], None]) -> None:
    base, word = tmp_path / "base", WORD.format(more=more)
    pictures = write_colours(base / "pictures", each=7)

    def compare(name: str, moment: str = "step", at: int = 0) -> int:
        ended = start(base, "compare", pictures, word, "--out", base / name, plan=Plan(), setup=dying(moment, at)).end()
        assert ended.code in (DONE, -signal.SIGKILL), ended.text
        return ended.code

    # In this process, which imports with it what the forked children need.
    assert fieldguide.compare(pictures, [word], out=base / "whole").exit_code == DONE
    study = base / "killed"
    for moment, at in (("step", 3), ("answer", 2)):
        assert compare("killed", moment, at) == -signal.SIGKILL
        assert not partial(study), "something half-written lies under a final name"
    assert compare("killed") == DONE
    resumed = [event for event in read_log(study / "runs" / "taught" / "log.jsonl") if event["event"] == "resumed"]
    assert [event["at_step"] for event in resumed][:1] == [2], "the step that was not kept is made again, and none before it"
    whole, again = numbers(base / "whole"), numbers(study)
    for name in ("model of taught", "answers of taught", "scores of taught"):
        assert again[name] == whole[name], name
    assert curves(study) == curves(base / "whole")
    assert read_json(study / "runs" / "taught" / "scores.json")["parts"]["test"]["n"] > 0
    told("2 kills, behind a step and behind an answer: the same command ended in the same weights, curve and answers")


def test_killed_while_names_are_weighed_after_teaching(tmp_path: Path, told: Callable[[str], None]) -> None:
    base = tmp_path / "base"
    word = WORD.format(more="").replace("ask=choice", "ask=likelihood,score=sum")
    pictures = write_colours(base / "pictures", each=7)
    assert fieldguide.compare(pictures, [word], out=base / "whole").exit_code == DONE
    for at, code in ((2, -signal.SIGKILL), (0, DONE)):
        ended = start(base, "compare", pictures, word, "--out", base / "killed", plan=Plan(), setup=dying("answer", at)).end()
        assert ended.code == code, ended.text
        assert not partial(base / "killed"), "something half-written lies under a final name"
    first, again = (read_predictions(base / name / "runs" / "taught" / "predictions.parquet") for name in ("whole", "killed"))
    assert [one.image for one in first] == [one.image for one in again]
    assert np.allclose([one.probabilities for one in first], [one.probabilities for one in again], atol=1e-5)
    chosen = [read_json(base / name / "runs" / "taught" / "model" / "weighing.json") for name in ("whole", "killed")]
    assert chosen[0]["temperature"] == pytest.approx(chosen[1]["temperature"], rel=1e-4)
    assert curves(base / "killed") == curves(base / "whole")
    told("a kill among validation pictures that are weighed: the same command ended in the same curve and probabilities")


def test_killed_while_a_taught_one_is_audited(tmp_path: Path, told: Callable[[str], None]) -> None:
    base = tmp_path / "base"
    pictures = write_colours(base / "pictures", each=7)
    assert fieldguide.compare(pictures, [WORD.format(more="")], out=base / "whole").exit_code == DONE
    shutil.copytree(base / "whole", base / "killed")

    def audit(name: str, at: int = 0) -> int:
        words = ("audit", base / name / "runs" / "taught", "--pictures", 6, "--labels", 2)
        ended = start(base, *words, plan=Plan(), setup=dying("answer", at)).end()
        assert ended.code in (DONE, -signal.SIGKILL), ended.text
        return ended.code

    assert audit("whole") == DONE
    for at in (2, 5):
        assert audit("killed", at) == -signal.SIGKILL
        assert not partial(base / "killed"), "something half-written lies under a final name"
        assert not (base / "killed" / "runs" / "taught" / "audit.json").exists()
    assert audit("killed") == DONE
    assert unclocked(base / "killed" / "runs" / "taught") == unclocked(base / "whole" / "runs" / "taught")
    told("killed behind 2 answers of an audit and behind 5 more; the same audit.json")
