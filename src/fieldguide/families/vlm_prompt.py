"""A language model that looks, asked in words and trained on nothing: locally, at an OpenAI-compatible server, or by Ollama.

What is asked is a prompt (``fieldguide prompts``), rendered once for all pictures. An answer is text; which class it names is read under
one of the readings of `fieldguide.tasks.reading`, and the text stays, so that all of them can be told later. With ``ask=choice`` it can
say nothing but a name of the list: the likeliest token is taken at each step, which is not the likeliest name. With ``ask=likelihood`` and
``ask=decision`` it says nothing: how probable each name is becomes a probability (`fieldguide.craft.chat.weighing`), for which
validation pictures are asked about first. Answers are kept for the whole study (`fieldguide.craft.chat.kept`): nothing that was answered
is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem
from fieldguide.files import digest
from fieldguide.records import Estimate, Example, Image, Pixels, Prediction, Sending
from fieldguide.settings import Settings as Base
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.count import Task

if TYPE_CHECKING:
    from fieldguide.craft.chat.asked import Shelf, Sitting
    from fieldguide.craft.chat.door import Door
    from fieldguide.craft.chat.weighing import Weighing
    from fieldguide.families import Sizes
    from fieldguide.tasks.spoken import Spoken
    from fieldguide.tasks.varying import Variation

LEARNS = True
TASKS = ("classify", "count")
CHANCE = True
#: Bits of a weight; words of a command line are numbers, too.
Bits = Annotated[Literal[4, 8], BeforeValidator(lambda given: {"4": 4, "8": 8}.get(str(given), given))]


class Settings(Base):
    """Which model is asked, where it runs, what it is asked, and how its answer is read."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """The model: ``drawn`` (comes along), ``hf/OWNER/NAME`` or ``FOLDER``, ``served/NAME`` (with ``server``), ``ollama/NAME``, ``moondream/NAME``."""
    server: str | None = None
    """Address of an OpenAI-compatible server, such as ``http://localhost:8000/v1``; of Ollama, this machine's if not given."""
    key_variable: str | None = None
    """Name of the environment variable that holds the server's key; a key itself stands in no setting."""
    prompt: str = "plain"
    """What is asked: a prompt of the package, as ``fieldguide prompts`` lists them (for counts: plain, short ...), or a file (TOML, Modelfile)."""
    ask: Literal["generate", "choice", "likelihood", "decision"] = "generate"
    """``generate``: free text; ``choice``: a name of the list, or counts, alone; ``likelihood``, ``decision``: how probable each (its letter) is."""
    score: Literal["sum", "token", "byte", "pmi"] | None = None
    """Of probabilities: their score, as a sum, by token, by byte, or less that of a grey picture (``pmi``); validation chooses if not given."""
    orders: int | None = Field(None, ge=1, le=100)
    """Of probabilities: orders of the list that are asked about, whose probabilities are averaged; each is a question. One if not given."""
    unknown: float | None = Field(None, gt=0, lt=1)
    """Share of right validation answers that may be refused: an answer as unsure as those gets no label and counts as wrong. None if not given."""
    reading: Literal["strict", "normalised", "alias", "json"] | None = None
    """How an answer is read for the scores; if not given ``strict``, and ``json`` where the prompt wants JSON. The report has them all."""
    examples: int | None = Field(None, ge=0, le=100)
    """Training pictures of each class (of counts: in all) shown with their right answer; the prompt's own number if not given."""
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
    bits: Bits | None = None
    """Bits of a local model's weights, by bitsandbytes: 4 (NF4) or 8 (LLM.int8); as they were written if not given."""
    remote_code: str | None = None
    """Only for ``moondream/NAME``: its NAME again, as consent to run the code of that repository in this process."""
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    """Only for ``moondream/OWNER/NAME``: the one commit whose code and weights are taken, 40 characters."""
    price_in: float | None = Field(None, ge=0)
    """Price of a million tokens that are read, in any currency."""
    price_out: float | None = Field(None, ge=0)
    """Price of a million tokens that are written, in the same currency."""

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, values: Any) -> Any:
        """Refuse a key or password without saying it again: settings are written into files."""
        from fieldguide.craft.chat import meant

        if isinstance(values, dict):
            meant.require_no_secret(values)
        return values

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        """Write out what the prompt says, so that what was asked stands in the study complete."""
        from fieldguide.craft.chat import meant

        try:
            return meant.written_out(values) if isinstance(values, dict) else values
        except Problem:
            return values  # `check` says what is wrong with the prompt

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        from fieldguide.craft.chat import meant

        meant.require_belonging(self)
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in seconds with what comes along."""
        return cls(ask="choice")


def chance(settings: Settings) -> bool:
    """Tell whether another seed gives other answers: where an answer is sampled, or training pictures are drawn as examples."""
    from fieldguide.craft.chat import meant

    return meant.drawn(settings)


def learns(settings: Settings) -> bool:
    """Tell whether training pictures are used: as examples, and without those not at all."""
    return bool(settings.examples)


@dataclass(frozen=True)
class Prompted:
    """`askings` are put to the chat behind `door`; `task` has the classes as the prompt calls them, in the manifest's order.

    There is one asking, or one for each order of the list. `examples` are the training pictures that they show, by content hash. `size`
    is the shorter side of the pictures that are asked for, in pixels. `precision` is the arithmetic that was chosen. `words` is the
    prompt as a file of its own. `weighing` makes probabilities of what comes back, where it is numbers. `blank` shows a grey picture
    in place of every other.
    """

    task: Task
    settings: Settings
    askings: tuple[Asking, ...]
    door: Door
    size: int
    revision: str
    sitting: Sitting
    words: str
    precision: str | None = None
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    shelf: Shelf | None = None
    weighing: Weighing | None = None
    blank: bool = False

    @property
    def asking(self) -> Asking:
        """What is asked, with the list in the prompt's own order."""
        return self.askings[0]

    @property
    def prompt(self) -> Spoken:
        """What is asked, as a prompt: with what the settings say in place of its own."""
        from fieldguide.tasks.spoken import from_words

        return from_words(self.words, self.task)

    @property
    def gives_probabilities(self) -> bool:
        """Whether `fieldguide.explain` may ask: about hundreds of pictures, so that none of them goes to another machine."""
        return self.weighing is not None and where(self.settings) is None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield what was said of each picture and what it is read as, or how probable each class is."""
        from fieldguide.craft.chat import worded

        return worded.predicted(self, images)

    @property
    def unexplained(self) -> str:
        """Why it is not asked for an explanation, where it is not."""
        return "it gives no probabilities" if self.weighing is None else "pictures would be sent elsewhere for it"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the model has shown since it was opened; nothing where it was not."""
        return self.door.facts

    def at(self, bench: Bench) -> Prompted:
        """Return the same at the bench of another sitting: its answers are kept there, and its limit and consent hold."""
        from fieldguide.craft.chat import again

        found: Prompted = again.seated(self, bench)
        return found

    def varied(self, variation: Variation, bench: Bench) -> Prompted:
        """Return the same model asked in other words, read and weighed in the same way, at `bench`; the weights are loaded once for all.

        Names of classes are those of `task`, unless the other prompt has its own.
        """
        from fieldguide.craft.chat import again

        found: Prompted = again.varied(self, variation, bench)
        return found

    def lacking(self, pictures: Iterable[str]) -> int:
        """Return how many of these content hashes have no answer yet, or not in every order of the list."""
        from fieldguide.craft.chat import worded

        return worded.lacking(self, pictures)

    def save(self, folder: Path) -> None:
        """Write what was asked, the prompt as a file, the examples, and ``weighing.json``; weights are named by hash and not copied."""
        from fieldguide.craft.chat import folders

        folders.write(self, folder)


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Prompted:
    """Render the prompt with its examples, open the model, and weigh validation pictures where probabilities are asked for.

    Nothing else is learned. Raises `EnvironmentProblem` where validation pictures have no answer yet: the same command goes on.
    """
    from fieldguide.craft.chat import meant, worded
    from fieldguide.craft.chat.asked import Sitting, shelf_of
    from fieldguide.craft.chat.door import Door, begun
    from fieldguide.tasks import spoken

    prompt = meant.prompt_of(settings, task)
    known = spoken.known(prompt, task)
    shown = spoken.picked(prompt, train, task, meant.shown_of(settings, prompt), bench.seed)
    askings = meant.asked_of(settings, prompt, task.classes, shown, bench.seed)
    door, sitting = Door(meant.wanted_of(settings, bench), consented=bench.consented), Sitting(bench.limit)
    chat, found = begun(door, sitting)
    by_key = {example.image.key: example.image for example in train}
    examples = {key: by_key[key].pixels(chat.size) for key in dict.fromkeys(askings[0].examples)}
    meant.require_told(settings, found, sitting)
    bench.fact(**{"model": settings.model, **chat.facts, **found, "revision": chat.revision})
    bench.fact(**meant.told(settings, prompt, askings, chat.size))
    shelf = shelf_of(bench, askings[0], chat.revision, chat.size, settings.model)
    words, precision = prompt.model_dump_json(indent=1), chat.facts.get("precision")
    made = Prompted(known, settings, askings, door, chat.size, chat.revision, sitting, words, precision, examples, shelf)
    fitted: Prompted = worded.chosen(made, val, bench)
    return fitted


