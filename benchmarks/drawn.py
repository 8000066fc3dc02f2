"""Train the small image-text model that is shipped as package data, on drawn pictures and what is said of them.

    python benchmarks/drawn.py train --out OUT --minutes 12
    python benchmarks/drawn.py measure --folder OUT [--numbers PICTURES]     # PICTURES: class folders 0 to 9, for one more row
    python benchmarks/drawn.py train --out OUT --steps 20 --pictures 2048    # does it run?

train: pictures are drawn once (``--pictures`` of them), sentences anew at every step: two true ones a picture and two of a look that
differs in one or two parts. Of every sentence it is known of which pictures it is true, so the contrastive loss counts no true pair as
false. One thread, bf16 arithmetic, cosine rate, and a running mean of the weights, which is written as fp16 with its configuration,
tokeniser, preprocessing, learning curve and card. The same seed and number of steps make the same file on the same kind of machine;
``--minutes`` sets the number of steps after a few timed ones and writes it down.

CLIP: Radford et al., arXiv 2103.00020 (the network is transformers' CLIPModel). Several positives a row: Khosla et al., arXiv
2004.11362. Sentences that differ in a word as negatives: Yuksekgonul et al., arXiv 2210.01936.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_card import card
from drawn_measures import measured
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from fieldguide.data.drawn.looks import PARTS, Look, training_look, twisted
from fieldguide.data.drawn.pictures import draw
from fieldguide.data.drawn.sentences import Claim, caption, held, nameless

SIDE, PATCH, CONTEXT = 48, 8, 32
BATCH, RATE, DECAY, WARM = 128, 1e-3, 0.05, 100
#: Weight of what the helpers ask for.
HELP = 1.0
MEAN = STD = (0.5, 0.5, 0.5)
WORDS = Path(__file__).with_name("drawn_words.txt")


def tokeniser(random: np.random.Generator, size: int = 1600) -> CLIPTokenizer:
    """Return CLIP's tokeniser with a vocabulary of its own: bytes, pieces of captions and of English words, marks of begin and end last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    empty = CLIPTokenizer()
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = empty.backend_tokenizer.normalizer, empty.backend_tokenizer.pre_tokenizer
    looks = [training_look(random) for _ in range(4000)]
    said = [f(look, random).text for look in looks for f in (caption, nameless)]
    words = WORDS.read_text(encoding="utf-8").split() * 4
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    course = trainers.BpeTrainer(
        vocab_size=size - 2 - 2 * 256, min_frequency=4, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False
    )
    learner.train_from_iterator([*said, *words], course)
    learnt = json.loads(learner.to_str())["model"]["merges"]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in learnt)]
    vocab = {piece: place for place, piece in enumerate(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(pair) for pair in learnt], model_max_length=CONTEXT)


def network(words: CLIPTokenizer) -> CLIPModel:
    """Return an untrained network of about two million parameters."""
    marks = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    text = {
        "vocab_size": len(words), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT, "projection_dim": 128, "hidden_act": "gelu", **marks,
    }  # fmt: skip
    vision = {
        "hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 3, "image_size": SIDE,
        "patch_size": PATCH, "projection_dim": 128, "hidden_act": "gelu",
    }  # fmt: skip
    return CLIPModel._from_config(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=128), attn_implementation="eager"
    )


