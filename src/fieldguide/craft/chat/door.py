"""A chat that is opened when it is first needed, and only with consent where pictures would leave this machine."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from fieldguide.craft.chat import MOONDREAM, OLLAMA, OLLAMAS, Chat, Wanted, behind_server
from fieldguide.craft.chat.sent import USUAL_SIZE
from fieldguide.craft.server import Server
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem, plain


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


def probed(chat: Chat, wanted: Wanted) -> Mapping[str, Any]:
    """Return ``{"probe": ...}``, what a server was found to do; nothing for a model of this process. Raises what the probe raises."""
    probe = getattr(chat, "probe", None)
    if probe is None:
        return {}
    name = (wanted.server, wanted.model, chat.revision)
    if name not in _PROBED:
        _PROBED[name] = probe()
    return {"probe": _PROBED[name]}


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
