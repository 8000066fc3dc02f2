"""Whether somebody is there, found out with one GET that holds nothing of the user's; and a study that stops for it before it begins."""

from __future__ import annotations

import dataclasses
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.looking import looks, ollama
from tests.rooms import write_colours
from tests.stub import failing, hanging, raw, serving

import fieldguide
from fieldguide.asked import Terms
from fieldguide.craft.chat import Wanted, knocking
from fieldguide.craft.chat.knocking import knock
from fieldguide.craft.troubles import ServerProblem
from fieldguide.errors import DONE, ENVIRONMENT, EnvironmentProblem
from fieldguide.families import vlm_prompt

KEY = "sk-knock-0123456789"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("knocked") / "colours", each=8)


@pytest.fixture
def nowhere() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/v1"


@pytest.mark.parametrize("prefix", ["served", "ollama"])
def test_nobody_there_is_told_in_three_breaths(prefix: str, nowhere: str) -> None:
    with pytest.raises(ServerProblem) as raised:
        knock(Wanted(f"{prefix}/eyes", server=nowhere))
    assert "nobody listens there (connection refused)" in raised.value.given and "server=" in raised.value.next


@pytest.mark.parametrize("page", [None, failing(401), failing(500), raw(200, "<html>"), hanging(0.5)])
@pytest.mark.parametrize("prefix", ["served", "ollama"])
def test_whoever_answers_at_all_is_there_and_gets_no_key_and_no_word(
    prefix: str, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOCK_KEY", KEY)
    monkeypatch.setattr(knocking, "_SECONDS", 0.2)
    seen: list[tuple[str, dict[str, str], str]] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.command, dict(handler.headers.items()), handler.path))
        (page or failing(404))(handler)

    with serving(looks(), {"/v1/models": answer, "/api/tags": answer}) as server:
        knock(Wanted(f"{prefix}/eyes", server=server.url, key_variable="KNOCK_KEY"))
        assert server.count == 0, "no question was put"
    (one,) = seen
    assert one[0] == "GET" and one[2] == ("/v1/models" if prefix == "served" else "/api/tags")
    assert KEY not in str(one) and "content-length" not in {name.lower() for name in one[1]}


def test_an_ollama_without_the_model_says_how_to_get_it() -> None:
    with ollama(looks()) as server:
        knock(Wanted("ollama/eyes", server=server.root))
        with pytest.raises(EnvironmentProblem, match="has no model mole") as raised:
            knock(Wanted("ollama/mole", server=server.root))
        assert raised.value.next == "ollama pull mole" and server.count == 0


def test_a_model_of_this_process_is_there(nowhere: str) -> None:
    knock(Wanted("drawn"))


def test_a_study_stops_before_it_begins_and_names_who_lacks_its_server(pictures: Path, tmp_path: Path, nowhere: str) -> None:
    words = (f"vlm_prompt/served/eyes:server={nowhere},as=far", f"vlm_prompt/served/eyes:server={nowhere},ask=choice,as=chosen")
    with pytest.raises(EnvironmentProblem) as raised:
        fieldguide.compare(pictures, ["majority", *words], out=tmp_path / "study")
    assert raised.value.code == ENVIRONMENT and not (tmp_path / "study" / "manifest.parquet").exists()
    assert raised.value.given.startswith("far, chosen cannot be asked: The server at http://127.0.0.1:")
    assert "Nothing was begun" in raised.value.allowed and raised.value.next.endswith("or leave far, chosen out.")


def test_answers_that_are_all_kept_need_nobody(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    with serving(looks()) as server:
        word = f"vlm_prompt/served/eyes:server={server.url},as=far"
        whole = fieldguide.compare(pictures, [word], out=tmp_path)
        assert whole.exit_code == DONE
        (tmp_path / "runs" / "far" / "predictions.parquet").unlink()
    again = fieldguide.compare(pictures, [word, "majority"], out=tmp_path)
    assert again.outcomes == {"far": "done", "majority": "done"} and again.exit_code == DONE
    (tmp_path / "runs" / "far" / "predictions.parquet").unlink()
    (tmp_path / "answers.sqlite").unlink()
    with pytest.raises(EnvironmentProblem, match="far cannot be asked"):
        fieldguide.compare(pictures, [word, "majority"], out=tmp_path)


def test_another_machine_is_knocked_at_with_consent_alone(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knocked: list[Any] = []

    def none(settings: vlm_prompt.Settings) -> None:
        knocked.append(settings.server)
        raise EnvironmentProblem("The server is gone.", "One that is there.", "Start it.")

    monkeypatch.setattr(vlm_prompt, "knock", none)
    word = "vlm_prompt/served/eyes:server=https://api.example.org/v1,as=far"
    with pytest.raises(fieldguide.Problem, match="nobody agreed"):
        fieldguide.compare(pictures, [word], out=tmp_path)
    assert not knocked
    with pytest.raises(EnvironmentProblem) as raised:
        fieldguide.compare(pictures, [word], out=tmp_path, terms=Terms(yes=True))
    assert knocked == ["https://api.example.org/v1"] and raised.value.next == "Start it; or leave far out."


def test_it_follows_nobody_elsewhere() -> None:
    with serving(looks()) as other, serving(looks(), {"/v1/models": failing(302, location=other.url)}) as server:
        other.pages["/v1/models"] = lambda handler: pytest.fail("it was led away")
        knock(dataclasses.replace(Wanted("served/eyes"), server=server.url))
