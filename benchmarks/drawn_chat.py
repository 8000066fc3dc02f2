"""Train the small language model that looks, which is shipped as package data, on drawn pictures and talks about them.

    python benchmarks/drawn_chat.py train --out OUT                                  # the card names the steps of the shipped weights
    python benchmarks/drawn_chat.py measure --folder OUT [--numbers PICTURES]        # PICTURES: class folders 0 to 9, for two more rows
    python benchmarks/drawn_chat.py train --out OUT --warm 20 --steps 20 --pictures 2048     # does it run?

train: pictures are drawn once (``--pictures`` of them), talks anew at every step. First the eyes learn alone: linear readers of the mean
image token say what a picture shows (`--warm` steps). Then everything learns to answer: the loss is that of the assistant's tokens, and
a little of the readers'. One thread, fp32, cosine rates, and a running mean of the weights, which is written as fp16 with configuration,
tokeniser, processor, template and learning curve. The same seed and number of steps make the same file on the same kind of machine.

Idefics3: Laurencon et al., arXiv 2408.12637 (the network is transformers' Idefics3ForConditionalGeneration).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_chat_card import card, table
from drawn_chat_files import MARKS, MEAN, PICTURE, SEEN, SIDE, STD, WIDTH, network, save, tokeniser
from drawn_chat_measures import measured
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from fieldguide.data.drawn.looks import COLOURS, DIGITS, FIGURES, LETTERS
from fieldguide.data.drawn.scenes import COUNTED, KINDS, MOST, Scene, scene, show
from fieldguide.data.drawn.talks import Turn, talk

RATE, DECAY, CALM = 2e-3, 0.05, 100
WARM_BATCH, BATCH = 64, 48
TALK_RATE = 2e-3
#: Weight of what the readers ask for while everything learns to answer.
HELP = 1.0
#: Share of the rate at which the eyes go on learning then; at the whole of it they forget what they had learnt.
EYES = 0.3
THINGS = FIGURES + DIGITS + LETTERS
#: What the readers tell, and how many words each part has.
PARTS = {"kind": len(KINDS), "thing": len(THINGS), "colour": len(COLOURS), **dict.fromkeys(COUNTED, MOST + 1)}


def pictures(number: int, seed: int) -> tuple[list[Scene], NDArray[np.uint8]]:
    """Draw the training pictures; ``"pictures side side 3"``."""
    random = np.random.default_rng((seed, 1))
    scenes = [scene(random) for _ in range(number)]
    drawn = np.empty((number, SIDE, SIDE, 3), dtype=np.uint8)
    for at, one in enumerate(scenes):
        # Some larger and scaled down, as others' pictures will be.
        side = SIDE if random.random() < 0.6 else int(random.integers(SIDE, 3 * SIDE))
        picture = Image.fromarray(show(one, random, side))
        drawn[at] = np.asarray(picture if side == SIDE else picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return scenes, drawn


def told(scenes: list[Scene]) -> dict[str, Tensor]:
    """Return what the readers should tell of scenes, a number a part, -100 where a part does not apply."""
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    for one in scenes:
        several, counts = one.kind == "several", dict(one.counts)
        found["kind"].append(KINDS.index(one.kind))
        found["thing"].append(-100 if several else THINGS.index(one.look.thing))
        found["colour"].append(COLOURS.index(one.look.colour))
        for figure in COUNTED:
            found[figure].append(counts.get(figure, 0) if several else -100)
    return {part: torch.tensor(numbers) for part, numbers in found.items()}


class Readers(nn.Module):
    """Linear readers of the image tokens, dropped after training: one of all tokens in their places, one of their mean.

    The first learns at once, as a linear classifier of pixels does, and hands every token a task; of the mean alone the network learns
    next to nothing in its first hundreds of steps. The second asks for tokens that can be added up, which is what attention does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.placed, self.mean = nn.Linear(SEEN * WIDTH, sum(PARTS.values())), nn.Linear(WIDTH, sum(PARTS.values()))
        nn.init.normal_(self.placed.weight, std=0.005)

    def forward(self, tokens: Tensor, wanted: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, and the shares of things and of all counts that the mean tells rightly."""
        placed, _ = self.told(self.placed(tokens.flatten(1)), wanted)
        mean, shares = self.told(self.mean(tokens.mean(dim=1)), wanted)
        return (placed + mean) / 2, shares

    def told(self, scores: Tensor, wanted: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of one reader, half the sum over the parts, and its shares of right ones."""
        parts = dict(zip(PARTS, scores.split(list(PARTS.values()), dim=1), strict=True))
        losses = [F.cross_entropy(part, wanted[name]) for name, part in parts.items() if (wanted[name] >= 0).any()]
        right = {name: part.argmax(dim=1) == wanted[name] for name, part in parts.items()}
        counted = wanted[COUNTED[0]] >= 0
        all_counts = torch.stack([right[figure] for figure in COUNTED]).all(dim=0)
        shares = {"things": right["thing"][~counted].float().mean().item(), "counts": all_counts[counted].float().mean().item()}
        return torch.stack(losses).sum() / 2, shares


def seen(model: Idefics3ForConditionalGeneration, drawn: NDArray[np.uint8]) -> Tensor:
    """Return the image tokens of pictures, ``"pictures tokens width"``."""
    pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div(255).sub(MEAN[0]).div(STD[0])
    return model.model.connector(model.model.vision_model(pixel_values=pixels).last_hidden_state)


def rate_at(step: int, steps: int, top: float = RATE) -> float:
    """Return the rate of a step: a warm-up, then a cosine down to nothing."""
    return top * min(1.0, (step + 1) / CALM) * 0.5 * (1 + math.cos(math.pi * step / steps))


def pieces(turns: list[Turn]) -> list[tuple[str, bool]]:
    """Return the text of a talk as the template writes it, in pieces, and which of them the model says."""
    found: list[tuple[str, bool]] = []
    for turn in turns:
        text = "".join(part if isinstance(part, str) else PICTURE for part in turn.parts)
        said = turn.role == "assistant"
        found += [(f"{MARKS[1]}{turn.role}\n", False), (text + MARKS[2], said), ("\n", False)]
    return found


@dataclass(frozen=True)
class Row:
    """A talk as numbers: `tokens`, which of them are `said` by the model, and which pictures it shows."""

    tokens: list[int]
    said: list[bool]
    shown: list[int]


class Talks:
    """Training talks, drawn anew for ever, in batches of like length."""

    def __init__(self, words: PreTrainedTokenizerFast, scenes: list[Scene], seed: int) -> None:
        self.words, self.scenes, self.random = words, scenes, np.random.default_rng((seed, 2))
        self.place = {id(one): at for at, one in enumerate(scenes)}
        self.kinds = {kind: [at for at, one in enumerate(scenes) if one.kind == kind] for kind in KINDS}
        self.ready: list[list[Row]] = []

    def batch(self) -> list[Row]:
        """Return the next batch."""
        if not self.ready:
            rows = sorted(self.rows(8 * BATCH), key=lambda row: len(row.tokens))
            order = self.random.permutation(8)
            self.ready = [rows[at * BATCH : (at + 1) * BATCH] for at in order]
        return self.ready.pop()

    def rows(self, number: int) -> list[Row]:
        """Draw talks and tokenise them all at once."""
        talks = []
        for at in self.random.integers(len(self.scenes), size=number):
            scene = self.scenes[at]
            near = self.kinds[scene.kind]
            others = [self.scenes[near[i]] for i in self.random.integers(len(near), size=3)]
            talks.append(talk(scene, self.random, others))
        cut = [pieces(turns) for turns in talks]
        flat = [text for one in cut for text, _ in one]
        numbers = iter(self.words(flat, add_special_tokens=False)["input_ids"])
        rows = []
        for turns, one in zip(talks, cut, strict=True):
            tokens: list[int] = []
            said: list[bool] = []
            for _, own in one:
                new = next(numbers)
                tokens += new
                said += [own] * len(new)
            shown = [self.place[id(part)] for turn in turns for part in turn.parts if isinstance(part, Scene)]
            rows.append(Row(tokens, said, shown))
        return rows


def answered(model: Idefics3ForConditionalGeneration, rows: list[Row], tokens: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of what the model should say, given the image `tokens` of the batch in order, and how often all of it is right."""
    longest = max(len(row.tokens) for row in rows)
    pad = model.config.text_config.pad_token_id
    numbers = torch.tensor([row.tokens + [pad] * (longest - len(row.tokens)) for row in rows])
    said = torch.tensor([row.said + [False] * (longest - len(row.said)) for row in rows])
    known = torch.tensor([[at < len(row.tokens) for at in range(longest)] for row in rows])
    inputs = model.model.inputs_merger(numbers, model.get_input_embeddings()(numbers), tokens.flatten(0, 1))
    hidden = model.model.text_model(inputs_embeds=inputs, attention_mask=known, use_cache=False).last_hidden_state
    wanted = said[:, 1:]
    scores = model.lm_head(hidden[:, :-1][wanted])
    truth = numbers[:, 1:][wanted]
    loss = F.cross_entropy(scores, truth)
    wrong = torch.zeros(len(rows)).index_add(0, wanted.nonzero()[:, 0], (scores.argmax(dim=1) != truth).float())
    return loss, {"whole": (wrong == 0).float().mean().item()}


class Course:
    """A training run: the network, its readers, the optimiser and the running mean of the weights."""

    def __init__(
        self, model: Idefics3ForConditionalGeneration, scenes: list[Scene], drawn: NDArray[np.uint8], seed: int
    ) -> None:
        self.model, self.scenes, self.drawn = model, scenes, drawn
        self.readers, self.random = Readers(), np.random.default_rng((seed, 3))
        self.lines: list[dict[str, Any]] = []
        self.spent = 0.0

    def optimiser(self, parts: dict[float, list[nn.Module]]) -> torch.optim.AdamW:
        """Return a fresh optimiser of some parts, by what share of the rate they learn at; biases, norms and embeddings do not decay."""
        groups = []
        for share, modules in parts.items():
            values = list({id(value): value for part in modules for value in part.parameters()}.values())
            heavy = [
                value for value in values if value.ndim >= 2 and value.shape[0] != self.model.config.text_config.vocab_size
            ]
            plain = [value for value in values if not any(value is other for other in heavy)]
            groups += [{"params": heavy, "weight_decay": DECAY, "share": share}]
            groups += [{"params": plain, "weight_decay": 0.0, "share": share}]
        return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))

    def eyes(self) -> list[nn.Module]:
        """Return the parts that see, and their readers."""
        return [self.model.model.vision_model, self.model.model.connector, self.readers]

    def warm(self, steps: int) -> None:
        """Teach the eyes alone."""
        optimiser, notes = self.optimiser({1.0: self.eyes()}), []
        for step in range(steps):
            chosen = self.random.integers(len(self.scenes), size=WARM_BATCH)
            loss, shares = self.readers(seen(self.model, self.drawn[chosen]), told([self.scenes[at] for at in chosen]))
            _stepped(optimiser, loss, rate_at(step, steps))
            notes.append({"eyes": loss.item(), **shares})
            self.note("eyes", step + 1, steps, notes)

    def teach(self, talks: Talks, steps: int, keep: Callable[[int, dict[str, Tensor]], None]) -> None:
        """Teach everything to answer; now and then, and in the end, `keep` is given the running mean of the weights."""
        optimiser, notes = self.optimiser({EYES: self.eyes(), 1.0: [self.model.model.text_model]}), []
        mean = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        for step in range(steps):
            rows = talks.batch()
            shown = [at for row in rows for at in row.shown]
            tokens = seen(self.model, self.drawn[shown])
            help, shares = self.readers(tokens, told([self.scenes[at] for at in shown]))
            loss, right = answered(self.model, rows, tokens)
            _stepped(optimiser, loss + HELP * help, TALK_RATE * min(1.0, (step + 1) / CALM, 2.5 * (steps - step) / steps))
            old = min(0.99, step / (step + 10))
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    mean[name].lerp_(value, 1 - old) if value.is_floating_point() else None
            notes.append({"loss": loss.item(), "eyes": help.item(), **shares, **right})
            self.note("talks", step + 1, steps, notes)
            if (step + 1) % 200 == 0 or step + 1 == steps:
                keep(step + 1, mean)

    def note(self, stage: str, step: int, steps: int, notes: list[dict[str, float]]) -> None:
        """Write a line about the last 50 steps."""
        if step % 50 and step != steps:
            return
        means = {key: round(float(np.nanmean([one[key] for one in notes[-50:]])), 4) for key in notes[-1]}
        self.lines.append({"stage": stage, "step": step, **means, "cpu_seconds": round(self.spent + time.process_time(), 1)})
        print(json.dumps(self.lines[-1]), flush=True)


def _stepped(optimiser: torch.optim.AdamW, loss: Tensor, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([value for group in optimiser.param_groups for value in group["params"]], 1.0)
    optimiser.step()


def train(out: Path, warm: int, steps: int, number: int, seed: int, begun: Path | None = None) -> None:
    torch.manual_seed(seed)
    scenes, drawn = pictures(number, seed)
    words = tokeniser(scenes, np.random.default_rng((seed, 0)))
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "image_token_id": 3}
    model = network(len(words), marks)
    course = Course(model, scenes, drawn, seed)
    if begun is not None:
        weights, readers, course.lines = torch.load(begun)
        model.load_state_dict(weights)
        course.readers.load_state_dict(readers)
        course.spent = course.lines[-1]["cpu_seconds"]
    else:
        course.warm(warm)
        out.mkdir(parents=True, exist_ok=True)
        torch.save([model.state_dict(), course.readers.state_dict(), course.lines], out.with_suffix(".warm"))

    def keep(step: int, mean: dict[str, Tensor]) -> None:
        copied = copy.deepcopy(model)
        copied.load_state_dict(mean)
        save(out, copied, words)
        head = {
            "parameters": sum(value.numel() for value in model.parameters()), "seed": seed, "warm": warm, "warm_batch": WARM_BATCH,
            "steps": steps, "batch": BATCH, "pictures": number, "rate": RATE, "talk_rate": TALK_RATE, "help": HELP, "eyes_share": EYES,
            "weight_decay": DECAY, "step": step,
        }  # fmt: skip
        lines = [json.dumps(line) + "\n" for line in (head, *course.lines)]
        (out / "training.jsonl").write_text("".join(lines), encoding="utf-8")

    course.teach(Talks(words, scenes, seed), steps, keep)


def main() -> None:
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = words.add_subparsers(dest="what", required=True)
    one = which.add_parser("train")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--warm", type=int, default=1000)
    one.add_argument("--steps", type=int, default=1500)
    one.add_argument("--pictures", type=int, default=40_000)
    one.add_argument("--begun", type=Path)
    one.add_argument("--seed", type=int, default=0)
    two = which.add_parser("measure")
    two.add_argument("--folder", type=Path, required=True)
    two.add_argument("--numbers", type=Path)
    asked = words.parse_args()
    if asked.what == "train":
        train(asked.out, asked.warm, asked.steps, asked.pictures, asked.seed, asked.begun)
    else:
        found = measured(asked.folder, asked.numbers)
        (asked.folder / "measured.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (asked.folder / "card.md").write_text(card(asked.folder), encoding="utf-8")
        print(table(found))


if __name__ == "__main__":
    main()
