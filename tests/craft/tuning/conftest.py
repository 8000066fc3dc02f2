"""Tiny language models that look, and lessons for them."""

from __future__ import annotations

from tests.craft.chat.conftest import tiny_chats  # noqa: F401 - a fixture for all
