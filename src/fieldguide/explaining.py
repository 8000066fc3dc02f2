"""Why did they answer so? Explanations for the pictures of a study, written beside its runs; and for pictures at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import families, gather, runs
from fieldguide.bench import Progress, Silent
from fieldguide.data.classes import read_classes
from fieldguide.data.store import Spare, Store
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DataProblem, PictureError, UsageProblem, plain
from fieldguide.families import Fitted
from fieldguide.files import read_own, read_toml, sweep, told_plainly, write_json
from fieldguide.locked import Locked
from fieldguide.records import SCHEMA_VERSION, Image, Manifest

if TYPE_CHECKING:
    from fieldguide.explain.explaining import Explainer, Explanation, Wish
    from fieldguide.explain.maps import NotApplicable

#: Pictures that are explained in a study, if not asked for otherwise.
PICTURES = 6
FOLDER = "explained"
WRITTEN, REUSED = "written", "reused"


@dataclass(frozen=True)
class Subject:
    """Somebody whose answers are explained: a fitted contestant, or a network as it was published. `names` are shown for its class ids."""

    name: str
    fitted: Fitted
    ids: tuple[str, ...]
    names: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Done:
    """What came of explaining a study: files written, files that were there, and (run, content hash, why) of what could not be."""

    folder: Path
    written: int
    reused: int
    failed: tuple[tuple[str, str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def subject(words: str, *, online: bool = False, labels: Sequence[str] | None = None) -> Subject:
    """Return a fitted contestant ``STUDY/runs/NAME``, or the network that `words` describe as a contestant, with its own head.

    `labels` name the classes of a network that does not know its own. Raises `UsageProblem` for what is neither.
    """
    folder = Path(words)
    if (folder / "model").is_dir():
        return _of_run(folder)
    if folder.is_dir():
        runs.load(folder)  # says what is allowed here
    entry = families.parse(words)
    room: Any = families.family(entry.family)
    if not hasattr(room, "untuned"):
        able = [name for name in families.names() if hasattr(families.family(name), "untuned")]
        raise UsageProblem(
            f"{plain(words)} is of the family {entry.family}, which has nothing to explain before it is fitted.",
            f"Allowed: STUDY/runs/NAME, or a network of {', '.join(able)} with weights.",
            "fieldguide compare PHOTOS/ " + plain(words),
        )
    fitted = room.untuned(entry.settings, online)
    return Subject(entry.name, fitted, _named(fitted.ids, labels), note="as published, with its own classes")


def before(run: Path, *, online: bool = False, labels: Sequence[str] | None = None) -> Subject:
    """Return the network that the contestant `run` was fitted from, with the head and the classes it had before; `labels` name them."""
    told = read_toml(run / "settings.toml")
    room: Any = families.family(str(told["family"]))
    if not hasattr(room, "untuned"):
        raise UsageProblem(
            f"{plain(run.name)} is of the family {plain(told['family'])}, which begins from nothing.",
            "Allowed with --before: contestants that were fitted from weights.",
            "Leave --before out.",
        )
    fitted = room.untuned(room.Settings(**told.get("settings", {})), online)
    return Subject(f"{run.name} before", fitted, _named(fitted.ids, labels), note="before it was tuned, with its own classes")


def _named(ids: Sequence[str], labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is None:
        return tuple(ids)
    if len(labels) != len(ids):
        raise UsageProblem(
            f"{len(labels)} labels were given for a network of {len(ids)} classes.",
            "One name for each class, in the order of its answers.",
            "Give another file with --labels, or leave it out.",
        )
    return tuple(labels)


def _of_run(folder: Path) -> Subject:
    study = folder.resolve().parent.parent
    if (study / "manifest.parquet").exists():
        gather.labelled(study)  # what counts gives no probability of a class that a map could be of
    fitted = runs.load(folder)
    ids = tuple(read_own(folder / "model" / "fieldguide.json")["classes"])
    names = {info.id: info.name for info in read_classes(folder / "model" / "classes.toml", ids)}
    return Subject(folder.name, fitted, ids, names)


@told_plainly()
def explain_study(
    folder: Path, wish: Wish, *, only: Iterable[str] = (), pictures: int = PICTURES, progress: Progress | None = None
) -> Done:
    """Explain the answers of the contestants of a study for its most telling test pictures, and draw its report again.

    `only` names the runs; all that are above chance, if it is empty. What is there already, and was made with the same `wish`, stays:
    the same call goes on where it was stopped. Raises `UsageProblem` where `folder` is no study or a run is unknown.
    """
    from fieldguide.study import redraw, require_study

    require_study(folder)
    progress = progress or Silent()
    with Locked(folder):
        manifest = gather.labelled(folder)
        chosen, names, left_out = _chosen(folder, manifest, tuple(only), pictures)
        write_json(folder / f"{FOLDER}.json", {"schema": SCHEMA_VERSION, "pictures": chosen})
        reader = Spare(Store(folder / "store"), gather.originals_of(folder, manifest))
        labels = {row.key: row.label for row in manifest.part()}
        told: list[tuple[str, str, str]] = []
        with progress.bar("explain", len(names) * len(chosen)) as bar:
            for name in names:
                work = _Work(folder / "runs" / name, wish, progress)
                bar.advance(0, note=name)
                for entry in chosen:
                    told.append((name, entry["image"], work.one(Image(entry["image"], reader), labels.get(entry["image"]))))
                    bar.advance()
                if work.unfit is not None:
                    left_out.append((name, str(work.unfit)))
    redraw(folder, progress=progress)
    counts = Counter(what for _, _, what in told)
    unfit = {name for name, _ in left_out}
    failed = tuple(one for one in told if one[2] not in (WRITTEN, REUSED) and one[0] not in unfit)
    return Done(folder, counts[WRITTEN], counts[REUSED], failed, tuple(left_out))


class _Work:
    """Explains pictures for one run; what it needs is loaded when the first picture is not there yet."""

    def __init__(self, run: Path, wish: Wish, progress: Progress) -> None:
        self.run, self.wish, self.progress = run, wish, progress
        self.explainer: Explainer | None = None
        self.unfit: NotApplicable | None = None
        (run / FOLDER).mkdir(exist_ok=True)
        sweep(run / FOLDER)

    def one(self, image: Image, label: str | None) -> str:
        """Return `WRITTEN`, `REUSED`, or why this picture cannot be read; where no picture can be explained, `unfit` says why."""
        from fieldguide.explain.explaining import Explainer
        from fieldguide.explain.files import as_json
        from fieldguide.explain.maps import NotApplicable

        target = self.run / FOLDER / f"{image.key}.json"
        asked = asdict(self.wish)
        if self.unfit is not None:
            return self._refused(target, image, label)
        if _asked(target) == {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items()}:
            return REUSED
        try:
            if self.explainer is None:
                who = _of_run(self.run)
                self.explainer = Explainer(who.fitted, who.ids, self.wish)
                self.progress.say(f"{who.name}: {self.explainer.estimate(image)}.")
            write_json(target, {**as_json(self.explainer.explain(image), label), "asked": asked})
        except NotApplicable as error:
            self.unfit = error
            return self._refused(target, image, label)
        except PictureError as error:
            return str(error)
        return WRITTEN

    def _refused(self, target: Path, image: Image, label: str | None) -> str:
        """Write down that nothing explains this contestant's answer, which stands in its predictions; return the reason."""
        from fieldguide.explain.files import as_refusal

        assert self.unfit is not None
        write_json(target, as_refusal(image.key, self.answers.get(image.key) or "no answer", self.unfit, label))
        return str(self.unfit)

    @cached_property
    def answers(self) -> dict[str, str | None]:
        """What the contestant answered, by content hash."""
        return {row.image: row.label for row in read_predictions(self.run / "predictions.parquet")}


