"""`transformers serve` in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def transformers_serve(model: Path, scratch: Path) -> Iterator[str]:
    """Serve the model in the folder `model`, which is also its name, and yield the address; its log goes to `scratch`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", str(model), "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    start = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(scratch / "home"), "OMP_NUM_THREADS": "1"}
    with (
        open(scratch / "log", "wb") as log,
        subprocess.Popen([sys.executable, "-c", start, *words], stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            give_up = time.monotonic() + 600
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < give_up, (scratch / "log").read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
