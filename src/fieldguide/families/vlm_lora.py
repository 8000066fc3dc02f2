"""A language model that looks, taught the answers of this study: adapters (LoRA, QLoRA) or all weights, on this machine.

The prompt is one of ``fieldguide prompts``; what is taught is the name of each training picture's class, or how many of each class it
shows, as the prompt wants it answered, and the loss stands on that answer alone. Which parts are trained is a list of switches, and
what each holds is counted and told. Validation pictures are asked about as test pictures will be; the best look is kept.
The published experiment of the recipe ``animals90`` (E1b of the reference experiments) trained Llama 3.2 Vision in this way:
model=hf/meta-llama/Llama-3.2-11B-Vision-Instruct, method=qlora, all parts but the projector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem, UsageProblem
from fieldguide.files import digest, read_json, write_json, write_text
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.count import Task

if TYPE_CHECKING:
    from fieldguide.craft.chat import Wanted
    from fieldguide.craft.chat.asked import Shelf, Sitting
    from fieldguide.craft.tuning import Lesson
    from fieldguide.craft.tuning.answering import Taught
    from fieldguide.craft.tuning.teaching import Teaching
    from fieldguide.craft.tuning.training import Judge
    from fieldguide.families import Sizes
    from fieldguide.tasks.spoken import Spoken

LEARNS = True
TASKS = ("classify", "count")
CHANCE = True


class Settings(Base):
    """Which model is taught what, which parts of it are trained, and how."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """The model: ``drawn`` (comes along), ``hf/OWNER/NAME`` or ``hf/FOLDER``."""
    prompt: str = "plain"
    """What is asked: a prompt of the package, as ``fieldguide prompts`` lists them (for counts: plain, short, currency), or a file."""
    ask: Literal["generate", "choice"] = "generate"
    """How it answers when it was taught by words. ``generate``: free text; ``choice``: nothing but a name of the list, or counts."""
    reading: Literal["strict", "normalised", "alias", "json"] | None = None
    """How an answer is read for the scores; if not given ``strict``, and ``json`` where the prompt wants JSON."""
    head: Literal["words", "labels", "linear"] = "words"
    """What is taught: ``words`` of the answer; ``labels``: the right one's share of all; ``linear``: a layer on the last hidden state."""
    method: Literal["lora", "qlora", "full"] = "lora"
    """``lora``: adapters; ``qlora``: adapters on weights in four bits (NF4); ``full``: the weights themselves, of small models."""
    parts: tuple[Literal["vision", "projector", "language", "attention", "mlp"], ...] = ("language", "attention", "mlp")
    """What is trained: ``vision``, ``projector``, ``language``; in vision and language ``attention`` layers, ``mlp`` layers, or both."""
    rank: int = Field(16, ge=1, le=1024)
    """Rank of the adapters."""
    alpha: float = Field(16.0, gt=0, le=10_000)
    """An adapter adds alpha / rank of what it learned."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Part of an adapter's inputs that is dropped while training."""
    stabilised: bool = False
    """Divide alpha by the root of the rank instead (rsLoRA)."""
    epochs: float = Field(2.0, gt=0, le=1000)
    """Passes over the training pictures."""
    most_steps: int | None = Field(None, ge=1)
    """Steps after which training ends however many pictures are left."""
    batch_size: int = Field(2, ge=1, le=1024)
    """Pictures that go through the model at once while training; where memory runs out, in smaller pieces."""
    accumulate: int = Field(4, ge=1, le=1024)
    """Batches whose gradients make one step."""
    learning_rate: float = Field(2e-4, gt=0, le=1)
    """Highest rate of the optimiser, once it has risen; the published tuning of the recipe animals90 took 2e-4."""
    schedule: Literal["linear", "cosine", "constant", "moondream", "moondream_corrected"] = "linear"
    """How the rate rises and falls; ``moondream`` as its script has it, which ends at 0.122 of the peak, and what was meant (0.1)."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Part of all steps in which the rate rises; moondream's schedules have their own."""
    optimiser: Literal["adamw", "adamw8bit"] = "adamw"
    """AdamW, or AdamW that keeps its moments in eight bits."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Decay of matrices a step, times the rate."""
    clip: float = Field(1.0, ge=0)
    """Largest norm of a step's gradient; 0: any."""
    looks: int = Field(4, ge=1, le=1000)
    """How often validation pictures are asked about, evenly over the run; the best look is kept."""
    looked_at: int | None = Field(200, ge=1)
    """Validation pictures that a look asks about, a seeded sample with as many of each class as there are; nothing: all."""
    patience: int = Field(3, ge=1)
    """Looks without a better one before training stops."""
    checkpointing: bool = False
    """Compute activations a second time instead of keeping them: less memory, more time."""
    stored: Literal["auto", "off"] = "auto"
    """Keep what a vision tower that is not trained makes of each picture, so that it is computed once."""
    image_size: int | None = Field(None, ge=16, le=4096)
    """Longer side of a picture as the model gets it, in training and afterwards, in pixels; the model's own if not given."""
    most_tokens: int | None = Field(None, ge=1, le=100_000)
    """Tokens after which an answer is cut; the prompt's own number if not given."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Arithmetic; if not given, what the machine is quick at, and fp32 for a small model."""

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        from fieldguide.craft.chat import MOONDREAM, behind_server

        if self.model.startswith(MOONDREAM):
            raise ValueError("moondream's class has no forward to be trained through; take hf/OWNER/NAME or hf/FOLDER")
        if behind_server(self.model):
            raise ValueError("a model behind a server cannot be trained from here; take hf/OWNER/NAME or hf/FOLDER")
        towers, kinds = ({"vision", "language"} & {*self.parts}, {"attention", "mlp"} & {*self.parts})
        if not towers and "projector" not in self.parts:
            raise ValueError("parts needs at least one of vision, projector, language")
        if bool(towers) != bool(kinds):
            raise ValueError("parts with vision or language needs attention, mlp or both, and these need vision or language")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that train the model that comes along for two steps."""
        return cls(rank=4, most_steps=2, learning_rate=2e-3, looks=1, looked_at=4, ask="choice", precision="fp32")


@dataclass(frozen=True)
class Tuned:
    """A taught model; `task` has the classes as the prompt calls them. `words` is the prompt as a file of its own."""

    task: Task
    settings: Settings
    taught: Taught
    words: str
    sitting: Sitting
    shelf: Shelf | None = None

    @property
    def gives_probabilities(self) -> bool:
        """Tell whether it weighs all classes; one that answers in words does not."""
        return self.settings.head != "words"

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield what was said of each picture and what that is read as, or the class with the largest share and all shares."""
        from fieldguide.craft.chat.asked import read
        from fieldguide.tasks.spoken import from_words

        if self.settings.head == "words":
            prompt = from_words(self.words, self.task)
            for key, said in self.taught.said(images, self.shelf, self.sitting):
                yield read(key, said, self.task, prompt, self.settings.reading)
            return
        for key, shares, why, seconds in self.taught.weighed(images):
            if shares is None:
                yield Prediction(key, seconds=seconds, error=why)
            else:
                label = self.task.ids[max(range(len(shares)), key=lambda at, of=shares: of[at])]  # type: ignore[misc]
                yield Prediction(key, label, probabilities=shares, seconds=seconds)

    def at(self, bench: Bench) -> Tuned:
        """Return the same at the bench of another sitting: its answers are kept there."""
        from fieldguide.craft.chat.asked import Sitting

        return dataclasses.replace(self, sitting=Sitting(bench.limit), shelf=self.taught.shelf(bench, self.settings.model))

    def lacking(self, pictures: Iterable[str]) -> int:
        """Return how many of these content hashes have no answer yet."""
        wanted = set(pictures)
        return len(wanted) if self.shelf is None else self.shelf.lacking(wanted)

    def merge(self, target: Path) -> Path:
        """Write a whole model with what was learned merged in; this one is used up. Raises `UsageProblem` for what is not in its words."""
        if self.settings.head == "linear":
            raise UsageProblem(
                "What was taught is a layer beside the language model, which no model of transformers has a place for.",
                "Allowed: what was taught with head=words or head=labels.",
                "Train again with one of these, or go on with the adapter.",
            )
        return self.taught.merge(target)

    def save(self, folder: Path) -> None:
        """Write the adapter, or the trained weights, with all that names what they belong to; the base weights are not copied."""
        from fieldguide.tasks.spoken import as_json

        self.taught.save(folder)
        write_text(folder / "asked.json", self.words)
        told = {
            "settings": self.settings.model_dump(mode="json"),
            **as_json(self.task),
            "size": self.taught.size,
            "revision": self.taught.revision,
        }
        write_json(folder / "vlm_lora.json", told)


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Tuned:
    """Teach the model, or go on where the last sitting was stopped."""
    from fieldguide.craft.chat.asked import Sitting
    from fieldguide.craft.tuning.answering import Taught
    from fieldguide.craft.tuning.keeping import Told
    from fieldguide.craft.tuning.teaching import taught
    from fieldguide.tasks import spoken

    prompt = _prompt(settings, task)
    known = spoken.known(prompt, task)
    asking = _asking(settings, prompt, task)
    lessons = _lessons(train, prompt, known)
    looked_at = _lessons(_sampled(val, settings.looked_at, bench.seed), prompt, known)
    _note(bench, settings, prompt, asking)
    student, head = taught(
        _teaching(settings, asking, len(lessons), bench), lessons, looked_at, bench, _judge(prompt, known, settings)
    )
    chat = student.chat
    facts = {**chat.facts, "model": settings.model, "kind": "tuned", "revision": chat.revision, "image_size": chat.size}
    bench.fact(**{**facts, **student.sizes()})
    told = Told(asking, tuple((info.id, info.name) for info in known.classes))
    made = Taught(told, settings.head, chat.revision, chat.size, lambda: (student, head))
    shelf = made.shelf(bench, settings.model)
    return Tuned(known, settings, made, prompt.model_dump_json(indent=1), Sitting(bench.limit), shelf)


