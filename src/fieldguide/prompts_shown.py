"""``fieldguide prompts``: the prompts that there are, and one of them as it is asked."""

from __future__ import annotations

from fieldguide import terminal
from fieldguide.asking import classes_of, task_in
from fieldguide.records import ClassInfo
from fieldguide.tasks import spoken
from fieldguide.tasks.count import Count
from fieldguide.tasks.count_asking import CountPrompt, count_prompt_names, read_count_prompt
from fieldguide.tasks.prompting import prompt_names, read_prompt
from fieldguide.tasks.spoken import Spoken

#: Classes that a prompt is shown with where none are named.
_SHOWN = (
    ClassInfo("tawny_owl", "tawny owl", ("brown owl",), "a stocky brown owl with dark eyes and no ear tufts"),
    ClassInfo("barn_owl", "barn owl", (), "a pale owl with a white face in the shape of a heart"),
    ClassInfo("eagle_owl", "eagle owl", (), "a very large owl with orange eyes and long ear tufts"),
)


def show_prompts(name: str | None = None, classes: str | None = None) -> None:
    """Print the prompts that there are, or one of them, or one in a file, as it is asked; about a few owls if no classes are named."""
    if name is None:
        for one in map(read_prompt, prompt_names()):
            terminal.say(one.name, "bold")
            terminal.say(f"  {one.about}")
        for counted in map(read_count_prompt, count_prompt_names()):
            terminal.say(f"{counted.name} (where things are counted)", "bold")
            terminal.say(f"  {counted.about}")
        terminal.say("fieldguide prompts NAME shows one as it is asked; a file of your own works in its place.", "dim")
        return
    study = task_in(classes)
    prompt = spoken.prompt_of(name, study)
    known = study.classes if study is not None else classes_of(classes) if classes else _fitting(prompt)
    asking = spoken.asked(prompt, Count(known), "generate")
    terminal.say(f"{prompt.name}: {prompt.about}", "bold")
    for line in prompt.source.splitlines():
        terminal.say(line, "dim")
    for line in asking.text("[the picture]").splitlines():
        terminal.say(f"  {line}")
    if isinstance(prompt, CountPrompt):
        terminal.say(f"Read as {prompt.reading}. The right answer to two of the first:")
        counting = Count(known)
        for line in counting.say({known[0].id: 2}, prompt.written(counting)).splitlines():
            terminal.say(f"  {line}")
        return
    suggested = f", written for {prompt.model}" if prompt.model else ""
    terminal.say(
        f"Answers as {'JSON' if prompt.format == 'json' else 'a name'}, temperature {prompt.temperature:g}, "
        f"at most {prompt.most_tokens} tokens{suggested}."
    )
    if prompt.shots:
        terminal.say(f"{prompt.shots} training pictures of each class, with their right answer, stand before the question.")
    for note in asking.made["notes"]:
        terminal.say(f"{note}.", "yellow")


def _fitting(prompt: Spoken) -> tuple[ClassInfo, ...]:
    """Return the classes that a prompt speaks of itself, else the owls."""
    own = tuple(ClassInfo(id, id) for id in sorted(prompt.order or getattr(prompt, "classes", ())))
    return own if len(own) > 1 else _SHOWN
