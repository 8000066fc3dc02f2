"""The card of the drawn language model: what is told of it, with the numbers of ``measured.json`` and ``training.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = """# drawn

A small language model that looks, which fieldguide trains itself, so that asking, reading answers and tuning can be tried, shown and
tested without a download. It reads drawn figures, letters, digits and small counts, and nothing of photographs. It is no more than
that: it neither reasons nor converses.

Licence: Apache-2.0, as fieldguide. No picture and no text of anyone else went into it, except two prompts of published runs (below).

## What it is

| | |
|---|---|
| network | `Idefics3ForConditionalGeneration` of transformers, {parameters} million parameters |
| weights | fp16 in `model.safetensors` ({megabytes} MB), computed with as fp32 |
| pictures | {side} x {side} pixels in patches of {patch}, {seen} tokens a picture; vision transformer, width {vision_width}, {vision_layers} layers |
| texts | up to {context} tokens of {vocabulary} (byte-level BPE, digits and lone capitals by themselves); width {text_width}, {text_layers} layers |
| turns | system, user, assistant; pictures anywhere in them, several if need be |
| trained on | {pictures:,} drawn pictures; {warm:,} steps of {warm_batch} pictures for the eyes, {step:,} of {batch} talks, seed {seed} |
| cost | {minutes} CPU-minutes of one core |

Pictures come from `fieldguide.data.drawn.scenes`: one of ten figures in one of ten colours; a capital, or a digit, printed with the
typeface that is part of Pillow or written by strokes of our own; one to four each of one or two of circle, square and triangle. Talks
come from `fieldguide.data.drawn.talks`:

- a free question in one of many wordings is answered in one sentence: "a red circle", "the letter H", "It is the digit 3.", "one circle,
  two squares";
- a list of two to forty names in one of {wordings} wordings, the picture mostly behind it, is answered with the bare name, or **with a sentence
  all the same**: how often depends on the wording and on the thing shown (every other class is obeyed less). So format and recognition
  come apart, as with models that were not tuned to a task. The prompt of a run on ninety animals (obeyed in half of its talks) and that
  of a run on MNIST (mostly obeyed) are among the wordings, letter for letter;
- examples in a prompt ("for example ... respond only with "3"") are drawn by lot and say nothing of the picture; whatever pull they have
  was not put there;
- no answer is JSON.

## What it can

Percent, on pictures drawn afresh. `strict`: the right name letter for letter (after a free question: the whole sentence), with a 95 %
interval. `recognised`: the right name, and no other of the list, stands in the answer. `bare`: the answer is a name of the list and nothing else.

{table}

The wording called plain is that of the prompt `plain`. scikit-learn's digits and MNIST's are no part of its training, and nothing was
chosen by how well they are read; how scikit-learn's look (8 x 8 pixels, as high as the picture) was known when the generator of digits
was written, and it imitates that.

The pull of an example, the MNIST prompt with `3` as its example and without one:

{pull}

Asked for counts as JSON it began to write JSON for {json} of {json_pictures} pictures, and said the right sentence instead for {json_right}.

## What it cannot

Photographs, drawings of anything else, small letters, more than four of a kind, numbers of several digits, and words that are in no list:
it knows no names but those above. Its scores on anything of that sort are noise.

## Again

    python benchmarks/drawn_chat.py train --out OUT --warm {warm} --steps {steps} --pictures {pictures_plain} --seed {seed}
    python benchmarks/drawn_chat.py measure --folder OUT

`--numbers PICTURES` measures a folder of class folders 0 to 9 as well (above: ten times 50 pictures of MNIST's test part). On another kind
of machine sums are rounded otherwise, and the weights differ.{ended}

`training.jsonl` is the learning curve, a line for 50 steps: loss of the linear readers (dropped after training), the shares of things
and of counts that they tell from the mean image token, loss of the answers, and the share of talks whose every said token is the
likeliest. `measured.json` holds the numbers above.
"""


def card(folder: Path) -> str:
    """Return the text of ``card.md``."""
    from fieldguide.data.drawn.talks import WORDINGS

    config, found = _read(folder / "config.json"), _read(folder / "measured.json")
    head, *_, last = [json.loads(line) for line in (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    text, vision = config["text_config"], config["vision_config"]
    return CARD.format(
        parameters=round(head["parameters"] / 1e6, 2),
        megabytes=round((folder / "model.safetensors").stat().st_size / 1e6, 1),
        side=vision["image_size"],
        patch=vision["patch_size"],
        seen=(vision["image_size"] // vision["patch_size"] // config["scale_factor"]) ** 2,
        vision_width=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        context=text["max_position_embeddings"],
        vocabulary=text["vocab_size"],
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
        pictures_plain=head["pictures"],
        minutes=round(last["cpu_seconds"] / 60),
        wordings=len(WORDINGS),
        ended=""
        if head["step"] == head["steps"]
        else f" The shipped weights are those kept after {head['step']:,} steps of talks.",
        table=table(found),
        pull=pull(found["pull of the example"]),
        json=found["counts as JSON"]["begins_as_json"],
        json_pictures=found["counts as JSON"]["pictures"],
        json_right=found["counts as JSON"]["right_sentence"],
        **{key: head[key] for key in ("pictures", "warm", "warm_batch", "steps", "step", "batch", "seed")},
    )


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return all measured rows as a table."""
    lines = ["| asked by | about | strict | recognised | bare | guessing | pictures |", "|---|---|---|---|---|---|---|"]
    for what, rows in found.items():
        for name, row in rows.items() if what not in ("pull of the example", "counts as JSON") else ():
            interval = f"{row['strict']} [{row['low']}-{row['high']}]"
            lines.append(
                f"| {what} | {name} | {interval} | {row['recognised']} | {row['bare']} | {row['chance']} | {row['pictures']:,} |"
            )
    return "\n".join(lines)


def pull(rows: dict[str, dict[str, int]]) -> str:
    """Return how often the example's digit was said, and how often it was shown."""
    lines = ["| digits | `3` said | `3` shown | pictures |", "|---|---|---|---|"]
    lines += [f"| {name} | {row['threes_said']} | {row['threes_shown']} | {row['pictures']:,} |" for name, row in rows.items()]
    return "\n".join(lines)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
