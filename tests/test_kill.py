"""kill -9 in any phase, then the same call: the same final numbers, and no partial file under a final name.

A child process kills itself at the N-th rename of a file (before it or after it) or at the N-th training step, for N over the whole run;
by default a seeded sample of these moments, with FIELDGUIDE_TORTURE=all every one of them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pictures import write_folder

import fieldguide
from fieldguide.asked import Entry
from fieldguide.data.tables import read_predictions

pytestmark = pytest.mark.slow(keep=8)
CONTESTANTS = (
    Entry(name="majority", family="majority"),
    Entry(name="linear", family="linear", settings={"image_size": 8, "strengths": [0.1]}),
    Entry(
        name="net",
        family="backbone",
        settings={
            "model": "test_resnet",
            "weights": "none",
            "image_size": 32,
            "epochs": 3,
            "batch_size": 8,
            "precision": "fp32",
        },
    ),
)
Moment = tuple[str, int]
#: Places in a run, as shares of all its moments.
SHARES = [n / 130 for n in range(130)]


def _study(pictures: Path, out: Path) -> fieldguide.Study:
    from fieldguide.craft import loop

    loop.CHECKPOINT_SECONDS = 0.0
    return fieldguide.compare(pictures, CONTESTANTS, out=out)


def _count(moment: Callable[[str, int], None]) -> None:
    """Call `moment` with the kind and number of each rename and training step of this process."""
    from fieldguide.craft import loop

    replace, step = os.replace, loop._Run._step
    counts = {"before": 0, "after": 0, "step": 0}

    def tell(kind: str) -> None:
        moment(kind, counts[kind])
        counts[kind] += 1

    def replacing(*names: str) -> None:
        tell("before")
        replace(*names)
        tell("after")

    def stepping(run: loop._Run, batch: object) -> float:
        tell("step")
        return step(run, batch)  # type: ignore[arg-type]

    os.replace, loop._Run._step = replacing, stepping  # type: ignore[assignment,method-assign]


def _child(pictures: Path, out: Path, kind: str, number: int, told: Path | None) -> None:
    seen = {"before": 0, "after": 0, "step": 0}

    def moment(at: str, count: int) -> None:
        seen[at] = count + 1
        if told is None and (at, count) == (kind, number):
            os.kill(os.getpid(), signal.SIGKILL)

    _count(moment)
    _study(pictures, out)
    if told is not None:
        told.write_text(json.dumps(seen))


def _run_child(pictures: Path, out: Path, kind: str, number: int, told: Path | None = None) -> int:
    """Run a study in a forked child (the libraries are already imported here) and return its exit code."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(pictures, out, kind, number, told))
    process.start()
    process.join(timeout=120)
    if process.is_alive():
        process.kill()
        raise AssertionError("the child hangs")
    return int(process.exitcode or 0)


def _answers(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    return {
        path.parent.name: [
            (answer.image, answer.label, answer.probabilities, answer.error) for answer in read_predictions(path)
        ]
        for path in sorted(folder.glob("runs/*/predictions.parquet"))
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos", each=14)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Study:
    return _study(pictures, tmp_path_factory.mktemp("whole") / "s")


@pytest.fixture(scope="module")
def moments(pictures: Path, whole: fieldguide.Study, tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    """Return every moment of one run. It stands after `whole`, so that the child need not import the libraries."""
    folder = tmp_path_factory.mktemp("count")
    assert _run_child(pictures, folder / "s", "", 0, folder / "told.json") == 0
    seen = json.loads((folder / "told.json").read_text())
    assert seen["step"] == 12
    return [(kind, number) for kind, count in sorted(seen.items()) for number in range(count)]


@pytest.mark.parametrize("share", SHARES)
def test_killed_and_called_again(
    share: float, moments: list[Moment], pictures: Path, whole: fieldguide.Study, tmp_path: Path
) -> None:
    out = tmp_path / "s"
    kind, number = moments[int(share * len(moments))]
    assert _run_child(pictures, out, kind, number) == -signal.SIGKILL
    again = _study(pictures, out)
    assert again.manifest.hash == whole.manifest.hash
    assert _answers(out) == _answers(whole.folder)
    assert again.comparison == whole.comparison
    for run in ("majority", "linear", "net"):
        assert again.scores(run) == whole.scores(run)
    assert not list(out.rglob(".unfinished-*"))
    assert not list(out.rglob("scratch"))
    epochs = [json.loads(line) for line in (out / "runs" / "net" / "log.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in epochs if event["event"] == "epoch"] == [0, 1, 2]