def _asked(target: Path) -> object:
    """Return the wish that an explanation was made with; `None` where there is none, or none that can be read: it is made anew."""
    try:
        return read_own(target).get("asked") if target.exists() else None
    except DataProblem:
        return None


def _chosen(
    folder: Path, manifest: Manifest, only: tuple[str, ...], pictures: int
) -> tuple[list[dict[str, str]], list[str], list[tuple[str, str]]]:
    """Return the pictures with the reason for each, the runs that are explained, and (run, why not) of the others."""
    from fieldguide.evaluate.answers import sheet
    from fieldguide.evaluate.telling import telling

    comparison = read_own(folder / "comparison.json") if (folder / "comparison.json").exists() else {}
    order: list[str] = list(comparison.get("order", ()))
    for name in only:
        if name not in order:
            raise UsageProblem(
                f"{plain(name)} has no scores in this study.",
                f"Allowed: {', '.join(plain(one) for one in order) or 'none yet'}.",
                f"fieldguide explain {plain(folder)}",
            )
    above = comparison.get("above_chance", {})
    good = [name for name in order if above.get(name)]
    sheets = [
        sheet(name, read_predictions(folder / "runs" / name / "predictions.parquet"), manifest.part("test"), manifest.classes)
        for name in good
    ]
    kinds = {name: str(read_toml(folder / "runs" / name / "settings.toml").get("family")) for name in good}
    chosen = [{"image": key, "why": why} for key, why in telling(sheets, kinds, pictures)]
    left_out = [(name, "not above chance: there is nothing to explain") for name in order if name not in good]
    return chosen, [name for name in (only or good) if name in good], [one for one in left_out if not only or one[0] in only]


def explain_images(
    subjects: Iterable[Subject], images: Sequence[Image], wish: Wish, progress: Progress | None = None
) -> Iterator[tuple[Subject, Image, Explanation | str]]:
    """Yield, picture by picture, what every subject has to say; where a picture cannot be explained, the reason."""
    from fieldguide.explain.explaining import Explainer
    from fieldguide.explain.maps import NotApplicable

    progress = progress or Silent()
    asked = [(who, Explainer(who.fitted, who.ids, wish)) for who in subjects]
    with progress.bar("explain", len(asked) * len(images)) as bar:
        for number, image in enumerate(images):
            for who, explainer in asked:
                bar.advance(0, note=who.name)
                try:
                    if number == 0:
                        progress.say(f"{who.name}: {explainer.estimate(image)}.")
                    yield who, image, explainer.explain(image)
                except (NotApplicable, PictureError) as error:
                    yield who, image, str(error)
                bar.advance()
