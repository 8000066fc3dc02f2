"""What is looked into answers as head and features do, and the methods that look inside find a transformer's blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.craft.encoders.tiny_models import saved

from fieldguide.craft import encoders
from fieldguide.craft.anatomy import anatomy
from fieldguide.craft.encoders import of_transformers, of_zoo
from fieldguide.craft.encoders.looking import sight
from fieldguide.craft.frozen import Lens
from fieldguide.craft.heads import Head, Normal, normalised
from fieldguide.explain import attention, cam
from fieldguide.explain.maps import Target


def half(tmp_path: Path, kind: str) -> encoders.Sees:
    if kind == "zoo":
        return of_zoo.build(Lens("test_vit2", "none", image_size=64), seed=0, device="cpu", online=False).sees
    if kind == "open_clip":
        pytest.importorskip("open_clip", exc_type=ImportError)
        from tests.craft.encoders.test_of_open_clip import build, folder

        folder(tmp_path, "clip")
        return build(tmp_path).sees
    saved(tmp_path, kind)
    return of_transformers.build(Lens(f"hf/{tmp_path}", "hub"), "cpu", online=False).sees


@pytest.mark.parametrize(
    "kind, how", [("clip", "l2"), ("siglip", "centre+l2"), ("open_clip", "l2"), ("zoo", "standardise"), ("metaclip_2", "none")]
)
def test_it_answers_alike_and_its_attention_is_found(tmp_path: Path, kind: str, how: Normal) -> None:
    sees = half(tmp_path, kind)
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.standard_normal((6, 3, sees.preprocessing.size, sees.preprocessing.size))).float()
    rows = sees.pictures(pixels).numpy()
    normal = normalised(how, rows[:4])
    head = Head(random.standard_normal((rows.shape[1], 3)), random.standard_normal(3))
    seen = sight(sees, normal, head, ("a", "b", "c"))
    assert seen is not None
    np.testing.assert_allclose(seen.logits(pixels), head(normal(rows)), rtol=1e-3, atol=1e-4)
    whole = anatomy(seen.network)
    assert len(whole.blocks) >= 2 and not [name for part in whole.parts for name in part.parameters if "text" in name]
    for method in (attention.attention, attention.rollout, attention.attention_gradient, cam.gradcam):
        maps: Any = method(seen, pixels[:1], Target(0, 1), None)
        assert maps.layers and np.isfinite(maps.values).all() and np.ptp(maps.values) > 0, method
