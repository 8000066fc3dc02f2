"""A language model that looks, taught the answers of this study: adapters (LoRA, QLoRA) or all weights, on this machine.

The prompt is one of ``fieldguide prompts``; what is taught is the name of each training picture's class as the prompt wants it answered,
and the loss stands on that answer alone. Which parts are trained is a list of switches, and what each holds is counted and told.
Validation pictures are asked about as test pictures will be; the best look is kept.
E1b trained Llama 3.2 Vision in this way: model=hf/meta-llama/Llama-3.2-11B-Vision-Instruct, method=qlora, all parts but the projector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem, UsageProblem
from fieldguide.files import digest, read_json, write_json, write_text
from fieldguide.records import ClassInfo, Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from fieldguide.craft.chat import Said, Wanted
    from fieldguide.craft.chat.asked import Shelf, Sitting
    from fieldguide.craft.tuning import Lesson
    from fieldguide.craft.tuning.answering import Taught
    from fieldguide.craft.tuning.teaching import Teaching
    from fieldguide.craft.tuning.training import Judge
    from fieldguide.families import Sizes
    from fieldguide.tasks.prompting import Prompt

LEARNS = True
CHANCE = True


class Settings(Base):
    """Which model is taught what, which parts of it are trained, and how."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """The model: ``drawn`` (comes along), ``hf/OWNER/NAME`` or ``hf/FOLDER``."""
    prompt: str = "plain"
    """What is asked: a prompt of the package, as ``fieldguide prompts`` lists them, or a file."""
    ask: Literal["generate", "choice"] = "generate"
    """How it answers when it was taught by words. ``generate``: free text; ``choice``: nothing but a name of the list."""
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
    """Highest rate of the optimiser, once it has risen; E1b took 2e-4."""
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
        from fieldguide.craft.chat import behind_server

        if behind_server(self.model):
            raise ValueError("a model behind a server cannot be trained from here; take hf/OWNER/NAME or hf/FOLDER")
        if not set(self.parts) & {"vision", "projector", "language"}:
            raise ValueError("parts needs at least one of vision, projector, language")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that train the model that comes along for two steps."""
        return cls(rank=4, most_steps=2, learning_rate=2e-3, looks=1, looked_at=4, ask="choice", precision="fp32")


@dataclass(frozen=True)
class Tuned:
    """A taught model; `task` has the classes as the prompt calls them. `words` is the prompt as a file of its own."""

    task: Classify
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
        if self.settings.head == "words":
            for key, said in self.taught.said(images, self.shelf, self.sitting):
                yield self._read(key, said)
            return
        for key, shares, why, seconds in self.taught.weighed(images):
            if shares is None:
                yield Prediction(key, seconds=seconds, error=why)
            else:
                label = self.task.ids[max(range(len(shares)), key=lambda at, of=shares: of[at])]  # type: ignore[misc]
                yield Prediction(key, label, probabilities=shares, seconds=seconds)

    def _read(self, key: str, said: Said) -> Prediction:
        from fieldguide.tasks.reading import read, words_of

        if said.error is not None:
            return Prediction(key, seconds=said.seconds, error=said.error)
        found = read(said.text, self.task, _reading(self.settings), said.finish)
        error = None if found.kind is None else words_of(found.kind)
        made = Prediction(key, found.label, raw=said.text, seconds=said.seconds, error=error)
        return dataclasses.replace(made, tokens_in=said.tokens_in, tokens_out=said.tokens_out)

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
        self.taught.save(folder)
        write_text(folder / "asked.json", self.words)
        told = {
            "settings": self.settings.model_dump(mode="json"),
            "classes": [dataclasses.asdict(info) for info in self.task.classes],
            "size": self.taught.size,
            "revision": self.taught.revision,
        }
        write_json(folder / "vlm_lora.json", told)


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Tuned:
    """Teach the model, or go on where the last sitting was stopped."""
    from fieldguide.craft.chat.asked import Sitting
    from fieldguide.craft.tuning.answering import Taught
    from fieldguide.craft.tuning.keeping import Told
    from fieldguide.craft.tuning.teaching import taught
    from fieldguide.tasks.prompting import called

    prompt = _prompt(settings)
    known = Classify(called(prompt, task.classes))
    asking = _asking(settings, task)
    lessons = _lessons(train, prompt, known)
    looked_at = _lessons(_sampled(val, settings.looked_at, bench.seed), prompt, known)
    _note(bench, settings, prompt, asking)
    student, head = taught(_teaching(settings, asking, len(lessons), bench), lessons, looked_at, bench, _judge(known, settings))
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

    values = read_json(folder / "vlm_lora.json")
    settings = Settings(**values["settings"])
    task = Classify(tuple(ClassInfo(**{**info, "synonyms": tuple(info["synonyms"])}) for info in values["classes"]))
    wanted = _wanted(settings, Bench(folder, device=_device()))
    made = Taught(
        told_of(folder), settings.head, values["revision"], values["size"], lambda: opened(folder, wanted, settings.head)
    )
    words = (folder / "asked.json").read_text(encoding="utf-8")
    return Tuned(task, settings, made, words, Sitting())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _reading(settings: Settings) -> Any:
    return settings.reading or ("json" if _prompt(settings).format == "json" else "strict")


