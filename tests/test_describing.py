"""``fieldguide describe`` as a user meets it, against a server on this machine that keeps count of what it is asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests import stub
from tests.stub import Answer, Script, Stub, described, failing, good, in_turn, ok, raw, serving
from tests.torture.shell import Said, Shell, in_process, tree

from fieldguide import describing
from fieldguide.asked import Describing
from fieldguide.bench import Silent
from fieldguide.craft.served import Chat, Patience
from fieldguide.craft.server import Server
from fieldguide.data.classes import write_classes
from fieldguide.data.tables import freeze, write_manifest, write_predictions
from fieldguide.data.texts import folder_of, names, read_texts, write_texts
from fieldguide.errors import DONE, ENVIRONMENT, PARTLY, USAGE, EnvironmentProblem, UsageProblem
from fieldguide.records import ClassInfo, Line, ManifestRow, Prediction, Texts
from fieldguide.tasks.describe import prompt

IDS = ("auk", "crow", "gull", "owl", "tern", "wren")
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of six classes whose names have nothing in common, and no runs."""
    rows = [
        ManifestRow(f"{split}{id}{n}", f"{id}/{n}", id, split)
        for id in IDS
        for split in ("train", "val", "test")
        for n in (0, 1)
    ]
    write_manifest(tmp_path / "manifest.parquet", freeze(rows, IDS, 42))
    write_classes(tmp_path / "classes.toml", [ClassInfo(id, id.capitalize(), ("mew",) if id == "gull" else ()) for id in IDS])
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(describing, "Patience", lambda attempts, seconds: Patience(attempts, seconds, first_wait=0.001))
    return in_process(capsys, monkeypatch)


def run(study: Path, name: str, val: dict[str, str], test: dict[str, str]) -> None:
    """Write down what a contestant answered: the truth, but for the classes named."""
    answers = [
        Prediction(f"{split}{id}{n}", said.get(id, id))
        for id in IDS
        for split, said in (("val", val), ("test", test))
        for n in (0, 1)
    ]
    (study / "runs" / name).mkdir(parents=True)
    write_predictions(study / "runs" / name / "predictions.parquet", answers)


def asked(server: Stub | str, **more: Any) -> Describing:
    url = server if isinstance(server, str) else server.url
    usual = {"server": url, "model": "maker/small-1", "fields": "size,beak", "domain": "bird", "attempts": 2}
    return Describing(**{**usual, **more})


def quick(server: Server, patience: Patience) -> Chat:
    return Chat(server, patience, sleep=lambda seconds: None)


def describe(study: Path, server: Stub | str, name: str | None = None, **more: Any) -> describing.Described:
    return describing.follow(describing.prepare(study, asked(server, **more), name), opened=quick)


def words(study: Path, server: Stub | str, *more: object) -> tuple[object, ...]:
    url = server if isinstance(server, str) else server.url
    return ("describe", study, "--server", url, "--model", "maker/small-1", "--fields", "size,beak", "--domain", "bird", *more)


def replies(study: Path, name: str = "small-1") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder_of(study) / f"{name}.replies.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_study_is_described_as_a_source_of_texts(study: Path, shell: Shell) -> None:
    with serving(good) as server:
        said = shell(*words(study, server, "--price-in", 2, "--price-out", "10"))
    assert said.code == DONE and server.count == 6 and sorted(server.classes()) == [id.capitalize() for id in IDS]
    assert names(study) == ("small-1",)
    texts = read_texts(study, "small-1")
    assert list(texts.classes) == list(IDS)
    size, beak = texts.classes["auk"]
    assert size == Line(f"a bird with size like number {sum(map(ord, 'Auk'))}", "size") and beak.field == "beak"
    assert texts.made == {
        "made": "fieldguide describe",
        "model": "maker/small-1",
        "server": server.url,
        "prompt": "describe 1",
        "fields": "size, beak",
        "domain": "bird",
        "confused": "4",
        "temperature": "0.0",
        "seed": "42",
        "confused_from": "none known",
        "json": "json_schema",
        "replies": "6",
        "tokens_in": "600",
        "tokens_out": "120",
    }
    lines = replies(study)
    assert {line["class"] for line in lines} == set(IDS) and len({line["key"] for line in lines}) == 6
    assert lines[0]["reply"]["tokens_in"] == 100 and json.loads(lines[0]["reply"]["text"])["class"] in server.classes()
    assert "6 questions to maker/small-1" in said.out and "6 of 6 classes described, 12 lines" in said.out
    assert "6 replies (600 tokens in, 120 out, 0.0024 at the prices given); JSON by json_schema." in said.out


