"""``fieldguide audit STUDY/runs/NAME``: a contestant is asked again in other words, one change at a time, about the same pictures.

What its answers then do differently is the work of that change. All answers are kept in the study as they come, so that the same call
goes on where it was stopped and comes to the same ``audit.json``; only what a clock measured may differ.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide import families, gather, runs
from fieldguide.asked import Asked, PromptAudit, Terms
from fieldguide.bench import Progress, Silent
from fieldguide.consenting import require
from fieldguide.data.store import Store
from fieldguide.errors import DONE, PARTLY, DataProblem, plain
from fieldguide.evaluate import audited
from fieldguide.files import read_toml, sweep, told_plainly, write_json
from fieldguide.locked import Locked
from fieldguide.prompt_audit_cost import expected, lines, paid, sending
from fieldguide.prompt_audit_plan import FILE, Plan, Subject, bench_of, plan_of, stale, subject_of
from fieldguide.records import SCHEMA_VERSION, Prediction
from fieldguide.tasks.asking import FAILED, NOT_ASKED, UNREADABLE, open_question
from fieldguide.tasks.prompting import called
from fieldguide.tasks.varying import not_applicable, present

#: Letters of a reason that are told.
_TOLD = 120
#: What was answered in one wording, by content hash.
Answers = Mapping[str, Prediction]


@dataclass(frozen=True)
class Audited:
    """A finished audit: `found` is what stands in ``audit.json`` of `run`; `open` questions have no answer yet, and `why`."""

    run: Path
    found: Mapping[str, Any]
    open: int = 0
    why: str = ""

    @property
    def verdict(self) -> str:
        """The one sentence."""
        return str(self.found["verdict"])

    @property
    def exit_code(self) -> int:
        """0, or 3 where questions are open."""
        return PARTLY if self.open else DONE


@told_plainly()
def audit(run: Path, wish: PromptAudit | None = None, terms: Terms | None = None, progress: Progress | None = None) -> Audited:
    """Ask the contestant in ``STUDY/runs/NAME`` in other words, write its ``audit.json``, and draw the report of the study again.

    The same call goes on where it was stopped. Raises `UsageProblem` where there is no contestant that was asked in words, and where
    pictures would be sent to another machine and nobody agrees.
    """
    from fieldguide.study import redraw

    progress, wish, terms = progress or Silent(), wish or PromptAudit(), terms or Terms()
    subject = subject_of(run)
    with Locked(subject.study):
        sweep(subject.run)
        plan = _agreed(subject, wish, terms, progress)
        answered = _asked(plan, terms.limit, progress)
        done = _done(plan, answered)
        write_json(subject.run / FILE, done.found)
    redraw(subject.study, progress=progress)
    return done


def _agreed(subject: Subject, wish: PromptAudit, terms: Terms, progress: Progress) -> Plan:
    """Return what will be asked, once what it costs was told and somebody agreed to what it sends."""
    bench = bench_of(subject)
    plan = plan_of(subject, wish, bench)
    if stale(subject.run):
        progress.say(f"{FILE} of {plain(subject.run.name)} is of another prompt or model than it has now: it is made anew.")
    cost = expected(plan)
    for line in lines(plan, cost):
        progress.say(line)
    host = families.where(subject.entry)
    if host is None:
        return plan
    require([sending(plan, cost, host, terms.limit)], terms.yes, progress)
    return plan_of(subject, wish, dataclasses.replace(bench, consented=True))


def _asked(plan: Plan, limit: int | None, progress: Progress) -> list[Answers]:
    """Return the answers to every wording, in their order: those that are kept, and new ones up to the limit.

    One sitting for all: a server that is gone is not asked again in the next wording.
    """
    from fieldguide.craft.chat.asked import Sitting

    store, sitting, left = _store(plan.subject, progress), Sitting(limit), set(plan.open)
    if left and limit != 0:
        store.prepare([row.key for row in plan.rows], plan.subject.fitted.size)
    found: list[Answers] = []
    with progress.bar("audit", len(left)) as bar:
        for wording in plan.wordings:
            bar.advance(0, note=wording.title)
            fitted = dataclasses.replace(wording.fitted, sitting=sitting)
            answers: dict[str, Prediction] = {}
            for answer in runs.one_each(fitted, wording.rows, store):
                answers[answer.image] = answer
                came = wording.names[answer.image] & left
                left -= came
                if came:
                    bar.advance(len(came))
            found.append(answers)
    store.flush()
    return found


def _store(subject: Subject, progress: Progress) -> Store:
    """Return the pixels of the study; what is not stored any more is decoded from the originals."""
    asked = Asked(**read_toml(subject.study / "study.toml"))
    most = None if asked.store_gb is None else round(asked.store_gb * 1e9)
    return Store(subject.study / "store", gather.originals_of(subject.study, subject.manifest), progress, most)


def _done(plan: Plan, answered: Sequence[Answers]) -> Audited:
    """Return what is written down of the answers."""
    unread = {key for key, answer in answered[0].items() if (answer.error or "").startswith(UNREADABLE)}
    if len(unread) == len(plan.rows):
        why = str(next(iter(answered[0].values())).error)
        raise DataProblem(
            f"None of the {len(unread):,} pictures of the audit can be read: {plain(why, _TOLD)}.",
            "The pictures of the study, in its store or where they came from.",
            "Put them back, then run the same command again.",
        )
    errors = {check: _open_in(plan, answered, check) for check in ("", *plan.checks)}
    names = [
        names
        for wording, answers in zip(plan.wordings, answered, strict=True)
        for key, names in wording.names.items()
        if open_question(answers[key].error)
    ]
    cost = paid(plan, frozenset().union(*names))
    found = {**_told(plan), **_content(plan, answered, unread, errors), "cost": cost}
    why = _commonest([error for some in errors.values() for error in some])
    return Audited(plan.subject.run, found, max(int(cost["open"]), bool(names)), why)


def _told(plan: Plan) -> dict[str, Any]:
    """Return what was asked of whom, without any answer."""
    subject = plan.subject
    return {
        "schema": SCHEMA_VERSION,
        "run": subject.entry.name,
        "model": str(getattr(subject.entry.settings, "model", subject.entry.name)),
        "how": subject.fitted.asking.how,
        "asking": subject.fitted.asking.hash,
        "revision": subject.fitted.revision,
        "part": plan.part,
        "pictures": len(plan.rows),
        "of": plan.of,
        "seed": plan.seed,
        "labels": plan.wish.labels,
        "classes": len(subject.classes),
    }


def _content(
    plan: Plan, answered: Sequence[Answers], unread: frozenset[str] | set[str], errors: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return what the answers say. A check with open questions is not judged as if it were whole, and neither is any without the base."""
    subject, prompt = plan.subject, plan.wordings[0].fitted.prompt
    whole = [check for check in plan.checks if not (errors[""] or errors[check])]
    varied = [
        audited.Varied.of(wording.variation, audited.answered(answers.values()))
        for wording, answers in zip(plan.wordings, answered, strict=True)
        if wording.variation is not None and wording.variation.check in whole
    ]
    own = present(prompt, subject.classes)
    made = audited.content(
        audited.Facts(
            truth={row.key: row.label for row in plan.rows if row.key not in unread},
            base=audited.answered(answered[0].values()),
            varied=varied,
            classes=[info.id for info in subject.classes],
            example=own.example,
            order=own.order,
            reasons=not_applicable(prompt, subject.classes),
            checks=whole,
            names={info.id: info.name for info in called(prompt, subject.classes)},
            temperature=plan.wordings[0].fitted.asking.temperature,
            seed=plan.seed,
        )
    )
    for entry in made["checks"]:
        if entry["state"] == "not asked" and entry["id"] in plan.checks:
            entry["why"] = entry["sentence"] = _why(entry["id"], errors)
    return {**made, "unread": len(unread)}


def _why(check: str, errors: Mapping[str, Sequence[str]]) -> str:
    """Return why a check was not judged."""
    missing = errors[check] or errors[""]
    which = "" if errors[check] else " to the prompt as it is"
    return (
        f"{len(missing):,} {'answers are' if len(missing) > 1 else 'answer is'} missing{which} ({_commonest(missing)}); "
        "the same command goes on."
        if missing
        else "There are no pictures for it among those that were taken."
    )


def _open_in(plan: Plan, answered: Sequence[Answers], check: str) -> list[str]:
    """Return the errors that stand in the place of an answer which there may be yet, in the wordings of a check."""
    found = (answers for wording, answers in zip(plan.wordings, answered, strict=True) if wording.check == check)
    return [str(answer.error) for answers in found for answer in answers.values() if open_question(answer.error)]


def _commonest(errors: Sequence[str]) -> str:
    if not errors:
        return ""
    ((why, _),) = Counter(error.removeprefix(FAILED).removeprefix(NOT_ASKED) for error in errors).most_common(1)
    return plain(why, _TOLD)
