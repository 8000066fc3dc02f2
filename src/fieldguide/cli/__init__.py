"""The command line: words to calls of `fieldguide.study`. Options are drawn from settings; there is no logic here."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from fieldguide.cli import ask as of_ask
from fieldguide.cli import audit as of_audit
from fieldguide.cli import describe as of_describe
from fieldguide.cli import merge as of_merge
from fieldguide.cli import ratios as of_ratios
from fieldguide.cli import texts as of_texts
from fieldguide.cli import translations as of_translations
from fieldguide.cli.ending import run
from fieldguide.errors import PARTLY

app = typer.Typer(
    help="Compare image classifiers of every family on one frozen split, and say which differences are real.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

sweeps = typer.Typer(help="Turn one condition step by step, in one study.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sweeps, name="sweep")

Out = Annotated[Optional[Path], typer.Option("--out", help="Study folder; NAME-study in the working folder if not given.")]
Online = Annotated[
    bool, typer.Option("--online", help="Allow the network: download weights and data sets that are not on this machine.")
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Agree that pictures are sent to servers on other machines, as it tells before.")
]


#: Completes the options of a command that asks for fields of `Asked`. Done when the command is called and not before: importing
#: what stands behind settings takes longer than all of ``--help``.
_COMPLETE: dict[str, Callable[[], None]] = {}


def asks(*names: str, of: str = "Asked") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each of these fields of a class in `fieldguide.asked`, with the field's own type and description.

    A name such as ``Terms.yes`` is a field of another of its classes.
    """

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            p
            for p in inspect.signature(command, eval_str=True).parameters.values()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        def call(**given: Any) -> None:
            command(**given)

        def sign(parameters: list[inspect.Parameter]) -> None:
            call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
            call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        sign(own)
        _COMPLETE[command.__name__] = lambda: sign([*own, *_options(names, of)])
        return call

    return wrap


def _options(names: tuple[str, ...], of: str) -> list[inspect.Parameter]:
    from fieldguide import asked

    drawn = []
    for name in names:
        other, _, name = name.rpartition(".")
        field = getattr(asked, other or of).model_fields[name]
        many = field.annotation == tuple[str, ...]
        kind: Any = list[str] if many else field.annotation if field.annotation in (int, bool) else str
        text = " ".join((field.description or "").replace("``", "").split())
        text += "" if many or kind is bool or field.is_required() or field.default is None else f" Default: {field.default}."
        option = typer.Option(f"--{name.replace('_', '-')}", help=text, show_default=False)
        drawn.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Optional[kind], option])
        )
    return drawn


@app.command()
def demo(out: Out = Path("demo-study")) -> None:
    """Run the main job on 1,797 handwritten digits, and count drawn coins before and after teaching: two reports, offline, in minutes."""
    from fieldguide import terminal
    from fieldguide.demo import run_counting, run_demo

    folder = out or Path("demo-study")
    digits = run_demo(folder, terminal.Bars())
    terminal.tell(digits)
    terminal.say("And a small study of counting: a language model before and after it was taught.", "bold")
    coins = run_counting(folder.with_name(f"{folder.name}-counting"), terminal.Bars())
    terminal.tell(coins)
    raise typer.Exit(max(digits.exit_code, coins.exit_code))


@app.command()
@asks("split", "folds", "seed", "alike", "leaks", "task", "count")
def look(
    source: Annotated[str, typer.Argument(help="Folder, table, archive or hf:NAME.")],
    online: Online = False,
    suspects: Annotated[
        Optional[str],
        typer.Option("--suspects", help="Contestant that is cross-validated to find labels to look at, such as linear."),
    ] = None,
    **given: Any,
) -> None:
    """Examine pictures without training: classes, sizes, findings, and the split that would be made."""
    from fieldguide import terminal
    from fieldguide.looking import look as examine_source
    from fieldguide.looking import show

    show(examine_source(source, online=online, suspects=suspects, progress=terminal.Bars(), **given))