def test_the_cost_is_told_before_anything_is_asked_and_a_dry_run_ends_there(study: Path, shell: Shell) -> None:
    before = tree(study)
    with serving(good) as server:
        said = shell(*words(study, server, "--dry-run", "--price-in", 1, "--price-out", 1, "--at-once", 3))
        assert server.count == 0 and said.code == DONE and tree(study) == before
        plan = describing.prepare(study, asked(server, price_in=1.0, price_out=1.0))
        first = shell(*words(study, server))
    assert f"About {plan.tokens_in:,} tokens in and {plan.tokens_out:,} out, {plan.money:,.4g} at the prices given" in said.out
    assert "3 at a time" in said.out and "no picture" in said.out
    letters = sum(len(json.dumps(body["messages"])) for body in server.asked)
    assert letters / 4 < plan.tokens_in < letters / 2 and plan.tokens_out == 6 * (2 * 28 + 24)
    assert first.out.index("questions to") < first.out.index("classes described")


def test_what_was_asked_once_is_replayed_without_a_server_or_its_package(
    study: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(good) as server:
        shell(*words(study, server))
    first = (folder_of(study) / "small-1.jsonl").read_bytes()
    (folder_of(study) / "small-1.jsonl").unlink()
    monkeypatch.setitem(sys.modules, "openai", None)
    said = shell(*words(study, server))  # nobody listens there any more
    assert said.code == DONE and "no server is contacted" in said.out
    assert (folder_of(study) / "small-1.jsonl").read_bytes() == first
    again = shell(*words(study, server, "--as", "other"))  # another name, the same contents
    assert again.code == DONE and "no server is contacted" in again.out and names(study) == ("other", "small-1")
    assert read_texts(study, "other").classes == read_texts(study, "small-1").classes
    new = shell(*words(study, server, "--as", "more", "--seed", 1))
    assert new.code == ENVIRONMENT and "pip install 'fieldguide[served]'" in new.err


def test_a_class_that_fails_is_named_and_the_same_command_asks_for_it_alone(study: Path, shell: Shell) -> None:
    broken = {"Crow": failing(500, "boom"), "Owl": ok("I would rather not."), "Tern": ok('{"class": "Tern"', finish="length")}

    def script(body: dict[str, Any], number: int) -> Answer:
        return broken.get(stub.class_of(body)) or good(body, number)

    with serving(script) as server:
        said = shell(*words(study, server, "--attempts", 2))
        assert said.code == PARTLY and list(read_texts(study, "small-1").classes) == ["auk", "gull", "wren"]
        assert server.count == 3 + 2 + 3 + 3  # a failed attempt is made again, a useless reply asked for twice more
        failed = json.loads((folder_of(study) / "small-1.failed.json").read_text())["classes"]
        assert set(failed) == {"crow", "owl", "tern"}
        assert "HTTP 500, boom (2 attempts)" in failed["crow"] and "held no JSON object" in failed["owl"]
        assert "cut at the limit of tokens" in failed["tern"]
        assert "Crow: The server at" in said.out and "3 failed; the same command asks about them again." in said.out
        contents = [json.dumps(body) for body in server.asked if stub.class_of(body) != "Crow"]
        assert len(set(contents)) == len(contents)
        broken.clear()
        server.asked.clear()
        again = shell(*words(study, server))
        assert again.code == DONE and sorted(server.classes()) == ["Crow", "Owl", "Tern"]
        assert (
            "could not be used: it held no JSON object"
            in server.asked[server.classes().index("Owl")]["messages"][-1]["content"]
        )
    assert list(read_texts(study, "small-1").classes) == list(IDS)
    assert not (folder_of(study) / "small-1.failed.json").exists()
    assert "3 of 6 classes have their lines from before" in again.out


def test_lines_that_a_person_has_changed_stay(study: Path) -> None:
    with serving(lambda body, number: ok("no") if stub.class_of(body) == "Wren" else good(body, number)) as server:
        assert set(describe(study, server).failed) == {"wren"}
        there = read_texts(study, "small-1")
        mine = {**there.classes, "auk": (Line("a bird with my own words", "size"),)}
        write_texts(study, Texts("small-1", mine, made=there.made))
        server.script = good
        describe(study, server)
    assert read_texts(study, "small-1").classes["auk"] == mine["auk"] and len(read_texts(study, "small-1").classes) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fields": "size"}, "fields was size, beak, is size"),
        ({"domain": "fish"}, "domain was bird, is fish"),
        ({"seed": 7}, "seed was 42, is 7"),
        ({"rivals": 2}, "confused was 4, is 2"),
    ],
)
def test_a_name_stands_for_one_way_of_describing(study: Path, change: dict[str, Any], told: str) -> None:
    with serving(good) as server:
        describe(study, server)
        before = (folder_of(study) / "small-1.jsonl").read_bytes()
        with pytest.raises(UsageProblem) as refused:
            describing.prepare(study, asked(server, **change))
        assert told in refused.value.given and "--as" in refused.value.next
        # Under another name it is asked for, unless the content comes out the same: here nobody is confused with anybody.
        assert bool(describing.prepare(study, asked(server, **change), "other").waiting) == ("rivals" not in change)
    write_texts(study, Texts("mine", {"auk": (Line("a bird"),)}, made={"from": "a file"}))
    with pytest.raises(UsageProblem, match="mine"):
        describing.prepare(study, asked("http://localhost/v1"), "mine")
    assert (folder_of(study) / "small-1.jsonl").read_bytes() == before


