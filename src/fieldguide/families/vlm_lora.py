"""A language model that looks, taught the answers of this study: adapters (LoRA, QLoRA) or all weights, on this machine.

The prompt is one of ``fieldguide prompts``; what is taught is the name of each training picture's class, or how many of each class it
shows, as the prompt wants it answered, and the loss stands on that answer alone. Which parts are trained is a list of switches, and
what each holds is counted and told. Validation pictures are asked about as test pictures will be; the best look is kept.
The published experiment of the recipe ``animals90`` (E1b of the reference experiments) trained Llama 3.2 Vision in this way:
model=hf/meta-llama/Llama-3.2-11B-Vision-Instruct, method=qlora, all parts but the projector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem
from fieldguide.files import digest, read_json
from fieldguide.records import Estimate, Example
from fieldguide.settings import Settings as Base
from fieldguide.tasks.asking import WEIGHING, Asking
from fieldguide.tasks.count import Task

if TYPE_CHECKING:
    from fieldguide.craft.chat import Wanted
    from fieldguide.craft.chat.weighing import Weighing
    from fieldguide.craft.tuning import Lesson
    from fieldguide.craft.tuning.teaching import Teaching
    from fieldguide.craft.tuning.training import Judge
    from fieldguide.craft.tuning.tuned import Tuned
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
    ask: Literal["generate", "choice", "likelihood", "decision"] = "generate"
    """How it answers, taught by words: ``generate``, ``choice``, ``likelihood`` or ``decision``, as prompted models do."""
    score: Literal["sum", "token", "byte", "pmi"] | None = None
    """Of ask=likelihood and decision: form of the score of a name, as for prompted models; validation chooses if not given."""
    orders: int | None = Field(None, ge=1, le=100)
    """Of these: orders of the list that are asked about, whose probabilities are averaged; teaching has the prompt's own alone."""
    unknown: float | None = Field(None, gt=0, lt=1)
    """Of these: share of right validation answers that may be refused as too unsure. None if not given."""
    reading: Literal["strict", "normalised", "alias", "json"] | None = None
    """How an answer is read for the scores; if not given ``strict``, and ``json`` where the prompt wants JSON."""
    head: Literal["words", "labels", "linear"] = "words"
    """What is taught: ``words`` of the answer; ``labels``: the right one's share of all; ``linear``: a layer on the last hidden state."""
    calibrate: bool = True
    """Choose on validation pictures the temperature of what the heads labels and linear give."""
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
        from fieldguide.craft.chat import MOONDREAM, behind_server, worded

        worded.require_probable(self)
        if self.ask in WEIGHING and self.head != "words":
            raise ValueError(f"head={self.head} weighs all classes itself; ask={self.ask} belongs to head=words")
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


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Tuned:
    """Teach the model, or go on where the last sitting was stopped; then choose on validation what makes probabilities."""
    from fieldguide.craft.chat import meant, worded
    from fieldguide.craft.tuning.answering import Taught
    from fieldguide.craft.tuning.keeping import Told
    from fieldguide.craft.tuning.teaching import taught
    from fieldguide.craft.tuning.tuned import tuned
    from fieldguide.tasks import spoken

    prompt = _prompt(settings, task)
    known = spoken.known(prompt, task)
    askings = _askings(settings, prompt, task)
    lessons = _lessons(train, prompt, known)
    looked_at = _lessons(_sampled(val, settings.looked_at, bench.seed), prompt, known)
    said = meant.said(settings, prompt, askings, None if settings.head == "words" else settings.head)
    bench.fact(kind="tuned", prompt=said, head=settings.head, price_in=None, price_out=None)
    teaching = _teaching(settings, _asking(settings, prompt, task), len(lessons), bench)
    student, head = taught(teaching, lessons, looked_at, bench, _judge(prompt, known, settings))
    chat = student.chat
    facts = {**chat.facts, "model": settings.model, "kind": "tuned", "revision": chat.revision, "image_size": chat.size}
    bench.fact(**{**facts, **student.sizes()})
    told = Told(askings[0], tuple((info.id, info.name) for info in known.classes))
    made = Taught(told, settings.head, chat.revision, chat.size, lambda: (student, head))
    if settings.head != "words" and settings.calibrate:
        bench.fact(**made.calibrated(val, known.ids).facts())
    words, wanted = prompt.model_dump_json(indent=1), _wanted(settings, bench)
    fitted: Tuned = worded.chosen(tuned(known, settings, made, words, askings, wanted, bench), val, bench)
    return fitted


def load(folder: Path) -> Tuned:
    """Read what `Tuned.save` wrote; the model is opened when the first picture is asked about."""
    from fieldguide.craft.chat import worded
    from fieldguide.craft.tuning.answering import Taught, opened
    from fieldguide.craft.tuning.keeping import told_of
    from fieldguide.craft.tuning.tuned import tuned
    from fieldguide.tasks.spoken import from_json

    values, told = read_json(folder / "vlm_lora.json"), told_of(folder)
    settings, bench = Settings(**values["settings"]), Bench(folder, device=_device())
    wanted = _wanted(settings, bench)
    askings: tuple[Asking, ...] = (told.asking,)
    weighing: Weighing | None = None
    made = Taught(told, settings.head, values["revision"], values["size"], lambda: opened(folder, wanted, settings.head))
    made.temperature = values.get("temperature", 1.0)
    if settings.ask in WEIGHING:
        askings, weighing = worded.load(folder, settings.ask)
    words = (folder / "asked.json").read_text(encoding="utf-8")
    found = tuned(from_json(values), settings, made, words, askings, wanted, bench)
    return dataclasses.replace(found, weighing=weighing)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _prompt(settings: Settings, task: Task | None = None) -> Spoken:
    """Return the prompt with what the settings say instead; nothing is sampled, and no other picture is shown."""
    from fieldguide.tasks.spoken import prompt_of

    return prompt_of(settings.prompt, task, shots=0, temperature=0.0, most_tokens=settings.most_tokens)


def _askings(settings: Settings, prompt: Spoken, task: Task) -> tuple[Asking, ...]:
    """Return what is asked about every picture, once or with the list in several orders."""
    from fieldguide.craft.chat import meant

    return (
        meant.asked_of(settings, prompt, task.classes, (), 0)
        if settings.ask in WEIGHING
        else (_asking(settings, prompt, task),)
    )


def _asking(settings: Settings, prompt: Spoken, task: Task) -> Asking:
    """Return what is asked while it is taught: the same words, answered by a name of the list where names are weighed later."""
    from fieldguide.tasks.spoken import asked

    weighs = settings.head != "words" or settings.ask in WEIGHING
    return dataclasses.replace(asked(prompt, task, "choice" if weighs else settings.ask), seed=None)


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
        weighs=settings.ask in WEIGHING,
    )


def _wanted(settings: Settings, bench: Bench) -> Wanted:
    from fieldguide.craft.chat import Wanted

    made = Wanted(settings.model, device=bench.device, online=bench.online, seed=bench.seed)
    return dataclasses.replace(made, image_size=settings.image_size, precision=settings.precision)


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
    except Exception:  # whoever opens it tells why; an architecture that cannot be counted is unknown
        return Estimate()
