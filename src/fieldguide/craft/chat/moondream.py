"""Moondream, asked through its own class: code of a repository that is run here only where the user names it, and for one commit.

    moondream/OWNER/NAME   of the hub, with remote_code=OWNER/NAME and revision=COMMIT
    moondream/FOLDER       a folder with the same files, with remote_code=FOLDER; what its code is, is told by a hash

The code is imported when the first picture is asked about, and not before the hash of code and weights is known: code that is not that of
before is refused without having run. Its ``query`` takes one picture and one question, and gives words: no probabilities, no list to be
held to, no examples. What it is asked is the text of the prompt, its parts joined.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from fieldguide.craft.chat import MOONDREAM, Said, Wanted
from fieldguide.craft.chat.sent import USUAL_SIZE
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem, out_of_memory, plain
from fieldguide.files import read_json
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Shown

_COMMIT = re.compile(r"[0-9a-f]{40}")
#: The class of a repository that is opened, by the name that its configuration gives it.
_DOOR = "AutoModelForCausalLM"
_FILES = ("*.json", "*.py", "*.safetensors", "*.txt", "README.md")
#: What its code says of calls of an earlier era.
_PAST = "not supported in the latest version"
#: Its arithmetic: what its code is written in.
_OWN = "its own"


def require_consent(wanted: Wanted) -> None:
    """Raise `UsageProblem` where nobody agreed, by name, to run the code of `wanted`, or where it is not pinned to one commit."""
    name = wanted.model.removeprefix(MOONDREAM)
    on_hub = not _is_folder(name)
    if on_hub and (name.count("/") != 1 or name.startswith((".", "~", "/"))):
        raise UsageProblem(
            f"There is no moondream in the folder {plain(name)}: it has no config.json.",
            f"Allowed: {MOONDREAM}OWNER/NAME of the hub, or {MOONDREAM}FOLDER.",
            "Correct the name.",
        )
    pinned = not on_hub or _COMMIT.fullmatch(wanted.revision or "")
    if wanted.remote_code == name and pinned:
        return
    given = (
        [] if wanted.remote_code == name else [f"remote_code={plain(wanted.remote_code)}" if wanted.remote_code else "nothing"]
    )
    given += [] if pinned else [f"revision={plain(wanted.revision)}" if wanted.revision else "no revision"]
    what = (
        f"the class {plain(_class_of(Path(name).expanduser()))} in it" if not on_hub else "the class that its config.json names"
    )
    also = ",revision=COMMIT (the 40 characters of one commit, as the page of its files shows)" if on_hub else ""
    raise UsageProblem(
        f"{plain(wanted.model)} answers only through code of its own, and what was said of that is {' and '.join(given)}.",
        f"That is remote code: Python that its owner wrote ({what}), which would run in this process and may do whatever you may do, "
        "files and network included. fieldguide has not read it. Allowed: consent by name, and one commit of what is on the hub.",
        f"After reading it: vlm_prompt:model={plain(wanted.model)},remote_code={plain(name)}{also}",
    )


def require_words(how: str, model: str) -> None:
    """Raise `UsageProblem` for an answer that is had in another way than as free text."""
    if how != "generate":
        raise UsageProblem(
            f"{plain(model)} cannot be asked with ask={plain(how)}: its class gives words, and no probabilities of them.",
            "Allowed: ask=generate. Others: ask=choice, ask=likelihood and ask=decision with hf/OWNER/NAME or hf/FOLDER.",
            "Leave ask out.",
        )


def check(wanted: Wanted, how: str = "generate") -> None:
    """Raise now what would stop `open_moondream` later; nothing of the model is run."""
    require_consent(wanted)
    require_words(how, wanted.model)
    if wanted.precision not in (None, _OWN):
        raise UsageProblem(
            f"precision={plain(wanted.precision)} was given, and the code of {plain(wanted.model)} says itself what it computes in.",
            "Allowed: no precision.",
            "Leave precision out.",
        )
    if not wanted.online:
        _require_whole(wanted.model, fetched(wanted))


def fetched(wanted: Wanted) -> Path:
    """Return the folder with code and weights: that which is named, or the pinned commit in the hub's cache."""
    name = wanted.model.removeprefix(MOONDREAM)
    if _is_folder(name):
        return Path(name).expanduser()
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=wanted.revision, allow_patterns=list(_FILES), local_files_only=not wanted.online)
        )
    except Exception as error:  # the hub client raises many unrelated types; all of them mean "not there"
        raise EnvironmentProblem(
            f"{plain(wanted.model)} at {plain(wanted.revision)} is not on this machine, or could not be fetched: {plain(error)}.",
            f"Allowed: --online to download it, or {MOONDREAM}FOLDER with its files.",
            "The same command with --online.",
        ) from error


