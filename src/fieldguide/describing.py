"""``fieldguide describe``: what the classes of a study look like, in the words of a served language model, as a source of texts.

    texts/NAME.jsonl             the lines, as every source of texts has them
    texts/NAME.replies.jsonl     every reply as it came, with its cost: nothing is asked twice, and all can be replayed offline
    texts/NAME.failed.json       the classes that have no lines, and why; only where there are some

Names of classes leave this machine, and nothing else does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldguide import families, gather
from fieldguide.asked import Describing
from fieldguide.bench import Progress, Silent
from fieldguide.craft.chat import costs
from fieldguide.craft.replies import Replies
from fieldguide.craft.served import LEVELS, Chat, Patience, Question, Reply
from fieldguide.craft.server import Server, server_of
from fieldguide.craft.troubles import NotAsked, ServerProblem
from fieldguide.data.classes import read_classes
from fieldguide.data.tables import read_predictions
from fieldguide.data.texts import REPLIES, folder_of, read_texts, write_texts
from fieldguide.errors import DONE, PARTLY, EnvironmentProblem, UsageProblem, plain
from fieldguide.files import told_plainly, write_json
from fieldguide.locked import Locked
from fieldguide.records import SCHEMA_VERSION, Line, Manifest, Texts
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.describe import About, Unusable, prompt, read, read_fields

#: What the source says made it.
MADE_BY = "fieldguide describe"
#: How often a class is asked about in one run where replies came and none can be used; each question says what was wrong before.
TRIES = 3
#: Tokens a field, a cue and the rest of a reply come to, for estimates.
_FIELD_TOKENS, _CUE_TOKENS, _REST_TOKENS = 28, 32, 24

Opened = Callable[[Server, Patience], Chat]


@dataclass(frozen=True)
class Plan:
    """What would be asked. `abouts` has every class by id; `waiting` are the ids of those without lines; `said` are lines there are.

    `tokens_in` and `tokens_out` are estimates for the first question about each waiting class. `source` says where the confused
    classes come from.
    """

    study: Path
    name: str
    asked: Describing
    server: Server
    task: Classify
    abouts: Mapping[str, About]
    source: str
    waiting: tuple[str, ...] = ()
    said: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def money(self) -> float | None:
        """What the tokens cost at the prices given, in their currency; `None` without prices."""
        return costs.money(self.tokens_in, self.tokens_out, self.asked.price_in, self.asked.price_out)

    @property
    def replies(self) -> Path:
        """Where replies are kept."""
        return folder_of(self.study) / f"{self.name}{REPLIES}"


@dataclass(frozen=True)
class Described:
    """What came of it: the source's path, the number of its lines, (class id, why) of those that failed, and what was asked now."""

    path: Path
    classes: int
    lines: int
    failed: Mapping[str, str]
    replies: int
    tokens_in: int | None
    tokens_out: int | None
    level: str

    @property
    def exit_code(self) -> int:
        """0, or 3 where a class has no lines."""
        return PARTLY if self.failed else DONE


@told_plainly()
def prepare(study: Path, asked: Describing, name: str | None = None) -> Plan:
    """Return what would be asked, and about what it would cost; no server is contacted.

    `name` is the source's; the model's if not given. Raises `UsageProblem` where the study has another source of that name.
    """
    from fieldguide.study import require_study

    require_study(study)
    server = server_of(asked.server, asked.key_variable)
    fields = read_fields(asked.fields)
    manifest = gather.labelled(study)
    task = Classify(read_classes(study / "classes.toml", manifest.classes))
    name = families.folder_name(name or asked.model.rstrip("/").rpartition("/")[2]).removesuffix(".replies")
    plan = Plan(study, name, asked, server, task, {}, "")
    there = _source_there(plan, fields)
    replies = _replies(plan)
    chosen, source = _rivals(study, manifest, task, asked.rivals)
    # A class that was asked about keeps the classes it was set against, whatever has been fitted since: else all would be asked anew.
    known = {str(line.get("class")): tuple(line["rivals"]) for line in replies.own if isinstance(line.get("rivals"), list)}
    abouts = {}
    for info in task.classes:
        ids = [id for id in known.get(info.id, chosen[info.id])[: asked.rivals] if id in task.index]
        abouts[info.id] = About(info, tuple(task.classes[task.index[id]] for id in ids), fields, asked.domain)
    plan = replace(plan, abouts=abouts, source=_remembered(there, replies, source))
    said = {id: lines for id, lines in there.classes.items() if id in task.index}
    for id in task.ids:
        lines = None if id in said else _kept(plan, replies, id)[0]
        said |= {} if lines is None else {id: lines}
    return _estimated(replace(plan, said=said, waiting=tuple(id for id in task.ids if id not in said)), replies)