def told_of(study: Path, server: Stub, **more: Any) -> tuple[dict[str, list[str]], str]:
    """What each prompt said a class is confused with, and what the source says of it."""
    describe(study, server, **more)
    found = {}
    for body in server.asked:
        line = [line for line in body["messages"][-1]["content"].splitlines() if "most often confused with: " in line]
        found[stub.class_of(body).casefold()] = line[0].partition(": ")[2].casefold().split(", ") if line else []
    return found, read_texts(study, "small-1").made["confused_from"]


def test_confused_classes_come_from_validation_and_never_from_test(study: Path) -> None:
    run(study, "good", val={"auk": "tern", "crow": "wren"}, test={"auk": "owl", "gull": "owl", "tern": "owl"})
    run(study, "good@50", val={"gull": "owl"}, test={})
    run(study, "guesses", val=dict.fromkeys(IDS, "gull"), test={})
    with serving(good) as server:
        found, source = told_of(study, server)
    assert found == {"auk": ["tern"], "tern": ["auk"], "crow": ["wren"], "wren": ["crow"], "gull": [], "owl": []}
    assert source == "validation answers of good"


def test_without_runs_names_tell_who_is_alike_and_nobody_if_so_asked(study: Path) -> None:
    infos = [
        ClassInfo(id, f"{'Grey' if id in ('gull', 'tern') else id} {'Kite' if id in ('gull', 'tern') else id * 2}")
        for id in IDS
    ]
    write_classes(study / "classes.toml", infos)
    with serving(good) as server:
        found, source = told_of(study, server)
    assert source == "names that are alike" and found["grey kite"] == ["grey kite"]
    with serving(good) as server:
        describe(study, server, "alone", rivals=0)
    assert not any("confused with:" in body["messages"][-1]["content"] for body in server.asked)
    assert read_texts(study, "alone").made["confused_from"] == "none asked for"


def test_a_run_that_is_fitted_later_does_not_make_all_be_asked_anew(study: Path) -> None:
    run(study, "one", val={"auk": "tern"}, test={})
    with serving(lambda body, number: ok("no") if stub.class_of(body) == "Tern" else good(body, number)) as server:
        describe(study, server)
        run(study, "two", val={"auk": "owl", "tern": "owl", "wren": "owl"}, test={})
        server.script = good
        server.asked.clear()
        describe(study, server)
        assert server.classes() == ["Tern"]
        (folder_of(study) / "small-1.jsonl").unlink()
        assert not describing.prepare(study, asked(server)).waiting
    assert "Auk" in server.asked[0]["messages"][-1]["content"]
    describing.follow(describing.prepare(study, asked(server)))
    assert read_texts(study, "small-1").made["confused_from"] == "validation answers of one"


def broken_by(script: Script, study: Path, **more: Any) -> tuple[EnvironmentProblem, int]:
    with serving(script) as server, pytest.raises(EnvironmentProblem) as failed:
        describe(study, server, **more)
    assert not (folder_of(study) / "small-1.jsonl").exists()
    return failed.value, server.count


