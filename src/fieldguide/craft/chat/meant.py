"""What the settings of a contestant that is asked in words come to: its prompt, its model, what they cost, and what the log tells of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldguide.bench import Bench
from fieldguide.craft.chat import MOONDREAM, OLLAMA, SERVED, Wanted, behind_server, coded, costs, door
from fieldguide.craft.chat.asked import Sitting
from fieldguide.craft.chat.door import where
from fieldguide.craft.chat.opening import require_named
from fieldguide.craft.chat.orders import askings
from fieldguide.errors import Problem, UsageProblem, plain
from fieldguide.records import ClassInfo, Estimate, Sending
from fieldguide.tasks import spoken
from fieldguide.tasks.asking import WEIGHING, Asking
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task
from fieldguide.tasks.prompting import Prompt, answer, read_prompt
from fieldguide.tasks.spoken import Spoken

#: Settings that say which model is asked, and how it is reached.
_REACHED = (
    "model",
    "server",
    "key_variable",
    "image_size",
    "batch_size",
    "at_once",
    "timeout",
    "attempts",
    "precision",
    "remote_code",
    "revision",
    "bits",
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def prompt_of(settings: Any, task: Task | None = None) -> Spoken:
    """Return the prompt with what the settings say instead; without a task, that of either."""
    said = {"shots": settings.examples, "temperature": settings.temperature, "most_tokens": settings.most_tokens}
    return spoken.prompt_of(settings.prompt, task, **said)


def drawn(settings: Any) -> bool:
    """Tell whether the study's seed has a part in the answers: it draws examples, and words that are sampled.

    A prompt with a seed of its own is sampled with that one; probabilities are not sampled, and more orders of the list are always the same.
    """
    if settings.examples:
        return True
    if not settings.temperature or settings.ask in WEIGHING:
        return False
    try:
        return getattr(prompt_of(settings), "seed", None) is None
    except Problem:  # what is whole goes on without it
        return True


def shown_of(settings: Any, prompt: Spoken) -> int:
    """Return how many training pictures are shown: of each class, or in all where things are counted."""
    return prompt.shots if isinstance(prompt, Prompt) else settings.examples or 0


def wanted_of(settings: Any, bench: Bench, precision: str | None = None) -> Wanted:
    """Return which model is wanted; `precision` is what was chosen before, so that another machine does not choose anew."""
    reached = {name: getattr(settings, name) for name in _REACHED}
    reached["precision"] = settings.precision or precision
    return Wanted(**reached, device=bench.device, online=bench.online, seed=bench.seed)


def device_of(settings: Any) -> str:
    """Return where a model that was loaded from a folder computes; what is asked of a server needs no torch to be imported."""
    if behind_server(settings.model):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def asked_of(
    settings: Any, prompt: Spoken, classes: Sequence[ClassInfo], examples: Sequence[tuple[str, Any]], seed: int
) -> tuple[Asking, ...]:
    """Return what is asked about every picture: once, or with the list in several orders.

    There is a seed where one is drawn, and none where none is: the same question must have the same name.
    """
    if isinstance(prompt, Prompt):
        found = askings(prompt, classes, settings.ask, examples, settings.orders or 1)
    else:
        found = (spoken.asked(prompt, Count(tuple(classes)), settings.ask, examples),)
    if prompt.temperature == 0:
        return tuple(dataclasses.replace(asking, seed=None) for asking in found)
    return tuple(asking if asking.seed is not None else dataclasses.replace(asking, seed=seed) for asking in found)


def shown_in(asking: Asking, prompt: Prompt, task: Classify) -> tuple[tuple[str, str], ...]:
    """Return the training pictures that `asking` shows: (content hash, class id), as its turns say; `task` has the prompt's names."""
    ids = {answer(prompt, info.name): info.id for info in task.classes}
    said = [str(turn.parts[0]) for turn in asking.messages if turn.role == "assistant"][-len(asking.examples) or None :]
    return tuple((key, ids[text]) for key, text in zip(asking.examples, said, strict=True)) if asking.examples else ()


def told(settings: Any, prompt: Spoken, asked: Sequence[Asking], size: int) -> dict[str, Any]:
    """Return what the log tells of what is asked, and how."""
    prices = {"price_in": settings.price_in, "price_out": settings.price_out}
    return {"kind": "prompted", "image_size": settings.image_size or size, "prompt": said(settings, prompt, asked), **prices}


def said(settings: Any, prompt: Spoken, asked: Sequence[Asking], how: str | None = None) -> dict[str, Any]:
    """Return what the log tells of a prompt, of prompted models and of taught ones; `how` is said where it is no way of asking."""
    asking = asked[0]
    return {
        "name": prompt.name,
        "source": prompt.source,
        "hash": asking.hash,
        "question": asking.question,
        "text": asking.text(),
        "answers_in": spoken.answers_in(prompt),
        "reading": None if asking.how in WEIGHING else spoken.reading_of(prompt, settings.reading),
        "examples": len(asking.examples),
        "format": spoken.answers_in(prompt),
        "how": how or asking.how,
        "temperature": asking.temperature,
        "most_tokens": asking.most_tokens,
        "seed": asking.seed,
        "notes": list(asking.made.get("notes", ())),
        **({"hashes": [one.hash for one in asked]} if len(asked) > 1 else {}),
    }