def _is_folder(name: str) -> bool:
    return (Path(name).expanduser() / "config.json").is_file()


def _class_of(folder: Path) -> str:
    """Return FILE.CLASS, the code that would be run; raises `DataProblem` where there is none, or where it is of another repository."""
    try:
        named = dict(dict(read_json(folder / "config.json"))["auto_map"])
        found, every = str(named[_DOOR]), [str(named[name]) for name in ("AutoConfig", _DOOR) if name in named]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataProblem(
            f"The config.json in {plain(folder.name)} names no code for {_DOOR}.",
            "Allowed: a repository of moondream2, whose config.json has an auto_map.",
            "A model that needs no code of its own is hf/OWNER/NAME or hf/FOLDER.",
        ) from error
    if any(re.fullmatch(r"\w+\.\w+", one) is None for one in every):
        raise DataProblem(
            f"The config.json in {plain(folder.name)} takes its code from elsewhere: {plain(', '.join(every))}.",
            "Allowed: code that lies in the same folder; consent is for that and nothing else.",
            "Take the repository in which the code itself lies.",
        )
    return found


def _require_whole(model: str, folder: Path) -> str:
    """Return FILE.CLASS; raises `DataProblem` where it, or the weights as safetensors, are not in `folder`."""
    found = _class_of(folder)
    file = f"{found.partition('.')[0]}.py"
    missing = [
        name
        for name, there in ((file, (folder / file).is_file()), ("*.safetensors", any(folder.glob("*.safetensors"))))
        if not there
    ]
    if missing:
        raise DataProblem(
            f"{plain(model)} is not whole: {' and '.join(missing)} not there.",
            "Allowed: configuration, code, and weights as safetensors; pickled weights are not read.",
            "Fetch it again.",
        )
    return found


def code_hash(folder: Path) -> str:
    """Return the SHA-256 of all Python files of `folder`, their names among them."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


@dataclass
class Moondream:
    """A model of moondream's own class; a `fieldguide.craft.chat.Chat`. One picture at a time: its ``batch_answer`` is a loop, too."""

    folder: Path
    wanted: Wanted
    revision: str
    facts: Mapping[str, Any]
    size: int = USUAL_SIZE
    ahead: int = 1
    where: str | None = None
    _query: Any = field(default=None, repr=False)

    def close(self) -> None:
        """Let go of the model."""
        self._query = None

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        """Yield what is said of each of `pictures`, in order. What cannot be asked of it at all is raised before the first is taken."""
        require_words(asking.how, self.wanted.model)
        question = _question(asking)
        if self._query is None:
            self._query = _opened(self.wanted, self.folder)
        more, notes = _more(self._query, asking)
        if any(turn.role == "system" for turn in asking.messages):
            notes.append("It takes no system message: that text begins the question.")
        self.facts = {**self.facts, "notes": list(dict.fromkeys([*self.facts["notes"], *notes]))}
        return (self._said(pixels, question, more) for pixels in pictures)

    def _said(self, pixels: Pixels, question: str, more: Mapping[str, Any]) -> Said:
        import torch

        start, picture, most = time.perf_counter(), Pillow.fromarray(pixels), self.wanted.image_size
        if most and max(picture.size) > most:
            picture.thumbnail((most, most), Pillow.Resampling.BICUBIC)
        try:
            with torch.inference_mode(), _as_allowed(self.wanted.online):
                text = self._query(picture, question, **more)["answer"]
        except Exception as error:  # a stranger's code raises what it likes
            if _PAST in str(error):
                raise _past(self.wanted, str(error)) from error
            full = out_of_memory(error)
            return Said(
                error=f"the model failed: {plain(error)}" if not full else "memory ran out with a single picture", lasting=full
            )
        if not isinstance(text, str):
            return Said(error=f"the model gave no text, but {type(text).__name__}")
        return Said(text.strip(), "stop", seconds=time.perf_counter() - start)


def open_moondream(wanted: Wanted) -> Moondream:
    """Return the model that `wanted` names and consents to, its code and weights hashed and not yet run; raises what `check` raises."""
    require_consent(wanted)
    folder = fetched(wanted)
    from fieldguide.craft.chat import local_files

    found, code = _require_whole(wanted.model, folder), code_hash(folder)
    name = wanted.model.removeprefix(MOONDREAM)
    pinned = {} if _is_folder(name) else {"commit": wanted.revision}
    facts = {
        "kind": "prompted",
        "model": f"{MOONDREAM}{folder.name}" if _is_folder(name) else wanted.model,
        "architecture": "moondream",
        "parameters": _parameters(wanted.model, folder),
        "precision": _OWN,
        "image_size": wanted.image_size or USUAL_SIZE,
        "device": wanted.device,
        "licence": local_files.licence(folder),
        "remote_code": {"class": found, "hash": code, **pinned},
        "notes": [f"Its answers come from code of its own, run with consent by name: {plain(found)}, SHA-256 {code}."],
    }
    revision = local_files.revision(folder, [_OWN, wanted.image_size, code])
    return Moondream(folder, wanted, revision, facts, min(USUAL_SIZE, wanted.image_size or USUAL_SIZE))