def test_where_nothing_can_be_had_the_server_is_to_blame_and_is_not_asked_for_every_class(study: Path) -> None:
    failed, count = broken_by(in_turn(failing(401, "who?")), study)
    assert count == 1 and "HTTP 401" in failed.given
    failed, count = broken_by(in_turn(failing(404, "no such model")), study)
    assert count == 3 and "no such model" in failed.given
    failed, count = broken_by(in_turn(failing(503)), study)
    assert count == 5 * 2 and "HTTP 503" in failed.given
    failed, count = broken_by(in_turn(ok("rubbish")), study)
    assert count == 6 * 3 and failed.given.startswith("None of the 18 replies of maker/small-1 can be used")
    assert "held no JSON object" in failed.given and len(replies(study)) == 18


def test_a_server_that_goes_away_leaves_what_it_said(study: Path, shell: Shell) -> None:
    with serving(lambda body, number: good(body, number) if number < 2 else failing(401, "expired")) as server:
        said = shell(*words(study, server, "--at-once", 1))
        assert said.code == PARTLY and server.count == 3 and len(read_texts(study, "small-1").classes) == 2
        failed = json.loads((folder_of(study) / "small-1.failed.json").read_text())["classes"]
        assert len(failed) == 4 and sum(why.startswith("not asked about") for why in failed.values()) == 3
        gone = shell(*words(study, server))
    assert gone.code == ENVIRONMENT and "HTTP 401" in gone.err and len(read_texts(study, "small-1").classes) == 2
    assert shell(*words(study, server)).code == ENVIRONMENT  # nobody listens


def test_questions_are_asked_at_once_but_the_first_alone(study: Path) -> None:
    alone, three, lock, inside, most = [], threading.Barrier(3), threading.Lock(), 0, 0

    def script(body: dict[str, Any], number: int) -> Answer:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if number == 0:
            time.sleep(0.2)
            alone.append(server.count)
        elif number <= 3:
            three.wait(60)  # until three are asked at the same time; breaks, and with it the test, where they never are
        with lock:
            inside -= 1
        return good(body, number)

    with serving(script) as server:
        assert not describe(study, server, at_once=3).failed
    assert alone == [1] and most == 3 and not three.broken


def test_the_level_of_json_that_works_is_written_down(study: Path) -> None:
    def script(body: dict[str, Any], number: int) -> Answer:
        if "response_format" in body:
            return failing(400, "response_format is not supported")
        return ok("Here you are:\n```json\n" + json.dumps(described(body)) + "\n```")

    with serving(script) as server:
        done = describe(study, server)
    assert done.level == "text" and read_texts(study, "small-1").made["json"] == "text" and server.count == 8


def test_tokens_that_a_server_does_not_count_are_not_invented(study: Path, shell: Shell) -> None:
    with serving(lambda body, number: ok(json.dumps(described(body)), usage=None)) as server:
        said = shell(*words(study, server, "--price-in", 1))
    assert "6 replies (tokens not counted by the server); JSON by json_schema." in said.out
    assert read_texts(study, "small-1").made["tokens_in"] == "not counted by the server"


def test_the_key_stands_in_no_file_and_in_no_output(study: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)

    def script(body: dict[str, Any], number: int) -> Answer:
        said = described(body)
        said["fields"]["size"] = f"a bird with {KEY} on it"
        return failing(500, f"bad {KEY}") if stub.class_of(body) == "Owl" else ok(json.dumps(said))

    with serving(script) as server:
        url = server.url.replace("http://", "http://me:long-password@") + "?sig=signature-1234"
        told = shell(*words(study, url, "--key-variable", "MY_KEY"))
        failed = shell(*words(study, url, "--key-variable", "MY_KEY"))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}" and told.code == PARTLY and failed.code == ENVIRONMENT
    seen = told.out + told.err + failed.out + failed.err
    seen += "".join(path.read_text("utf-8", "replace") for path in study.rglob("*") if path.is_file())
    for secret in (KEY, "long-password", "signature-1234", "sig="):
        assert secret not in seen
    assert "[hidden]" in seen and server.url in seen


def test_sampled_words_are_safe_to_keep(study: Path) -> None:
    odd = {"size": "a bird with\x00 a \ud800body\u202e", "beak": "a bird with a bill"}
    with serving(lambda body, number: ok(json.dumps(described(body, fields=odd)))) as server:
        describe(study, server)
    assert read_texts(study, "small-1").classes["auk"][0] == Line("a bird with a body", "size")


