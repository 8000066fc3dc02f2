"""What was asked: the settings of a study, as they stand in ``study.toml``, defaults written out."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from fieldguide.settings import Settings


class Entry(Settings):
    """One contestant in ``study.toml``."""

    name: str
    """Folder-safe name under ``runs/``."""
    family: str
    """Family, as listed by ``fieldguide families``."""
    settings: dict[str, Any] = {}
    """Settings of that family; what is not given has its default."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Part of the training pictures it is fitted on, 0 to 1; below 1 the run is called ``NAME@PERCENT`` and shown in a section of its own."""


class Asked(Settings):
    """The settings of a study: everything that changes a number, and the room it may take."""

    source: str
    """Where the pictures are: a folder of class folders, a split folder, a table, an archive or a Hugging Face data set."""
    split: str = "70/15/15"
    """Percent for train/val/test, or ``test-only`` for contestants that learn nothing; what the source has split stays."""
    folds: int = Field(0, ge=0, le=20)
    """Cross-validate with so many folds instead of one split (0: no); predictions of all folds are pooled."""
    seed: int = Field(42, ge=0, le=2**31 - 1)
    """Seed of the split and of every fit."""
    seeds: int = Field(1, ge=1, le=20)
    """Fit every contestant whose training depends on chance with so many seeds: ``seed``, ``seed`` + 1 and so on."""
    alike: Literal["together", "free"] = "together"
    """Near duplicates and bursts stay together on one side of the split, or the split is free of them."""
    leaks: Literal["drop", "keep"] = "drop"
    """Training copies of test pictures, where the source made the split: left out of training, or kept as they are."""
    store_gb: float | None = Field(None, gt=0)
    """Most gigabytes of decoded pictures below the study; not given, what is free on the disk less a reserve. Changes no number."""
    preset: Literal["quick", "good", "best"] | None = None
    """Contestants chosen by data size, hardware and what is reachable, when none are named."""
    recipe: str | None = None
    """Recipe that the study follows, as ``fieldguide recipe`` lists it (``NAME/tiny`` for its rehearsal); the report shows its figures."""
    texts: tuple[str, ...] = ()
    """Texts that are brought in before anything is fitted, as NAME=FILE or FILE; may be repeated. A source the study has stays as it is."""
    task: Literal["classify", "count"] = "classify"
    """What is asked of each picture: its class, or (count) how many of each class it shows, from lists of boxes or a table of counts."""
    count: tuple[str, ...] = ()
    """Of a study of counts: a class that is counted; may be repeated. All that the source counts, if none is given."""
    worth: tuple[str, ...] = ()
    """Of a study of counts: what one of a class is worth, as CLASS=NUMBER; may be repeated. With all of them the total value is scored."""
    exact: Literal["counts", "text"] = "counts"
    """Of a study of counts: an answer is exact where its counts are right, or where its text is the right one to the letter."""
    contestants: tuple[Entry | str, ...] = ()
    """Contestants as tables, or as words ``[family/]name[:key=value,...]``."""

    @field_validator("split")
    @classmethod
    def _readable(cls, value: str) -> str:
        fractions(value)
        return value

    @field_validator("worth")
    @classmethod
    def _priced(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        worths(value)
        return value

    @field_validator("folds")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value in (1, 2):
            raise ValueError("cross-validation needs at least 3 folds: one to test, one to validate, one to train")
        return value

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("folds"):
            raise ValueError("folds already repeat every fit, so a study has either folds or seeds")
        return value


class Terms(Settings):
    """What one call may do; it changes no number of a study."""

    yes: bool = False
    """Agree that pictures are sent to servers on other machines, which is told before with what it costs."""
    limit: int | None = Field(None, ge=0)
    """Put at most so many new questions to language models in this call; the same command without it goes on."""


class Translation(Settings):
    """A score card of translators from texts to pictures; see ``docs/translation.md``."""

    encoder: str = "drawn"
    """What sees: drawn, hf/OWNER/NAME, open_clip/NAME@TAG or a network, with settings as NAME:weights=FILE,pad_type=same."""
    text_model: str | None = None
    """What reads: words, drawn, hf/OWNER/NAME; not given, the text half of the encoder, or words for one that has none."""
    texts: tuple[str, ...] = ()
    """A source of texts of the study; may be repeated. All it has, if none is given."""
    translators: str | None = None
    """Of identity, shift, procrustes, ridge, memory, mlp, qformer, separated by commas; not given, those in closed form."""
    normalise: Literal["none", "l2", "centre+l2", "standardise"] = "l2"
    """How features are brought to one footing, pictures and texts each for themselves: none, l2, centre+l2 or standardise."""
    pairs: str | None = None
    """Who teaches translators: a file of captions as COCO has them, beside its pictures; not given, the study's own training pictures and texts."""
    folds: int = Field(5, ge=1, le=50)
    """Parts of classes; own pairs of the other parts teach what translates a class. 1: the own class teaches, too, and texts carry pictures."""


class TextRatio(Translation):
    """A sweep over image : text ratios; see ``docs/text_ratio.md``."""

    translators: str | None = None
    """Of identity, shift, procrustes, ridge, memory, mlp, qformer; not given, identity,ridge, or ridge where texts lie elsewhere."""
    ratios: str = "100,90,80,70,60,50,40,30,20,10,0"
    """Per cent of pictures, separated by commas; the rest to 100 is text."""
    selection: tuple[str, ...] = ("balanced",)
    """How pictures of a share are chosen: balanced, uniform, long-tail(50), class-drop(0.2); may be repeated. Balanced, if none is given."""
    seeds: int = Field(3, ge=1, le=20)
    """Repeat everything with so many draws of pictures and texts; the study's seed and those after it."""
    heads: str = "ridge,gda,softmax"
    """Heads on frozen features: ridge and gda in closed form, softmax trained."""


class Following(Settings):
    """What a recipe is given beside its pictures."""

    material: tuple[str, ...] = ()
    """Texts or captioned pictures that a recipe takes, as NAME=PATH; may be repeated."""
    case: str | None = None
    """Which of its data sets, where a recipe has several; the first if not given."""
    model: str | None = None
    """Language model that is asked in the place of the recipe's: hf/OWNER/NAME, served/NAME, ollama/NAME."""
    server: str | None = Field(None, repr=False)
    """Where it is served, such as http://localhost:8000/v1."""
    key_variable: str | None = None
    """Environment variable that holds the key to that server."""
    remote_code: str | None = None
    """Consent to run the code of a model's own repository, by its name (OWNER/NAME) or folder; only for recipes with such a contestant."""
    revision: str | None = None
    """The one commit of that repository whose code and weights are taken, 40 characters."""


class Why(Settings):
    """How answers are explained; see ``docs/explanations.md`` for the methods."""

    method: tuple[str, ...] = ()
    """One method, such as gradcam or occlusion; may be repeated. All that fit, if none is given."""
    layers: str | None = None
    """Blocks counted from 0, such as 8-11 or 0,5,11; each method's own choice if not given."""
    grid: int = Field(8, ge=2, le=32)
    """Cells on a side that occlusion covers."""
    orders: int = Field(19, ge=0, le=999)
    """Random orders that each map is checked against; 0: no checks."""
    beside: tuple[str, ...] = ()
    """Another run or network that is explained beside the first; may be repeated."""
    before: bool = False
    """Also explain the network that the run was fitted from, as it was before."""
    labels: str | None = None
    """File with the name of a class on each line, for a network that does not know its own."""
    most: int = Field(6, ge=1, le=24)
    """Pictures of a study that are explained where none are given."""

    @field_validator("layers")
    @classmethod
    def _blocks(cls, value: str | None) -> str | None:
        blocks(value)
        return value


def blocks(words: str | None) -> tuple[int, ...] | None:
    """Read ``8-11``, ``0,5,11`` and mixtures of them; raises `ValueError` for anything else."""
    if words is None:
        return None
    found: list[int] = []
    for part in words.split(","):
        span = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if not span or int(span[1]) > int(span[2] or span[1]):
            raise ValueError("write a block, counted from 0, a range such as 8-11, or several of them with commas")
        found += range(int(span[1]), int(span[2] or span[1]) + 1)
    return tuple(dict.fromkeys(found))


def worths(given: Iterable[str]) -> dict[str, float]:
    """Read CLASS=NUMBER; raises `ValueError` for anything else, and for a class that is given twice."""
    found: dict[str, float] = {}
    for words in given:
        name, equals, number = words.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.inf
        if not equals or not name or not math.isfinite(value) or found.setdefault(name, value) != value:
            raise ValueError("write what one of a class is worth as CLASS=NUMBER, once for each class, such as dime=10")
    return found


def fractions(split: str) -> tuple[float, float, float]:
    """Read ``70/15/15``; ``test-only`` is everything in test. Raises `ValueError` for anything else."""
    if split == "test-only":
        return 0.0, 0.0, 1.0
    if not re.fullmatch(r"\d+(\.\d+)?/\d+(\.\d+)?/\d+(\.\d+)?", split):
        raise ValueError("write train/val/test in percent, like 70/15/15, or test-only")
    train, val, test = (float(part) for part in split.split("/"))
    if abs(train + val + test - 100) > 0.01 or not train or not test:
        raise ValueError("the three parts sum to 100, and train and test are not empty")
    return train / 100, val / 100, test / 100


def study_folder(source: str) -> Path:
    """Return the folder a study is written to when none is named: ``NAME-study`` in the working folder."""
    last = source.rpartition("/")[2] if source.startswith("hf:") else Path(os.path.realpath(source)).name
    name = re.sub(r"\.(zip|tar|tar\.gz|tgz|csv|tsv|jsonl|parquet|toml)$", "", last)
    name = re.sub(r"[^\w.+-]+", "-", name) or "pictures"
    return Path(f"{name}-study")


class Describing(Settings):
    """What a served language model is asked to describe, and how; see ``docs/describing.md``."""

    server: str = Field(repr=False)  # it may hold a password, and what is shown of a mistake shows settings
    """Base URL of an OpenAI-compatible server, such as http://localhost:8000/v1; to name it is to allow it, and it alone is asked."""
    model: str = Field(min_length=1)
    """Name of the model, as the server knows it."""
    fields: str = "general"
    """What is described, such as size,coloration,beak, or a set of fields: general, birds, plumage, animals."""
    domain: str = Field("thing", min_length=1, max_length=40, pattern=r"^[^\W\d_][\w -]*$")
    """What all classes are, in the singular, such as bird; every sentence begins with it."""
    rivals: int = Field(4, ge=0, le=8)
    """Classes named to the model beside each one: those it is most confused with on validation pictures, else those with names alike."""
    temperature: float | None = Field(0.0, ge=0, le=2)
    """Temperature of the model."""
    seed: int = Field(42, ge=0, le=2**31 - 1)
    """Seed of the model, where it knows one."""
    at_once: int = Field(4, ge=1, le=64)
    """Questions that are asked at the same time."""
    timeout: float = Field(120.0, gt=0, le=3600)
    """Seconds that one reply may take."""
    attempts: int = Field(5, ge=1, le=20)
    """How often one question is asked where no reply comes, with growing pauses."""
    most_tokens: int = Field(2048, ge=64, le=1_000_000)
    """Longest reply, in tokens; what a model thinks before it replies counts."""
    key_variable: str | None = None
    """Environment variable that holds the key; if not given OPENAI_API_KEY for another machine reached by https, and no key else."""
    price_in: float | None = Field(None, ge=0)
    """Price of a million tokens that are sent, in your currency, for the estimate."""
    price_out: float | None = Field(None, ge=0)
    """Price of a million tokens that come back."""


class FreeQuestion(Settings):
    """How a question is put to a language model that looks; see ``docs/prompting.md``."""

    server: str | None = Field(None, repr=False)
    """Address of the server: for served/NAME an OpenAI-compatible one, such as http://localhost:8000/v1; for ollama/NAME another machine's."""
    key_variable: str | None = None
    """Environment variable that holds the key; if not given OPENAI_API_KEY for another machine reached by https, and no key else."""
    also: tuple[str, ...] = ()
    """A further question about the same pictures; may be repeated."""
    choice: str | None = None
    """Answers that are allowed, separated by commas; nothing else can then be said."""
    likelihood: bool = False
    """Tell how probable each allowed answer is, in place of one; needs --choice, or --prompt with --classes."""
    prompt: str | None = None
    """Ask with a prompt instead of a question: one of ``fieldguide prompts``, a TOML file, or an Ollama Modelfile. Needs --classes."""
    classes: str | None = None
    """Classes that the prompt lists: a study folder, a classes.toml, or names separated by commas."""
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    """Temperature of sampling; 0 always takes the likeliest token. A prompt has its own."""
    seed: int = Field(42, ge=0, le=2**31 - 1)
    """Seed of sampling, where the model takes one."""
    most_tokens: int = Field(256, ge=1, le=1_000_000)
    """Tokens after which an answer is cut. A prompt has its own."""
    image_size: int | None = Field(None, ge=16)
    """Most pixels of the longer side of a picture as it is shown; what the model likes if not given."""
    timeout: float = Field(120.0, gt=0, le=3600)
    """Seconds that one answer of a server may take."""
    attempts: int = Field(3, ge=1, le=20)
    """How often one question is asked where a server gives no answer, with growing pauses."""


class PromptAudit(Settings):
    """How a contestant that was asked in words is audited; see ``docs/auditing.md``."""

    pictures: int = Field(200, ge=1, le=1_000_000)
    """Pictures that are asked about again, balanced over the classes; fewer where there are no more."""
    check: tuple[str, ...] = ()
    """What is checked: picture, example, order, length, paraphrase, synonyms, batch, repeat; may be repeated. All, if none is given."""
    labels: int = Field(5, ge=1, le=1_000)
    """Most labels that are tried as the example of the prompt."""
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    """Seed of the choice of pictures and of what is drawn by lot; the study's if not given."""