def _source_there(plan: Plan, fields: tuple[str, ...]) -> Texts:
    """Return the source of that name as it is, with what a person has changed in it; raises where it is another one."""
    path = folder_of(plan.study) / f"{plan.name}.jsonl"
    if not path.exists():
        return Texts(plan.name)
    there = read_texts(plan.study, plan.name)
    wanted = _made(plan, fields)
    changed = [
        f"{key} was {plain(there.made.get(key), 80)}, is {plain(value, 80)}"
        for key, value in wanted.items()
        if there.made.get(key) != value
    ]
    if changed:
        raise UsageProblem(
            f"The study has texts called {plain(plan.name)}, and they are others: {'; '.join(changed)}.",
            "A name stands for one way of describing; nothing is overwritten.",
            "Add --as ANOTHER-NAME",
        )
    return there


def _made(plan: Plan, fields: tuple[str, ...]) -> dict[str, str]:
    """Return what two sources have to have in common to be one."""
    asked = plan.asked
    return {
        "made": MADE_BY,
        "model": asked.model,
        "server": plan.server.url,
        "prompt": f"describe {prompt().version}",
        "fields": ", ".join(fields),
        "domain": asked.domain,
        "confused": str(asked.rivals),
        "temperature": str(asked.temperature),
        "seed": str(asked.seed),
    }


def _rivals(study: Path, manifest: Manifest, task: Classify, most: int) -> tuple[dict[str, tuple[str, ...]], str]:
    """Return the classes each class is confused with, and where that comes from: validation answers, or names."""
    from fieldguide.evaluate import rivals
    from fieldguide.evaluate.answers import sheet

    nobody: dict[str, tuple[str, ...]] = dict.fromkeys(task.ids, ())
    if most == 0:
        return nobody, "none asked for"
    rows = manifest.part("val")
    sheets = []
    for path in sorted(study.glob("runs/*/predictions.parquet")) if rows else ():
        if "@" not in path.parent.name:  # fitted on a part of the training pictures
            found = sheet(path.parent.name, read_predictions(path), rows, manifest.classes)
            sheets += [found] if rivals.told_apart(found) else []
    if sheets:
        told = rivals.by_answers(sheets, most)
        return {id: told.get(id, ()) for id in task.ids}, f"validation answers of {', '.join(one.run for one in sheets)}"
    alike = rivals.by_name({info.id: info.name for info in task.classes}, most)
    return alike, "names that are alike" if any(alike.values()) else "none known"


def _remembered(there: Texts, replies: Replies, source: str) -> str:
    """Return where the confused classes came from when this source was begun."""
    begun = next((line["rivals_from"] for line in replies.own if isinstance(line.get("rivals_from"), str)), source)
    return there.made.get("confused_from", begun)


def _replies(plan: Plan) -> Replies:
    return Replies(plan.replies, sorted(folder_of(plan.study).glob(f"*{REPLIES}")))


def _question(plan: Plan, about: About, number: int, why: str | None) -> Question:
    """Return the question that is asked about a class the `number`-th time, counted from 0; no two of them have the same content."""
    asked = plan.asked
    seed = (asked.seed + number) % 2**31
    return Question(asked.model, about.messages(why), about.schema(), asked.temperature, seed, asked.most_tokens)


def _kept(plan: Plan, replies: Replies, id: str) -> tuple[tuple[Line, ...] | None, Question, str | None]:
    """Return the lines that replies of before hold for a class, the question that comes next, and what was wrong with the last reply."""
    about, why, number = plan.abouts[id], None, 0
    while True:
        question = _question(plan, about, number, why)
        reply = replies.find(question.key(plan.server.url))
        if reply is None:
            return None, question, why
        try:
            return read(reply.text, reply.finish, about, plan.task).lines, question, None
        except Unusable as unusable:
            why, number = str(unusable), number + 1


