"""The self-test lets a model through that is used rightly, and names what is wrong with one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.encoders.tiny_models import saved
from torch import Tensor

from fieldguide.craft.encoders import Encoder, asked, lines, of_transformers, proof
from fieldguide.craft.frozen import Lens
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import DataProblem

COLOURS = {name: torch.tensor(rgb) / 255 for name, rgb in asked.COLOURS.items()}


@dataclass(frozen=True)
class Painter:
    """A picture half that sees the colour in the middle, in a space whose other places hold words."""

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(32))
    turned: bool = False
    key: str = "painter"
    width: int = 40
    parameters: int = 0

    def pictures(self, pixels: Tensor) -> Tensor:
        middle = pixels[:, :, 16, 16] * 0.5 + 0.5
        seen = middle.flip(1) if self.turned else middle
        return torch.cat([seen - 0.5, torch.full((len(pixels), 37), 0.01)], dim=1)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Names:
    """A text half that knows colours by name, and of every other word no more than that it is another."""

    context: int | None = 16
    key: str = "names"
    width: int = 40
    parameters: int = 0

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self._one(line.lower().split()[: self.context]) for line in texts])

    def _one(self, words: list[str]) -> Tensor:
        made = torch.zeros(self.width)
        for word in words:
            if word in COLOURS:
                made[:3] += COLOURS[word] - 0.5
            made[3 + sum(map(ord, word)) % 37] += 0.01
        return made

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([min(count, self.context or count) for count in self.counted(texts)])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        return torch.zeros(*mask.shape, self.width), mask

    def counted(self, texts: Sequence[str]) -> list[int]:
        return [len(line.split()) for line in texts]


def painted(**changed: Any) -> Encoder:
    return replace(Encoder("painter", Painter(), Names(), shared=True), **changed)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    saved(folder := tmp_path_factory.mktemp("clip"), "clip")
    return of_transformers.build(Lens(f"hf/{folder}", "hub"), "cpu", online=False)


def test_weights_that_know_colours_beat_chance_and_random_ones_do_not(tiny: Encoder) -> None:
    knows, guesses = proof.proved(painted()), proof.proved(tiny)
    known = knows.tested["known"]
    assert known["kinds"]["colours"] == {"right": 16, "of": 16, "chance": 2.0}
    assert known["beats_chance"] and known["p"] < 0.01 and proof.warning(knows) is None
    told = proof.warning(guesses)
    assert not guesses.tested["known"]["beats_chance"] and told is not None and "Are these trained weights?" in told
    assert guesses.tested["case"] == "ignored" and guesses.tested["punctuation"] == "matters"


def test_chance_is_chance_though_pictures_of_a_thing_are_answered_alike() -> None:
    """Of models that answer by lot, always the same for a thing, one in a hundred is said to know something."""
    every = asked.questions()
    found = []
    for seed in range(100):
        random = torch.Generator().manual_seed(seed)
        things = [torch.randn(len(question.lines), 12, generator=random) for question in every]
        seen = torch.cat([rows[list(question.answers)] for rows, question in zip(things, every, strict=True)])
        said = torch.randn(sum(len(question.lines) for question in every), 12, generator=random)
        found.append(proof._known(every, seen, said)["beats_chance"])
    assert sum(found) <= 5


def test_what_was_found_is_kept(tmp_path: Path, tiny: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = proof.proved(tiny, tmp_path).tested
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr(proof, "_tested", lambda *_: pytest.fail("asked again"))
    assert proof.proved(tiny, tmp_path).tested == first
    monkeypatch.undo()
    kept.write_text("{")
    again = proof.proved(tiny, tmp_path).tested
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert proof.proved(replace(tiny, shared=False)).tested == {}


@pytest.mark.parametrize(
    "preprocessing, wide",
    [
        (Preprocessing(32), [0.25, 0.75]),
        (Preprocessing(32, squash=True), [0, 1]),
        (Preprocessing(28, crop=0.875), [0.28, 0.72]),
    ],
)
def test_which_part_of_a_wide_picture_is_seen(preprocessing: Preprocessing, wide: list[float]) -> None:
    assert proof.seen_of(preprocessing)["wide"] == pytest.approx(wide, abs=0.011)


@dataclass(frozen=True)
class Wrong:
    """One half of an encoder with some of its parts exchanged."""

    half: Any
    parts: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.parts[name] if name in self.parts else getattr(self.half, name)


def _pad_token(encoder: Encoder) -> Encoder:
    """Text pooled from the last place, where shorter lines have padding."""
    reads: Any = encoder.reads

    def read(texts: Sequence[str]) -> Tensor:
        states = reads._asked(reads.tokenised(texts)).last_hidden_state[:, -1]
        found: Tensor = reads.model.text_projection(states).detach()
        return found

    return replace(encoder, reads=Wrong(reads, {"texts": lambda texts: lines.by_length(texts, [0] * len(texts), read, 24)}))


def _first_token(encoder: Encoder) -> Encoder:
    reads: Any = encoder.reads

    def texts(given: Sequence[str]) -> Tensor:
        with torch.inference_mode():
            rows = [reads._asked(reads.tokenised([line])).last_hidden_state[:, 0] for line in given]
            return torch.cat([reads.model.text_projection(row) for row in rows])

    return replace(encoder, reads=Wrong(reads, {"texts": texts}))


def _left(encoder: Encoder) -> Encoder:
    reads: Any = encoder.reads

    def tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        states, mask = reads.tokens(texts)
        return states.flip(1), mask.flip(1)

    return replace(encoder, reads=Wrong(reads, {"tokens": tokens}))


def _unprojected(encoder: Encoder) -> Encoder:
    model: Any = encoder.sees.model  # type: ignore[attr-defined]

    def pictures(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = model.vision_model(pixel_values=pixels).pooler_output
            return found

    return replace(encoder, sees=Wrong(encoder.sees, {"pictures": pictures}))


def _unit(encoder: Encoder) -> Encoder:
    sees, reads = encoder.sees, encoder.reads
    assert reads is not None
    unit = torch.nn.functional.normalize
    seen = Wrong(sees, {"pictures": lambda pixels: unit(sees.pictures(pixels), dim=1)})
    return replace(encoder, sees=seen, reads=Wrong(reads, {"texts": lambda texts: unit(reads.texts(texts), dim=1)}))


def _neighbours(encoder: Encoder) -> Encoder:
    sees = encoder.sees
    return replace(encoder, sees=Wrong(sees, {"pictures": lambda pixels: sees.pictures(pixels - pixels.mean(0))}))


def _grey(encoder: Encoder) -> Encoder:
    sees = encoder.sees
    return replace(encoder, sees=Wrong(sees, {"pictures": lambda pixels: sees.pictures(torch.zeros_like(pixels))}))


def _uncut(encoder: Encoder) -> Encoder:
    return painted(reads=Wrong(Names(context=None), {"context": 16}))


def _infinite(encoder: Encoder) -> Encoder:
    sees = encoder.sees
    return replace(encoder, sees=Wrong(sees, {"pictures": lambda pixels: sees.pictures(pixels) * float("inf")}))


def _turned(encoder: Encoder) -> Encoder:
    return painted(sees=Painter(turned=True))


SABOTAGE = {
    "a line alone differs from itself among others": _pad_token,
    "the last word of a line changes nothing": _first_token,
    "padded on the left": _left,
    "one of them is not projected": _unprojected,
    "its features come normalised": _unit,
    "a picture alone differs from itself among others": _neighbours,
    "a red square and a blue one have the same features": _grey,
    "beyond 16 tokens is not cut": _uncut,
    "features of a picture are no finite numbers": _infinite,
    "with red and blue exchanged": _turned,
}


@pytest.mark.parametrize("said", SABOTAGE)
def test_sabotage_is_caught_by_name(tiny: Encoder, said: str) -> None:
    with pytest.raises(DataProblem) as caught:
        proof.proved(SABOTAGE[said](tiny))
    assert said in caught.value.given and "fails its self-test" in caught.value.given


def test_left_padding_moves_features(tiny: Encoder) -> None:
    reads: Any = tiny.reads
    reads.tokenizer.padding_side = "left"
    try:
        with pytest.raises(DataProblem, match="padded on the left"):
            proof.proved(tiny)
    finally:
        reads.tokenizer.padding_side = "right"
