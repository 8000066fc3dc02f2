"""``fieldguide ask``: a question in words about a picture, answered in words.

Nothing is written and nothing is scored. A free question is put under the model's own system message: none is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import families, gather, terminal
from fieldguide.asked import FreeQuestion
from fieldguide.consenting import require
from fieldguide.craft.chat import SERVED, behind_server
from fieldguide.craft.chat.costs import of_picture
from fieldguide.craft.chat.door import Door, where
from fieldguide.craft.chat.opening import require_named
from fieldguide.craft.server import server_of
from fieldguide.data.classes import read_classes
from fieldguide.data.loose import Files, picture_files
from fieldguide.data.store import SIZES
from fieldguide.errors import DONE, PARTLY, DataProblem, EnvironmentProblem, PictureError, UsageProblem, plain
from fieldguide.files import read_toml, told_plainly
from fieldguide.records import ClassInfo, Image, Pixels, Prediction, Sending
from fieldguide.settings import build
from fieldguide.tasks import spoken
from fieldguide.tasks.asking import Asking, How, Message, Shown
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task
from fieldguide.tasks.count_asking import CountPrompt
from fieldguide.tasks.spoken import Spoken

if TYPE_CHECKING:
    from fieldguide.bench import Progress
    from fieldguide.craft.chat import Chat, Said, Wanted

    Opened = Callable[[Wanted], Chat]

#: Tokens of a free answer, for the estimate that is told before a picture leaves this machine.
_FREE = 100
#: Answers whose probability is told, the likeliest first.
_LISTED = 10
#: How the family of prompted models is written before a model where it is a contestant.
_ROOM = "vlm_prompt/"


@dataclass(frozen=True)
class Order:
    """What is asked: `pictures` are files and folders, `questions` are in words; `prompt` stands in their place where it is given."""

    model: str
    pictures: tuple[Path, ...]
    questions: tuple[str, ...]
    how: FreeQuestion
    online: bool = False
    yes: bool = False


@dataclass(frozen=True)
class Answered:
    """What came of one question about one picture: the words of the model, or `error`, why there are none.

    `held` is what kept a choice to its list: ``trie``, ``json_schema``, ``json_object``, or ``text`` for nothing but the words asked with.
    `read` is what a contestant would take it for, where a prompt asked: the name of a class or counts, or why it is none.
    `seen` is False for a picture that cannot be read, and so was shown to nobody.
    """

    path: Path
    question: str
    text: str = ""
    error: str | None = None
    finish: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float | None = None
    held: str | None = None
    read: str | None = None
    seen: bool = True


def read_order(model: str, words: Sequence[str], given: Mapping[str, Any], *, online: bool = False, yes: bool = False) -> Order:
    """Return what the words of a command ask for: pictures, and behind them a question, unless a prompt is named.

    A model may also be called as a contestant is (``vlm_prompt/drawn``).
    """
    model = model.removeprefix(_ROOM)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    how = build(FreeQuestion, {name: value for name, value in values.items() if value not in (None, ())}, "The command")
    if how.prompt is not None:
        if how.choice is not None or how.also:
            raise UsageProblem(
                "A prompt was named, and words besides it.",
                "Either --prompt with --classes, or a question with --also and --choice.",
                "Leave one of them out.",
            )
        return Order(model, tuple(map(Path, words)), (), how, online, yes)
    if len(words) < 2 or not words[-1].strip() or os.path.exists(words[-1]):
        raise UsageProblem(
            f"There is no question: the last word is {plain(words[-1])!r}."
            if words
            else "Neither a picture nor a question was given.",
            "A model, at least one picture, and behind them a question in quotes; or --prompt NAME --classes A,B,C.",
            f'For example fieldguide ask {plain(model)} photo.jpg "What is this?"',
        )
    return Order(model, tuple(map(Path, words[:-1])), (words[-1], *how.also), how, online, yes)


def askings(order: Order) -> list[tuple[str, Asking]]:
    """Return what is asked, each with the words that stand above its answers. Raises `UsageProblem` for a prompt that cannot be filled."""
    how = order.how
    if how.prompt is not None:
        prompt, task = _prompted(how)
        asking = spoken.asked(prompt, task, "likelihood" if how.likelihood else "generate")
        return [(f"prompt {prompt.name}", replace(asking, seed=how.seed if prompt.seed is None else prompt.seed))]
    choices = tuple(dict.fromkeys(part.strip() for part in (how.choice or "").split(",") if part.strip()))
    if how.choice is not None and len(choices) < 2:
        raise UsageProblem(
            f"--choice {plain(how.choice)!r} leaves nothing to choose.",
            "Two answers or more, separated by commas.",
            "--choice yes,no",
        )
    if how.likelihood and not choices:
        raise UsageProblem(
            "--likelihood tells how probable answers are, and none are named.",
            "The answers that are allowed, separated by commas; or a prompt with its classes.",
            "--choice yes,no --likelihood",
        )
    way: How = "likelihood" if how.likelihood else "choice" if choices else "generate"
    return [
        (said, Asking((Message("user", (Shown(), said)),), choices, way, None, how.temperature, how.seed, how.most_tokens))
        for said in order.questions
    ]


def _prompted(how: FreeQuestion) -> tuple[Spoken, Task]:
    """Return the question that was named, and what it is asked about; of two with one name a study tells which, else it asks for a class."""
    study = task_in(how.classes)
    classes = study.classes if study is not None else classes_of(how.classes)
    prompt = spoken.prompt_of(str(how.prompt), study)
    return prompt, Count(classes) if isinstance(prompt, CountPrompt) else Classify(classes)


def task_in(words: str | None) -> Task | None:
    """Return the task of the study folder that is named; `None` where the words name none."""
    path = os.path.expanduser(words or "")
    if not os.path.isdir(path):  # a long list of names is no path that `Path` would test
        return None
    from fieldguide.data.tables import read_manifest
    from fieldguide.study import require_study

    folder = Path(path)
    require_study(folder)
    return gather.task_of(folder, read_manifest(folder / "manifest.parquet"))


def classes_of(words: str | None) -> tuple[ClassInfo, ...]:
    """Return the classes of a study folder, of a ``classes.toml``, or those named with commas between."""
    if not (words or "").strip():
        raise UsageProblem(
            "A prompt lists classes, and none are named.",
            "A study folder, a classes.toml, or names separated by commas.",
            "--classes cat,dog",
        )
    task, path = task_in(words), Path(os.path.expanduser(str(words)))
    if task is not None:
        return task.classes
    if os.path.isfile(path):
        try:
            table = read_toml(path).get("classes")
        except (OSError, ValueError):
            table = {}  # read_classes tells what is wrong with it
        return read_classes(path, table if isinstance(table, dict) and table else ("",))
    return tuple(ClassInfo(name, name) for name in dict.fromkeys(part.strip() for part in str(words).split(",")) if name)


@told_plainly()
def ask(order: Order, progress: Progress, opened: Opened | None = None) -> list[Answered]:
    """Return what the model says of every picture, question by question; `opened` opens it.

    A picture that cannot be read, or that the model says nothing of, is an answer with `error`. Before a picture leaves this machine,
    somebody agrees to that; raises `UsageProblem` where nobody does.
    """
    _require_reachable(order)
    how, paths = order.how, picture_files(order.pictures)
    asked = askings(order)
    wanted = _wanted(order)
    host = where(wanted)
    require([] if host is None else [_sending(host, asked, len(paths), how.image_size)], order.yes, progress)
    answered: list[Answered] = []
    understood = _understood(how)
    door = Door(wanted, consented=True, opening=opened)  # it closes its chat when it goes, so it must stay
    try:
        chat = door()
    except ModuleNotFoundError as error:
        raise families.needs_extra(error) from error
    try:
        files = Files()
        images = list(files.images(paths))
        for question, asking in asked:
            with progress.bar("ask", len(paths)) as bar:
                for one in _each(chat, asking, paths, images):
                    answered.append(replace(one, question=question, read=understood(one)))
                    bar.advance(note=one.path.name)
    finally:
        chat.close()
    return answered


def _each(chat: Chat, asking: Asking, paths: Sequence[Path], images: Sequence[Image]) -> Iterator[Answered]:
    """Yield an answer for every picture, in order; one that cannot be read is not shown to the model."""
    unread: dict[int, str] = {}
    shown: list[int] = []

    def pixels() -> Iterator[Pixels]:
        for place, image in enumerate(images):
            try:
                found = image.pixels(min(chat.size, SIZES[-1]))
            except PictureError as error:
                unread[place] = str(error)
                continue
            shown.append(place)
            yield found

    done = 0
    for number, said in enumerate(chat.ask(asking, pixels(), {})):
        yield from (_unseen(paths[place], unread[place]) for place in range(done, shown[number]))
        done = shown[number] + 1
        yield _answered(paths[shown[number]], _in_words(said, asking), asking.how == "choice")
    yield from (_unseen(paths[place], unread[place]) for place in range(done, len(images)))


def _understood(how: FreeQuestion) -> Callable[[Answered], str | None]:
    """Return what tells how an answer to a prompt is read; a free question has no wrong answer, so nothing is told of one."""
    if how.prompt is None or how.likelihood:
        return lambda one: None
    prompt, task = _prompted(how)
    task, reading = spoken.known(prompt, task), spoken.reading_of(prompt, None)
    wanted = "counts" if isinstance(task, Count) else "class"

    def tell(one: Answered) -> str | None:
        if one.error is not None:
            return None
        found = spoken.read("", one.text, one.finish, task, prompt, None)
        return f"read as {f'no {wanted}: {found.error}' if found.error else _said(found, task)} ({reading})"

    return tell


def _said(found: Prediction, task: Task) -> str:
    return plain(task.say(found.counts or {}) if isinstance(task, Count) else task.say(str(found.label)))


def _unseen(path: Path, why: str) -> Answered:
    return Answered(path, "", error=why, seen=False)


def _in_words(said: Said, asking: Asking) -> Said:
    """Return what is said with probabilities written out, likeliest first; those of names that a server did not tell of are bounds."""
    if asking.how != "likelihood" or said.error is not None:
        return said
    from fieldguide.craft.chat.weighing import Weighing, told
    from fieldguide.tasks.weighed import loads

    row = [loads(said.text)]
    table, known = Weighing().probabilities(row), told(row)
    order = sorted(range(len(table)), key=lambda at: -table[at])
    lines = [f"{table[at]:.1%}  {plain(asking.answers[at], 80)}{'' if known[at] else ' (at most)'}" for at in order[:_LISTED]]
    rest = len(order) - _LISTED
    return replace(said, text="\n".join([*lines, *([f"and {rest} less probable ones"] if rest > 0 else [])]))


def _answered(path: Path, said: Said, choice: bool) -> Answered:
    cost = (said.tokens_in, said.tokens_out, said.seconds)
    return Answered(path, "", said.text, said.error, said.finish, *cost, said.level if choice else None)


def exit_code(answered: Sequence[Answered]) -> int:
    """Return 0 where everything was answered, 3 where something was. Raises the `Problem` behind it where nothing was."""
    errors = [one for one in answered if one.error is not None]
    if len(errors) < len(answered):
        return PARTLY if errors else DONE
    unseen = all(not one.seen for one in errors)
    kind = DataProblem if unseen else EnvironmentProblem
    first = next(one for one in errors if unseen or one.seen)
    raise kind(
        f"There is no answer about {plain(first.path)}: {plain(first.error)}",
        "Pictures that can be read."
        if unseen
        else "A model or a server that answers; nothing is kept of a question without an answer.",
        "Mend that, then run the same command again.",
    )


def show(answered: Sequence[Answered]) -> None:
    """Print every answer with its cost."""
    for one in answered:
        terminal.say(f"{one.path}: {one.question}", "bold")
        if one.error is not None:
            terminal.say(f"  no answer: {one.error}", "red")
            continue
        for line in one.text.strip().splitlines() or ["(nothing was said)"]:
            terminal.say(f"  {line}")
        if one.read is not None:
            terminal.say(f"  {one.read}", "bold")
        terminal.say(f"  {_cost(one)}", "dim")


def _cost(one: Answered) -> str:
    counted = "tokens not counted" if one.tokens_in is None else f"{one.tokens_in:,} tokens in"
    counted += "" if one.tokens_out is None else f", {one.tokens_out:,} out"
    took = "" if one.seconds is None else f", {one.seconds:.2f} s"
    if one.held is not None:
        took += "; nothing kept it to the list" if one.held == "text" else f"; kept to the list by {one.held.replace('_', ' ')}"
    return counted + took + ("; cut at the limit of tokens (--most-tokens)" if one.finish in ("length", "max_tokens") else "")


def _wanted(order: Order) -> Wanted:
    from fieldguide.craft.chat import Wanted
    from fieldguide.machine import device

    how = order.how
    return Wanted(
        order.model,
        how.server,
        how.key_variable,
        how.image_size,
        batch_size=1,
        at_once=1,
        timeout=how.timeout,
        attempts=how.attempts,
        device="cpu" if behind_server(order.model) else device(),  # asking which loads torch, and a server needs none
        online=order.online,
        seed=how.seed,
    )


def _require_reachable(order: Order) -> None:
    """Raise `UsageProblem` for a model of no known form, and for a server that is missing or has nothing to do with the model."""
    require_named(order.model)
    if order.model.startswith(SERVED) and not order.how.server:
        raise UsageProblem(
            f"{plain(order.model)} needs the address of its server.",
            "Any OpenAI-compatible server: http:// or https://, a host, perhaps a port and a path.",
            "--server http://localhost:8000/v1",
        )
    if order.how.server and not behind_server(order.model):
        raise UsageProblem(
            f"A server was given, and {plain(order.model)} runs on this machine.",
            "--server belongs to served/NAME and to ollama/NAME.",
            f"Leave it out, or ask served/{plain(order.model.rpartition('/')[2])}",
        )
    if order.how.server:
        server_of(order.how.server, order.how.key_variable)


def _sending(host: str, asked: Sequence[tuple[str, Asking]], pictures: int, size: int | None) -> Sending:
    """Return what would be sent to `host`, and about how many tokens that is."""
    each = [of_picture(asking, size, served=True) for _, asking in asked]
    said = [
        one.tokens_out if asking.answers else min(asking.most_tokens, _FREE)
        for (_, asking), one in zip(asked, each, strict=True)
    ]
    questions, read = sum(one.questions for one in each), sum(one.tokens_in for one in each)
    return Sending(host, pictures * questions, pictures * read, pictures * sum(said))