def _estimated(plan: Plan, replies: Replies) -> Plan:
    """Count what the waiting questions come to; where replies of this model told their tokens, their mean is the estimate."""
    letters = sum(
        len(json.dumps([question.messages, question.schema], ensure_ascii=False))
        for question in (_kept(plan, replies, id)[1] for id in plan.waiting)
    )
    told = [line["reply"] for line in replies.own if line.get("model") == plan.asked.model]
    out = [reply["tokens_out"] for reply in told if reply["tokens_out"] is not None]
    abouts = [plan.abouts[id] for id in plan.waiting]
    guess = sum(len(one.fields) * _FIELD_TOKENS + len(one.rivals) * _CUE_TOKENS + _REST_TOKENS for one in abouts)
    tokens_out = round(len(abouts) * sum(out) / len(out)) if out else guess
    return replace(plan, tokens_in=letters // costs.LETTERS, tokens_out=tokens_out)


@told_plainly()
def follow(plan: Plan, progress: Progress | None = None, opened: Opened = Chat) -> Described:
    """Ask what is waiting, write the source, and return what came of it. Every reply is on disk before the next step is taken.

    A class without a usable reply is a named failure and the others go on. Raises `EnvironmentProblem` where nothing could be had
    from the server; what there was before is then still written.
    """
    path = folder_of(plan.study) / f"{plan.name}.jsonl"
    with Locked(plan.study):
        replies = _replies(plan)
        before = len(replies.own)
        fresh, failed, trouble = _ask(plan, replies, progress or Silent(), opened) if plan.waiting else ({}, {}, None)
        said = {**plan.said, **fresh}
        if said and (plan.waiting or not path.exists()):
            _write(plan, replies, said, failed)
        new = [line["reply"] for line in replies.own[before:]]
    if trouble is not None and (not new or not said):
        raise trouble
    if not said:
        (why, count), *_ = Counter(failed.values()).most_common()
        raise EnvironmentProblem(
            f"None of the {len(new)} replies of {plain(plan.asked.model)} can be used; most often ({count} of {len(failed)} classes): {why}.",
            "A model that can follow the prompt and write JSON; small ones often cannot.",
            f"The replies are in {plan.replies}; try another --model.",
        )
    levels = Counter(reply["level"] for reply in new)
    return Described(
        path,
        len(said),
        sum(map(len, said.values())),
        failed,
        len(new),
        _sum(new, "tokens_in"),
        _sum(new, "tokens_out"),
        max(levels, key=LEVELS.index, default=""),
    )


def _sum(replies: list[dict[str, Any]], name: str) -> int | None:
    counts = [reply[name] for reply in replies]
    return None if None in counts else sum(counts)


def _ask(
    plan: Plan, replies: Replies, progress: Progress, opened: Opened
) -> tuple[dict[str, tuple[Line, ...]], dict[str, str], ServerProblem | None]:
    """Return the lines of the classes that were described, why others were not, and the trouble with the server that ended it, or its last."""
    try:
        chat = opened(plan.server, Patience(plan.asked.attempts, plan.asked.timeout))
    except ModuleNotFoundError as error:
        raise families.needs_extra(error) from error
    said: dict[str, tuple[Line, ...]] = {}
    failed: dict[str, str] = {}
    trouble: ServerProblem | None = None
    try:
        with progress.bar("describe", len(plan.waiting)) as bar:
            for id, told in _one_by_one(plan, chat, replies):
                if isinstance(told, NotAsked):
                    continue
                if isinstance(told, tuple):
                    said[id] = told
                elif isinstance(told, ServerProblem):
                    trouble, failed[id] = told, told.given
                else:
                    failed[id] = told
                bar.advance(note=plan.abouts[id].info.name)
    finally:
        chat.close()
    trouble = chat.broken or trouble
    for id in plan.waiting:
        if id not in said and id not in failed and trouble is not None:
            failed[id] = f"not asked about, because of another class: {trouble.given}"
    return said, failed, trouble


def _one_by_one(plan: Plan, chat: Chat, replies: Replies) -> Iterator[tuple[str, tuple[Line, ...] | str | ServerProblem]]:
    """Yield what came of each waiting class. One is asked alone until the server has replied, and has shown what JSON it knows."""
    waiting = list(plan.waiting)
    while waiting and not chat.proven:
        id = waiting.pop(0)
        yield id, _one(plan, chat, replies, id)
    pool = ThreadPoolExecutor(plan.asked.at_once, "describe")
    try:
        futures = {pool.submit(_one, plan, chat, replies, id): id for id in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:  # stopped, or no more is wanted: what is on its way is not waited for
        chat.close()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(plan: Plan, chat: Chat, replies: Replies, id: str) -> tuple[Line, ...] | str | ServerProblem:
    """Return the lines of one class, why its replies cannot be used, or why there is none."""
    for _ in range(TRIES):
        lines, question, why = _kept(plan, replies, id)
        if lines is not None:
            return lines
        try:
            reply = chat.ask(question)
        except ServerProblem as problem:
            return problem
        _note(plan, replies, id, question, reply)
    lines, _, why = _kept(plan, replies, id)
    return lines if lines is not None else str(why)


def _note(plan: Plan, replies: Replies, id: str, question: Question, reply: Reply) -> None:
    about = {"class": id, "rivals": [rival.id for rival in plan.abouts[id].rivals], "rivals_from": plan.source}
    replies.add(question.key(plan.server.url), reply, model=plan.asked.model, server=plan.server.host, **about)


def _write(plan: Plan, replies: Replies, said: Mapping[str, tuple[Line, ...]], failed: Mapping[str, str]) -> None:
    fields = next(iter(plan.abouts.values())).fields
    told = [line["reply"] for line in replies.own]
    counted = {name: _sum(told, name) for name in ("tokens_in", "tokens_out")}
    levels = sorted({reply["level"] for reply in told}, key=LEVELS.index)
    made = {
        **_made(plan, fields),
        "confused_from": plan.source,
        "json": ", ".join(levels),
        "replies": str(len(told)),
        **{name: "not counted by the server" if count is None else str(count) for name, count in counted.items()},
    }
    write_texts(plan.study, Texts(plan.name, {id: said[id] for id in plan.task.ids if id in said}, made=made))
    path = folder_of(plan.study) / f"{plan.name}.failed.json"
    if failed:
        write_json(path, {"schema": SCHEMA_VERSION, "classes": dict(failed)})
    else:
        path.unlink(missing_ok=True)
