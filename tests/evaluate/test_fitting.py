"""Over-fitting: the interval against an independent implementation, the states at their borders, and the turn of the loss."""

from __future__ import annotations

from typing import Any

import pytest

from fieldguide.evaluate.fitting import ASKED, LEARNED, OVERFIT, fitting, turn
from fieldguide.evaluate.intervals import newcombe


def curve(*losses: tuple[float, float | None]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "train_loss": train, "val_loss": val} for epoch, (train, val) in enumerate(losses)]


def judged(train: float | None, val: float | None, n_train: int = 1000, n_val: int = 400, **more: Any) -> Any:
    return fitting({"train_accuracy": train, "val_accuracy": val, **more}, (), n_train, n_val)


def test_the_interval_is_newcombes() -> None:
    # Newcombe (1998), table II, method 10, examples (a) and (c).
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    from statsmodels.stats.proportion import confint_proportions_2indep

    for counts in ((0, 20, 0, 30), (20, 20, 17, 30), (1990, 2000, 640, 810), (3, 7, 6, 7)):
        wanted = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        assert newcombe(*counts) == pytest.approx(wanted, abs=1e-9)


def test_the_sentence_of_the_plain_case() -> None:
    found = judged(1.0, 0.87)
    assert found.state == "over-fits"
    assert found.gap == pytest.approx(0.13)
    assert found.low < 0.13 < found.high
    assert found.sentence.startswith(
        "Fits its training pictures perfectly (100 %) and validation 87.0 %: over-fits by 13.0 points ["
    )
    assert found.advice == "More pictures, stronger augmentation or fewer trained layers are what to try."


def test_states_at_their_borders() -> None:
    many = {"n_train": 2000, "n_val": 20_000}
    assert judged(0.95, 0.95 - OVERFIT - 0.001, **many).state == "over-fits"
    assert judged(0.95, 0.95 - OVERFIT + 0.005, **many).state == "a little"
    assert judged(0.95, 0.95, **many).state == "no sign"
    assert judged(0.90, 0.95, **many).state == "no sign"
    assert judged(LEARNED - 0.01, LEARNED - 0.01, **many).state == "learned little"
    assert judged(LEARNED + 0.01, LEARNED + 0.01, **many).state == "no sign"
    assert "not learned either" in judged(0.3, 0.3, **many).sentence


def test_few_pictures_do_not_tell_what_many_do() -> None:
    assert judged(0.96, 0.90, n_val=1000).state == "over-fits"
    found = judged(0.96, 0.90, n_val=20)
    assert found.state == "too few pictures to tell"
    assert "over-fits" not in found.sentence.casefold()


def test_training_pictures_count_as_many_as_were_asked() -> None:
    assert judged(0.9, 0.8, n_train=50_000).n_train == ASKED
    assert judged(0.9, 0.8, n_train=120).n_train == 120
    assert judged(0.9, 0.8, n_train=50_000, train_pictures=500).n_train == 500
    wide, narrow = judged(0.9, 0.8, n_train=60), judged(0.9, 0.8, n_train=2000)
    assert wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize(
    ("kept", "n_val"),
    [
        ({}, 40),
        ({"train_accuracy": 0.9}, 40),
        ({"train_accuracy": 0.9, "val_accuracy": None}, 40),
        ({"val_accuracy": 0.9}, 40),
        ({"train_accuracy": 0.9, "val_accuracy": 0.9}, 0),
        ({"train_accuracy": "high", "val_accuracy": 0.9}, 40),
    ],
)
def test_what_is_absent_is_not_measured(kept: dict[str, Any], n_val: int) -> None:
    found = fitting(kept, (), 100, n_val)
    assert found.state == "not measured"
    assert (found.train, found.gap, found.low) == (None, None, None)
    assert ("no validation pictures" in found.sentence) == (n_val == 0)


def test_validation_loss_that_turns_is_found_where_it_was_lowest() -> None:
    found = turn(curve((2.0, 2.0), (1.5, 1.2), (1.2, 1.0), (0.8, 1.3), (0.5, 1.5), (0.3, 1.4)))
    assert found is not None
    assert found.epoch == 2
    assert found.rise == pytest.approx(0.4)
    assert found.fall == pytest.approx(0.75)


@pytest.mark.parametrize(
    "losses",
    [
        (),
        ((1.0, 1.0),),
        ((2.0, 2.0), (1.5, 1.2), (1.2, 1.0), (1.0, 0.9)),  # it fell to the end
        ((2.0, 2.0), (1.5, 1.0), (1.2, 1.5)),  # one later epoch is noise
        ((2.0, 2.0), (1.0, 1.0), (0.8, 1.01), (0.7, 1.02), (0.6, 1.0001)),  # it stayed
        ((2.0, 2.0), (1.0, 1.0), (1.2, 1.5), (1.1, 1.5), (1.3, 1.6)),  # both rose: it diverged, it did not memorise
        ((2.0, None), (1.0, None), (0.5, None)),
        ((2.0, float("nan")), (1.0, float("nan")), (0.5, float("inf"))),
    ],
)
def test_no_turn(losses: tuple[tuple[float, float | None], ...]) -> None:
    assert turn(curve(*losses)) is None


def test_a_turn_is_told_also_without_a_gap_or_a_measurement() -> None:
    epochs = curve((2.0, 2.0), (1.2, 1.0), (0.8, 1.3), (0.5, 1.5))
    calm = fitting({"train_accuracy": 0.95, "val_accuracy": 0.95}, epochs, 2000, 9000)
    assert calm.state == "no sign"
    assert "lowest at epoch 1" in calm.sentence and "surer, not better" in calm.sentence
    assert "lowest at epoch 1" in fitting({}, epochs, 100, 40).sentence
    loud = fitting({"train_accuracy": 1.0, "val_accuracy": 0.8}, epochs, 2000, 900)
    assert "lowest at epoch 1" in loud.sentence and "surer" not in loud.sentence
