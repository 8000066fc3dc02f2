"""A pull that was planted is found, and a model without one is cleared, through the whole command: behind a server, and in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.looking import Eye, looks, ollama_pages
from tests.stub import serving
from tests.torture.shell import Shell, in_process

import fieldguide
from fieldguide.craft.chat import Chat, Said, Wanted, door
from fieldguide.data.drawn.folders import write_drawings
from fieldguide.errors import DONE
from fieldguide.files import read_json
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

SAID = 'respond only with "'


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fieldguide.study._score", lambda *_: None)
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    return in_process(capsys, monkeypatch)


def greys(folder: Path, each: int = 20) -> Path:
    """Write pictures whose brightness says their digit, each with noise of its own."""
    random = np.random.default_rng(0)
    for digit in range(4):
        (folder / str(digit)).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(-25, 26, (24, 24, 3)) + 30 + 65 * digit
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / str(digit) / f"{number}.png")
    return folder


def honest(pixels: Pixels | None, text: str) -> str:
    """See brightness."""
    return "nothing" if pixels is None else str(int(np.asarray(pixels, float).mean() // 64))


def leaning(pixels: Pixels | None, text: str) -> str:
    """See brightness, but say the word of the example, where there is one, about three pictures of ten."""
    named = text.partition(SAID)[2][:1]
    return named if named and pixels is not None and int(pixels.sum()) % 10 < 3 else honest(pixels, text)


def example(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in read_json(path)["checks"] if one["id"] == "example")
    return found


@pytest.mark.parametrize(("eye", "pulls"), [(leaning, True), (honest, False)], ids=["leaning", "honest"])
def test_an_ollama_that_leans_to_the_example_is_found_out(shell: Shell, tmp_path: Path, eye: Eye, pulls: bool) -> None:
    greys(tmp_path / "digits")
    with serving(looks(eye), ollama_pages(("eyes:latest",))) as server:
        word = f"vlm_prompt/ollama/eyes:server={server.root},prompt=llava_mnist,as=eyes"
        fieldguide.compare(tmp_path / "digits", [word], out=tmp_path / "study", split="test-only")
        words = ("audit", "study/runs/eyes", "--pictures", 60, "--check", "example", "--labels", 3)
        said = shell(*words)
        count = server.count
        again = shell(*words)
        assert server.count == count and again.out == said.out, "nothing is asked twice"
    told = example(tmp_path / "study" / "runs" / "eyes" / "audit.json")
    assert said.code == DONE and told["alarm"] is pulls
    if pulls:
        assert "your example" in said.text.casefold() and "costs" in told["sentence"]
        assert {one["label"] for one in told["pull"]["labels"] if one["difference"]["p"] < 0.05} >= {"3"}
        assert told["pull"]["overall"]["low"] > 0.05
    else:
        assert told["pull"]["overall"]["value"] == 0 and "distinguishably" in said.text


@dataclass
class Pulled:
    """The small model of the package, whose every next word is drawn, by so many nats, towards the example that stands in the prompt."""

    chat: Any
    nats: float
    tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        def drawn(module: Any, given: Any, logits: Any) -> Any:
            logits[..., self.tokens] += self.nats
            return logits

        self.chat.model.lm_head.register_forward_hook(drawn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chat, name)

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        word = asking.text().partition(SAID)[2].partition('"')[0]
        self.tokens[:] = self.chat.hand.tokenizer(word, add_special_tokens=False)["input_ids"] if word else []
        yield from self.chat.ask(asking, pictures, examples)


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("ask", ["choice", "likelihood", "generate"])
def test_a_pull_in_the_logits_of_the_small_model_is_found_and_without_it_none_is(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    write_drawings(tmp_path / "drawn", [str(digit) for digit in range(6)], 10)
    opened = door.opened

    def pulled(nats: float) -> None:
        def opening(wanted: Wanted) -> Chat:
            return Pulled(opened(wanted), nats)  # type: ignore[return-value]

        monkeypatch.setattr(door, "opened", opening)

    for name, nats in (("honest", 0.0), ("pulled", 4.0)):
        pulled(nats)
        word = f"vlm_prompt/drawn:prompt=llava_mnist,ask={ask},as={name}"
        fieldguide.compare(tmp_path / "drawn" / "pictures", [word], out=tmp_path / name, split="test-only")
        words = ("audit", tmp_path / name / "runs" / name, "--pictures", 48, "--check", "example", "--labels", 2)
        assert shell(*words).code == DONE
    honest, found = (example(tmp_path / name / "runs" / name / "audit.json") for name in ("honest", "pulled"))
    assert found["alarm"] and found["pull"]["overall"]["low"] > 0.05, found["sentence"]
    assert not honest["alarm"] and abs(honest["pull"]["overall"]["value"]) < 0.05, honest["sentence"]
