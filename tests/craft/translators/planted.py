"""Pictures and lines of a made geometry: what lines say of a picture is hidden behind a rotation, a shift, or a bent map."""

from __future__ import annotations

import numpy as np

from fieldguide.craft.translators import Pairs, Said


def rotation(random: np.random.Generator, width: int, features: int) -> np.ndarray:
    """Return a matrix ``"width features"`` whose shorter side is orthonormal."""
    return np.linalg.qr(random.normal(size=(max(width, features), max(width, features))))[0][:width, :features]


def factors(random: np.random.Generator, classes: int = 20, each: int = 30, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return what pictures are made of, ``"pictures width"``: class means and a spread; and the class of each."""
    labels = np.repeat(np.arange(classes), each)
    return random.normal(size=(classes, width))[labels] + 0.7 * random.normal(size=(len(labels), width)), labels


def pairs(lines: np.ndarray, pictures: np.ndarray, labels: np.ndarray | None = None) -> Pairs:
    """Return pairs of float32 rows, without classes where `labels` are not given."""
    groups = np.full(len(lines), -1) if labels is None else labels
    return Pairs(Said(lines.astype(np.float32)), pictures.astype(np.float32), groups.astype(np.int64))


def turned(seed: int = 0, width: int = 16, features: int = 16, noise: float = 0.05, seen: int | None = None) -> Pairs:
    """Return pairs whose lines see the first `seen` factors of a picture, turned, scaled by two and shifted."""
    random = np.random.default_rng(seed)
    made, labels = factors(random, width=min(width, features))
    told = made.copy()
    told[:, seen or made.shape[1] :] = 0
    turn = rotation(np.random.default_rng(99), min(width, features), width)
    lines = 0.5 * told @ turn + 3.0 + noise * random.normal(size=(len(made), width))
    pictures = made @ rotation(np.random.default_rng(98), made.shape[1], features) - 1.0
    return pairs(lines, pictures, labels)


def bent(seed: int = 0, width: int = 6) -> Pairs:
    """Return pairs whose lines tell size and sign of each factor apart: pictures are their products, which no linear map gives."""
    random = np.random.default_rng(seed)
    made, labels = factors(random, classes=20, each=40, width=width)
    mixed = made @ rotation(np.random.default_rng(97), width, width)
    lines = np.concatenate([np.abs(mixed), np.where(mixed > 0, 1.0, -1.0)], axis=1) + 0.02 * random.normal(
        size=(len(made), 2 * width)
    )
    return pairs(lines, made, labels)


def cosine(translated: np.ndarray, pictures: np.ndarray) -> float:
    """Return the mean cosine around the mean picture."""
    a, b = translated - pictures.mean(0), pictures - pictures.mean(0)
    return float(np.mean((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)))
