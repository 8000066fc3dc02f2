"""Whether anybody is there to be asked, before anything else is done: one GET without a key, and no picture and no word of a prompt.

Somebody is there who answers at all, whatever it is: a list of models, a refusal, or nothing in time, for a server can be slow and may be
loading. Nobody is there where the connection is refused, where the name of the machine is not known, or where TLS fails.
"""

from __future__ import annotations

import json
from dataclasses import replace

from fieldguide.craft.chat import OLLAMAS, Wanted, behind_server
from fieldguide.craft.chat.ollama import listed, of_ollama, require_model
from fieldguide.craft.server import server_of
from fieldguide.craft.troubles import Trouble, in_settings, problem
from fieldguide.craft.wire import Wire

#: Seconds that the whole of it may take.
_SECONDS = 3.0


def knock(wanted: Wanted) -> None:
    """Raise `ServerProblem` where nobody is there to be asked, and `EnvironmentProblem` where an Ollama that is there lacks the model."""
    if not behind_server(wanted.model):
        return
    ollama = wanted.model.startswith(OLLAMAS)
    with in_settings():
        server = of_ollama(wanted) if ollama else server_of(wanted.server or "", wanted.key_variable)
        server = replace(server, key=None, login=None, query={})
        wire = Wire(server, _SECONDS)
        try:
            answered = wire.send("/api/tags" if ollama else "/models")
        except Trouble as trouble:
            if trouble.lasting:
                raise problem(trouble, server, 1) from None
            return
        finally:
            wire.close()
        if ollama and answered.status == 200:
            try:
                there = listed(json.loads(answered.body))
            except (ValueError, RecursionError, AttributeError):  # whoever asks in earnest tells what is wrong
                return
            require_model(wanted.model.removeprefix(OLLAMAS), there, server.url)