def _prompt(settings: Settings) -> Prompt:
    """Return the prompt with what the settings say instead; nothing is sampled, and no other picture is shown."""
    from fieldguide.tasks.prompting import read_prompt

    own = {} if settings.most_tokens is None else {"most_tokens": settings.most_tokens}
    return read_prompt(settings.prompt).model_copy(update={"shots": 0, "temperature": 0.0, **own})


def _asking(settings: Settings, task: Classify) -> Asking:
    from fieldguide.tasks.prompting import render

    how: Any = settings.ask if settings.head == "words" else "choice"
    return dataclasses.replace(render(_prompt(settings), task.classes, how), seed=None)


def _lessons(examples: Sequence[Example], prompt: Prompt, known: Classify) -> list[Lesson]:
    from fieldguide.craft.tuning import Lesson
    from fieldguide.tasks.prompting import answer

    return [Lesson(one.image, answer(prompt, known.say(str(one.label)))) for one in examples]


def _sampled(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """Return `most` of `examples`, drawn so that every class is there as evenly as its pictures allow."""
    from fieldguide.data.batches import draw_order

    if most is None or len(examples) <= most:
        return list(examples)
    drawn = [examples[int(at)] for at in draw_order(len(examples), seed, 0)]
    seen: dict[str | None, int] = {}
    turn = []
    for one in drawn:
        turn.append(seen.get(one.label, 0))
        seen[one.label] = turn[-1] + 1
    order = sorted(range(len(drawn)), key=lambda at: turn[at])
    return [drawn[at] for at in order[:most]]


def _judge(known: Classify, settings: Settings) -> Judge:
    """Return what scores answers about validation: top-1 accuracy and macro-F1 under the reading of the settings."""
    from sklearn.metrics import f1_score

    from fieldguide.tasks.reading import read

    reading = _reading(settings)

    def judge(answers: Sequence[str | None], lessons: Sequence[Lesson]) -> Mapping[str, float]:
        truth = [read(one.answer, known, reading, "stop").label for one in lessons]
        given = [None if one is None else read(one, known, reading, "stop").label for one in answers]
        right = sum(a == b for a, b in zip(truth, given, strict=True))
        labels = [str(one) for one in dict.fromkeys(truth)]
        f1 = f1_score([str(one) for one in truth], [str(one) for one in given], labels=labels, average="macro", zero_division=0)
        return {"accuracy": right / max(1, len(lessons)), "macro_f1": float(f1)}

    return judge


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


def _note(bench: Bench, settings: Settings, prompt: Prompt, asking: Asking) -> None:
    """Note what the report tells of what is asked, and how."""
    told = {
        "name": prompt.name,
        "source": prompt.source,
        "hash": asking.hash,
        "question": asking.question,
        "text": asking.text(),
        "answers_in": prompt.format,
        "reading": _reading(settings),
        "examples": 0,
        "format": prompt.format,
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


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    from fieldguide.craft.chat import door

    return door.size_of(_wanted(settings, Bench(Path())))


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return what is known before the model has been tried: nothing yet."""
    return Estimate()
