"""The card of the drawn image-text model: what is told of it, with the numbers of ``measured.json`` and ``training.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = """# drawn

A small image-text model of the CLIP kind that fieldguide trains itself, so that everything that is done with image-text encoders can be
tried, shown and tested without a download. It knows drawn figures and digits, and nothing of photographs.

Licence: Apache-2.0, as fieldguide. No picture and no text of anyone else went into it.

## What it is

| | |
|---|---|
| network | `CLIPModel` of transformers, {parameters} million parameters, fp16 in `model.safetensors` ({megabytes} MB), computed with as fp32 |
| pictures | {side} x {side} pixels in patches of {patch}; vision transformer, width {vision_width}, {vision_layers} layers |
| texts | up to {context} tokens of {vocabulary} (byte-level BPE, lower-cased: no word is unknown); width {text_width}, {text_layers} layers |
| features | {features} numbers, projected |
| trained on | {pictures:,} drawn pictures, {seen:,} views, {steps:,} steps of {batch}, seed {seed}, {minutes} minutes on one CPU core |

Pictures and sentences come from `fieldguide.data.drawn`: ten figures in ten colours and four textures, one to five of a kind, in three
sizes, at five places, on three grounds; digits written by strokes of our own and printed with the typeface that is part of Pillow.
A sentence names the thing ("two striped red stars") or tells of it without its name ("a thing with five points").

Never drawn in training, nor spoken of: of each figure and colour one texture (a quarter of all combinations), of each figure one colour,
of each figure one number.

## What it can

Zero-shot accuracy in percent with 95 % intervals, over class vectors that are means of a few templates:

{table}

scikit-learn's digits and MNIST's are no part of its training, in no form. How scikit-learn's look (8 x 8 pixels, as high as the picture) was
known when the generator of digits was written, and it imitates that. Four templates, with the word and with the numeral, make a class vector
unless the row says otherwise.

## What it cannot

Photographs, drawings of anything else, two kinds of things in one picture, letters, more than five things, digits of more than one place,
words outside its sentences: they are cut into pieces, and the pieces mean nothing to it. Its scores on anything of that sort are noise.

## Again

    python benchmarks/drawn.py train --out OUT --steps {steps} --pictures {pictures_plain} --seed {seed}
    python benchmarks/drawn.py measure --folder OUT

`training.jsonl` is the learning curve: loss, share of pictures whose own caption scores above all that are false of it, and the scale,
each a mean of 50 steps. `measured.json` holds the numbers above.
"""


def card(folder: Path) -> str:
    """Return the text of ``card.md``."""
    config, found = _read(folder / "config.json"), _read(folder / "measured.json")
    head, *_, last = [json.loads(line) for line in (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    weights = folder / "model.safetensors"
    text, vision = config["text_config"], config["vision_config"]
    return CARD.format(
        parameters=round(head["parameters"] / 1e6, 2),
        megabytes=round(weights.stat().st_size / 1e6, 1),
        side=vision["image_size"],
        patch=vision["patch_size"],
        vision_width=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        context=text["max_position_embeddings"],
        vocabulary=text["vocab_size"],
        text_width=text["hidden_size"],
        text_layers=text["num_hidden_layers"],
        features=config["projection_dim"],
        pictures=head["pictures"],
        pictures_plain=head["pictures"],
        seen=head["steps"] * head["batch"],
        steps=head["steps"],
        batch=head["batch"],
        seed=head["seed"],
        minutes=round(last["seconds"] / 60),
        table=table(found),
    )


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return all measured rows as a table."""
    lines = ["| what | pictures of | accuracy | among | guessing | pictures |", "|---|---|---|---|---|---|"]
    for what, rows in found.items():
        for name, row in rows.items():
            interval = f"{row['accuracy']} [{row['low']}-{row['high']}]"
            lines.append(f"| {what} | {name} | {interval} | {row['classes']} | {row['chance']} | {row['pictures']:,} |")
    return "\n".join(lines)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
