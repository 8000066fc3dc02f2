"""Several questions on their way at once, answers in order, and never more of them than may be."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Flight(Generic[T, R]):
    """Threads that do `work`, `at_once` of them, with at most `ahead` items taken of which no result has been handed over.

    The threads are ended with the process and not waited for: whoever interrupts it need not wait for a server.
    """

    def __init__(self, work: Callable[[T], R], at_once: int, ahead: int) -> None:
        self._work, self._at_once, self._ahead = work, at_once, ahead
        self._waiting: SimpleQueue[tuple[T, Future[R]] | None] = SimpleQueue()
        self._ended = False

    def results(self, items: Iterable[T], alone: Callable[[], bool] = lambda: False) -> Iterator[R]:
        """Yield what `work` made of each of `items`, in order. As long as `alone` is true, one is worked at and the others wait.

        An exception of `work` is raised in its place. One of `items` is raised after all results of before.
        """
        for number in range(self._at_once):
            threading.Thread(target=self._run, name=f"flight {number}", daemon=True).start()
        flying: deque[Future[R]] = deque()
        source = iter(items)
        broke: Exception | None = None
        try:
            while broke is None:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:  # what was taken before it is answered first
                    broke = error
                    break
                future: Future[R] = Future()
                self._waiting.put((item, future))
                flying.append(future)
                del item
                while flying and (alone() or len(flying) >= self._ahead):
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            self._ended = True
            for _ in range(self._at_once):
                self._waiting.put(None)
        if broke is not None:
            raise broke

    def _run(self) -> None:
        while (taken := self._waiting.get()) is not None and not self._ended:
            item, future = taken
            del taken
            try:
                future.set_result(self._work(item))
            except BaseException as error:  # told to whoever waits for it
                future.set_exception(error)
            del item, future


class Shares:
    """Wall time shared out among what is on its way: with n questions at once, a second adds 1/n to each, so that the shares sum up to it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._count, self._last, self._each = 0, 0.0, 0.0

    def begin(self) -> float:
        """Note that one more is on its way, and return what to give back to `end`."""
        return self._moved(1)

    def end(self, begun: float) -> float:
        """Note that it has come, and return its share in seconds."""
        return self._moved(-1) - begun

    def _moved(self, by: int) -> float:
        with self._lock:
            now = self._clock()
            if self._count:
                self._each += (now - self._last) / self._count
            self._last, self._count = now, self._count + by
            return self._each
