"""A language model that looks, asked in words and trained on nothing: locally, at an OpenAI-compatible server, or by Ollama.

What is asked is a prompt (``fieldguide prompts``), rendered once for all pictures. An answer is text; which class it names is read under
one of the readings of `fieldguide.tasks.reading`, and the text stays, so that all of them can be told later. With ``ask=choice`` it can
say nothing but a name of the list: the likeliest token is taken at each step, which is not the likeliest name.
Answers are kept for the whole study (`fieldguide.craft.chat.kept`): nothing that was answered is asked again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem, UsageProblem
from fieldguide.files import digest, read_json, write_json, write_text
from fieldguide.records import ClassInfo, Estimate, Example, Image, Pixels, Prediction, Sending
from fieldguide.settings import Settings as Base
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from fieldguide.craft.chat import Said, Wanted
    from fieldguide.craft.chat.asked import Questions, Shelf, Sitting
    from fieldguide.craft.chat.door import Door
    from fieldguide.families import Sizes
    from fieldguide.tasks.prompting import Prompt

LEARNS = True

#: Settings that say which model is asked, and how it is reached.
_REACHED = ["model", "server", "key_variable", "image_size", "batch_size", "at_once", "timeout", "attempts", "precision"]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Settings(Base):
    """Which model is asked, where it runs, what it is asked, and how its answer is read."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """The model: ``drawn`` (comes along), ``hf/OWNER/NAME``, ``hf/FOLDER``, ``served/NAME`` (needs ``server``) or ``ollama/NAME``."""
    server: str | None = None
    """Address of an OpenAI-compatible server, such as ``http://localhost:8000/v1``; of Ollama, this machine's if not given."""
    key_variable: str | None = None
    """Name of the environment variable that holds the server's key; a key itself stands in no setting."""
    prompt: str = "plain"
    """What is asked: a prompt of the package, as ``fieldguide prompts`` lists them, or a file (TOML, or an Ollama Modelfile)."""
    ask: Literal["generate", "choice"] = "generate"
    """``generate``: free text; ``choice``: nothing but a name of the list, by the model's tokens or the server's structured output."""
    reading: Literal["strict", "normalised", "alias", "json"] | None = None
    """How an answer is read for the scores; if not given ``strict``, and ``json`` where the prompt wants JSON. The report has them all."""
    examples: int | None = Field(None, ge=0, le=100)
    """Training pictures of each class that are shown with their right answer; the prompt's own number if not given."""
    image_size: int | None = Field(None, ge=16, le=4096)
    """Longer side of a picture as the model gets it, in pixels; the model's or the server's own if not given."""
    batch_size: int = Field(8, ge=1)
    """Pictures that a local model looks at together; does not change the answers."""
    at_once: int = Field(4, ge=1, le=256)
    """Requests to a server that are on their way at a time."""
    timeout: float = Field(120.0, gt=0, le=86_400)
    """Seconds that one reply of a server may take."""
    attempts: int = Field(5, ge=1, le=20)
    """How often a server is asked about one picture before that counts as failed."""
    most_tokens: int | None = Field(None, ge=1, le=100_000)
    """Tokens after which an answer is cut; the prompt's own number if not given."""
    temperature: float | None = Field(None, ge=0, le=10)
    """Temperature of sampling, 0 for the likeliest token; the prompt's own if not given. Above 0 the study's seed is sent along."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Arithmetic of a local model; if not given, what the machine is quick at, and fp32 for a small one."""
    price_in: float | None = Field(None, ge=0)
    """Price of a million tokens that are read, in any currency."""
    price_out: float | None = Field(None, ge=0)
    """Price of a million tokens that are written, in the same currency."""

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, values: Any) -> Any:
        """Refuse a key or password without saying it again: settings are written into files."""
        given = values if isinstance(values, dict) else {}
        server, variable = given.get("server"), given.get("key_variable")
        if isinstance(server, str) and ("@" in server or "?" in server):
            raise UsageProblem(
                "server is no bare address: it holds a user, a password or a query, and settings are written into files.",
                "Allowed: http:// or https://, a host, perhaps a port and a path.",
                "Give a key as key_variable=NAME, the name of an environment variable.",
            )
        if isinstance(variable, str) and not _VARIABLE.fullmatch(variable):
            raise UsageProblem(
                "key_variable is no name of an environment variable.",
                "Allowed: letters, digits and _. The key itself stands in that variable, and in no setting.",
                "For example key_variable=OPENAI_API_KEY",
            )
        return values

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        """Write out what the prompt says, so that what was asked stands in the study complete."""
        from fieldguide.tasks.prompting import read_prompt

        if not isinstance(values, dict):
            return values
        try:
            prompt = read_prompt(str(values.get("prompt", "plain")))
        except Problem:
            return values  # `check` says what is wrong with it
        own = {
            "reading": "json" if prompt.format == "json" else "strict",
            "examples": prompt.shots,
            "most_tokens": prompt.most_tokens,
            "temperature": prompt.temperature,
        }
        return {**values, **{name: value for name, value in own.items() if values.get(name) is None}}

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        from fieldguide.craft.chat import SERVED, behind_server

        if self.model.startswith(SERVED) and not self.server:
            raise ValueError("a served model needs server=http://... , the address it answers at")
        if self.server and not behind_server(self.model):
            raise ValueError("server belongs to served/NAME and ollama/NAME; this model runs in this process")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in seconds with what comes along."""
        return cls(ask="choice")


def learns(settings: Settings) -> bool:
    """Tell whether training pictures are used: as examples, and without those not at all."""
    return bool(settings.examples)


@dataclass(frozen=True)
class Prompted:
    """`asking` is put to the chat behind `door`; `task` has the classes as the prompt calls them, in the manifest's order.

    `examples` are the training pictures that it shows, by content hash. `size` is the shorter side of the pictures that are asked
    for, in pixels. `precision` is the arithmetic that was chosen. `words` is the prompt as a file of its own.
    """

    #: What `fieldguide.explain` needs and this does not give; so nothing is asked, or sent anywhere, for an explanation.
    gives_probabilities: ClassVar[bool] = False

    task: Classify
    settings: Settings
    asking: Asking
    door: Door
    size: int
    revision: str
    sitting: Sitting
    words: str
    precision: str | None = None
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    shelf: Shelf | None = None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield what was said of each picture and what it is read as; there are no probabilities."""
        for key, said in self._questions().put(images):
            yield self._read(key, said)

    def _questions(self) -> Questions:
        from fieldguide.craft.chat.asked import Questions

        return Questions(self.asking, self.door, self.size, self.examples, self.shelf, self.sitting)

    def _read(self, key: str, said: Said) -> Prediction:
        from fieldguide.tasks.reading import read, words_of

        if said.error is not None:
            return Prediction(key, seconds=said.seconds, error=said.error)
        found = read(said.text, self.task, self.settings.reading or "strict", said.finish)
        return Prediction(
            key,
            found.label,
            raw=said.text,
            seconds=said.seconds,
            tokens_in=said.tokens_in,
            tokens_out=said.tokens_out,
            error=None if found.kind is None else words_of(found.kind),
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the model has shown since it was opened; nothing where it was not."""
        return self.door.facts

    def at(self, bench: Bench) -> Prompted:
        """Return the same at the bench of another sitting: its answers are kept there, and its limit and consent hold."""
        from fieldguide.craft.chat.asked import Sitting, shelf_of
        from fieldguide.craft.chat.door import Door

        door = Door(_wanted(self.settings, bench, self.precision), self.revision, consented=bench.consented)
        shelf = shelf_of(bench, self.asking, self.revision, self.size, self.settings.model)
        return dataclasses.replace(self, door=door, sitting=Sitting(bench.limit), shelf=shelf)

    def lacking(self, pictures: Iterable[str]) -> int:
        """Return how many of these content hashes have no answer yet."""
        wanted = set(pictures)
        return len(wanted) if self.shelf is None else self.shelf.lacking(wanted)

    def save(self, folder: Path) -> None:
        """Write ``prompt.json`` and ``vlm_prompt.json``, the prompt as a file, and the examples; weights are named by hash and not copied."""
        from fieldguide.tasks.asking import as_json

        write_json(folder / "prompt.json", as_json(self.asking))
        write_text(folder / "asked.json", self.words)
        told = {
            "settings": self.settings.model_dump(mode="json"),
            "classes": [dataclasses.asdict(info) for info in self.task.classes],
            "size": self.size,
            "revision": self.revision,
            "precision": self.precision,
            "seed": self.door.wanted.seed,
        }
        write_json(folder / "vlm_prompt.json", told)
        if self.examples:
            from safetensors.numpy import save_file

            save_file(dict(self.examples), folder / "examples.safetensors")


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Prompted:
    """Render the prompt with its examples, and open the model; nothing is learned."""
    from fieldguide.craft.chat.asked import Sitting, shelf_of
    from fieldguide.craft.chat.door import Door, probed
    from fieldguide.tasks.prompting import called, pick_examples, render

    prompt = _prompt(settings)
    picked = pick_examples(train, task.classes, prompt.shots, bench.seed)
    asking = _seeded(render(prompt, task.classes, settings.ask, picked.examples), bench.seed)
    door = Door(_wanted(settings, bench), consented=bench.consented)
    chat = door()
    by_key = {example.image.key: example.image for example in train}
    examples = {key: by_key[key].pixels(chat.size) for key in dict.fromkeys(asking.examples)}
    bench.fact(**{"model": settings.model, **chat.facts, **probed(chat, door.wanted), "revision": chat.revision})
    _note(bench, settings, prompt, asking, chat.size)
    shelf = shelf_of(bench, asking, chat.revision, chat.size, settings.model)
    known = Classify(called(prompt, task.classes))
    words, sitting, precision = prompt.model_dump_json(indent=1), Sitting(bench.limit), chat.facts.get("precision")
    return Prompted(known, settings, asking, door, chat.size, chat.revision, sitting, words, precision, examples, shelf)


def load(folder: Path) -> Prompted:
    """Read what `Prompted.save` wrote; the model is opened when the first picture is asked about, and a server not before."""
    from fieldguide.craft.chat.asked import Sitting
    from fieldguide.craft.chat.door import Door
    from fieldguide.tasks.asking import from_json

    values, asking = read_json(folder / "vlm_prompt.json"), from_json(read_json(folder / "prompt.json"))
    settings = Settings(**values["settings"])
    examples: dict[str, Pixels] = {}
    if (folder / "examples.safetensors").exists() or asking.examples:
        from safetensors.numpy import load_file

        examples = load_file(folder / "examples.safetensors")
    task = Classify(tuple(ClassInfo(**{**info, "synonyms": tuple(info["synonyms"])}) for info in values["classes"]))
    size, revision, precision = (values[name] for name in ("size", "revision", "precision"))
    door = Door(_wanted(settings, Bench(folder, values["seed"], _device(settings)), precision), revision)
    words = (folder / "asked.json").read_text(encoding="utf-8")
    return Prompted(task, settings, asking, door, size, revision, Sitting(), words, precision, examples)


def _device(settings: Settings) -> str:
    from fieldguide.craft.chat import behind_server

    if behind_server(settings.model):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _prompt(settings: Settings) -> Prompt:
    """Return the prompt with what the settings say instead."""
    from fieldguide.tasks.prompting import read_prompt

    prompt = read_prompt(settings.prompt)
    said = {"shots": settings.examples, "temperature": settings.temperature, "most_tokens": settings.most_tokens}
    return prompt.model_copy(update={name: value for name, value in said.items() if value is not None})


def _seeded(asking: Asking, seed: int) -> Asking:
    """Return `asking` with a seed where one is drawn, and without one where none is: the same question must have the same name."""
    if asking.temperature == 0:
        return dataclasses.replace(asking, seed=None)
    return asking if asking.seed is not None else dataclasses.replace(asking, seed=seed)


def _wanted(settings: Settings, bench: Bench, precision: str | None = None) -> Wanted:
    """Return which model is wanted; `precision` is what was chosen before, so that another machine does not choose anew."""
    from fieldguide.craft.chat import Wanted

    reached = {name: getattr(settings, name) for name in _REACHED}
    reached["precision"] = settings.precision or precision
    return Wanted(**reached, device=bench.device, online=bench.online, seed=bench.seed)


def _note(bench: Bench, settings: Settings, prompt: Prompt, asking: Asking, size: int) -> None:
    """Note what the report tells of what is asked, and how."""
    told = {
        "name": prompt.name,
        "source": prompt.source,
        "hash": asking.hash,
        "text": asking.text(),
        "answers_in": prompt.format,
        "reading": settings.reading,
        "examples": len(asking.examples),
        "format": prompt.format,
        "how": asking.how,
        "temperature": asking.temperature,
        "most_tokens": asking.most_tokens,
        "seed": asking.seed,
        "notes": list(asking.made.get("notes", ())),
    }
    prices = {"price_in": settings.price_in, "price_out": settings.price_out}
    bench.fact(kind="prompted", image_size=settings.image_size or size, prompt=told, **prices)


def made_of(settings: Settings) -> dict[str, str]:
    """Return a hash of the prompt: a file is edited under one name, and an answer of before is none of it."""
    try:
        return {"prompt": digest(_prompt(settings).model_dump(mode="json"))}
    except Problem:  # what is whole goes on without it
        return {}


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: a model or a prompt that is not there, a package, an address, a key that is not set."""
    from fieldguide.craft.chat import behind_server
    from fieldguide.craft.chat.opening import require_named

    _prompt(settings)
    require_named(settings.model)
    if behind_server(settings.model):
        import openai  # noqa: F401 - what carries requests comes with it

        if settings.server:
            from fieldguide.craft.server import server_of

            server_of(settings.server, settings.key_variable)
        return
    from fieldguide.craft.chat import local_files

    if not online:
        local_files.fetched(settings.model, online=False)


def where(settings: Settings) -> str | None:
    """Return the host that pictures are sent to; `None` where they stay on this machine."""
    from fieldguide.craft.chat import door

    return door.where(_wanted(settings, Bench(Path())))


def sends(settings: Settings, task: Classify, sizes: Sizes) -> Sending | None:
    """Return what asking about all validation and test pictures would send elsewhere, if anything."""
    from fieldguide.craft.chat import costs
    from fieldguide.tasks.prompting import render

    host, prompt = where(settings), _prompt(settings)
    if host is None:
        return None
    asking = render(prompt, task.classes, settings.ask)
    prices = (settings.price_in, settings.price_out)
    return costs.sending(host, sizes.val + sizes.test, asking, settings.image_size, prices, prompt.shots * len(task.ids))


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    from fieldguide.craft.chat import door

    return door.size_of(_wanted(settings, Bench(Path())))


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return a rough cost: money where prices are given; time is not known before the model has answered."""
    from fieldguide.craft.chat import costs
    from fieldguide.tasks.prompting import render

    try:
        asking = render(_prompt(settings), task.classes, settings.ask)
    except Problem:
        return Estimate()
    tokens_in, tokens_out = costs.tokens_of(asking, settings.image_size)
    count = sizes.val + sizes.test
    return Estimate(money=costs.money(count * tokens_in, count * tokens_out, settings.price_in, settings.price_out))