def _parameters(model: str, folder: Path) -> int:
    """Return how many numbers the weights have, as their files say."""
    import math

    from safetensors import safe_open

    try:
        found = 0
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as stream:
                found += sum(math.prod(stream.get_slice(name).get_shape()) for name in stream.keys())  # noqa: SIM118 - it has no __iter__
        return found
    except Exception as error:  # the library raises a type of its own, and errors of the disk
        raise _not_loaded(model, error) from error


def _opened(wanted: Wanted, folder: Path) -> Any:
    """Run the code of `folder`, with its weights in place; return its ``query``.

    ``AutoModelForCausalLM.from_pretrained`` makes a network without memory first and leaves those of its tables that no file holds (angles,
    masks) as whatever memory held, and wants a ``post_init`` that this class lacks. So the class is made as it is, and filled.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    from fieldguide.craft.zoo import of_transformers
    from fieldguide.craft.zoo import weights as files

    try:
        # The folder of a commit in the hub's cache is that commit: nothing is looked up by name again.
        with of_transformers._quiet(), _as_allowed(wanted.online):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=True, local_files_only=True)
            model: Any = get_class_from_dynamic_module(_class_of(folder), str(folder), local_files_only=True)(config)
            state = {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}
            files.require_numbers(state, wanted.model)
            missing = model.load_state_dict(state, strict=False).missing_keys
            files.refuse([f"{name} is missing" for name in missing], wanted.model)
            query = getattr(model.to(wanted.device).eval(), "query", None)
    except Exception as error:  # a stranger's code raises what it likes
        if isinstance(error, Problem) or out_of_memory(error):
            raise
        raise (_past(wanted, str(error)) if _PAST in str(error) else _not_loaded(wanted.model, error)) from error
    if query is None:
        raise _past(wanted, f"{type(model).__name__} has no query")
    return query


@contextlib.contextmanager
def _as_allowed(online: bool) -> Iterator[None]:
    """Keep the hub's client of this process off the network where that is not allowed: the code asks it for a tokeniser by name."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not online
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _question(asking: Asking) -> str:
    """Return the text of `asking` as one question; raises `UsageProblem` where it has more than that."""
    shown = [part for turn in asking.messages for part in turn.parts if isinstance(part, Shown)]
    if len(shown) != 1 or any(turn.role == "assistant" for turn in asking.messages):
        raise UsageProblem(
            f"This prompt shows {len(shown):,} pictures or holds answers, and moondream takes one picture and one question.",
            "Allowed: a prompt without examples.",
            "examples=0, or a model that takes several pictures, for example hf/HuggingFaceTB/SmolVLM-Instruct",
        )
    return "\n\n".join(part.strip() for turn in asking.messages for part in turn.parts if isinstance(part, str))


def _more(query: Any, asking: Asking) -> tuple[dict[str, Any], list[str]]:
    """Return what its ``query`` is told besides picture and question, as far as it takes that, and what it could not be told."""
    try:
        takes = inspect.signature(query).parameters
    except (TypeError, ValueError):
        takes = {}  # type: ignore[assignment]
    more: dict[str, Any] = {"reasoning": False} if "reasoning" in takes else {}
    if "settings" in takes:
        return {**more, "settings": {"temperature": asking.temperature, "max_tokens": asking.most_tokens}}, []
    return more, ["Its query takes no settings: temperature and the length of an answer are its own."]


def _past(wanted: Wanted, why: str) -> UsageProblem:
    return UsageProblem(
        f"The code of {plain(wanted.model)} is of another era than is asked here: {plain(why)}",
        'Allowed: a commit whose class has query(picture, question)["answer"], as moondream2 has it in 2025 and later.',
        "revision=COMMIT of such a one, or recorded/FILE with answers that were had elsewhere.",
    )


def _not_loaded(model: str, error: Exception) -> DataProblem:
    return DataProblem(
        f"{plain(model)} cannot be loaded: {plain(error)}",
        "Allowed: its files whole, the packages its code imports, and a version of transformers that it was written for. Its code may ask "
        "the hub for a tokeniser of its own (moondream/starmie-v1), which comes with --online.",
        "Fetch it again with --online; or bring answers that were had elsewhere as recorded/FILE.",
    )