def pictures(number: int, seed: int) -> tuple[list[Look], NDArray[np.uint8]]:
    """Draw the training pictures; ``"pictures side side 3"``."""
    random = np.random.default_rng((seed, 1))
    looks = [training_look(random) for _ in range(number)]
    drawn = np.empty((number, SIDE, SIDE, 3), dtype=np.uint8)
    for at, look in enumerate(looks):
        # Some larger and scaled down, some under much noise, as others' pictures will be.
        side, noise = (
            (SIDE, 8.0) if random.random() < 0.7 else (int(random.integers(SIDE, 3 * SIDE // 2)), random.choice((8.0, 30.0)))
        )
        picture = Image.fromarray(draw(look, random, side, noise))
        drawn[at] = np.asarray(picture if side == SIDE else picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return looks, drawn


def sentences(looks: list[Look], random: np.random.Generator) -> list[Claim]:
    """Say two true things of each picture, and two of something that is easily taken for it."""
    said = [caption(look, random) for look in looks]
    said += [nameless(look, random) if random.random() < 0.6 else caption(look, random) for look in looks]
    said += [caption(twisted(look, random), random) for look in looks]
    return said


def contrast(logits: Tensor, true: Tensor, own: int) -> Tensor:
    """Return the loss of scores ``"pictures sentences"``, of which the first `own` were said of these pictures.

    Each true pair is held against all false pairs of its picture, and against all of its sentence; a sentence that is true of many
    pictures weighs no more than one that is true of a single one.
    """
    weight = true[:, :own] / true[:, :own].sum(dim=0)
    rows = logits.masked_fill(true, -math.inf).logsumexp(dim=1, keepdim=True)
    columns = logits[:, :own].masked_fill(true[:, :own], -math.inf).logsumexp(dim=0, keepdim=True)
    by_picture, by_sentence = F.softplus(rows - logits[:, :own]), F.softplus(columns - logits[:, :own])
    return (weight * (by_picture + by_sentence)).sum() / (2 * own)


class Helpers(nn.Module):
    """Linear readers of both features, dropped after training: which words a look has, and for which words a sentence is true.

    They tell the towers early what there is to be seen and read; the contrast of features then has something to line up.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [len(words) for words in PARTS.values()]
        self.seen, self.read = nn.Linear(width, sum(self.sizes)), nn.Linear(width, sum(self.sizes))

    def forward(self, seen: Tensor, read: Tensor, looks: list[Look], said: list[Claim]) -> Tensor:
        """Return the sum of both losses, each a mean over the parts of a look."""
        parts = self.seen(seen).split(self.sizes, dim=1)
        loss = seen.new_zeros(())
        for (part, words), scores in zip(PARTS.items(), parts, strict=True):
            loss = loss + F.cross_entropy(scores, torch.tensor([words.index(getattr(look, part)) for look in looks]))
        true = [
            [part not in claim.allows or word in claim.allows[part] for part, words in PARTS.items() for word in words]
            for claim in said
        ]
        return loss / len(parts) + 4 * F.binary_cross_entropy_with_logits(self.read(read), torch.tensor(true).float())


class Course:
    """A training run: the network, its optimiser and the running mean of its weights."""

    def __init__(self, words: CLIPTokenizer, model: CLIPModel, seed: int) -> None:
        self.words, self.model, self.random = words, model, np.random.default_rng((seed, 2))
        plain = [value for value in model.parameters() if value.ndim < 2]
        heavy = [value for value in model.parameters() if value.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
        self.helpers = Helpers(model.config.projection_dim)
        groups.append({"params": list(self.helpers.parameters()), "weight_decay": 0.0})
        self.optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-8)
        self.mean = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.working = copy.deepcopy(model).bfloat16()

    def step(self, looks: list[Look], drawn: NDArray[np.uint8], rate: float) -> dict[str, float]:
        """Learn from one batch and return its loss and how often the picture's own caption is the best of its false ones."""
        said = sentences(looks, self.random)
        true = torch.from_numpy(held(said, looks, PARTS))
        pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            for value, rough in zip(self.model.parameters(), self.working.parameters(), strict=True):
                rough.copy_(value)
                rough.grad = None
        seen, read = self.working.get_image_features(pixel_values=pixels.bfloat16()).pooler_output.float(), self.read(said)
        scale = self.model.logit_scale.clamp(max=math.log(100)).exp()
        logits = scale * F.normalize(seen, dim=1) @ F.normalize(read, dim=1).T
        loss = contrast(logits, true, 2 * len(looks))
        help = self.helpers(seen, read, looks, said)
        self.optimiser.zero_grad()
        (loss + HELP * help).backward()
        for value, rough in zip(self.model.parameters(), self.working.parameters(), strict=True):
            if rough.grad is not None:
                value.grad = rough.grad.float()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            own = logits[:, : len(looks)].diagonal()
            right = own > logits.masked_fill(true, -math.inf).amax(dim=1)
        return {"loss": loss.item(), "help": help.item(), "right": right.float().mean().item(), "scale": scale.item()}

    def read(self, said: list[Claim], parts: int = 4) -> Tensor:
        """Return what the network makes of sentences, ``"sentences features"``; those of like length are read together."""
        tokens = self.words([claim.text for claim in said], truncation=True, max_length=CONTEXT)["input_ids"]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        pieces = []
        for part in np.array_split(order, parts):
            padded = self.words.pad({"input_ids": [tokens[at] for at in part]}, return_tensors="pt")
            pieces.append(self.working.get_text_features(**padded).pooler_output)
        back = torch.tensor(order).argsort()
        return torch.cat(pieces).float()[back]

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Move the mean of the weights towards the present ones."""
        keep = min(0.995, step / (step + 10))
        for name, value in self.model.state_dict().items():
            self.mean[name].lerp_(value.to(self.mean[name].dtype), 1 - keep) if value.is_floating_point() else None


def rate_at(step: int, steps: int) -> float:
    """Return the rate of a step: a warm-up, then a cosine down to nothing."""
    return RATE * min(1.0, (step + 1) / WARM) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(out: Path, minutes: float, steps: int, number: int, seed: int) -> None:
    torch.manual_seed(seed)
    began = time.time()
    words = tokeniser(np.random.default_rng((seed, 0)))
    model = network(words)
    course = Course(words, model, seed)
    looks, drawn = pictures(number, seed)
    spent = time.time() - began
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(words)} pieces, {number} pictures drawn in {spent:.0f} s"
    )
    order = np.random.default_rng((seed, 3))
    log: list[dict[str, Any]] = []
    first = time.time()
    timed = 8
    total = steps or 10_000
    at = 0
    deck: list[int] = []
    while at < total:
        if len(deck) < BATCH:
            deck += order.permutation(number).tolist()
        chosen, deck = deck[:BATCH], deck[BATCH:]
        one = course.step([looks[i] for i in chosen], drawn[chosen], rate_at(at, total))
        at += 1
        course.average(at)
        if at == timed and not steps:
            total = max(timed, int(timed * (60 * minutes - spent) / (time.time() - first)))
            print(f"{total} steps")
        log.append(one)
        if at % 50 == 0 or at == total:
            line = {
                "step": at,
                "rate": round(rate_at(at - 1, total), 7),
                **{k: round(float(np.mean([o[k] for o in log[-50:]])), 4) for k in one},
            }
            line["seconds"] = round(time.time() - began, 1)
            print(json.dumps(line), flush=True)
            log[-1]["line"] = line
    model.load_state_dict(course.mean)
    save(out, model, words)
    head = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": seed,
        "steps": total,
        "batch": BATCH,
        "pictures": number,
        "rate": RATE,
        "weight_decay": DECAY,
        "warm_up": WARM,
    }
    lines = [head, *(one["line"] for one in log if "line" in one)]
    (out / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def save(out: Path, model: CLIPModel, words: CLIPTokenizer) -> None:
    """Write everything that `from_pretrained` needs; weights as fp16, to be computed with as fp32."""
    model.half().save_pretrained(out)
    words.save_pretrained(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config = config | {
        "dtype": "float32",
        "text_config": config["text_config"] | {"dtype": "float32"},
        "vision_config": config["vision_config"] | {"dtype": "float32"},
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_mean=MEAN, image_std=STD
    ).save_pretrained(out)


def main() -> None:
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = words.add_subparsers(dest="what", required=True)
    one = which.add_parser("train")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--minutes", type=float, default=12)
    one.add_argument("--steps", type=int, default=0)
    one.add_argument("--pictures", type=int, default=60_000)
    one.add_argument("--seed", type=int, default=0)
    two = which.add_parser("measure")
    two.add_argument("--folder", type=Path, required=True)
    two.add_argument("--numbers", type=Path)
    asked = words.parse_args()
    if asked.what == "train":
        train(asked.out, asked.minutes, asked.steps, asked.pictures, asked.seed)
    else:
        found = measured(asked.folder, asked.numbers)
        print(json.dumps(found, indent=2))
        (asked.folder / "measured.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (asked.folder / "card.md").write_text(card(asked.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
