"""Nothing but counts: a JSON object of names in one order and whole numbers within bounds, token by token.

Such an object has too many spellings for a list (`fieldguide.craft.chat.trie`), so what may follow is worked out as it is said: the bytes of
the answer so far are a place in the language, and a token is allowed where all of its bytes lead on. The bytes of all tokens stand in one
tree, of which only the branches that lead on are walked. Any spelling of the answer in tokens is allowed; which answer it is, is the
model's choice alone. The idea is that of Willard and Louf, arXiv 2307.09702.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fieldguide.craft.chat.written import Hand, Written
from fieldguide.errors import DataProblem
from fieldguide.tasks.asking import Asking

#: Pieces of text of which one comes next, as bytes that are left of each, and the place of the number behind it (-1: the end).
_Texts = tuple[tuple[bytes, int], ...]
#: A place in the language: texts of which one comes next, or a number that is being written (its place, its digits so far).
State = _Texts | tuple[int, bytes]
#: Where an answer is whole.
END: State = ()
#: Beginnings of answers whose places are remembered.
_REMEMBERED = 20_000
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def counts_in(schema: Mapping[str, Any] | None) -> bool:
    """Tell whether a schema is one of counts: an object of whole numbers with bounds, and nothing else."""
    fields = (schema or {}).get("properties")
    return isinstance(fields, Mapping) and bool(fields) and all(_bounds(one) is not None for one in fields.values())


def _bounds(field: Any) -> tuple[int, int] | None:
    if not isinstance(field, Mapping) or field.get("type") != "integer":
        return None
    least, most = field.get("minimum"), field.get("maximum")
    return (least, most) if least in (0, 1) and isinstance(most, int) and least <= most else None


@dataclass(frozen=True)
class Language:
    """Every object that `schema` allows, written as Python writes JSON with this `indent`; keys come in the schema's order."""

    schema: Mapping[str, Any]
    indent: int | None = None
    _names: tuple[bytes, ...] = field(init=False)
    _limits: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Take names and bounds out of the schema."""
        fields = self.schema["properties"]
        names = tuple(json.dumps(name, ensure_ascii=False).encode() + b": " for name in fields)
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_limits", tuple(_bounds(one) for one in fields.values()))

    @property
    def start(self) -> State:
        """Return the place before the first byte."""
        return self._after(-1, first=True)

    def step(self, state: State, byte: int) -> State | None:
        """Return the place behind one more byte, or `None` where it leads to no answer."""
        if state and isinstance(state[0], int):
            return self._digit(state[0], state[1], byte)
        left: _Texts = tuple((text[1:], to) for text, to in state if text[0] == byte)
        if not left:
            return None
        if left[0][0]:
            return left
        return END if left[0][1] < 0 else (left[0][1], b"")

    def _digit(self, at: int, digits: bytes, byte: int) -> State | None:
        least, most = self._limits[at]
        written = digits + bytes([byte])
        if written.isdigit():
            # No number has a 0 in front, and each beginning of one can be made at least the least by writing on.
            fits = int(written) <= most and digits != b"0" and (written != b"0" or least == 0)
            return (at, written) if fits else None
        return self.step(self._after(at), byte) if digits and int(digits) >= least else None

    def _after(self, at: int, *, first: bool = False) -> _Texts:
        """Return what may stand behind the number at `at`: the next name (any of those left, where names may be left out), or the end."""
        required = set(self.schema.get("required", ()))
        line = b"" if self.indent is None else b"\n" + b" " * self.indent
        before = b"{" + line if first else (b"," + (line or b" "))
        texts = []
        for other, name in enumerate(self.schema["properties"]):
            if other > at:
                texts.append((before + self._names[other], other))
                if name in required:
                    return tuple(texts)
        close = b"{}" if first else (b"}" if self.indent is None else b"\n}")
        return (*texts, (close, -1))

    @property
    def longest(self) -> int:
        """Return how many bytes an answer has at most."""
        most = {name: self._limits[at][1] for at, name in enumerate(self.schema["properties"])}
        return len(json.dumps(most, ensure_ascii=False, indent=self.indent).encode())


_Node = tuple[dict[int, Any], list[int]]


class Vocabulary:
    """The bytes of every token of a tokeniser, as a tree: a node has what follows each byte, and the tokens that end there."""

    def __init__(self, tokens: Mapping[int, bytes]) -> None:
        self.bytes = tokens
        self.root: _Node = ({}, [])
        for number, text in tokens.items():
            node = self.root
            for byte in text:
                node = node[0].setdefault(byte, ({}, []))
            if text:
                node[1].append(number)


def vocabulary(tokenizer: Any) -> Vocabulary:
    """Return the bytes of the tokens of a tokeniser; its marks are no text."""
    special = {*tokenizer.all_special_ids, *(at for at, mark in tokenizer.added_tokens_decoder.items() if mark.special)}
    known = {number: token for token, number in tokenizer.get_vocab().items() if number not in special}
    if _writes_bytes(tokenizer):
        table = _bytes_of_letters()
        return Vocabulary({at: bytes(table[letter] for letter in token if letter in table) for at, token in known.items()})
    return Vocabulary({at: _plainly(token) for at, token in known.items()})


def _writes_bytes(tokenizer: Any) -> bool:
    """Tell whether letters of tokens stand for bytes, as in GPT-2's and all that followed it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and '"ByteLevel"' in json.dumps(json.loads(backend.to_str()).get("decoder"))


