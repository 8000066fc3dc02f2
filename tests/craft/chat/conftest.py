"""Tiny language models that look, written once for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldguide.craft.chat.tiny import architectures, write_chat


@pytest.fixture(scope="session")
def tiny_chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of each architecture, called by its name."""
    root = tmp_path_factory.mktemp("chats")
    for architecture in architectures():
        write_chat(root / architecture, architecture)
    return root
