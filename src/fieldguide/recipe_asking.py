"""What a recipe does about language models that look: which is asked and where, who is left out where its weights are not here, the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import plan as planning
from fieldguide import recipes, runs, terminal
from fieldguide.asked import Asked, Entry, PromptAudit
from fieldguide.craft.chat import MOONDREAM, behind_server
from fieldguide.errors import UsageProblem, plain
from fieldguide.files import read_own
from fieldguide.settings import build

if TYPE_CHECKING:
    from fieldguide.recipe import Order

#: Families whose contestants are asked in words: they get `Recipe.prompted` in the place of `Recipe.shared`.
FAMILIES = frozenset({"vlm_prompt", "vlm_lora"})
#: The one of them whose models are taught, and so have to be on this machine.
TAUGHT = "vlm_lora"
#: What a user may say of the model that is asked; settings of these families.
OPTIONS = ("model", "server", "key_variable")
#: What a user has to say where a model runs code of its own; a contestant that does is left out without the first.
CONSENT = ("remote_code", "revision")


def asks(entry: Mapping[str, Any]) -> bool:
    """Tell whether a contestant of a recipe is a language model that looks."""
    return entry["family"] in FAMILIES


def runs_code(entry: Mapping[str, Any]) -> bool:
    """Tell whether a contestant of a recipe is a model that answers only through code of its own repository."""
    return str(entry.get("settings", {}).get("model", "")).startswith(MOONDREAM)


def told(order: Order, entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what a user said of the model, as far as it is of this contestant: one that is taught has no server.

    Whose code may run is named once, by its repository or folder: that is the model, too.
    """
    if runs_code(entry):
        given = {option: order.asking[option] for option in CONSENT if option in order.asking}
        return given | ({"model": f"{MOONDREAM}{given['remote_code']}"} if "remote_code" in given else {})
    wanted = ("model",) if entry["family"] == TAUGHT else OPTIONS
    return {option: order.asking[option] for option in wanted if option in order.asking} if asks(entry) else {}


def read_asking(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what was said of the model that is asked; raises `UsageProblem` where the recipe `name` asks none, or none with code of its own."""
    asking = {option: str(given[option]) for option in (*OPTIONS, *CONSENT) if given.get(option)}
    for options, does, what in ((CONSENT, runs_code, "runs code of its own"), (OPTIONS, asks, "is asked")):
        option = next((option for option in options if option in asking), None)
        if option is not None and not any(map(does, recipes.read(name).study["contestants"])):
            known = (one for one in recipes.names() if any(map(does, recipes.read(one).study["contestants"])))
            raise UsageProblem(
                f"--{option.replace('_', '-')} says which language model {what}, and the recipe {name} has none.",
                f"Recipes that do: {', '.join(known)}.",
                f"fieldguide recipe {name}   says what it needs.",
            )
    if "revision" in asking and "remote_code" not in asking:
        raise UsageProblem(
            "--revision pins the code of a repository, and nobody agreed to run any.",
            "Allowed: both, or neither. Read the code before: it may do whatever you may do.",
            f"fieldguide recipe {name} --remote-code OWNER/NAME --revision {plain(asking['revision'])} ...",
        )
    return asking


def takes_part(order: Order, entry: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Tell whether a contestant is asked for: an optional one where its weights are here, another model is named, or it has answered.

    One that runs code of its own takes part where somebody agreed to that by name.

    Nobody downloads many gigabytes by ``--online`` for a row of a table that was not wished for.
    """
    name = entry["name"]
    if runs_code(entry):  # also in a rehearsal, where no other model stands in for it
        return "remote_code" in order.asking
    if name in order.recipe.optional and entry["family"] == TAUGHT and behind_server(order.asking.get("model", "")):
        return False
    if order.tiny or name not in order.recipe.optional or "model" in order.asking or runs.whole(order.folder / "runs" / name):
        return True
    (contestant,) = planning.read_contestants([Entry(name=name, family=entry["family"], settings=dict(settings))])
    return planning.obstacle(contestant, online=False) is None


def say_left_out(order: Order, taken: frozenset[str]) -> None:
    """Say which optional contestants are left out, and what would bring them in."""
    for name, why in order.recipe.optional.items():
        if name not in taken:
            terminal.say(f"Left out: {name}. {' '.join(why.split())}", "yellow")


def audit_prompt(order: Order, asked: Asked) -> None:
    """Ask again with another example and other orders of the list, one change at a time, and test what the answers do."""
    from fieldguide import prompt_audit, prompt_audit_shown

    run, values = _audited(order)
    if not runs.whole(run):
        terminal.say(f"{plain(run.name)} has not answered, so there is nothing to audit yet.", "yellow")
        return
    wish = build(PromptAudit, values, f"The audit of the recipe {order.name}")
    terms = order.terms if order.said is None else order.said.model_copy(update={"limit": order.terms.limit})
    prompt_audit_shown.show(prompt_audit.audit(run, wish, terms, order.progress))


def _audited(order: Order) -> tuple[Path, dict[str, Any]]:
    """Return the run that is audited, and the settings of that."""
    values = {**order.recipe.audit, **(order.recipe.rehearsal.audit if order.tiny else {})}
    return order.folder / "runs" / str(values.pop("contestant")), values


def open_audits(order: Order) -> dict[str, str]:
    """Return ``partly`` for an audit with open questions, as the outcomes of a study are told."""
    if "audit" not in order.steps:
        return {}
    run, _ = _audited(order)
    if not (run / "audit.json").exists():
        return {}
    cost = read_own(run / "audit.json").get("cost", {})
    return {} if cost.get("open", 0) == 0 else {f"audit of {run.name}": "partly"}


def answers_kept(order: Order) -> int:
    """Return how many answers the study keeps."""
    from fieldguide.craft.chat.kept import Answers

    path = order.folder / runs.ANSWERS
    if order.terms.limit is None or not path.exists():
        return 0
    with Answers(path) as answers:
        return len(answers)


def less(order: Order, before: int) -> Order:
    """Return `order` with a limit that is less by the answers that came since there were `before`."""
    if order.terms.limit is None:
        return order
    left = max(0, order.terms.limit - (answers_kept(order) - before))
    return replace(order, terms=order.terms.model_copy(update={"limit": left}))
