"""Probabilities through servers that tell their likeliest tokens: a letter for each label, in a tournament where labels are many."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.craft.chat import test_ollama, test_over_http
from tests.looking import Kind, decoded, looks, ollama, plain_picture
from tests.stub import Answer, Script, Stub, failing, serving

from fieldguide.craft.chat import Said
from fieldguide.craft.chat.coded import LETTERS, Coded, Places, heard, requests
from fieldguide.craft.served import Reply
from fieldguide.craft.told import Told, told
from fieldguide.errors import UsageProblem
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown
from fieldguide.tasks.weighed import Weighed, loads

Serve = Callable[[Script], AbstractContextManager[Stub]]
WAYS: dict[str, tuple[Serve, Callable[..., Any]]] = {
    "openai": (serving, test_over_http.opened),
    "ollama": (ollama, test_ollama.opened),
}
TEN = tuple(f"kind {number}" for number in range(10))
MANY = tuple(f"kind {number}" for number in range(45))
FORMS = (("{}", 0.7), (" {}", 0.2), ("\u0120{}", 0.06), ("{}.", 0.04))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asking(names: Sequence[str], listed: Sequence[str] | None = None, **more: Any) -> Asking:
    said = f"For example {names[-1]}. One of: {', '.join(listed or names)}."
    return Asking((Message("user", (said, Shown(), "Its name alone.")),), tuple(names), **{"how": "likelihood", **more})


def strengths(names: Sequence[str], seed: int = 0, heat: float = 2.0) -> dict[str, float]:
    """What a model might see: a few names far more strongly than most."""
    return dict(zip(names, np.exp(heat * np.random.default_rng(seed).standard_normal(len(names))), strict=True))


def seeing(names: Sequence[str]) -> Callable[[Pixels | None], Mapping[str, float]]:
    """An eye whose mind differs from picture to picture."""
    return lambda pixels: strengths(names, 0 if pixels is None else int(pixels.sum()) % 97)


def said_by(way: str, what: Asking, kind: Kind | None = None, script: Script | None = None, pictures: int = 3) -> list[Said]:
    serve, opened = WAYS[way]
    with serve(script or looks(kind=kind, mind=seeing(what.answers))) as server:
        chat = opened(server)
        try:
            return list(chat.ask(what, PICTURES[:pictures], {}))
        finally:
            chat.close()


PICTURES = [plain_picture(name) for name in ("red", "green", "blue")]


def shares(sums: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.exp(np.array(sums) - max(sums))
    return np.asarray(values / values.sum())


def expected(names: Sequence[str], number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    seen = np.array(list(seeing(names)(PICTURES[number]).values()))
    return np.asarray(seen / seen.sum())


@pytest.mark.parametrize("begins", [(), ("\n", "")])
def test_probabilities_are_near_those_of_the_eye_and_a_letter_has_all_its_forms(way: str, begins: tuple[str, ...]) -> None:
    for number, one in enumerate(said_by(way, asking(TEN), Kind(forms=FORMS, begins=begins))):
        weighed = loads(one.text)
        assert (one.finish, one.level, one.error, weighed.tokens, weighed.sizes) == ("stop", "codes", None, None, None)
        assert np.abs(shares(weighed.sums) - expected(TEN, number)).max() < 0.02
        assert weighed.found and all(weighed.found[at] for at in np.argsort(weighed.sums)[-3:])
        assert max(weighed.sums) < math.log(0.96 * expected(TEN, number).max())  # what no letter was begun with is nobody's


def test_more_labels_than_letters_come_out_exactly_as_if_asked_together(way: str) -> None:
    for number, one in enumerate(said_by(way, asking(MANY), Kind(stray=0.0))):
        weighed = loads(one.text)
        assert weighed.found == (True,) * 45
        np.testing.assert_allclose(shares(weighed.sums), expected(MANY, number), rtol=1e-9)


@pytest.mark.parametrize(("kind", "count"), [(Kind(tops=5), 12), (Kind(tops=8), 7), (Kind(logprobs="few", tops=5), 12)])
def test_a_server_that_tells_fewer_tokens_is_asked_about_fewer_labels_at_once(way: str, kind: Kind, count: int) -> None:
    what = asking(MANY)
    found = said_by(way, what, replace(kind, stray=0.0))
    for number, one in enumerate(found):
        np.testing.assert_allclose(shares(loads(one.text).sums), expected(MANY, number), rtol=1e-9)
    assert requests(45, kind.tops) == count == sum(1 for _ in Coded(what, kind.tops).questions())


def test_what_is_not_told_is_a_bound_and_never_nothing(way: str) -> None:
    """Every second label is seen not at all: no token is told of it, and its probability is at most that of the least that was told."""

    def mind(pixels: Pixels | None) -> dict[str, float]:
        return {name: 0.0 if at % 2 else 1.0 + at for at, name in enumerate(TEN)}

    (one,) = said_by(way, asking(TEN), script=looks(kind=Kind(tops=12, forms=FORMS[:1]), mind=mind), pictures=1)
    weighed = loads(one.text)
    assert weighed.found == (True, False) * 5 and all(math.isfinite(value) for value in weighed.sums)
    lowest = min(value for value, found in zip(weighed.sums, weighed.found, strict=True) if found)
    assert {value for value, found in zip(weighed.sums, weighed.found, strict=True) if not found} == {min(weighed.sums)}
    assert -20 < min(weighed.sums) < lowest


def test_the_order_of_the_list_is_that_of_the_letters_and_changes_nothing_for_an_eye_without_leaning(way: str) -> None:
    backwards = [asking(names, names[::-1]) for names in (TEN, MANY)]
    for what, plainly in zip(backwards, (asking(TEN), asking(MANY)), strict=True):
        for one, other in zip(said_by(way, what), said_by(way, plainly), strict=True):
            np.testing.assert_allclose(loads(one.text).sums, loads(other.text).sums, rtol=1e-9)
    assert Coded(backwards[0]).order == tuple(range(9, -1, -1)) and Coded(asking(TEN)).order == tuple(range(10))


def test_a_request_is_the_prompt_with_letters_at_its_end_and_nothing_else_is_changed(way: str) -> None:
    shown = Asking(
        (
            Message("system", ("You name animals.",)),
            Message("user", ("One of: bear cub, bear, cat.", Shown("k"))),
            Message("assistant", ("cat",)),
            Message("user", (Shown(), "Its name alone.")),
        ),
        ("bear", "bear cub", "cat"),
        "likelihood",
        temperature=0.7,
        seed=3,
        most_tokens=99,
    )
    serve, opened = WAYS[way]
    with serve(looks(mind=seeing(shown.answers))) as server:
        chat = opened(server)
        (one,) = chat.ask(shown, PICTURES[:1], {"k": plain_picture("blue")})
        chat.close()
    body = server.asked[-1]
    pictures, text = decoded(body)
    assert [picture[0, 0].tolist() for picture in pictures] == [[0, 0, 200], [200, 0, 0]]
    assert "Its name alone.\nFor this answer each of these has a letter:\nB = bear cub\nC = bear\nD = cat\nWhich" in text
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20) and "format" not in body and "response_format" not in body
    options = body.get("options", body)
    assert options["temperature"] == 0 and "seed" not in options and options.get("num_predict", options.get("max_tokens")) == 4
    assert loads(one.text).found == (True,) * 3
    assert [turn["role"] for turn in body["messages"]].count("assistant") == 1


def test_questions_about_a_picture_share_all_that_stands_before_the_letters(way: str) -> None:
    what = asking(MANY)
    serve, opened = WAYS[way]
    with serve(looks(mind=seeing(MANY))) as server:
        chat = opened(server, at_once=1)
        (one,) = chat.ask(what, PICTURES[:1], {})
        assert chat.facts["likelihood"] == {"way": "codes", "labels": 45, "top_logprobs": 20, "requests": 4}
        assert chat.requests(what) == 4 and chat.requests(replace(what, how="choice")) == 1
        chat.close()
    asked = [json.dumps(body["messages"]).partition("For this answer")[0] for body in server.asked[-4:]]
    assert len(set(asked)) == 1 and "For this answer" not in asked[0] and len(asked[0]) > 300
    sizes = [decoded(body)[1].count(" = ") for body in server.asked[-4:]]
    assert sizes == [15, 15, 15, 3]
    counts = [len(decoded(body)[1]) // 4 + 16 for body in server.asked[-4:]]
    assert one.tokens_in == sum(counts) and one.tokens_out == 4


def test_pictures_are_asked_about_at_once_and_each_by_itself(way: str) -> None:
    serve, opened = WAYS[way]
    with serve(looks(kind=Kind(seconds=0.01), mind=seeing(MANY))) as server:
        chat = opened(server, at_once=3)
        said = list(chat.ask(asking(MANY), [PICTURES[at % 3] for at in range(12)], {}))
        chat.close()
    assert {one.error for one in said} == {None} and server.most == 3
    assert all(said[at].text == said[at % 3].text for at in range(12))


@pytest.mark.parametrize("letters", range(6200, 7800, 200))
def test_questions_about_a_picture_get_the_same_room(letters: int) -> None:
    """Ollama loads a model anew where the room changes; it changes at 4,096 tokens, about 7,600 letters and a picture."""
    names = tuple(f"a rather long name with the number {number}" for number in range(30))
    what = Asking((Message("user", ("x" * letters, Shown())),), names, "likelihood")
    with ollama(looks(mind=seeing(names))) as server:
        chat = test_ollama.opened(server)
        (one,) = chat.ask(what, PICTURES[:1], {})
        chat.close()
    assert one.error is None and len(server.asked) == 4
    assert len({body["options"].get("num_ctx") for body in server.asked[1:]}) == 1
    assert all(len(decoded(body)[1]) // 3 + 1500 <= body["options"].get("num_ctx", 4096) for body in server.asked[1:])


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Kind(logprobs="ignored"), "gives no log-probabilities for"),
        (Kind(logprobs="refused"), "gives no log-probabilities for"),
        (Kind(tops=1), "gives the log-probability of the likeliest token alone for"),
    ],
)
def test_a_server_without_them_is_refused_in_three_breaths(way: str, kind: Kind, told: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        said_by(way, asking(TEN), kind)
    assert told in refused.value.given and "found by trying" in refused.value.given
    assert "ask=choice or ask=generate, which give no probabilities" in refused.value.allowed
    assert refused.value.next.endswith(",ask=choice")


def test_a_decision_is_for_local_models(way: str) -> None:
    with pytest.raises(UsageProblem, match="ask=decision is transformers' own pipeline"):
        said_by(way, asking(TEN, how="decision"))


def test_a_server_that_falls_silent_about_them_is_told_by_picture_and_soon_left_alone(way: str) -> None:
    plainly = looks(mind=seeing(TEN))
    serve, opened = WAYS[way]

    def script(body: dict[str, Any], number: int) -> Answer:
        silent = body.get("logprobs") and decoded(body)[0] and len(server.asked) > 6
        return looks(kind=Kind(logprobs="ignored"))(body, number) if silent else plainly(body, number)

    with serve(script) as server:
        chat = opened(server, at_once=1)
        said = list(chat.ask(asking(TEN), [PICTURES[at % 3] for at in range(20)], {}))
        chat.close()
    assert said[0].error is None and loads(said[0].text)
    silent = [one for one in said if one.error]
    assert "its reply tells no log-probabilities, which were asked for" in str(silent[0].error) and not silent[0].lasting
    assert str(silent[-1].error).startswith("not asked: because of a picture before it") and len(server.asked) <= 12


def test_a_tournament_that_breaks_fails_as_one_picture(way: str) -> None:
    plainly = looks(mind=seeing(MANY))

    def script(body: dict[str, Any], number: int) -> Answer:
        pictures, text = decoded(body)
        final = text.count(" = ") == 3
        return failing(400, "flagged") if final and pictures and pictures[-1][0, 0, 1] else plainly(body, number)

    first, second, third = said_by(way, asking(MANY), script=script)
    assert "HTTP 400, flagged" in str(second.error) and not second.lasting and second.text == ""
    assert first.error is third.error is None and len(loads(third.text).sums) == 45


def test_a_model_that_says_no_letter_at_all_is_known_by_that(way: str) -> None:
    """All numbers are bounds then: whoever reads them knows that none was told."""
    (one,) = said_by(way, asking(TEN), script=looks(mind=lambda pixels: dict.fromkeys(TEN, 0.0)), pictures=1)
    assert loads(one.text).found == (False,) * 10 and len(set(loads(one.text).sums)) == 1


def test_nothing_is_read_from_numbers_that_are_no_log_probabilities() -> None:
    good = {
        "token": "B",
        "logprob": -0.5,
        "top_logprobs": [{"token": "C", "logprob": -1.0}, {"token": "D", "logprob": -9999.0}],
    }
    assert told([good]) == (Told("B", (("C", -1.0), ("B", -0.5))),)
    for odd in (None, {}, "x", [None], [3], [{"token": "B", "logprob": 0.7}]):
        assert told(odd) == ()
    for number in (math.nan, None, True, "-1", -math.inf):
        assert told([{"token": "B", "logprob": number}]) == (Told("B", ()),)


def test_a_letter_that_is_told_is_at_least_what_one_that_is_not_could_be() -> None:
    tops = (("B", math.log(0.6)), (" b", math.log(0.2)), ("The", math.log(0.1)), ("(C)", math.log(0.04)))
    one = heard((Told("", (("", -0.1),)), Told("B", tops)), 4)
    assert one.found == (True, True, False, False) and one.best == 0
    np.testing.assert_allclose(np.exp(one.logs), [0.8, 0.04, 0.04, 0.04], rtol=1e-9)
    sure = heard((Told("B", (("B", math.log(0.99)), ("C", math.log(0.009)))),), 3)
    np.testing.assert_allclose(np.exp(sure.logs), [0.99, 0.009, 0.001], rtol=1e-6)  # no more than what is left of 1
    nothing = heard((), 2)
    assert nothing.found == (False, False) and all(math.isfinite(log) for log in nothing.logs)


def test_the_letters_are_no_words() -> None:
    assert len(LETTERS) == len(set(LETTERS)) == 20 and not set(LETTERS) & set("AEIOUY")


@given(st.integers(1, 450), st.integers(2, 25), st.integers(0, 5))
def test_any_number_of_labels_in_any_number_of_rounds(labels: int, most: int, seed: int) -> None:
    """Against the choice axiom itself: a model that keeps to it is read exactly, whatever the groups."""
    names = tuple(f"n{number}" for number in range(labels))
    coded, strong = Coded(asking(names), most), strengths(names, seed, 1.0)
    put = 0

    def ask(places: Places) -> Reply:
        nonlocal put
        put += 1
        assert 1 <= len(places) <= min(most, 20)
        whole = sum(strong[names[at]] for at in places)
        tops = tuple((letter, math.log(strong[names[at]] / whole)) for letter, at in zip(LETTERS, places, strict=False))
        return Reply("B", "stop", 7, 1, 0.0, "text", "m", told=(Told("B", tops),))

    said = coded.weigh(ask)
    weighed: Weighed = loads(said.text)
    np.testing.assert_allclose(shares(weighed.sums), np.array(list(strong.values())) / sum(strong.values()), rtol=1e-6)
    assert weighed.found == (True,) * labels and put == requests(labels, most) and said.tokens_in == 7 * put
    assert sorted(coded.order) == list(range(labels))


def test_bounds_go_through_the_rounds() -> None:
    """A group of which nothing is told, and one whose winner the final does not tell of."""
    names = tuple(f"n{number}" for number in range(6))
    strong = dict(zip(names, (8, 2, 5, 1, 0, 0), strict=True))

    def ask(places: Places) -> Reply:
        told_of = [(letter, strong[names[at]]) for letter, at in zip(LETTERS, places, strict=False)]
        whole = sum(share for _, share in told_of) or 1
        return Reply(
            "", "stop", None, None, 0.0, "text", "m",
            told=(Told("B", (*((letter, math.log(share / whole)) for letter, share in told_of if share), ("The", -14.0))),),
        )  # fmt: skip

    weighed = loads(Coded(asking(names), 3).weigh(ask).text)
    assert Coded(asking(names), 3).groups(tuple(range(6))) == [(0, 1, 2), (3, 4, 5)]
    assert weighed.found == (True, True, True, True, False, False)
    pairs = loads(Coded(asking(names), 2).weigh(ask).text)  # (0 1) (2 3) (4 5), then (0) (2 4), then (0 2)
    np.testing.assert_allclose(shares(pairs.sums)[:4], np.array([8, 2, 5, 1]) / 16, atol=1e-4)
    assert pairs.found == (True, True, True, True, False, False) and min(pairs.sums) < -9


def test_many_names_are_found_in_the_list_and_not_in_the_example() -> None:
    names = ("bear", "bear cub", "cat", "dog")
    listed = "Say dog or bear, for example. The list: cat, dog, bear cub, bear. Say cat."
    assert Coded(Asking((Message("user", (listed, Shown())),), names, "likelihood")).order == (2, 3, 1, 0)
    silent = Asking((Message("user", ("What is it?", Shown())),), names, "likelihood")
    assert Coded(silent).order == (0, 1, 2, 3)
    partly = Asking((Message("user", ("A dog?", Shown())), Message("assistant", ("cat",))), names, "likelihood")
    assert Coded(partly).order == (3, 0, 1, 2)
