"""The same model at another sitting, or asked in other words for an audit: what comes back is read and weighed as it was for its own."""

from __future__ import annotations

import dataclasses
from typing import Any

from fieldguide.bench import Bench
from fieldguide.craft.chat import Chat, Wanted, meant
from fieldguide.craft.chat.asked import Shelf, Sitting, shelf_of
from fieldguide.craft.chat.door import Door
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.prompting import called
from fieldguide.tasks.varying import Variation


def seated(own: Any, bench: Bench) -> Any:
    """Return `own`, what the room of prompted models has fitted, at `bench`: its answers are kept there, and its limit and consent hold."""
    door = Door(meant.wanted_of(own.settings, bench, own.precision), own.revision, consented=bench.consented)
    shelf = shelf_of(bench, own.asking, own.revision, own.size, own.settings.model)
    return dataclasses.replace(own, door=door, sitting=Sitting(bench.limit), shelf=shelf)


def varied(own: Any, variation: Variation, bench: Bench) -> Any:
    """Return `own`, a prompted model or a taught one, as `variation` says.

    Training pictures that it shows stay, but for those of classes that are not on the list any more. Whoever answers alone or again has
    answers of its own in the study's file, so that none from before counts, and a call that was stopped goes on.
    """
    only = variation.only
    classes = tuple(info for info in own.task.classes if only is None or info.id in only)
    listed = {info.id for info in classes}
    shown = [(key, id) for key, id in meant.shown_in(own.asking, own.prompt, own.task) if id in listed]
    askings = meant.asked_of(own.settings, variation.prompt, classes, shown, own.door.wanted.seed)
    # Scores of a grey picture belong to the words that they were had under.
    weighing = own.weighing and dataclasses.replace(own.weighing, greys=own.weighing.greys if askings == own.askings else ())
    return dataclasses.replace(
        own,
        task=Classify(called(variation.prompt, classes)),
        askings=askings,
        door=_door(own, variation.alone, bench),
        sitting=Sitting(bench.limit),
        words=variation.prompt.model_dump_json(indent=1),
        examples={key: own.examples[key] for key in askings[0].examples},
        shelf=_shelf(own, variation, bench, askings[0]),
        weighing=weighing,
        blank=variation.blank,
    )


def _shelf(own: Any, variation: Variation, bench: Bench, asking: Asking) -> Shelf | None:
    word = f" {variation.id}" if variation.alone or variation.again else ""
    found = shelf_of(bench, asking, own.revision + word, own.size, own.settings.model)
    # Rows with the hash of its own question are counted as what the contestant's own answers cost, and these are none of them.
    return found and dataclasses.replace(found, about=dataclasses.replace(found.about, asking=asking.hash + word))


def _door(own: Any, alone: bool, bench: Bench) -> Door:
    """Return a way to the same chat, opened once for all variations; for `alone`, one that takes a picture at a time."""
    door: Door = own.door
    if not door.own:
        wanted = meant.wanted_of(own.settings, bench, own.precision)
        if wanted != door.wanted or door.consented != bench.consented:
            door = Door(wanted, own.revision, consented=bench.consented)
    if not alone:
        return door

    def one_at_a_time(wanted: Wanted) -> Chat:
        from fieldguide.craft.chat import door as doors

        share = getattr(door(), "alone", None)
        return doors.opened(wanted) if share is None else share()

    single = dataclasses.replace(door.wanted, batch_size=1, at_once=1)
    return Door(single, own.revision, consented=door.consented, opening=one_at_a_time)