@app.command()
@asks(
    *("split", "folds", "seed", "seeds", "preset", "alike", "leaks", "store_gb", "texts", "task", "count", "worth", "exact"),
    *("Terms.yes", "Terms.limit"),
)
def compare(
    source: Annotated[
        str, typer.Argument(help="Folder of class folders, split folders, table, archive, hf:NAME, or a study.toml.")
    ],
    contestants: Annotated[
        Optional[list[str]], typer.Argument(help="[family/]name[:key=value,...]; as=NAME names it; see `fieldguide families`.")
    ] = None,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would run, with time, memory and disk; run nothing.")
    ] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Take in pictures that are new since; old ones keep their split.")
    ] = False,
    track: Annotated[
        Optional[str], typer.Option("--track", help="Who hears of every epoch: tensorboard, or MODULE:FUNCTION.")
    ] = None,
    online: Online = False,
    **given: Any,
) -> None:
    """Do the whole page: examine, split, fit, answer, score, report. The same command again goes on where it was stopped."""
    terms = _terms(given)
    if dry_run:
        from fieldguide import terminal
        from fieldguide.looking import show_plan
        from fieldguide.study import dry_run as plan
        from fieldguide.study import read_asked

        asked, folder = read_asked(source, out, contestants=tuple(contestants or ()), **given)
        show_plan(plan(asked, folder, online=online, progress=terminal.Bars()))
        return
    from fieldguide import terminal
    from fieldguide.study import compare as run
    from fieldguide.study import read_asked

    asked, folder = read_asked(source, out, contestants=tuple(contestants or ()), **given)
    _show_study(run(asked, folder, online=online, extend=extend, track=track, terms=terms, progress=terminal.Bars()))


def _terms(given: dict[str, Any]) -> Any:
    """Take out of `given` what one call may do."""
    from fieldguide.asked import Terms
    from fieldguide.settings import build

    names = set(given) & set(Terms.model_fields)
    values = {name: given.pop(name) for name in names}
    return build(Terms, {name: value for name, value in values.items() if value is not None}, "The command")


@sweeps.command("data-fraction")
@asks("split", "seed", "seeds", "alike", "leaks", "store_gb", "task", "count", "worth", "exact", "Terms.yes", "Terms.limit")
def data_fraction(
    source: Annotated[
        str, typer.Argument(help="Folder of class folders, split folders, table, archive, hf:NAME, or a study.toml.")
    ],
    contestants: Annotated[
        Optional[list[str]], typer.Argument(help="As for compare; those of the study, or a preset's, if none are given.")
    ] = None,
    fractions: Annotated[
        str, typer.Option("--fractions", help="Per cent of the training pictures, separated by commas; 100 is always run.")
    ] = "10,25,50,100",
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would run, with time, memory and disk; run nothing.")
    ] = False,
    online: Online = False,
    **given: Any,
) -> None:
    """Would more pictures help? Fit on nested parts of the training pictures; validation and test pictures stay the same."""
    from fieldguide import sweeping, terminal
    from fieldguide.looking import show_plan
    from fieldguide.study import read_asked

    below, terms = sweeping.read_fractions(fractions), _terms(given)
    asked, folder = read_asked(source, out, contestants=tuple(contestants or ()), **given)
    if dry_run:
        show_plan(sweeping.dry_run(asked, folder, below, online=online, progress=terminal.Bars()))
        return
    _show_study(sweeping.data_fraction(asked, folder, below, online=online, terms=terms, progress=terminal.Bars()))


@app.command()
@asks(
    "material", "case", "model", "server", "key_variable", "remote_code", "revision", "Terms.yes", "Terms.limit", of="Following"
)
def recipe(
    name: Annotated[Optional[str], typer.Argument(help="Recipe; all are listed if none is named.")] = None,
    data: Annotated[Optional[str], typer.Option("--data", help="Its pictures: a folder, table, archive or hf:NAME.")] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Rehearse on small networks and pictures that are made here, offline.")
    ] = False,
    out: Out = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="The pictures are others than the recipe's, on purpose.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would run, with time, memory and disk; run nothing.")
    ] = False,
    online: Online = False,
    **given: Any,
) -> None:
    """Repeat a published experiment: what it needs, its steps, and its figures beside yours. Goes on where it was stopped."""
    from fieldguide import recipe as cooking
    from fieldguide import terminal
    from fieldguide.looking import show_plan
    from fieldguide.recipe_asking import read_asking
    from fieldguide.recipe_texts import read_materials

    if name is None:
        cooking.show_recipes()
        return
    materials, asking = read_materials(name, given["material"] or ()), read_asking(name, given)
    terms, case = _terms(given), given["case"]
    order = cooking.Order(name, data, out, tiny, online, other_data, terminal.Bars(), materials, case, asking, terms)
    if dry_run or not (data or tiny):
        cooking.show_needs(order)
    if dry_run:
        show_plan(cooking.planned(order))
        return
    _show_study(cooking.follow(order))


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="Study folder.")],
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw SVG and PNG for a paper or slides, each with its data, into figures/.")
    ] = False,
    folder: Annotated[
        bool, typer.Option("--folder", help="Also write report/index.html with all wrong pictures, as files beside it.")
    ] = False,
) -> None:
    """Score and draw the report again, from the files alone, with report.md, leaderboard.tex, leaderboard.csv and scores.json."""
    from fieldguide import terminal
    from fieldguide.report.wanted import Wanted
    from fieldguide.study import redraw

    _show_study(redraw(study, Wanted(figures=figures, folder=folder), terminal.Bars()))