def load(folder: Path) -> Prompted:
    """Read what `Prompted.save` wrote; the model is opened when the first picture is asked about, and a server not before."""
    from fieldguide.craft.chat import folders

    return Prompted(**folders.read(folder, Settings))


def made_of(settings: Settings) -> dict[str, str]:
    """Return a hash of the prompt: a file is edited under one name, and an answer of before is none of it."""
    from fieldguide.craft.chat import meant

    try:
        return {"prompt": digest(meant.prompt_of(settings).model_dump(mode="json"))}
    except Problem:  # what is whole goes on without it
        return {}


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: a model or a prompt that is not there, a package, an address, a key that is not set."""
    from fieldguide.craft.chat import meant

    meant.check(settings, online)


def knock(settings: Settings) -> None:
    """Raise where the server that is to be asked is not there; only a GET is sent for it."""
    from fieldguide.craft.chat import door, meant

    door.knock(meant.wanted_of(settings, Bench(Path())))


def unfit(settings: Settings, task: str) -> Problem | None:
    """Return what keeps these settings from a study with this task."""
    from fieldguide.tasks import spoken

    return spoken.unfit(task, settings.prompt, settings.ask, settings.reading)


def where(settings: Settings) -> str | None:
    """Return the host that pictures are sent to; `None` where they stay on this machine."""
    from fieldguide.craft.chat import meant

    return meant.host(settings)


def sends(settings: Settings, task: Task, sizes: Sizes) -> Sending | None:
    """Return what asking about all validation and test pictures would send elsewhere, if anything."""
    from fieldguide.craft.chat import meant

    return meant.sending(settings, task, sizes.val + sizes.test)


def first(settings: Settings) -> Sending | None:
    """Return what is sent elsewhere before the first picture, to find out what the server can do, if anything."""
    from fieldguide.craft.chat import meant

    return meant.first(settings)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    from fieldguide.craft.chat import door, meant

    return door.size_of(meant.wanted_of(settings, Bench(Path())))


def estimate(settings: Settings, task: Task, sizes: Sizes) -> Estimate:
    """Return a rough cost: money where prices are given, memory of weights; time is not known before the model has answered."""
    from fieldguide.craft.chat import meant

    return meant.expected(settings, task, sizes.val + sizes.test)
