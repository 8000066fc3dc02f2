"""What the terminal shows of a prompt audit: each check with what was found, each wording against the contestant's own, one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from fieldguide import terminal
from fieldguide.auditing import p_text
from fieldguide.errors import plain
from fieldguide.prompt_audit import Audited

#: What stands for an answer to a check.
_FOUND = {"yes": "yes", "no": "no", "not distinguishable": "cannot tell"}


def show(done: Audited) -> None:
    """Print what was found and where it is written."""
    found, base = done.found, done.found["base"]
    terminal.say(
        f"{plain(found['run'], 60)} as it is: accuracy {terminal.percent(base['accuracy'])} % "
        f"of {base['n']:,} {found['part']} pictures, {base['right']:,} right, {base['labelled']:,} answered with a label.",
        "bold",
    )
    _show_wordings(found)
    _show_pull(found)
    _show_checks(found)
    if done.open:
        terminal.say(
            f"{done.open:,} answers are missing ({done.why}); the same command asks for them and goes on from here.", "yellow"
        )
    terminal.say(done.verdict, "bold")
    terminal.say(f"Audit: {(done.run / 'audit.json')}. Report: {done.run.parent.parent / 'report.html'}", "dim")


def _show_wordings(found: Mapping[str, Any]) -> None:
    """Print every wording that was judged; differences are paired with the contestant's own answers about the same pictures."""
    checks = [check for check in found["checks"] if check.get("variants")]
    if not checks:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("asked with", overflow="fold", min_width=20)
    for title in ("n", "right %", "against its own", "flips %"):
        table.add_column(title, justify="right", no_wrap=True)
    for check in checks:
        for at, one in enumerate(check["variants"]):
            right, changed = (terminal.percent(one.get(of), interval=False) for of in ("accuracy", "flips"))
            first = check["id"] if at == 0 else ""
            table.add_row(first, Text(plain(one["name"], 70)), f"{one['n']:,}", right, _points(one.get("difference")), changed)
    terminal.out.print(table)


def _points(apart: Mapping[str, Any] | None) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    if apart is None or apart.get("value") is None:
        return "-"
    text = f"{100 * apart['value']:+.1f}"
    return text if apart.get("low") is None else f"{text} [{100 * apart['low']:+.1f}, {100 * apart['high']:+.1f}]"


def _show_pull(found: Mapping[str, Any]) -> None:
    """Print for each label that stood as the example how often pictures of others were given it, with and without."""
    pulls = [check["pull"] for check in found["checks"] if check.get("pull")]
    for pull in pulls:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("example", overflow="fold", min_width=8)
        for title in ("named for others %", "as the example %", "more", "p"):
            table.add_column(title, justify="right", no_wrap=True)
        for one in pull["labels"]:
            table.add_row(
                Text(plain(one["label"], 60)),
                terminal.percent(one["without"], interval=False),
                terminal.percent(one["with"], interval=False),
                _points(one.get("difference")),
                p_text((one.get("difference") or {}).get("p")).removeprefix("p ").removeprefix("= "),
            )
        terminal.say("")
        terminal.out.print(table)


def _show_checks(found: Mapping[str, Any]) -> None:
    terminal.say("")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("found", no_wrap=True)
    table.add_column("what", overflow="fold")
    for check in found["checks"]:
        told = check.get("sentence") if check["state"] == "ok" else check.get("why")
        state = _FOUND.get(str(check.get("found")), "-") if check["state"] == "ok" else check["state"]
        style = "bold" if check.get("found") == "yes" else ""
        table.add_row(Text(plain(check["id"], 20)), state, Text(plain(told or check["question"], 600)), style=style)
    terminal.out.print(table)
