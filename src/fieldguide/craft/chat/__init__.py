"""Language models that look, behind one interface, wherever they run.

    drawn                  the small one that fieldguide trained itself (package data, works offline)
    hf/OWNER/NAME          transformers, from the hub's cache, or downloaded where that is allowed
    hf/FOLDER              transformers, from a folder
    served/NAME            an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, LM Studio, transformers serve ...), given by its address
    ollama/NAME            Ollama's own interface
    moondream/OWNER/NAME   moondream's own class, from the hub or as moondream/FOLDER: code that runs only where the user names it

A chat is asked one `Asking` about a stream of pictures and says something of each, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: The model that comes along.
DRAWN = "drawn"
#: What stands before a model's own name: transformers in this process, an OpenAI-compatible server, Ollama.
HUB, SERVED, OLLAMAS = "hf/", "served/", "ollama/"
#: The same of models that run code of their own repository (`fieldguide.craft.chat.moondream`).
MOONDREAM = "moondream/"
#: Why a picture has no answer whose network gave no numbers.
NOT_FINITE = "not a number: the network's output is not finite"
#: Where Ollama listens if nothing else is said.
OLLAMA = "http://localhost:11434"


def behind_server(model: str) -> bool:
    """Tell whether `model` is asked through a server, on this machine or another."""
    return model.startswith((SERVED, OLLAMAS))


@dataclass(frozen=True)
class Said:
    """What came back for one picture: the text as it is, or `error`, why there is none.

    `finish` is why the text ended: ``stop``, ``length`` (cut), ``refusal`` ... `cached` counts those of `tokens_in` that were computed
    for an earlier picture, where that is known. `seconds` is its share of wall time. `level` says what kept the answer to the list:
    ``trie`` (token by token), ``json_schema``, ``json_object``, or ``text`` (words alone). `lasting`: the next picture would fare the same.
    """

    text: str = ""
    finish: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int | None = None
    seconds: float | None = None
    level: str = "text"
    error: str | None = None
    lasting: bool = False


class Chat(Protocol):
    """A language model that looks.

    `revision` names its weights (a hash, or what a server says of itself) together with all that changes an answer besides the `Asking`: how
    pictures are resized, precision. `size` is the shorter side, in pixels, that pictures should at least have. `ahead` pictures are
    taken before the first answer is needed: batches and requests that run at once. `facts` are for the report. `where` is the host that
    pictures are sent to; `None` where they stay in this process.
    """

    @property
    def revision(self) -> str:
        """Name of the weights and of all else that changes an answer."""
        ...

    @property
    def size(self) -> int:
        """Pixels of the shorter side that pictures should at least have."""
        ...

    @property
    def ahead(self) -> int:
        """Pictures that are taken before the first answer is needed."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the report tells of it."""
        ...

    @property
    def where(self) -> str | None:
        """Host that pictures are sent to; `None` where they stay in this process."""
        ...

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        """Yield what is said of each of `pictures`, ``"height width 3"`` uint8 RGB, in order and as they come.

        `examples` are the training pictures that `asking` shows, by content hash. What goes wrong with one picture is its `Said.error`.
        """
        ...

    def close(self) -> None:
        """End what is still on its way."""
        ...


@dataclass(frozen=True)
class Wanted:
    """Which model is wanted, and how it is reached; the fields are those of the room's settings.

    `image_size` bounds the longer side of what is sent, in pixels. `online` is True only where the user allowed the network. `remote_code`
    names the model whose own code may run, `revision` the one commit of it. `bits` are those of a weight in the towers, as they are if none.
    """

    model: str = DRAWN
    server: str | None = None
    key_variable: str | None = None
    image_size: int | None = None
    batch_size: int = 8
    at_once: int = 4
    timeout: float = 120.0
    attempts: int = 5
    precision: str | None = None
    device: str = "cpu"
    online: bool = False
    seed: int = 0
    remote_code: str | None = None
    revision: str | None = None
    bits: int | None = None
