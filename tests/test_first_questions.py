"""What is asked of a server before the first picture is asked within the limit, and told with what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.looking import Kind, looks, ollama
from tests.rooms import write_colours
from tests.stub import Stub, serving

import fieldguide
from fieldguide.asked import Terms
from fieldguide.consenting import line
from fieldguide.craft.chat import door
from fieldguide.craft.chat.probe import MOST
from fieldguide.errors import PARTLY
from fieldguide.files import read_json
from fieldguide.study import Study, dry_run, read_asked

SERVERS = {"served/eyes": (serving, MOST + 1), "ollama/eyes": (ollama, MOST)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("first") / "colours", each=20)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    monkeypatch.setattr(door, "_PROBED", {})


def word(server: Stub, model: str, **settings: Any) -> str:
    told = ",".join(f"{name}={value}" for name, value in settings.items())
    return f"vlm_prompt:model={model},server={server.root if model.startswith('ollama') else server.url},at_once=2,{told}"


def put(study: Study, run: str) -> int:
    return int(read_json(study.folder / "runs" / run / "fit.json")["facts"]["probe"]["questions"])


@pytest.mark.parametrize("model", SERVERS)
def test_a_limit_is_of_all_that_is_asked(pictures: Path, tmp_path: Path, model: str) -> None:
    serve, most = SERVERS[model]
    with serve(looks()) as server:
        words = [word(server, model, **{"as": "one"}), word(server, model, ask="choice", **{"as": "two"})]
        study = fieldguide.compare(pictures, words, out=tmp_path, terms=Terms(limit=most + 6))
        assert server.count == most + 6 and study.exit_code == PARTLY, "no more, and no less"
        first = put(study, "one")
        assert 5 < first <= most
        assert study.cost("one")["asked"] == min(study.cost("one")["predicted"], most + 6 - first)
        study = fieldguide.compare(pictures, words, out=tmp_path)
        assert study.left_open == () and put(study, "one") == first
        assert put(study, "two") == (1 if model.startswith("served") else 0), "one server is found out about once"


@pytest.mark.parametrize("model", SERVERS)
def test_a_limit_below_them_asks_nothing_and_says_why(pictures: Path, tmp_path: Path, model: str) -> None:
    serve, most = SERVERS[model]
    with serve(looks()) as server:
        study = fieldguide.compare(
            pictures, ["majority", word(server, model, **{"as": "one"})], out=tmp_path, terms=Terms(limit=5)
        )
        assert server.count == 0 and study.outcomes == {"majority": "done", "one": "failed"}
    told = study.failure("one")
    assert f"up to {most} short questions" in told["given"] and "the limit of 5 new questions" in told["given"]
    assert "--limit" in told["next"]


def test_questions_that_a_problem_ended_count_too(pictures: Path, tmp_path: Path) -> None:
    """A server without log-probabilities is refused behind its probe; what is left of the limit is that much less."""
    with serving(looks(kind=Kind(logprobs="ignored"))) as server:
        words = [
            word(server, "served/eyes", ask="likelihood", **{"as": "weighed"}),
            word(server, "served/eyes", **{"as": "said"}),
        ]
        study = fieldguide.compare(pictures, words, out=tmp_path, terms=Terms(limit=20))
        assert study.outcomes["weighed"] == "failed" and server.count == 20


def test_they_are_told_with_what_is_sent(pictures: Path, tmp_path: Path) -> None:
    far = "vlm_prompt/served/far:server=https://api.example.org/v1,price_in=1,price_out=2,as=far"
    found = dry_run(*read_asked(str(pictures), tmp_path / "study", contestants=(far,)))
    (one,), (planned,) = found.sendings, found.planned
    assert one.made == MOST + 1 and f"after up to {MOST + 1} short questions about made pictures" in line(one)
    assert planned.estimate.money == pytest.approx(one.money)
    with pytest.raises(fieldguide.Problem, match=r"after up to \d+ short questions about made pictures"):
        fieldguide.compare(pictures, [far], out=tmp_path / "study")
