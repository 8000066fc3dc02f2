"""Probabilities of a served model in a study: chosen on validation pictures, kept picture by picture, refused where there are none."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.looking import Kind, colour, decoded, looks, ollama
from tests.rooms import write_colours
from tests.stub import Answer, Script, Stub, failing, serving

import fieldguide
from fieldguide import families
from fieldguide.asked import Terms
from fieldguide.consenting import line
from fieldguide.craft.chat import door
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE, PARTLY, USAGE, Problem
from fieldguide.families import Sizes, vlm_prompt
from fieldguide.families.vlm_prompt import Settings
from fieldguide.files import read_json
from fieldguide.records import ClassInfo, Pixels, Prediction
from fieldguide.sending import within
from fieldguide.study import Study
from fieldguide.tasks.classify import Classify

NAMES = ("blue", "green", "red")
SERVERS: dict[str, Callable[[Script], AbstractContextManager[Stub]]] = {"served/eyes-1": serving, "ollama/eyes": ollama}
#: Two letters at a time: two of three names in a group, and the better of them against the third.
FEW = Kind(tops=2, stray=0.0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("weighed") / "colours", each=10)


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_PROBED", {})
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())


def mind(pixels: Pixels | None) -> dict[str, float]:
    """See colours as they are, and not quite sharply."""
    seen = np.zeros(3) if pixels is None else np.asarray(pixels, float).mean(axis=(0, 1))[::-1] / 40
    return dict(zip(NAMES, np.exp(seen), strict=True))


def word(server: Stub, model: str, **more: Any) -> str:
    url = server.url if model.startswith("served") else server.root
    return ",".join((f"vlm_prompt:model={model},server={url},as=asked", *(f"{name}={value}" for name, value in more.items())))


def compare(pictures: Path, out: Path, *words: str, **more: Any) -> Study:
    return fieldguide.compare(pictures, words, out=out, **more)


def answers(study: Study) -> dict[str, Prediction]:
    return {one.image: one for one in read_predictions(study.folder / "runs" / "asked" / "predictions.parquet")}


def weighed_in(out: Path) -> int:
    base = sqlite3.connect(out / "answers.sqlite")
    ((count,),) = base.execute("SELECT count(*) FROM answers WHERE level = 'codes'").fetchall()
    base.close()
    return int(count)


@pytest.mark.parametrize("model", SERVERS)
def test_a_study_has_the_probabilities_of_a_served_model(pictures: Path, tmp_path: Path, model: str) -> None:
    with SERVERS[model](looks(colour, mind=mind)) as server:
        study = compare(pictures, tmp_path, word(server, model, ask="likelihood"))
        count = server.count
        compare(pictures, tmp_path, word(server, model, ask="likelihood"))
        assert server.count == count
    assert study.exit_code == DONE and study.scores("asked")["parts"]["test"]["metrics"]["accuracy"]["value"] == 1
    facts = read_json(tmp_path / "runs" / "asked" / "fit.json")["facts"]
    assert facts["likelihood"] == {"way": "codes", "labels": 3, "top_logprobs": 20, "requests": 1}
    assert facts["probe"]["top_logprobs"] == 20 and "1 question for each picture" in facts["notes"][0]
    for one in answers(study).values():
        assert one.probabilities is not None and one.raw is None and sum(one.probabilities) == pytest.approx(1)
        assert min(one.probabilities) > 0 and one.label == NAMES[int(np.argmax(one.probabilities))]


@pytest.mark.parametrize("model", SERVERS)
def test_stopped_at_a_limit_and_broken_in_a_tournament_it_goes_on_to_the_same_numbers(
    pictures: Path, tmp_path: Path, model: str
) -> None:
    """Three names, two letters: two questions a picture. The server then breaks in the second question about every third picture."""
    plainly = looks(colour, FEW, mind)
    broken: list[bytes] = []
    breaking = False

    def script(body: dict[str, Any], number: int) -> Answer:
        seen, text = decoded(body)
        final = seen and "B = " in text and final_of(text)
        if breaking and final and int(seen[-1].sum()) % 3 == 0 and seen[-1].tobytes() not in broken:
            broken.append(seen[-1].tobytes())
            return failing(400, "flagged")
        return plainly(body, number)

    def final_of(text: str) -> bool:
        return "B = green\nC = red" not in text

    with SERVERS[model](plainly) as server:
        whole = answers(compare(pictures, tmp_path / "whole", word(server, model, ask="likelihood", score="sum", at_once=1)))
        asked = server.count
    with SERVERS[model](script, port=int(server.root.rpartition(":")[2])) as server:
        words = word(server, model, ask="likelihood", score="sum", at_once=1)
        out = tmp_path / "parts"
        stopped = compare(pictures, out, words, terms=Terms(limit=7))
        assert stopped.outcomes == {"asked": "failed"} and weighed_in(out) == 3, (
            "seven questions are three pictures, and none half"
        )
        assert "a limit" in stopped.failure("asked")["given"] or "the limit of 7" in stopped.failure("asked")["given"]
        breaking = True
        for _ in range(3):
            study = compare(pictures, out, words)
        assert study.exit_code == DONE and study.left_open == ()
        assert broken and server.count >= asked + len(broken)
    found = answers(study)
    assert found.keys() == whole.keys()
    assert {key: one.probabilities for key, one in found.items()} == {key: one.probabilities for key, one in whole.items()}
    assert study.cost("asked")["questions_each"] == 2


@pytest.mark.slow(keep=0)
@pytest.mark.parametrize("model", SERVERS)
def test_killed_in_the_middle_of_a_tournament_it_goes_on_to_the_same_numbers(
    pictures: Path, tmp_path: Path, model: str
) -> None:
    """The server kills whoever asks, twice, each time between the two questions about a picture."""
    plainly = looks(colour, FEW, mind)
    process: list[subprocess.Popen[bytes]] = []

    def script(body: dict[str, Any], number: int) -> Answer:
        seen, text = decoded(body)
        if process and seen and "B = " in text and process[-1].poll() is None:
            weighed.append(seen[-1].tobytes())
            if len(weighed) > 4 and weighed[-2:-1] == weighed[-1:]:
                weighed.clear()
                process[-1].kill()
        return plainly(body, number)

    weighed: list[bytes] = []
    with SERVERS[model](plainly) as server:
        whole = answers(compare(pictures, tmp_path / "whole", word(server, model, ask="likelihood", score="sum", at_once=1)))
    out, port = tmp_path / "parts", int(server.root.rpartition(":")[2])
    with SERVERS[model](script, port=port) as server:
        words = word(server, model, ask="likelihood", score="sum", at_once=1)
        kept = [0]
        for _ in range(2):
            command = [sys.executable, "-m", "fieldguide", "compare", str(pictures), words, "--out", str(out)]
            process.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            assert process[-1].wait(120) in (0, -9)
            kept.append(weighed_in(out))
        process.clear()
        study = compare(pictures, out, words)
    assert kept[1] == 2 and kept == sorted(kept), "killed at the second question about a third picture, each time"
    assert study.exit_code == DONE
    assert {key: one.probabilities for key, one in answers(study).items()} == {
        key: one.probabilities for key, one in whole.items()
    }


@pytest.mark.parametrize("model", SERVERS)
@pytest.mark.parametrize("kind", [Kind(logprobs="ignored"), Kind(logprobs="refused")])
def test_a_server_without_probabilities_is_told_at_fit_and_nothing_is_half_done(
    pictures: Path, tmp_path: Path, model: str, kind: Kind
) -> None:
    with SERVERS[model](looks(colour, kind, mind)) as server:
        study = compare(pictures, tmp_path, "majority", word(server, model, ask="likelihood"))
        count = server.count
        assert study.outcomes == {"majority": "done", "asked": "failed"} and study.exit_code == PARTLY
        told = study.failure("asked")
        assert "gives no log-probabilities for " + model in told["given"] and "ask=choice or ask=generate" in told["allowed"]
        assert not (tmp_path / "runs" / "asked" / "model").exists() and not (tmp_path / "answers.sqlite").exists()
        assert count <= 14, "nothing but the probe was asked"
        chosen = compare(pictures, tmp_path, "majority", word(server, model, ask="choice").replace("as=asked", "as=chosen"))
    assert chosen.outcomes["chosen"] == "done"


def test_a_decision_of_a_server_is_refused_before_anything_is_asked(pictures: Path, tmp_path: Path) -> None:
    with serving(looks(colour)) as server:
        with pytest.raises(Problem, match="transformers' own pipeline") as refused:
            compare(pictures, tmp_path / "new", "majority", word(server, "served/eyes-1", ask="decision"))
        assert refused.value.code == USAGE and server.count == 0 and not (tmp_path / "new").exists()
    with pytest.raises(Problem, match="ask=decision"):
        vlm_prompt.check(Settings(model="ollama/x", ask="decision"), False)


def test_what_is_sent_and_what_it_costs_counts_every_question() -> None:
    many = Classify(tuple(ClassInfo(f"c{at}", f"kind {at}") for at in range(45)))
    away = {"model": "served/x", "server": "https://api.example.org/v1", "image_size": 560, "price_in": 1.0, "price_out": 4.0}

    def sent(**more: Any) -> Any:
        return vlm_prompt.sends(Settings(**{**away, **more}), many, Sizes(100, 20, 30))

    freely, weighed, ordered = sent(), sent(ask="likelihood"), sent(ask="likelihood", orders=3)
    assert [one.questions for one in (freely, weighed, ordered)] == [1, 4, 12] and freely.pictures == weighed.pictures == 50
    assert 4 * freely.tokens_in < weighed.tokens_in < 6 * freely.tokens_in and ordered.tokens_in == 3 * weighed.tokens_in
    assert weighed.money == pytest.approx((weighed.tokens_in + 4 * weighed.tokens_out) / 1e6)
    found = vlm_prompt.estimate(Settings(**away, ask="likelihood"), many, Sizes(100, 20, 30))
    before = vlm_prompt.first(Settings(**away))
    assert before is not None and found.money == pytest.approx(weighed.money + before.money), "and what comes before a picture"
    assert line(weighed).startswith("50 pictures to api.example.org, in 4 questions each: about")
    examples = sent(ask="likelihood", examples=1)
    assert examples.tokens_in - weighed.tokens_in == 50 * 4 * 45 * 400
    entry = families.parse("vlm_prompt/served/x:server=https://api.example.org/v1,ask=likelihood,as=far")
    (one,) = within([entry], many, {"far": 50}, 10)
    assert (one.pictures, one.questions) == (2, 4), "ten questions are two pictures"
    assert within([entry], many, {"far": 50}, 3) == []