def check(settings: Any, online: bool) -> None:
    """Raise now what would stop the fit later: a model or a prompt that is not there, a package, an address, a key that is not set."""
    prompt_of(settings)
    require_named(settings.model)
    if behind_server(settings.model):
        coded.require_served(settings.ask, settings.model)
        import openai  # noqa: F401 - what carries requests comes with it

        if settings.server:
            from fieldguide.craft.server import server_of

            server_of(settings.server, settings.key_variable)
        return
    if settings.model.startswith(MOONDREAM):
        from fieldguide.craft.chat import moondream

        moondream.check(dataclasses.replace(wanted_of(settings, Bench(Path())), online=online), settings.ask)
        return
    from fieldguide.craft.chat import local_files

    if settings.bits:
        from fieldguide.craft.chat import narrow

        narrow.require_packages()
    if not online:
        local_files.fetched(settings.model, online=False)


def require_told(settings: Any, found: Mapping[str, Any], sitting: Sitting) -> None:
    """Raise `UsageProblem` where probabilities are asked for, and the probe found that the server tells too little for them."""
    probe = found.get("probe")
    if probe is None or settings.ask != "likelihood":
        return
    try:
        coded.require_told(probe.get("top_logprobs"), settings.model, plain(settings.server or OLLAMA))
    except Problem as problem:  # what was asked until then counts, too
        problem.sitting = sitting  # type: ignore[attr-defined]
        raise


def host(settings: Any) -> str | None:
    """Return the host that pictures are sent to; `None` where they stay on this machine."""
    return where(wanted_of(settings, Bench(Path())))


def sending(settings: Any, task: Task, pictures: int) -> Sending | None:
    """Return what asking about so many pictures would send elsewhere, if anything: each of them for each order of the list."""
    to = host(settings)
    if to is None:
        return None
    prompt, prices = prompt_of(settings, task), (settings.price_in, settings.price_out)
    shown = shown_of(settings, prompt) * (len(task.ids) if isinstance(prompt, Prompt) else 1)
    one = costs.sending(to, pictures, spoken.asked(prompt, task, settings.ask), settings.image_size, prices, shown)
    return costs.times(one, settings.orders or 1)


def first(settings: Any) -> Sending | None:
    """Return what finding out what the server can do sends elsewhere before the first picture, if anything."""
    to, most = host(settings), door.first(wanted_of(settings, Bench(Path())))
    return None if to is None or not most else costs.first(to, most, (settings.price_in, settings.price_out))


def money(settings: Any, task: Task, pictures: int) -> float | None:
    """Return what asking about so many pictures is expected to cost, where prices are given."""
    asking = spoken.asked(prompt_of(settings, task), task, settings.ask)
    served = behind_server(settings.model)
    each = costs.of_picture(asking, settings.image_size, served=served)
    wrote = 0 if asking.how in WEIGHING and not served else each.tokens_out
    every = pictures * (settings.orders or 1)
    before = costs.first("", door.first(wanted_of(settings, Bench(Path()))), (None, None))
    read, written = every * each.tokens_in + before.tokens_in, every * wrote + before.tokens_out
    return costs.money(read, written, settings.price_in, settings.price_out)


def require_belonging(settings: Any) -> None:
    """Raise `ValueError` for settings that do not belong together."""
    from fieldguide.craft.chat import worded

    model, served = settings.model, behind_server(settings.model)
    if model.startswith(SERVED) and not settings.server:
        raise ValueError("a served model needs server=http://... , the address it answers at")
    if settings.server and not served:
        raise ValueError("server belongs to served/NAME and ollama/NAME; this model runs in this process")
    if (settings.remote_code or settings.revision) and not model.startswith(MOONDREAM):
        raise ValueError("remote_code and revision belong to moondream/NAME; no other model runs code of its own")
    if settings.bits and (served or model.startswith(MOONDREAM)):
        raise ValueError("bits belongs to models of transformers on this machine (hf/OWNER/NAME, hf/FOLDER, drawn)")
    worded.require_probable(settings)


def expected(settings: Any, task: Task, pictures: int) -> Estimate:
    """Return money where prices are given, and memory of the weights of a model of this process, counted from its configuration."""
    try:
        spent = money(settings, task, pictures)
    except Problem:  # whoever asks tells why
        return Estimate()
    if behind_server(settings.model) or settings.model.startswith(MOONDREAM):
        return Estimate(money=spent)
    try:
        from fieldguide.craft.tuning.costs import network

        return Estimate(memory_bytes=network(wanted_of(settings, Bench(Path()))).weights(bits=settings.bits), money=spent)
    except Exception:  # whoever opens it tells why; an architecture that cannot be counted is unknown
        return Estimate(money=spent)


def require_no_secret(given: Mapping[str, Any]) -> None:
    """Raise `UsageProblem` for a key or password among settings, without saying it again: settings are written into files."""
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


def written_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the prompt says where settings say nothing, so that what was asked stands in the study complete.

    Where a question for names and one for counts go by one name, that is what both of them say.
    """
    name = str(values.get("prompt", "plain"))
    each = [_says(prompt) for prompt in spoken.both(name) or (read_prompt(name),)]
    own = {key: value for key, value in each[0].items() if all(other[key] == value for other in each)}
    return {**values, **{name: value for name, value in own.items() if values.get(name) is None}}


def _says(prompt: Spoken) -> dict[str, Any]:
    return {
        "reading": spoken.reading_of(prompt, None),
        "examples": getattr(prompt, "shots", 0),
        "most_tokens": prompt.most_tokens,
        "temperature": prompt.temperature,
    }