CHILD = """
import sys
from fieldguide import cli
cli.main(sys.argv[1:])
"""


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill -9", "Ctrl-C"])
def test_stopped_halfway_the_same_command_asks_for_the_rest_alone(study: Path, number: int, code: int) -> None:
    held = threading.Event()

    def script(body: dict[str, Any], asked: int) -> Answer:
        if asked >= 3:  # three have their reply, the fourth waits
            held.wait(300)
        return good(body, asked)

    with serving(script) as server:
        command = [sys.executable, "-c", CHILD, *map(str, words(study, server, "--at-once", 1))]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"COLUMNS": "200"}
        ) as child:
            give_up = time.monotonic() + 300
            while server.count < 4 and child.poll() is None and time.monotonic() < give_up:
                time.sleep(0.01)
            child.send_signal(number)
            _, told = child.communicate(timeout=120)
        assert child.returncode == code and b"Traceback" not in told
        held.set()
        assert len(replies(study)) == 3 and not (folder_of(study) / "small-1.jsonl").exists()
        path = folder_of(study) / "small-1.replies.jsonl"
        path.write_bytes(path.read_bytes() + b'{"key": "torn')  # and a power cut came into the fourth
        server.asked.clear()
        describe(study, server)
        assert server.count == 3 and len(set(server.classes())) == 3
    assert list(read_texts(study, "small-1").classes) == list(IDS)
    whole = [line for line in path.read_bytes().splitlines() if not line.endswith(b"torn")]
    assert len({json.loads(line)["class"] for line in whole}) == 6


def refused(shell: Shell, *given: object) -> Said:
    said = shell(*given)
    assert len([line for line in said.err.splitlines() if line.strip()]) == 3, said.err
    return said


def test_what_cannot_be_asked_is_told_in_three_breaths(study: Path, shell: Shell) -> None:
    url = "http://127.0.0.1:1/v1"
    for more, code, told in (
        (("--fields", "size,???"), USAGE, "is no field"),
        (("--domain", "a\nb"), USAGE, "domain"),
        (("--at-once", 0), USAGE, "at_once"),
        (("--temperature", "warm"), USAGE, "temperature"),
        (("--key-variable", "NOT_SET_ANYWHERE"), ENVIRONMENT, "NOT_SET_ANYWHERE is not set"),
        (("--attempts", 1), ENVIRONMENT, "connection refused"),
    ):
        said = refused(shell, *words(study, url, *more))
        assert (said.code, told in said.err) == (code, True), said.err
    assert "needs the setting 'server'" in refused(shell, "describe", study, "--model", "m").err
    assert "needs the setting 'model'" in refused(shell, "describe", study, "--server", url).err
    assert "is no study folder" in refused(shell, *words(study / "x", url)).err
    assert "is no address" in refused(shell, *words(study, "http//:u:long-password@x")).err
    assert not folder_of(study).exists()


def test_html_in_place_of_an_api_is_told(study: Path, shell: Shell) -> None:
    with serving(in_turn(raw(200, "<html>login</html>", "text/html"))) as server:
        said = refused(shell, *words(study, server, "--attempts", 2))
    assert said.code == ENVIRONMENT and "a web page where JSON was expected" in said.err and server.count == 2


class Stops(Silent):
    """A progress bar that somebody has had enough of after three classes."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Any]:
        yield self

    def __init__(self) -> None:
        self.left = 3

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= steps
        if self.left == 0:
            raise KeyboardInterrupt


def test_interrupted_from_python_nothing_is_lost_and_nothing_asked_twice(study: Path) -> None:
    stopped = threading.Event()

    def until_stopped(body: dict[str, Any], number: int) -> Answer:
        """Reply to three; who asks more waits, or the thread that asks would be through before anybody had looked at the third."""
        if number >= 3:
            stopped.wait(30)
        return good(body, number)

    with serving(until_stopped) as server:
        with pytest.raises(KeyboardInterrupt):
            describing.follow(describing.prepare(study, asked(server, at_once=1)), Stops(), quick)
        kept = {line["class"] for line in replies(study)}
        assert len(kept) == 3 and not stopped.is_set()
        stopped.set()
        describe(study, server)
        said = server.classes()
        # One question may have been on its way when it stopped, and is asked again; what was kept is not.
        assert 6 <= len(said) <= 7 and {name for name in said if said.count(name) > 1}.isdisjoint(kept)
    assert list(read_texts(study, "small-1").classes) == list(IDS)


def test_the_page_names_the_fields_and_options_there_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "describing.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in prompt().presets)
    options = {name.replace("_", "-") for name in Describing.model_fields} | {"as", "dry-run"}
    assert set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", page)) <= options
