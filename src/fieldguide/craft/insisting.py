"""Asking again what may pass by itself, and giving a server up that is gone: the same for every protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fieldguide.craft import troubles
from fieldguide.craft.server import Server
from fieldguide.craft.troubles import NotAsked, ServerProblem, Trouble

#: Questions in a row that got no reply, after which the server is taken to be gone.
IN_A_ROW = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often a question is asked, how long one reply may take, and how long is waited in between, all in seconds."""

    attempts: int = 5
    seconds: float = 120.0
    first_wait: float = 1.0
    longest_wait: float = 120.0


class Insisting:
    """What all questions to one server have in common; several threads may ask at once.

    After a trouble that the next question would have, too, or `IN_A_ROW` questions in a row without a reply, it is `broken`: nothing
    more is sent, whichever thread asks. `speaks` is the server's protocol, for people.
    """

    def __init__(
        self,
        server: Server,
        patience: Patience,
        speaks: str = "the OpenAI chat protocol",
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.server, self.patience, self.speaks = server, patience, speaks
        #: Whether there has been any reply, and why nothing is asked any more (`None` as long as the server is there).
        self.proven = False
        self.broken: ServerProblem | None = None
        self._silent = 0
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._sleep = sleep or self._stopped.wait

    def put(self, attempt: Callable[[], T], simplify: Callable[[str], bool] | None = None) -> T:
        """Return what `attempt` brings, which raises `Trouble` where it comes to nothing.

        `simplify` is told what the server says where it refuses, and returns whether there is something simpler to try at once. Raises
        `ServerProblem` where there is no reply after all attempts, `NotAsked` at once where it is broken.
        """
        if self.broken is not None:
            raise NotAsked(self.broken)
        try:
            brought = self._insist(attempt, simplify)
        except ServerProblem as problem:
            self._went_without(problem)
            raise
        self._silent = 0
        return brought

    def stop(self) -> None:
        """End all waiting between attempts: what is being asked now is the last attempt."""
        self._stopped.set()

    def _insist(self, attempt: Callable[[], T], simplify: Callable[[str], bool] | None) -> T:
        attempts = 0
        while True:
            try:
                brought = attempt()
                self.proven = True
                return brought
            except Trouble as trouble:
                if trouble.refused and simplify is not None and simplify(trouble.why):
                    continue
                attempts += 1
                if not trouble.again or attempts >= self.patience.attempts or self._stopped.is_set():
                    raise self._given_up(trouble, attempts) from None
                self._rest(trouble, attempts)

    def _went_without(self, problem: ServerProblem) -> None:
        """Count a question that got no reply, and give the server up where there is no use in the next."""
        with self._lock:
            self._silent += 1
            if self.broken is None and (problem.lasting or self._silent >= IN_A_ROW):
                self.broken = problem
                self.stop()

    def _given_up(self, trouble: Trouble, attempts: int) -> ServerProblem:
        """Return the problem; once the server has replied, what it refuses is about one question and not about all."""
        trouble.lasting = trouble.lasting and not (trouble.single and self.proven)
        return troubles.problem(trouble, self.server, attempts, self.speaks)

    def _rest(self, trouble: Trouble, attempts: int) -> None:
        """Wait as long as the server asks, or twice as long after every attempt."""
        wait = trouble.wait or self.patience.first_wait * 2 ** (attempts - 1)
        if wait > self.patience.longest_wait and trouble.wait:
            trouble.why += f"; it asks to wait {wait:,.0f} s"
            trouble.lasting = True
            raise self._given_up(trouble, attempts) from None
        self._sleep(min(wait, self.patience.longest_wait))
        if self._stopped.is_set():
            raise self._given_up(trouble, attempts) from None
