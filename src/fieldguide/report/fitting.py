"""The section that says whether trained contestants learned or memorised."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.evaluate.fitting import LEARNED, OVERFIT, Fitting, fitting
from fieldguide.report import bars, say
from fieldguide.report.charts import axis_for, ruler
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import Value

#: Most over-fitting contestants that the first sentence names.
MOST_NAMED = 4
_NOT_MEASURED = Value("not measured", title="the log of this contestant does not hold it")
#: How a state stands out: over-fitting is pointed at, what is fine is ticked.
_SIGNS = {"over-fits": "!", "learned little": "!", "a little": "·", "no sign": "✓", "too few pictures to tell": "?"}


@dataclass(frozen=True, slots=True)
class Row:
    """One trained contestant; `strip` is empty where nothing was measured."""

    contestant: Contestant
    found: Fitting
    sign: str
    loud: bool
    train: Value
    val: Value
    gap: Value
    turned: Value
    strip: Markup
    sentence: str


@dataclass(frozen=True, slots=True)
class Section:
    """The section; without `rows` nobody trained in epochs. `advice` says for each state that was found what to try.

    `unasked` are language models that were taught and not asked about training pictures: there were no validation pictures beside them.
    """

    rows: tuple[Row, ...]
    ruler: Markup
    lead: str
    advice: tuple[tuple[str, str], ...]
    overfit_from: str
    learned_from: str
    unasked: tuple[Contestant, ...] = ()


def section(study: Study) -> Section:
    """Return the section for `study`."""
    fitted = [contestant for contestant in study.contestants if contestant.epochs or contestant.kept]
    unasked = tuple(c for c in fitted if c.facts.get("kind") == "tuned" and c.kept.get("train_accuracy") is None)
    trained = [contestant for contestant in fitted if contestant not in unasked]
    found = [judged(study, contestant) for contestant in trained]
    axis = axis_for(share for one in found for share in (one.train, one.val) if share is not None)
    rows = tuple(
        Row(
            contestant=contestant,
            found=one,
            sign=_SIGNS.get(one.state, "–"),
            loud=one.state in ("over-fits", "learned little"),
            train=_share(one.train, one.n_train),
            val=_share(one.val, one.n_val),
            gap=_gap(one),
            turned=_turned(contestant, one),
            strip=Markup("") if one.train is None or one.val is None else bars.gap(axis, one.train, one.val, contestant.slot),
            sentence=say.glued(one.sentence),
        )
        for contestant, one in zip(trained, found, strict=True)
    )
    advice = {row.found.state: row.found.advice for row in rows if row.found.advice}
    bounds = f"{100 * OVERFIT:.0f}", f"{100 * LEARNED:.0f}"
    return Section(rows, ruler(axis), _lead(rows), tuple(advice.items()), *bounds, unasked)


def judged(study: Study, contestant: Contestant) -> Fitting:
    """Return what is known of the over-fitting of one contestant; in a cross-validated study that of the fit on all pictures."""
    manifest = study.manifest
    if manifest.folds:
        n_val = len(manifest.part(fold=0))
        n_train = len(manifest.part()) - n_val
    else:
        n_train, n_val = (len(manifest.part(name)) for name in ("train", "val"))
    return fitting(contestant.kept, contestant.epochs, round(n_train * contestant.fraction), n_val)


def _lead(rows: tuple[Row, ...]) -> str:
    measured = [row.found for row in rows if row.found.gap is not None]
    worst = sorted((row for row in rows if row.found.state == "over-fits"), key=lambda row: -(row.found.gap or 0))
    unclear = sum(one.state == "too few pictures to tell" for one in measured)
    if not measured:
        return "Not measured for any contestant."
    if worst:
        told = ", ".join(
            f"{row.contestant.name} by {say.points(row.found.gap or 0, signed=False)} points" for row in worst[:MOST_NAMED]
        )
        told += f" and {len(worst) - MOST_NAMED} more" if len(worst) > MOST_NAMED else ""
        found = f"{len(worst)} of {len(measured)} {'over-fits' if len(worst) == 1 else 'over-fit'}: {told}."
    else:
        found = f"Of {len(measured)} that were measured, none is shown to over-fit."
    return f"{found} For {unclear} there are too few pictures to tell." if unclear else found


def _share(share: float | None, count: int) -> Value:
    if share is None:
        return _NOT_MEASURED
    return Value(say.percent(share), share, f"of {say.count(count)}", f"{say.count(count)} pictures, without augmentation")


def _gap(one: Fitting) -> Value:
    if one.gap is None or one.low is None or one.high is None:
        return _NOT_MEASURED
    note = f"{say.points(one.low)} to {say.points(one.high)}"
    return Value(say.points(one.gap), one.gap, note, f"95 % interval {note} points")


def _turned(contestant: Contestant, one: Fitting) -> Value:
    if one.turned is not None:
        fact = f"by the later epochs validation loss rose {say.percent(one.turned.rise)}, training loss fell {say.percent(one.turned.fall)}"
        return Value(f"epoch {one.turned.epoch}", one.turned.epoch, title=fact)
    lost = any(event.get("val_loss") is not None for event in contestant.epochs)
    return Value("it did not" if lost else say.NOT_RECORDED, title="no later epochs lie clearly above the lowest one")
