"""Write ``docs/checks.md`` from the docstrings of the health checks: ``uv run python docs/checks.py``."""

from __future__ import annotations

from pathlib import Path

from fieldguide.data.checks import CHECKS

TARGET = Path(__file__).with_name("checks.md")


def page() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Health checks",
        "",
        "`fieldguide look PHOTOS/` runs them all, and so does every comparison. Each answers *found*, *fine*, *not applicable* or",
        "*skipped*, with the reason. Codes keep their meaning. Drawn from the code by `docs/checks.py`; do not edit.",
        "",
        "| code | check |",
        "|---|---|",
        *(f"| [{check.code}](#{check.code.lower()}) | {check.title} |" for check in CHECKS),
    ]
    for check in CHECKS:
        text = check.text.replace("``", "`").replace("<", "&lt;")
        lines += ["", f'<a id="{check.code.lower()}"></a>', f"## {check.code} {check.title}", "", text]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
