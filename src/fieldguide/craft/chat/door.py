"""A chat that is opened when it is first needed, and only with consent where pictures would leave this machine."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fieldguide.craft.chat import MOONDREAM, OLLAMA, OLLAMAS, Chat, Wanted, behind_server
from fieldguide.craft.chat.probe import MOST
from fieldguide.craft.chat.sent import USUAL_SIZE
from fieldguide.craft.server import Server
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem, plain

if TYPE_CHECKING:
    from fieldguide.craft.chat.asked import Sitting


def where(wanted: Wanted) -> str | None:
    """Return the host that pictures would be sent to; `None` where they stay on this machine, in this process or not."""
    if not behind_server(wanted.model):
        return None
    server = Server(wanted.server or (OLLAMA if wanted.model.startswith(OLLAMAS) else ""))
    return None if server.local else server.host.rpartition("@")[2]


def opened(wanted: Wanted) -> Chat:
    """Return the chat that `wanted` names."""
    from fieldguide.craft.chat.opening import open_chat

    return open_chat(wanted)


def knock(wanted: Wanted) -> None:
    """Raise now where nobody is there to be asked; nothing is sent for it but a GET without a key."""
    if behind_server(wanted.model):
        from fieldguide.craft.chat import knocking

        knocking.knock(wanted)


def size_of(wanted: Wanted) -> int:
    """Return the shorter side, in pixels, that its pictures should at least have, before it is opened."""
    most = wanted.image_size or USUAL_SIZE
    if behind_server(wanted.model) or wanted.model.startswith(MOONDREAM):
        return most
    try:
        from fieldguide.craft.chat import local, local_files

        processor = local_files.processor_of(wanted.model, local_files.fetched(wanted.model, online=False))
    except (Problem, ModuleNotFoundError):  # whoever opens it tells why
        return most
    return min(local._size(processor), most)


#: What the probes of this process have found, by server, model and revision: contestants that differ in their prompt ask one server.
_PROBED: dict[tuple[str | None, str, str], Mapping[str, Any]] = {}


def first(wanted: Wanted) -> int:
    """Return how many questions are put at most before any about a picture: to be let in, and to find out what the server can do."""
    if not behind_server(wanted.model):
        return 0
    known = any((wanted.server, wanted.model) == name[:2] for name in _PROBED)
    return int(not wanted.model.startswith(OLLAMAS)) + (0 if known else MOST)


def begun(door: Door, sitting: Sitting) -> tuple[Chat, Mapping[str, Any]]:
    """Return the chat behind `door`, and ``{"probe": ...}``, what its server was found to do; no probe of a model of this process.

    The questions that this takes are counted in `sitting` and told (``questions``). Raises `EnvironmentProblem` where its limit does not
    allow for them, and whatever opening and probing raise.
    """
    most, limit = first(door.wanted), sitting.limit
    if most and sitting.refuses(most) is not None:
        raise EnvironmentProblem(
            f"{plain(door.wanted.model)} was not asked: up to {most} short questions find out what its server can do, before the first "
            f"picture, and the limit of {limit} new question{'s' * (limit != 1)} does not allow for them.",
            f"Allowed: a limit of {most} more than pictures that are to be asked about, or none.",
            "The same command with a larger --limit.",
        )
    try:
        chat = door()
        name = (door.wanted.server, door.wanted.model, chat.revision)
        fresh = name not in _PROBED
        probe = getattr(chat, "probe", None)
        if probe is not None and fresh:
            _PROBED[name] = probe()
    except Problem as problem:  # how many of them were put is not known: all count
        problem.sitting = sitting  # type: ignore[attr-defined]
        raise
    if probe is None:
        sitting.give_back(most)
        return chat, {}
    found = _PROBED[name]
    put = int(not door.wanted.model.startswith(OLLAMAS)) + (int(found.get("questions", MOST)) if fresh else 0)
    sitting.give_back(most - put)
    return chat, {"probe": {**found, "questions": put}}


class Door:
    """Opens one chat at most, in whichever thread comes first; the chat is closed when the door goes.

    `revision` is what the answers of before came from: another model behind the same name is refused. `opening` opens what `wanted` alone
    does not name, such as taught weights; the door is `own` then, and no other leads there.
    """

    def __init__(
        self,
        wanted: Wanted,
        revision: str | None = None,
        *,
        consented: bool = False,
        opening: Callable[[Wanted], Chat] | None = None,
    ) -> None:
        self.wanted, self.revision, self.consented = wanted, revision, consented
        self.own = opening is not None
        self._opening = opening or opened
        self._chat: Chat | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Chat:
        """Return the chat, opened now if it was not; raises `UsageProblem` without consent."""
        with self._lock:
            if self._chat is None:
                self._require_consent()
                chat = self._opening(self.wanted)
                if self.revision is not None and chat.revision != self.revision:
                    chat.close()
                    raise _another(self.wanted)
                self._chat = chat
                weakref.finalize(self, chat.close)
            return self._chat

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the chat tells of itself; nothing before it is opened."""
        return {} if self._chat is None else self._chat.facts

    def _require_consent(self) -> None:
        host = where(self.wanted)
        if host is not None and not self.consented:
            raise UsageProblem(
                f"{plain(self.wanted.model)} answers at {plain(host)}, pictures would be sent there, and nobody agreed to that.",
                "`fieldguide compare` and `fieldguide predict` tell what is sent and ask, or take --yes; other commands send no picture.",
                "A model or a server on this machine needs nobody's consent.",
            )


def _another(wanted: Wanted) -> DataProblem | EnvironmentProblem:
    if behind_server(wanted.model):
        return EnvironmentProblem(
            f"The server now answers for {plain(wanted.model)} with another model, or in another way, than before.",
            "The answers of one contestant come from one model; those there are stay as they are.",
            "Let the server run the model of before, or give the contestant another name (as=NAME) to begin anew.",
        )
    return DataProblem(
        f"The weights of {plain(wanted.model)}, or what reads them, are not those that this contestant was made with.",
        "The answers of one contestant come from one model; its weights are not copied into the study, only their hash is.",
        "Put the weights (and the version of transformers) of before back, or give the contestant another name (as=NAME) to begin anew.",
    )
