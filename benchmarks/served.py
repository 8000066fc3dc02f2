"""2,000 pictures asked about at a server on this machine with a latency of 20 ms, 16 at a time, against the ideal, and memory.

    python benchmarks/served.py                         192-pixel photographs (JPEG), both protocols
    python benchmarks/served.py --side 24               thumbnails (PNG)
    python benchmarks/served.py --profile               where the time of one run goes

The ideal is requests x latency / at once: what a client that costs nothing would take. The server is a process of its own on an event
loop; it reads each request whole, waits, and answers always the same, so that it is not what is measured. On a machine that others use,
the ideal is out of reach for anybody: "bare" is a client that sends ready bytes by http.client and looks at nothing. Rounds of all three
alternate, and the table gives the median; processor time is that of this process, for each request. Memory is the
growth of the resident peak from after the first 100 requests to the end: what were to pile up would show there.
"""

from __future__ import annotations

import argparse
import cProfile
import http.client
import json
import pstats
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.ollama import Ollama, open_ollama
from fieldguide.craft.chat.over_http import Served, open_served
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

REQUESTS, AT_ONCE, LATENCY, SEED = 2_000, 16, 0.02, 7
#: A list of 90 names stands before the picture, as in the experiment that this is for.
NAMES = tuple(f"animal number {number}" for number in range(90))
ASKING = Asking(
    (Message("system", ("You name animals.",)), Message("user", ("One of: " + ", ".join(NAMES), Shown(), "Which?"))), NAMES
)

SERVER = """
import asyncio, json, socket, sys

LATENCY = float(sys.argv[1])


def whole(value):
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body


CHAT = whole({"object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 100, "completion_tokens": 4}, "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "animal number 7"}, "finish_reason": "stop"}]})
PAGES = {
    b"/v1/chat/completions": CHAT,
    b"/api/chat": whole({"model": "m:latest", "message": {"role": "assistant", "content": "animal number 7"}, "done": True,
                         "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 4}),
    b"/api/tags": whole({"models": [{"name": "m:latest", "digest": "d1"}]}),
    b"/api/show": whole({"capabilities": ["completion", "vision"]}),
    b"/api/version": whole({"version": "0.13.0"}),
}


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parts, self.got, self.needed, self.page = transport, [], 0, None, b""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.parts.append(data)
        self.got += len(data)
        if self.needed is None:
            head, blank, _ = b"".join(self.parts).partition(b"\\r\\n\\r\\n")
            if not blank:
                return
            lengths = [line for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:")]
            self.page = PAGES[head.split(b" ", 2)[1].split(b"?")[0]]
            self.needed = len(head) + 4 + (int(lengths[0].partition(b":")[2]) if lengths else 0)
        if self.got >= self.needed:
            self.parts, self.got, self.needed = [], 0, None
            asyncio.get_running_loop().call_later(LATENCY, self.answer, self.page)

    def answer(self, page):
        if not self.transport.is_closing():
            self.transport.write(page)


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
"""


def pictures(count: int, side: int) -> Iterator[Pixels]:
    """Yield `count` pictures; they are made from 16, so that making them costs nothing."""
    random = np.random.default_rng(SEED)
    coarse = random.integers(0, 255, (16, 12, 12, 3)).astype(np.uint8)
    made = [np.kron(one, np.ones((side // 12, side // 12, 1), np.uint8)) for one in coarse]
    made = [(one + random.integers(0, 12, one.shape)).clip(0, 255).astype(np.uint8) for one in made]
    for number in range(count):
        yield made[number % len(made)]


def peak() -> int:
    """Return the resident peak of this process, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def asked(chat: Served | Ollama, count: int, side: int) -> tuple[float, float]:
    """Return wall and processor seconds of asking about so many pictures."""
    start, busy = time.perf_counter(), time.process_time()
    said = sum(one.text == "animal number 7" for one in chat.ask(ASKING, pictures(count, side), {}))
    assert said == count
    return time.perf_counter() - start, time.process_time() - busy


def bare(url: str, count: int, at_once: int, side: int) -> tuple[float, float]:
    """Return the same of a client that does nothing but send bytes that were ready before and read what comes: the floor on this machine now."""
    from fieldguide.craft.chat.sent import sent

    body = json.dumps({"text": ASKING.text(), "picture": sent(next(pictures(1, side))).url}).encode()
    held = threading.local()

    def once(number: int) -> None:
        if not hasattr(held, "connection"):
            held.connection = http.client.HTTPConnection(url.removeprefix("http://"))
            held.connection.connect()
            held.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held.connection.request("POST", "/v1/chat/completions", body)
        held.connection.getresponse().read()

    start, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(once, range(count)))
    return time.perf_counter() - start, time.process_time() - busy


def profiled(chat: Served | Ollama, side: int) -> None:
    """Show where one thread's time goes, at one request at a time: threads are not followed."""
    from fieldguide.craft.chat.sent import sent

    question = chat.question(ASKING, {}) if isinstance(chat, Served) else None
    if not isinstance(chat, Served) or question is None:
        return
    profile = cProfile.Profile(time.thread_time)
    chat.chat.ask(question, sent(next(pictures(1, side))).url)
    profile.enable()
    for pixels in pictures(300, side):
        chat.chat.ask(question, sent(pixels).url)
    profile.disable()
    pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--side", type=int, default=192, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with subprocess.Popen([sys.executable, "-c", SERVER, str(LATENCY)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            wanted = {"server": url, "at_once": given.at_once}
            chats: dict[str, Served | Ollama] = {
                "OpenAI": open_served(Wanted("served/m", **wanted)),
                "Ollama": open_ollama(Wanted("ollama/m", **wanted)),
            }
            if given.profile:
                profiled(chats["OpenAI"], given.side)
                return
            for chat in chats.values():
                asked(chat, 100, given.side)
            before, ideal = peak(), given.requests * LATENCY / given.at_once
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*chats, "bare")}
            for _ in range(given.rounds):
                times["bare"].append(bare(url, given.requests, given.at_once, given.side))
                for name, chat in chats.items():
                    times[name].append(asked(chat, given.requests, given.side))
            print(
                f"{given.requests:,} requests of {given.side} px, {given.at_once} at a time, {LATENCY * 1e3:g} ms: ideal {ideal:.2f} s"
            )
            for name, rounds in times.items():
                walls, busy = ([one[at] for one in rounds] for at in (0, 1))
                each = ", ".join(f"{wall / ideal:.2f}" for wall in walls)
                cost = statistics.median(busy) / given.requests * 1e3
                print(
                    f"{name}: {statistics.median(walls) / ideal:.2f} times the ideal ({each}); {cost:.2f} ms of processor a request"
                )
            print(f"Peak memory grew by {(peak() - before) / 1e6:.1f} MB.")
            print(json.dumps({name: [round(wall, 3) for wall, _ in rounds] for name, rounds in times.items()}))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