def load(folder: Path) -> Tuned:
    """Read what `Tuned.save` wrote; the model is opened when the first picture is asked about."""
    from fieldguide.craft.chat.asked import Sitting
    from fieldguide.craft.tuning.answering import Taught, opened
    from fieldguide.craft.tuning.keeping import told_of
    from fieldguide.tasks.spoken import from_json

    values = read_json(folder / "vlm_lora.json")
    settings = Settings(**values["settings"])
    task = from_json(values)
    wanted = _wanted(settings, Bench(folder, device=_device()))
    made = Taught(
        told_of(folder), settings.head, values["revision"], values["size"], lambda: opened(folder, wanted, settings.head)
    )
    words = (folder / "asked.json").read_text(encoding="utf-8")
    return Tuned(task, settings, made, words, Sitting())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _prompt(settings: Settings, task: Task | None = None) -> Spoken:
    """Return the prompt with what the settings say instead; nothing is sampled, and no other picture is shown."""
    from fieldguide.tasks.spoken import prompt_of

    return prompt_of(settings.prompt, task, shots=0, temperature=0.0, most_tokens=settings.most_tokens)


def _asking(settings: Settings, prompt: Spoken, task: Task) -> Asking:
    from fieldguide.tasks.spoken import asked

    return dataclasses.replace(asked(prompt, task, settings.ask if settings.head == "words" else "choice"), seed=None)


