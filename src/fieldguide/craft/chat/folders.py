"""A model that is asked in words, on disk: what is asked of whom, with which examples, and how it is weighed; weights are named by hash.

prompt.json, asked.json   what is asked about every picture, and the prompt as a file of its own
vlm_prompt.json           settings, classes as the prompt calls them, the model's revision, precision and seed
weighing.json             how numbers become probabilities, and the further orders of the list
examples.safetensors      training pictures that are shown, by content hash
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldguide.bench import Bench
from fieldguide.craft.chat import meant, worded
from fieldguide.craft.chat.asked import Sitting
from fieldguide.craft.chat.door import Door
from fieldguide.files import read_json, write_json, write_text
from fieldguide.tasks import spoken

_TOLD, _WORDS, _SHOWN = "vlm_prompt.json", "asked.json", "examples.safetensors"


def write(own: Any, folder: Path) -> None:
    """Write `own`, what the room of prompted models has fitted, into `folder`, which is there."""
    worded.save(own, folder)
    write_text(folder / _WORDS, own.words)
    told = {
        "settings": own.settings.model_dump(mode="json"),
        **spoken.as_json(own.task),
        "size": own.size,
        "revision": own.revision,
        "precision": own.precision,
        "seed": own.door.wanted.seed,
    }
    write_json(folder / _TOLD, told)
    if own.examples:
        from safetensors.numpy import save_file

        save_file(dict(own.examples), folder / _SHOWN)


def read(folder: Path, settings_of: Any) -> Mapping[str, Any]:
    """Return what `write` wrote, by the names that the room has for it; `settings_of` makes settings of their values. Opens no model."""
    values = read_json(folder / _TOLD)
    settings = settings_of(**values["settings"])
    askings, weighing = worded.load(folder, settings.ask)
    examples: Any = {}
    if (folder / _SHOWN).exists() or askings[0].examples:
        from safetensors.numpy import load_file

        examples = load_file(folder / _SHOWN)
    bench = Bench(folder, values["seed"], meant.device_of(settings))
    return {
        "task": spoken.from_json(values),
        "settings": settings,
        "askings": askings,
        "door": Door(meant.wanted_of(settings, bench, values["precision"]), values["revision"]),
        "size": values["size"],
        "revision": values["revision"],
        "sitting": Sitting(),
        "words": (folder / _WORDS).read_text(encoding="utf-8"),
        "precision": values["precision"],
        "examples": examples,
        "weighing": weighing,
    }
