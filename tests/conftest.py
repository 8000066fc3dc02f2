"""What all tests share: one quiet thread, no network, pictures in memory, and real ones where there are some."""

from __future__ import annotations

import os

# Before anything imports torch: threads that wait by spinning stop each other on a busy machine, and sums must not depend on cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from tests.torture import table
from tests.torture.table import told  # noqa: F401 - a fixture for all

from fieldguide.errors import PictureError
from fieldguide.records import Image, Pixels

settings.register_profile(
    "fieldguide", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fieldguide")
# Its examples are the same whichever of our modules are loaded: else it reads them all for numbers to try, which takes 20 s besides.
providers._get_local_constants = lambda: providers._local_constants


#: So many of the tests of a module that drive a browser run by default.
IN_A_BROWSER = 6


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a seeded sample of each slow group; FIELDGUIDE_TORTURE=all keeps every case.

    A group is what a module marks as ``slow(keep=N)``, and what in it asks for `chromium`.
    """
    table.collect(config, items)
    if os.environ.get("FIELDGUIDE_TORTURE") == "all" or any("::" in word for word in config.args):
        return
    groups: dict[str, list[tuple[pytest.Item, int]]] = {}
    for item in items:
        module, marked = item.nodeid.split("::")[0], item.get_closest_marker("slow")
        if marked:
            groups.setdefault(module, []).append((item, int(marked.kwargs.get("keep", 2))))
        elif "chromium" in getattr(item, "fixturenames", ()):
            groups.setdefault(f"{module} in a browser", []).append((item, IN_A_BROWSER))
    dropped: set[str] = set()
    for name, marked_items in groups.items():
        group, keep = [item for item, _ in marked_items], max(keep for _, keep in marked_items)
        sample = random.Random(name).sample(group, min(keep, len(group)))
        dropped |= {item.nodeid for item in group} - {item.nodeid for item in sample}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in dropped])
    items[:] = [item for item in items if item.nodeid not in dropped]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note for the torture table how each case went."""
    report = yield
    table.note(item, report)  # type: ignore[arg-type]
    return report  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the torture table after a run of everything."""
    table.write(session.config)


_HERE = {"localhost", "127.0.0.1", "::1", ""}


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Fail, past every ``except Exception``, where a test would leave this machine."""
    connect, find = socket.socket.connect, socket.getaddrinfo

    def refuse(host: object) -> None:
        if host is not None and (host.decode() if isinstance(host, bytes) else str(host)) not in _HERE:
            pytest.fail(f"a test reached for the network: {host!r}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            refuse(address[0])
        connect(self, address)

    def guarded_find(host: Any, *more: Any, **named: Any) -> Any:
        refuse(host)
        return find(host, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_find)
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets and weights, named by FIELDGUIDE_DATA."""
    named = os.environ.get("FIELDGUIDE_DATA")
    if not named:
        pytest.skip("FIELDGUIDE_DATA is not set: there are no real pictures here")
    return Path(named)


@dataclass
class Held:
    """A `PixelReader` over arrays; what it was asked for is written down."""

    arrays: dict[str, Pixels] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def read(self, key: str, at_least: int) -> Pixels:
        self.asked.append((key, at_least))
        if key not in self.arrays:
            raise PictureError("truncated", "lost")
        return self.arrays[key]

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """They are there already."""


@pytest.fixture
def held() -> Callable[[Sequence[Pixels | None]], list[Image]]:
    """Turn arrays into images called ``p000``, ``p001``, ...; `None` becomes a picture that cannot be read."""

    def make(arrays: Sequence[Pixels | None]) -> list[Image]:
        reader = Held({f"p{at:03}": np.asarray(array) for at, array in enumerate(arrays) if array is not None})
        return [Image(f"p{at:03}", reader) for at in range(len(arrays))]

    return make


@pytest.fixture(scope="session")
def any_chromium() -> Iterator[Any]:
    """A running chromium for all tests of a run, or `None` where there is none; it needs no sandbox of its own because the pages are ours."""
    found = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def chromium(any_chromium: Any) -> Any:
    """A running chromium; the test is skipped where there is none."""
    if any_chromium is None:
        pytest.skip("no chromium at /usr/bin/chromium or on PATH, or playwright is not installed")
    return any_chromium
