"""The public functions, for Python; the command line calls the same code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import explaining, prompt_audit
from fieldguide.asked import Entry, PromptAudit, Terms
from fieldguide.bench import Progress
from fieldguide.data.loose import Files, picture_files
from fieldguide.errors import UsageProblem
from fieldguide.families import Fitted
from fieldguide.looking import Look
from fieldguide.looking import look as look
from fieldguide.report.wanted import Wanted
from fieldguide.runs import load as load_run
from fieldguide.settings import build
from fieldguide.study import Study, read_asked
from fieldguide.study import compare as run_study
from fieldguide.study import redraw as redraw_study
from fieldguide.using import FileAnswer, predict_files

if TYPE_CHECKING:
    from fieldguide.explain.explaining import Explanation

__all__ = ["Look", "audit", "compare", "explanations", "load", "look", "predict", "redraw"]


def compare(
    source: str | Path,
    contestants: Iterable[str | Entry] = (),
    *,
    out: str | Path | None = None,
    online: bool = False,
    extend: bool = False,
    terms: Terms | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Study:
    """Compare `contestants` on the pictures of `source` and return the finished study.

    `contestants` are words ``[family/]name[:key=value,...]`` or `fieldguide.asked.Entry` tables; `settings` are fields of
    `fieldguide.asked.Asked` (``split``, ``folds``, ``seed``, ``preset``). The same call again goes on where it was stopped. `terms`
    say whether pictures may be sent to other machines (``fieldguide.asked.Terms(yes=True)``) and how many questions may be put. Raises a
    `fieldguide.Problem` for what a user can mend.
    """
    asked, folder = read_asked(str(source), Path(out) if out else None, contestants=tuple(contestants), **settings)
    return run_study(asked, folder, online=online, extend=extend, terms=terms, progress=progress)


def redraw(study: str | Path, *, figures: bool = False, folder: bool = False) -> Study:
    """Score and draw again from the files of a study folder.

    `figures` also draws SVG and PNG for a paper or slides into ``figures/`` (extra ``figures``), `folder` also the folder edition of
    the report, ``report/index.html``, with all wrong pictures.
    """
    return redraw_study(Path(study), Wanted(figures=figures, folder=folder))


def audit(
    run: str | Path,
    checks: Iterable[str] = (),
    *,
    terms: Terms | None = None,
    progress: Progress | None = None,
    **wish: int,
) -> dict[str, Any]:
    """Ask a contestant that was asked in words again, in other words, and return what ``audit.json`` says of its answers.

    `run` is ``STUDY/runs/NAME``, `checks` some of `fieldguide.tasks.varying.CHECKS` (all if none is given), `wish` other fields of
    `fieldguide.asked.PromptAudit` (``pictures``, ``labels``, ``seed``). The same call again goes on where it was stopped; `terms` are
    those of `compare`. ``found["verdict"]`` is one sentence, ``found["cost"]["open"]`` counts answers that are missing.
    """
    asked = build(PromptAudit, {"check": tuple(checks), **wish}, "The audit")
    return dict(prompt_audit.audit(Path(run), asked, terms, progress).found)


def load(run: str | Path) -> Fitted:
    """Return the fitted contestant in ``STUDY/runs/NAME``."""
    return load_run(Path(run))


def predict(
    run: str | Path, pictures: Iterable[str | Path], progress: Progress | None = None, *, yes: bool = False
) -> list[FileAnswer]:
    """Return one answer for each picture file; folders stand for all pictures in them.

    `yes` agrees that they are sent to another machine, where `run` is a model that answers there.
    """
    return predict_files(Path(run), pictures, progress, yes=yes)


def explanations(
    run: str | Path,
    pictures: Iterable[str | Path],
    methods: Iterable[str] = (),
    layers: Iterable[int] | None = None,
    *,
    online: bool = False,
    progress: Progress | None = None,
    **wish: int,
) -> list[Explanation]:
    """Return why `run` answers as it does, one `Explanation` for each picture file, in order.

    `run` is ``STUDY/runs/NAME``, or a network in the words of a contestant, which then answers with its own head. Each
    ``explanation.explained`` holds ``maps.values``, ``"layers height width"`` float32 over the box ``seen`` of the picture, with a check
    for each layer. `layers` are blocks from 0; `wish` may hold ``grid``, ``orders`` and ``seed`` of `fieldguide.explain.explaining.Wish`.
    Raises `UsageProblem` where a picture cannot be read or explained.
    """
    from fieldguide.explain.explaining import Wish

    paths = picture_files(pictures)
    images = list(Files().images(paths))
    asked = Wish(tuple(methods), None if layers is None else tuple(layers), **wish)
    found = []
    who = explaining.subject(str(run), online=online)
    for path, (_, _, told) in zip(paths, explaining.explain_images([who], images, asked, progress), strict=True):
        if isinstance(told, str):
            raise UsageProblem(
                f"{path} cannot be explained: {told}.", "Pictures that the contestant answers for.", "Leave it out."
            )
        found.append(told)
    return found
