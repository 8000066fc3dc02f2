"""One contestant, one picture: which maps there are, what they are laid over, how they are written, and what cannot be explained."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from tests.explain.knows import Watcher, picture

from fieldguide.craft.trained import Trained, as_published
from fieldguide.craft.vmamba_net import Shape, VMamba
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import PictureError, UsageProblem
from fieldguide.explain.explaining import Explainer, Wish
from fieldguide.explain.files import as_json
from fieldguide.explain.maps import NotApplicable
from fieldguide.explain.methods import METHODS, wanted
from fieldguide.records import Image, Pixels
from fieldguide.report.explained import explanation_from

IDS = ("a", "b", "c", "d")
Make = Callable[[Sequence[Pixels | None]], list[Image]]


def network(kind: str) -> Trained:
    torch.manual_seed(1)
    made = {
        "cnn": lambda: timm.create_model("test_resnet", num_classes=4),
        "vit": lambda: timm.create_model("test_vit", num_classes=4, img_size=32, patch_size=4),
        "vmamba": lambda: VMamba(Shape((1, 1, 1, 1), 8, classes=4)),
    }[kind]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return as_published(made, {}, Preprocessing(32, crop=0.875), IDS)


@pytest.mark.parametrize(
    ("kind", "inside"),
    [
        ("cnn", {"gradcam"}),
        ("vit", {"attention", "rollout", "attention-gradient", "gradcam"}),
        ("vmamba", {"scan-attention", "scan-gradient", "gradcam"}),
    ],
)
def test_every_kind_of_network_has_its_own_maps_and_occlusion(kind: str, inside: set[str], held: Make) -> None:
    fitted = network(kind)
    explainer = Explainer(fitted, IDS, Wish(orders=3, grid=4))
    (image,) = held([picture(size=60)])
    told = explainer.explain(image)
    assert {one.maps.method for one in told.explained} == inside | {"occlusion"}
    assert {name for name, _ in told.refused} == {name for name, one in METHODS.items() if one.usual} - inside - {"occlusion"}
    for _, why in told.refused:
        assert why.instead and set(why.instead) <= set(METHODS)
    for one in told.explained:
        assert one.maps.values.ndim == 3 and one.maps.values.dtype == np.float32 and np.isfinite(one.maps.values).all()
        assert len(one.checks) == len(one.maps.layers) == len(one.maps.values)
        assert all(check.control is not None and len(check.random) == 3 for check in one.checks)
        assert all(check.control is not None and check.control < 0.999 for check in one.checks), "held against itself"
    (answer,) = fitted.predict([image])
    assert told.answer == answer.label and told.probability == pytest.approx(max(answer.probabilities or ()), abs=1e-5)
    ordered = sorted(answer.probabilities or (), reverse=True)
    assert told.gap == pytest.approx(np.log(ordered[0] / ordered[1]), abs=1e-4)
    assert told.seen == pytest.approx((0.067, 0.067, 0.933, 0.933), abs=0.02)
    # It answers as before: what was hooked or switched off is as it was.
    assert next(iter(fitted.predict([image]))).probabilities == answer.probabilities


def test_a_contestant_without_a_network_is_explained_from_outside(held: Make) -> None:
    told = Explainer(Watcher(), ("bright", "dark", "other")).explain(held([picture()])[0])
    (one,) = told.explained
    assert one.maps.method == "occlusion" and one.checks[0].better and one.checks[0].control is None
    assert {str(why) for _, why in told.refused} == {"not applicable: this family cannot be looked into; use occlusion"}
    assert (told.answer, told.runner_up, told.seen) == ("bright", "other", (0, 0, 1, 1))
    assert told.passes == 1 + 82 + 2 + (10 + 1) * 18


def test_a_contestant_is_asked_with_pictures_of_the_size_it_wants(held: Make) -> None:
    class Large(Watcher):
        def predict(self, images):
            for image in images:
                assert min(image.pixels(300).shape[:2]) >= 300
                yield from Watcher.predict(self, [image])

    told = Explainer(Large(), ("bright", "dark", "other"), Wish(orders=1)).explain(held([picture(size=400)])[0])
    assert (told.width, told.height) == (400, 400)


def test_no_checks_where_none_are_wished_for(held: Make) -> None:
    told = Explainer(network("vit"), IDS, Wish(orders=0, methods=("occlusion", "attention"))).explain(held([picture()])[0])
    assert [one.checks for one in told.explained] == [(), ()]
    assert told.passes == 1 + 82


def test_the_estimate_tells_what_is_asked_about(held: Make) -> None:
    explainer = Explainer(Watcher(), ("bright", "dark", "other"), Wish(orders=5))
    (image,) = held([picture()])
    expected = explainer.estimate(image)
    assert expected.seconds > 0 and expected.passes == pytest.approx(explainer.explain(image).passes, rel=0.05)


def test_layers_are_counted_from_zero_and_named(held: Make) -> None:
    wish = Wish(("attention",), layers=(0, 3), orders=0)
    (one,) = Explainer(network("vit"), IDS, wish).explain(held([picture()])[0]).explained
    assert one.maps.layers == ("block 0", "block 3")
    with pytest.raises(UsageProblem, match="Block 9 was asked for, but this network has 6"):
        Explainer(network("vit"), IDS, Wish(("attention",), layers=(9,))).explain(held([picture()])[0])


def test_what_is_written_is_what_was_found_to_a_byte(held: Make) -> None:
    told = Explainer(network("vmamba"), IDS, Wish(orders=2)).explain(held([picture()])[0])
    written = as_json(told, "c")
    read = explanation_from(written)
    assert (read.label, read.answer, read.runner_up, read.seen) == ("c", told.answer, told.runner_up, pytest.approx(told.seen))
    for drawn, one in zip(read.maps, told.explained, strict=True):
        for layer, values in enumerate(one.maps.values):
            assert np.abs(drawn.values(layer) - values).max() <= np.ptp(values) / 255 * 0.51 + 1e-6
            check = drawn.check(layer)
            assert (
                check is not None and check.sentence == one.checks[layer].sentence and check.better == one.checks[layer].better
            )
    assert len(base64.b64decode(written["maps"][0]["bytes"])) == told.explained[0].maps.values.size


def test_a_picture_that_cannot_be_read_and_answers_without_probabilities(held: Make) -> None:
    with pytest.raises(PictureError):
        Explainer(network("cnn"), IDS).explain(held([None])[0])
    with pytest.raises(NotApplicable, match="no probabilities"):
        Explainer(Watcher(probabilities=False), ("bright", "dark", "other")).explain(held([picture()])[0])


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UsageProblem, match="Did you mean gradcam"):
        wanted(["gradcan"])
    assert list(wanted(["occlusion", "gradcam", "occlusion"])) == ["occlusion", "gradcam"]


def test_seeds_repeat(held: Make, tmp_path: Path) -> None:
    (image,) = held([picture()])
    once, again = (Explainer(network("cnn"), IDS, Wish(orders=4)).explain(image) for _ in range(2))
    for one, two in zip(once.explained, again.explained, strict=True):
        assert (one.maps.values == two.maps.values).all() and one.checks == two.checks
