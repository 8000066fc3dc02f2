"""How figures look: the families' hues and shapes of the page, text that is taken as it is, and bytes that do not change."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fieldguide.files import digest, write_csv
from fieldguide.report.say import clean

#: Hue of each family's mark, as in ``report.css``: Okabe and Ito's, darkened to stand out from white.
HUES = (
    "#5f666d",
    "#8a6100",
    "#0067a3",
    "#a8348a",
    "#007a5a",
    "#c14a00",
    "#5a4fb0",
    "#b0303c",
    "#2b7d94",
    "#6b7200",
    "#7d4a2a",
    "#8a3ea0",
)
INK, SOFT, FAINT, RULE, HAIR, CHANCE = "#1b2126", "#47515a", "#646d76", "#dedad0", "#ebe8e0", "#6b737b"
BETTER, WORSE = "#0067a3", "#c14a00"
#: Shades of the difference matrix, from slight to strong.
BETTERS = ("#e2eef8", "#c8dff2", "#a5cbe9", "#80b5df", "#5c9fd2")
WORSES = ("#fbeadb", "#f7d7bb", "#f0be94", "#e8a36c", "#dc8a4a")
SAME = "#f4f2ec"
_MARKERS = ("o", "s", "o", "H", "D", "^", "*", "v", "P", "X", "p", "bow tie")
#: Fonts that are tried in order for each letter, as far as this machine has them; the first one comes with matplotlib.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
)
#: The first font has all letters up to this one.
_LATIN = "\u024f"
_DPI = 200


@dataclass(frozen=True)
class Figure:
    """A figure of matplotlib with its name, what it shows in a sentence, and its numbers."""

    name: str
    title: str
    canvas: Any
    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def save(self, folder: Path) -> None:
        """Write ``NAME.svg``, ``NAME.png`` and ``NAME.csv`` into `folder`."""
        self.canvas.draw_without_rendering()
        self.canvas.set_layout_engine("none")  # both files get one layout, found once
        told = {"Title": clean(self.title), "Creator": "fieldguide", "Date": None}
        self.canvas.savefig(folder / f"{self.name}.svg", format="svg", metadata=told)
        self.canvas.savefig(folder / f"{self.name}.png", format="png", dpi=_DPI, metadata={"Software": "fieldguide"})
        write_csv(folder / f"{self.name}.csv", self.header, self.rows)


@contextlib.contextmanager
def drawing(words: str = "") -> Iterator[None]:
    """Draw by these rules: no dollar sign or backslash means anything, no file tells when it was made.

    `words` is all text of the study: further fonts, which make drawing slower, are taken only where it needs them.
    """
    import matplotlib
    from matplotlib import font_manager

    there = set(font_manager.get_font_names())
    fonts = _FONTS if max(words, default="") > _LATIN else _FONTS[:1]
    rules: dict[str, Any] = {
        "text.parse_math": False,
        "text.usetex": False,
        "axes.formatter.use_mathtext": False,
        "axes.unicode_minus": True,
        "svg.fonttype": "none",  # text stays text: it can be found, edited and read aloud, and every script is drawn where it is shown
        "svg.hashsalt": "fieldguide",
        "path.simplify": True,
        "font.family": [name for name in fonts if name in there] or ["sans-serif"],
        "font.size": 9.0,
        "axes.edgecolor": RULE,
        "axes.labelcolor": SOFT,
        "axes.titlesize": 9.0,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": False,
        "grid.color": HAIR,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
    }
    with matplotlib.rc_context({}), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a matplotlibrc of the user's would change the bytes
        for name, value in rules.items():
            matplotlib.rcParams[name] = value  # type: ignore[index]
        # A letter that no font of this machine has is a box in the PNG; the SVG keeps it as text.
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*", category=UserWarning)
        warnings.filterwarnings("ignore", message=r"(?s).*constrained_layout not applied.*", category=UserWarning)
        yield


def canvas(width: float, height: float, layout: Literal["constrained", "none"] = "constrained") -> Any:
    """Return an empty figure of `width` x `height` inches; with `layout` none axes stay where they are put."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), layout=None if layout == "none" else layout)
    FigureCanvasAgg(figure)  # measures text without a window, whatever the machine has
    return figure


def marker(slot: int) -> dict[str, Any]:
    """Return how the mark of a family is drawn: the page's shape and hue. Slot 0 is a ring."""
    from matplotlib.path import Path as Outline

    shape: Any = _MARKERS[slot]
    if shape == "bow tie":
        shape = Outline([(-1, -0.9), (1, 0.9), (1, -0.9), (-1, 0.9), (-1, -0.9)], closed=True)
    size = {"*": 11.0, "H": 8.5, "P": 8.5, "X": 8.5, "D": 6.5, "s": 6.5}.get(_MARKERS[slot], 7.5)
    filled = "white" if slot == 0 else HUES[slot]
    return {
        "marker": shape,
        "markersize": size,
        "markerfacecolor": filled,
        "markeredgecolor": HUES[slot],
        "markeredgewidth": 1.6 if slot == 0 else 0.8,
    }


def short(name: object, most: int = 28) -> str:
    """Return `name` as one line of at most `most` characters."""
    line = clean(name)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def slug(name: str) -> str:
    """Return `name` as a part of a file name that every system takes; where that changes it, a few digits keep it apart from others."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:48]
    return plain if plain and plain == name and name == name.lower() else f"{plain or 'name'}-{digest(name)[:6]}"


def percents(axis: Any) -> None:
    """Label an axis of shares in per cent."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}"))
