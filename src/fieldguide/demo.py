"""The demo's contestants: a floor, an honest baseline, a deliberately weak one, and three small networks from scratch."""

from __future__ import annotations

from fieldguide.asked import Entry

#: Digits are not mirrored, and crops stay mild: a 6 cut in half is no digit.
_SMALL = {"weights": "none", "flip": False, "min_area": 0.7, "batch_size": 64}

CONTESTANTS = (
    Entry(name="majority", family="majority"),
    Entry(name="ink-only", family="linear", settings={"features": "colour"}),
    Entry(name="linear", family="linear", settings={"image_size": 8}),
    Entry(
        name="small-cnn",
        family="backbone",
        settings={"model": "test_resnet", "image_size": 32, "epochs": 15, "learning_rate": 2e-3, **_SMALL},
    ),
    Entry(
        name="small-vit",
        family="backbone",
        settings={"model": "test_vit", "image_size": 16, "patch_size": 4, "epochs": 30, "learning_rate": 1e-3, **_SMALL},
    ),
    Entry(
        name="small-vmamba",
        family="vmamba",
        settings={"depths": [1, 1, 1, 1], "dim": 16, "image_size": 32, "epochs": 15, "learning_rate": 2e-3, **_SMALL},
    ),
)