def _lessons(examples: Sequence[Example], prompt: Spoken, known: Task) -> list[Lesson]:
    from fieldguide.craft.tuning import Lesson
    from fieldguide.tasks.spoken import right

    return [Lesson(one.image, right(prompt, known, one)) for one in examples]


def _sampled(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """Return `most` of `examples`, drawn so that every class is there as evenly as its pictures allow."""
    from fieldguide.craft.tuning.training import evenly

    if most is None or len(examples) <= most:
        return list(examples)
    kinds = [one.label if one.label is not None else tuple(sorted((one.counts or {}).items())) for one in examples]
    return [examples[at] for at in evenly(kinds, most, seed)]


def _judge(prompt: Spoken, known: Task, settings: Settings) -> Judge:
    """Return what scores answers about validation under the reading of the settings, by the task's own measures."""
    from fieldguide.tasks.spoken import judge

    scores = judge(prompt, known, settings.reading)
    return lambda answers, lessons: scores(answers, [one.answer for one in lessons])


def _teaching(settings: Settings, asking: Asking, pictures: int, bench: Bench) -> Teaching:
    from fieldguide.craft.tuning import Tuning
    from fieldguide.craft.tuning.teaching import Teaching
    from fieldguide.craft.tuning.training import Plan, steps_of

    steps = steps_of(pictures, settings.batch_size, settings.accumulate, settings.epochs, settings.most_steps)
    names = ("batch_size", "accumulate", "learning_rate", "weight_decay", "warmup", "schedule", "optimiser", "clip", "patience")
    own = {name: getattr(settings, name) for name in names}
    tuning = Tuning(
        settings.method, frozenset(settings.parts), settings.rank, settings.alpha, settings.dropout, settings.stabilised
    )
    return Teaching(
        _wanted(settings, bench),
        tuning,
        Plan(steps=steps, every=-(-steps // settings.looks), **own),
        asking,
        settings.head,
        settings.checkpointing,
        settings.stored,
    )


def _wanted(settings: Settings, bench: Bench) -> Wanted:
    from fieldguide.craft.chat import Wanted

    made = Wanted(settings.model, device=bench.device, online=bench.online, seed=bench.seed)
    return dataclasses.replace(made, image_size=settings.image_size, precision=settings.precision)


def _note(bench: Bench, settings: Settings, prompt: Spoken, asking: Asking) -> None:
    """Note what the report tells of what is asked, and how."""
    from fieldguide.tasks.spoken import answers_in, reading_of

    told = {
        "name": prompt.name,
        "source": prompt.source,
        "hash": asking.hash,
        "question": asking.question,
        "text": asking.text(),
        "answers_in": answers_in(prompt),
        "reading": reading_of(prompt, settings.reading),
        "examples": 0,
        "format": answers_in(prompt),
        "how": asking.how if settings.head == "words" else settings.head,
        "temperature": asking.temperature,
        "most_tokens": asking.most_tokens,
        "seed": None,
        "notes": list(asking.made.get("notes", ())),
    }
    bench.fact(kind="tuned", prompt=told, head=settings.head, price_in=None, price_out=None)


def made_of(settings: Settings) -> dict[str, str]:
    """Return a hash of the prompt: a file is edited under one name."""
    try:
        return {"prompt": digest(_prompt(settings).model_dump(mode="json"))}
    except Problem:  # what is whole goes on without it
        return {}


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: a model or a prompt that is not there, a package that is missing."""
    import importlib.util

    from fieldguide.craft.chat import local_files
    from fieldguide.craft.chat.opening import require_named

    for package in ("peft", *(("bitsandbytes", "accelerate") if _bits(settings) else ())):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    _prompt(settings)
    require_named(settings.model)
    if not online:
        local_files.fetched(settings.model, online=False)


def _bits(settings: Settings) -> bool:
    return settings.method == "qlora" or settings.optimiser == "adamw8bit"


def unfit(settings: Settings, task: str) -> Problem | None:
    """Return what keeps these settings from a study with this task."""
    from fieldguide.tasks import spoken

    return spoken.unfit(task, settings.prompt, settings.ask, settings.reading, settings.head)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    from fieldguide.craft.chat import door

    return door.size_of(_wanted(settings, Bench(Path())))


def estimate(settings: Settings, task: Task, sizes: Sizes) -> Estimate:
    """Return what its configuration tells: numbers are counted, no weight is read, and time is a guess; nothing where it is not here."""
    try:
        from fieldguide.craft.tuning import costs
        from fieldguide.tasks import spoken

        prompt = _prompt(settings, task)
        asking = _asking(settings, prompt, spoken.known(prompt, task))
        return costs.expected(
            _teaching(settings, asking, sizes.train, Bench(Path())), sizes, settings.looks, settings.looked_at
        )
    except (Problem, ModuleNotFoundError):  # whoever opens it tells why
        return Estimate()