@app.command()
@asks("method", "layers", "grid", "orders", "beside", "before", "labels", "most", of="Why")
def explain(
    subject: Annotated[
        str, typer.Argument(help="STUDY/, STUDY/runs/NAME, or a network with its own head, such as hf/OWNER/NAME.")
    ],
    pictures: Annotated[
        Optional[list[Path]],
        typer.Argument(help="Pictures, and folders of pictures; a study's most telling ones if none are given."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and its pictures.")] = Path("explained"),
    online: Online = False,
    **given: Any,
) -> None:
    """Why did they answer so? Maps of what decided, each with its own check; for a study they go into its report."""
    from fieldguide import terminal
    from fieldguide.showing import Order, read_why, show

    order = Order(subject, tuple(pictures or ()), out, online)
    raise typer.Exit(show(order, read_why(given), terminal.Bars()))


of_describe.register(app, asks)
of_ask.register(app, asks)
of_audit.register(app, asks)
of_merge.register(app)


@app.command()
def clean(
    study: Annotated[Path, typer.Argument(help="Study folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be freed; remove nothing.")] = False,
    old_runs: Annotated[
        bool, typer.Option("--old-runs", help="Also remove runs that an extension of the list has put aside.")
    ] = False,
) -> None:
    """Remove what can be made again: decoded pictures, unpacked archives, leftovers, checkpoints of finished contestants."""
    from fieldguide import terminal
    from fieldguide.cleaning import clean as cleaned

    terminal.cleaned(cleaned(study, dry_run=dry_run, old_runs=old_runs), dry_run)


def _show_study(study: Any) -> None:
    """Tell what came out, and end with its exit code."""
    from fieldguide import processes, terminal

    if processes.helping():  # the first of several processes speaks for all
        return
    terminal.tell(study)
    raise typer.Exit(study.exit_code)


@app.command()
@asks("yes", of="Terms")
def predict(
    run: Annotated[Path, typer.Argument(help="A fitted contestant: STUDY/runs/NAME.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, and folders of pictures.")],
    out: Annotated[Optional[Path], typer.Option("--out", help="CSV file of answers; printed if not given.")] = None,
    **given: Any,
) -> None:
    """Answer for new pictures with a fitted contestant."""
    from fieldguide import terminal
    from fieldguide.using import predict_files, write_answers

    answers = predict_files(run, pictures, progress=terminal.Bars(), yes=bool(given["yes"]))
    failed = sum(answer.error is not None for answer in answers)
    if out is not None:
        write_answers(out, run, answers)
        terminal.say(f"{len(answers)} answers, {failed} failed: {out}")
    else:
        for answer in answers:
            sure = "" if answer.confidence is None else f" {answer.confidence:.3f}"
            terminal.say(f"{answer.path}: {answer.name if answer.error is None else 'failed: ' + answer.error}{sure}")
    raise typer.Exit(PARTLY if failed else 0)


@app.command()
def families(
    name: Annotated[Optional[str], typer.Argument(help="One family.")] = None,
    models: Annotated[
        Optional[str], typer.Option("--models", help="Search the networks of all libraries by name instead, such as 'swin*'.")
    ] = None,
) -> None:
    """List the families and their settings, drawn from Settings; or search networks by name, with size, licence and cost."""
    from fieldguide.looking import show_families, show_models

    show_families(name) if models is None else show_models(models)


@app.command()
def checks(code: Annotated[Optional[str], typer.Argument(help="One code, such as FG004.")] = None) -> None:
    """List the health checks, or explain one: what it looks for, why that matters, what to do."""
    from fieldguide.looking import show_checks

    show_checks(code)


of_texts.register(app)
of_translations.register(sweeps, asks)
of_ratios.register(sweeps, asks)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if version:
        from fieldguide import __version__

        typer.echo(f"fieldguide {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a `Problem` becomes three lines and its exit code, a signal 130 or 143."""
    run(app, sys.argv[1:] if arguments is None else arguments, _COMPLETE)
