"""Explanations as files: maps as bytes, so that a page can colour them itself, and everything else as JSON.

    {"schema", "image", "label", "answer", "runner_up", "probability", "gap", "width", "height", "seen", "passes", "seconds",
     "maps": [{"method", "title", "layers", "height", "width", "signed", "bytes", "low", "high", "checks", "seconds"}],
     "not_applicable": [{"method", "why", "instead"}]}

``bytes`` are base64 of uint8 ``"layers height width"``; a value is ``low + byte / 255 * (high - low)`` of its layer.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.explain.explaining import Explained, Explanation
from fieldguide.explain.faithfulness import Check
from fieldguide.explain.maps import NotApplicable
from fieldguide.records import SCHEMA_VERSION


def as_json(explanation: Explanation, label: str | None = None) -> dict[str, Any]:
    """Return the content of one file; `label` is the true class, where it is known."""
    names = ("image", "answer", "runner_up", "probability", "gap", "width", "height", "seen", "passes", "seconds")
    return {
        "schema": SCHEMA_VERSION,
        "label": label,
        **{name: getattr(explanation, name) for name in names},
        "maps": [_maps(one) for one in explanation.explained],
        "not_applicable": [{"method": name, "why": no.why, "instead": list(no.instead)} for name, no in explanation.refused],
    }


def as_refusal(image: str, answer: str, why: NotApplicable, label: str | None = None) -> dict[str, Any]:
    """Return the content of the file of an answer that nothing can explain, because its contestant cannot be asked again."""
    return {
        "schema": SCHEMA_VERSION,
        "image": image,
        "label": label,
        "answer": answer,
        "runner_up": "",
        "probability": None,
        "gap": None,
        "seen": [0, 0, 1, 1],
        "passes": 0,
        "seconds": 0.0,
        "maps": [],
        "not_applicable": [{"method": "occlusion", "why": why.why, "instead": list(why.instead)}],
    }


def _maps(one: Explained) -> dict[str, Any]:
    values = one.maps.values
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    return {
        "method": one.maps.method,
        "title": one.title,
        "layers": list(one.maps.layers),
        "height": values.shape[1],
        "width": values.shape[2],
        "signed": one.maps.signed,
        "bytes": base64.b64encode(_bytes(values, low, high).tobytes()).decode("ascii"),
        "low": low.tolist(),
        "high": high.tolist(),
        "checks": [_check(check) for check in one.checks],
        "seconds": one.seconds,
    }


def _bytes(values: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.uint8]:
    spread = np.where(high > low, high - low, 1)
    scaled = (values - low[:, None, None]) / spread[:, None, None]
    return np.rint(255 * scaled).astype(np.uint8)


def _check(check: Check) -> dict[str, Any]:
    names = ("deletion", "insertion", "score", "random", "p", "better", "control", "moved", "sentence")
    return {name: getattr(check, name) for name in names}
