"""How probable each label is, through a server that tells the likeliest tokens of an answer: a letter stands for each label.

Servers tell at most 20 tokens in one place, and nothing of the tokens behind it. So each label gets a letter, which is one token in
practically every vocabulary, the question ends with the list of letters, and what is read is how probable each letter is as the first
word of the answer. The letters are the twenty consonants: a vowel can be a word of its own ("A cat", "I see"), and the label behind it
would have the share of all such sentences.

More labels than letters are asked about in a tournament: groups first, then the winners of the groups against each other, in as many
rounds as it takes. By the choice axiom of R. D. Luce (Individual Choice Behavior, 1959) the odds of two labels do not depend on which
others stand beside them, so that p(label) is in proportion to p(winner of its group, in the final) * p(label, in its group) / p(winner, in its
group). For a model that keeps to the axiom the result is the same as if all labels had been asked about together; no model does so
exactly.

A letter that is not told of is not impossible: it counts with the most that its likeliest form can have, the probability of the least
token that was told, or all that is left of 1, and is marked as not found. Where no letter of a group was told at all, its labels
are taken to be alike, and their place among the others by the first of them.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from fieldguide.craft.chat import Said
from fieldguide.craft.served import Reply
from fieldguide.craft.told import Told
from fieldguide.errors import UsageProblem, plain
from fieldguide.tasks.asking import Asking, How, Message, Shown
from fieldguide.tasks.weighed import Weighed, dumps

#: A letter for each label of a question.
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
#: Tokens that are wished for in one place, first what servers tell at most, then what is common among those that refuse that; a server
#: that tells fewer than `LEAST` tells the likeliest alone.
WISHED, LEAST = (20, 5), 2
#: Tokens of an answer: a letter, and what stands before it in some conversations (a blank, the end of a line).
_ENOUGH = 4
#: What stands around a letter in one token: blanks and line ends, as vocabularies write them, too, and marks.
_AROUND = " \t\r\n\u0120\u010a\u2581\u00a0.,:;()[]*\"'`"
#: The least that is taken to be left of 1: numbers of servers are rounded.
_ROUNDED = 1e-6

Places = tuple[int, ...]


@dataclass(frozen=True)
class Heard:
    """What was told of each letter of a group, in order: log-probabilities in nats, and whether it was told or is the most it can be."""

    logs: tuple[float, ...]
    found: tuple[bool, ...]

    @property
    def best(self) -> int:
        """The place of the likeliest; of several, one that was told, and the first."""
        return max(range(len(self.logs)), key=lambda at: (self.logs[at], self.found[at], -at))


@dataclass(frozen=True)
class Coded:
    """The questions that one `Asking` comes to where `most` letters are told."""

    asking: Asking
    most: int = WISHED[0]

    @property
    def size(self) -> int:
        """Labels of one question, at most."""
        return max(LEAST, min(self.most, len(LETTERS)))

    @cached_property
    def order(self) -> Places:
        """The places of the labels in the order in which the prompt lists them, so that another order there is another order of letters.

        The list is the shortest stretch of the prompt that names all labels it names anywhere; an example before it does not count.
        """
        asking = self.asking
        at = {name: place for place, name in reversed(list(enumerate(asking.answers)))}
        said = "\n".join(
            part for turn in asking.messages if turn.role != "assistant" for part in turn.parts if isinstance(part, str)
        )
        names = "|".join(re.escape(name) for name in sorted(at, key=len, reverse=True) if name)
        named = list(re.finditer(rf"(?<!\w)(?:{names})(?!\w)", said)) if names else []
        return tuple(dict.fromkeys((*(at[name] for name in _shortest(named)), *range(len(asking.answers)))))

    def groups(self, places: Places) -> list[Places]:
        """Return `places` in as few groups as can be asked about, of like size, in order."""
        count = math.ceil(len(places) / self.size)
        ends = [number * len(places) // count for number in range(count + 1)]
        return [places[start:end] for start, end in pairwise(ends)]

    def questions(self) -> Iterator[Asking]:
        """Yield every question about one picture; those of later rounds are about the first label of each group."""
        places = self.order
        while True:
            groups = self.groups(places)
            yield from (self.question(group) for group in groups if len(group) > 1 or len(groups) == 1)
            if len(groups) == 1:
                return
            places = tuple(group[0] for group in groups)

    def question(self, places: Places) -> Asking:
        """Return what is asked about the labels at `places`: all of the prompt, and a letter for each of them at its end.

        The end alone differs, so that a server reads what stands before it, the picture too, once for all questions about a picture. The
        temperature is 0, at which every server tells the model's own probabilities.
        """
        letters = LETTERS[: len(places)]
        listed = "\n".join(f"{letter} = {self.asking.answers[at]}" for letter, at in zip(letters, places, strict=True))
        closing = (
            f"For this answer each of these has a letter:\n{listed}\n"
            "Which of them does the picture show? Instead of its name, answer with its letter alone, and with nothing else."
        )
        messages = list(self.asking.messages)
        last = max(number for number, turn in enumerate(messages) if Shown() in turn.parts)
        messages[last] = Message(messages[last].role, (*messages[last].parts, closing))
        asked = replace(self.asking, messages=tuple(messages), answers=tuple(letters), how="generate", schema=None)
        return replace(asked, temperature=0.0, seed=None, most_tokens=_ENOUGH)

    def weigh(self, put: Callable[[Places], Reply]) -> Said:
        """Return what is said of one picture, all its questions together; `put` asks about the labels at some places, and may raise."""
        replies: list[Reply] = []

        def ask(places: Places) -> Heard:
            if len(places) == 1 < len(self.asking.answers):  # a group of its own: nothing to be asked
                return Heard((0.0,), (True,))
            replies.append(put(places))
            return heard(replies[-1].told, len(places))

        logs, found = self._round(ask, self.order)
        order = sorted(range(len(logs)), key=lambda at: self.order[at])
        weighed = Weighed(tuple(logs[at] for at in order), found=tuple(found[at] for at in order))
        return Said(
            dumps(weighed),
            "stop",
            _total([reply.tokens_in for reply in replies]),
            _total([reply.tokens_out for reply in replies]),
            _total([reply.cached for reply in replies]),
            level="codes",
        )

    def _round(self, ask: Callable[[Places], Heard], places: Places) -> tuple[list[float], list[bool]]:
        """Return log-probabilities of the labels at `places`, in their order, and whether each was told."""
        groups = self.groups(places)
        if len(groups) == 1:
            only = ask(places)
            return list(only.logs), list(only.found)
        told = [ask(group) for group in groups]
        finals, known = self._round(ask, tuple(group[one.best] for group, one in zip(groups, told, strict=True)))
        logs: list[float] = []
        found: list[bool] = []
        for one, final, there in zip(told, finals, known, strict=True):
            best = one.best
            logs += [final + log - one.logs[best] for log in one.logs]
            # The winner of a group is known by the final, whatever was told of it before; the others by both.
            found += [there and (at == best or (sure and one.found[best])) for at, sure in enumerate(one.found)]
        return logs, found


def requests(labels: int, most: int = WISHED[0]) -> int:
    """Return how many questions one picture comes to."""
    return sum(1 for _ in Coded(Asking((Message("user", (Shown(),)),), ("",) * labels), most).questions())


def heard(tokens: Sequence[Told], count: int) -> Heard:
    """Return how probable each of the first `count` letters is as the first word of an answer: all its forms in one token together.

    What stands before it and is no word is passed over.
    """
    first = next((token for token in tokens if token.text.strip(_AROUND)), tokens[0] if tokens else Told("", ()))
    mass: defaultdict[str, float] = defaultdict(float)
    for text, log in first.tops:
        mass[text.strip(_AROUND).upper()] += math.exp(log)
    left = max(_ROUNDED, 1.0 - math.fsum(math.exp(log) for _, log in first.tops))
    bound = min([math.log(left), *(log for _, log in first.tops)])
    shares = [mass.get(letter, 0.0) for letter in LETTERS[:count]]
    return Heard(tuple(math.log(share) if share else bound for share in shares), tuple(share > 0 for share in shares))


def require_told(tops: int | None, model: str, url: str) -> None:
    """Raise `UsageProblem` where a server was found to tell too few tokens to read a probability from; `None`: that is not known."""
    if tops is None or tops >= LEAST:
        return
    what = "no log-probabilities" if not tops else "the log-probability of the likeliest token alone"
    raise UsageProblem(
        f"The server at {url} gives {what} for {plain(model, 80)}: that was found by trying.",
        "Allowed there: ask=choice or ask=generate, which give no probabilities. Probabilities: hf/OWNER/NAME, or a server with top_logprobs.",
        f"For example vlm_prompt:model={plain(model, 80)},server={url},ask=choice",
    )


def require_served(how: How, model: str) -> None:
    """Raise `UsageProblem` for a way of asking that no server has."""
    if how != "decision":
        return
    raise UsageProblem(
        f"ask=decision is transformers' own pipeline, and {plain(model, 80)} is behind a server.",
        "Allowed behind a server: ask=likelihood (where it tells log-probabilities), ask=choice, ask=generate.",
        f"For example vlm_prompt:model={plain(model, 80)},ask=likelihood, or a local model: vlm_prompt/hf/OWNER/NAME:ask=decision",
    )


def _shortest(found: Sequence[re.Match[str]]) -> list[str]:
    """Return the words of the shortest stretch of text in which every word occurs that is found at all; of several, the first."""
    words = [one[0] for one in found]
    missing, inside, best, start = set(words), Counter[str](), (math.inf, 0, 0), 0
    for end, word in enumerate(words):
        inside[word] += 1
        missing.discard(word)
        while not missing and inside[words[start]] > 1:
            inside[words[start]] -= 1
            start += 1
        if not missing:
            best = min(best, (found[end].end() - found[start].start(), start, end + 1))
    return words[best[1] : best[2]]


def _total(counts: Sequence[int | None]) -> int | None:
    """Return the sum; `None` where one of them is not known."""
    return None if None in counts else sum(count for count in counts if count is not None)