def _plainly(token: str) -> bytes:
    """Return the bytes of a token of SentencePiece, where a low line at the letter's foot is a space."""
    single = _BYTE.fullmatch(token)
    return bytes([int(single[1], 16)]) if single else token.replace("\u2581", " ").encode()


@lru_cache(maxsize=1)
def _bytes_of_letters() -> dict[str, int]:
    """Return GPT-2's table: bytes that are printed stand for themselves, the others for letters from 256 on."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + at): byte for at, byte in enumerate(others)}


class Bounded:
    """What `fieldguide.craft.chat.trie.Trie` is for a list, this is for the counts of a `Language`; `end` is the token that ends the turn.

    Raises `DataProblem` for `sample`, the tokens of an answer of the language, that would not be let through: its tokeniser writes
    text in a way that is not known here.
    """

    def __init__(self, language: Language, words: Vocabulary, end: int, sample: Sequence[int]) -> None:
        self.language, self.words, self.end = language, words, end
        #: Tokens of the longest answer, were each byte one of its own.
        self.depth = language.longest + 1
        self._places: dict[tuple[int, ...], State | None] = {(): language.start}
        self._leading: dict[State, list[int]] = {}
        if sample[-1] != end or self._place(sample[:-1]) != END:
            raise DataProblem(
                "The tokeniser of this model cannot be held to counts: it writes text in a way that is not known here.",
                "Allowed with ask=choice: tokenisers of byte pairs, and those of SentencePiece.",
                "Use ask=generate",
            )

    def allowed(self, tokens: Sequence[int]) -> list[int] | None:
        """Return the tokens that may follow `tokens`; `None` (any) where the answer is whole and what follows is filling."""
        place = self._place(tokens)
        if place is None:
            return None
        if place == END:
            return [self.end]
        if place not in self._leading:
            self._leading[place] = list(self._walk(place))
        return self._leading[place]

    def done(self, tokens: Sequence[int]) -> bool:
        """Tell whether the answer is whole."""
        place = self._place(tokens)
        return place is None or place == END

    def read(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return the answer, and how many of `tokens` it took."""
        used = next(at for at in range(len(tokens) + 1) if self._place(tokens[:at]) == END)
        return b"".join(self.words.bytes[token] for token in tokens[:used]).decode(), used

    def _place(self, tokens: Sequence[int]) -> State | None:
        """Return where `tokens` lead; `None` behind the end of the turn."""
        key = tuple(tokens)
        known = next(at for at in range(len(key), -1, -1) if key[:at] in self._places)
        place = self._places[key[:known]]
        if len(self._places) > _REMEMBERED:
            self._places = {(): self.language.start}
        for at in range(known, len(key)):
            for byte in self.words.bytes.get(key[at], b"\0"):
                place = None if place is None else self.language.step(place, byte)
            self._places[key[: at + 1]] = place
        return place

    def _walk(self, start: State) -> Iterator[int]:
        """Yield every token whose bytes lead on from a place."""
        waiting: list[tuple[_Node, State]] = [(self.words.root, start)]
        while waiting:
            (more, ended), state = waiting.pop()
            yield from ended
            for byte, node in more.items():
                behind = self.language.step(state, byte)
                if behind is not None:
                    waiting.append((node, behind))


def held_to_counts(hand: Hand, asking: Asking, written: Written) -> Bounded:
    """Return what holds a model to the counts that the schema of `asking` allows, written as its question wants them."""
    language = Language(dict(asking.schema or {}), asking.made.get("indent"))
    ones = json.dumps(dict.fromkeys(language.schema["properties"], 1), ensure_ascii=False, indent=language.indent)
    (sample,) = hand.answers(written, [ones])
    return Bounded(language, vocabulary(hand.tokenizer), written.end, sample)
