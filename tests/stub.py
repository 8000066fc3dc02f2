"""A server written by hand that speaks the OpenAI chat protocol and Ollama's, and every way of failing at it, on this machine."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What happens to one request: it is given the handler and writes a response, whole or not.
Answer = Callable[[BaseHTTPRequestHandler], None]
Script = Callable[[dict[str, Any], int], Answer]


@dataclass
class Stub:
    """A running server. `script` gets the body of a request and its number, counted from 0, and says how it is answered."""

    script: Script
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: What is answered below other addresses than that of the questions: these are not counted.
    pages: dict[str, Answer] = field(default_factory=dict)
    most: int = 0
    inside: int = 0

    @property
    def root(self) -> str:
        """The address without the part that the OpenAI protocol begins with."""
        return self.url.removesuffix("/v1")

    @property
    def count(self) -> int:
        return len(self.asked)

    def classes(self) -> list[str]:
        """The classes that were asked about, in the order of the requests."""
        return [class_of(body) for body in self.asked]


@contextmanager
def serving(script: Script, pages: dict[str, Answer] | None = None, port: int = 0) -> Iterator[Stub]:
    """Run a stub while the block runs; a port that is not given is any that is free."""
    stub = Stub(script, pages=pages or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # headers and body in one packet, or every request waits for the other side's delayed word

        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            except (OSError, ValueError):  # whoever asked has gone, in the middle of a word perhaps
                self.close_connection = True
                return
            page = stub.pages.get(self.path.partition("?")[0])
            if page is not None:
                page(self)
                return
            with stub.lock:
                stub.inside += 1
                stub.most = max(stub.most, stub.inside)
                number = len(stub.asked)
                stub.asked.append(body)
                stub.headers.append({name.lower(): value for name, value in self.headers.items()})
                stub.paths.append(self.path)
            try:
                stub.script(body, number)(self)
            except OSError:  # whoever asked has gone
                self.close_connection = True
            finally:
                with stub.lock:
                    stub.inside -= 1

        def do_GET(self) -> None:
            stub.pages.get(self.path.partition("?")[0], failing(404, "no such page"))(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of connections that the other side has dropped; everything else is told as ever."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", port), Handler)
    server.daemon_threads, server.block_on_close = True, False
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def raw(status: int, body: bytes | str, kind: str = "application/json", **headers: str) -> Answer:
    """Answer with these bytes."""
    data = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def envelope(text: str | None, finish: str = "stop", usage: tuple[int, int] | None = (100, 20), **message: Any) -> str:
    """A chat completion as JSON."""
    value: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "served-name",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}],
    }
    if usage is not None:
        value["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return json.dumps(value)


def ok(text: str | None, finish: str = "stop", **more: Any) -> Answer:
    """Answer with a text."""
    return raw(200, envelope(text, finish, **more))


def failing(status: int, message: str = "no", **headers: str) -> Answer:
    """Answer with an error as the protocol has them."""
    return raw(status, json.dumps({"error": {"message": message, "type": "x", "code": None}}), **headers)


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    data = envelope("whole")[:40].encode()
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(data)
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close without a word."""
    handler.close_connection = True


def hanging(seconds: float) -> Answer:
    """Say nothing for so long."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return answer


def dripping(seconds: float, status: int = 200) -> Answer:
    """Send a byte now and then, for so long."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "100000")
        handler.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
        handler.close_connection = True

    return answer


def huge(megabytes: int, status: int = 200) -> Answer:
    """Send more than anybody asked for, until nobody listens any more."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("connection", "close")
        handler.end_headers()
        for _ in range(16 * megabytes):
            handler.wfile.write(b"x" * 65_536)
        handler.close_connection = True

    return answer


def in_turn(*answers: Answer) -> Script:
    """Answer the first request with the first, and so on; the last answers all that follow."""
    return lambda body, number: answers[min(number, len(answers) - 1)]


def class_of(body: dict[str, Any]) -> str:
    """The class that a describe prompt asks about."""
    found = re.search(r"^Class: (.*)$", body["messages"][-1]["content"], re.MULTILINE)
    assert found is not None
    return found[1]


def described(body: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A good reply to a describe prompt: one sentence for each field, that names nobody."""
    text = body["messages"][-1]["content"]
    fields = re.findall(r"^- (\w[\w ]*?)(?::.*)?$", text.split("Fields:")[1].split("Rules:")[0], re.MULTILINE)
    opening = re.search(r'begins with "(.*?)"', text)
    assert opening is not None
    name = class_of(body)
    sentences = {field: f"{opening[1]} {field} like number {sum(map(ord, name))}" for field in fields}
    return {"class": name, "fields": sentences, "distinct_from": [], **changed}


def good(body: dict[str, Any], number: int) -> Answer:
    """Describe what is asked about."""
    return ok(json.dumps(described(body)))
