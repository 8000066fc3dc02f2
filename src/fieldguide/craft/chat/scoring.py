"""How probable each label is as the whole answer: log p(its tokens and the end of the turn | prompt, picture), exactly, for every label.

Prompt and picture are read once. All labels follow as one tree (a token that several begin with is read once for all of them), in a
single row: every token sees the prompt and those that lead to it in its own labels, and stands at the position it would have alone.
Picture and tree go through in one pass; where a picture is read by rules of the model's own (its patches see each other), the tree
follows in a second one. Where an architecture cannot do that (layers with a running state read a row in its order), labels are rows of
a batch, each behind a copy of what was computed; where that fails too, each label is a full pass of its own. Which of the four is used
is not known from a name but found out on the first pictures, by full passes for a few of the labels, and told in the facts.

Labels end with the token that ends the turn, or "bear" would beat "bear cub" by being its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from fieldguide.craft.chat import NOT_FINITE, Said
from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.passes import by_copies, by_joined, by_tree, full_passes, jostled, look
from fieldguide.craft.chat.tree import Labels, Tree, cut, planted
from fieldguide.craft.chat.trie import listed
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import UsageProblem, out_of_memory, plain
from fieldguide.tasks.weighed import Weighed, dumps

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from fieldguide.craft.chat.local import Local
    from fieldguide.craft.chat.prefix import Inputs
    from fieldguide.craft.chat.ready import Prepared, Ready

Way = Literal["joined", "tree", "copied", "naive"]
#: From the quickest to the one that needs nothing of an architecture.
WAYS: tuple[Way, ...] = ("joined", "tree", "copied", "naive")
_SAID = {
    "joined": "with the picture, as a tree",
    "tree": "as a tree behind the picture",
    "copied": "as rows of a batch",
    "naive": "by a full pass each",
}
#: Logits of one pass, and nodes behind one picture; of more, several passes are made.
_MOST, _NODES = 2**27, 2048
#: Labels that full passes are taken for, to find out which way may be used.
_CHECKED = 4
#: In narrow numbers, how many times as far as rounding moves a sum a way may be off.
_NOISE = 2.0


@dataclass
class Scorer:
    """Scores the answers of one prompt; `way` is there once the first pictures have shown which one may be used."""

    chat: Local
    prompt: Prepared
    way: Way | None = None
    ways: Sequence[Way] = WAYS
    labels: tuple[str, ...] = field(init=False)
    tokens: Labels = field(init=False, repr=False)
    sizes: tuple[int, ...] = field(init=False, repr=False)
    most: int = field(init=False)
    trees: list[Tree] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Write the labels as they follow the prompt."""
        asking = self.prompt.asking
        self.labels = tuple(listed(asking.schema) if asking.schema else asking.answers)
        if len(self.labels) != len(asking.answers):
            raise UsageProblem(
                f"The JSON schema of the answer allows {len(self.labels):,} texts, and there are {len(asking.answers):,} names.",
                "Allowed with ask=likelihood: a schema with one text for every name, in their order, as prompts with format json have.",
                "Ask with format name, or with ask=choice.",
            )
        self.tokens = self.chat.hand.answers(self.prompt.written, self.labels)
        self.sizes = tuple(len(label.encode()) for label in self.labels)
        self.most = _MOST
        self._plant()
        self.way = self.chat.ways.get(asking.hash)
        if self.way == "joined" and len(self.trees) > 1:
            self.way = None
        self.prompt.tried = self.way == "naive"  # nothing that is read before is of use to full passes

    @property
    def _vocabulary(self) -> int:
        return int(self.chat.model.config.get_text_config().vocab_size)

    def _plant(self) -> None:
        most = min(_NODES, max(1, self.most // self._vocabulary))
        self.trees = [planted(self.tokens, some) for some in cut(self.tokens, most)]

    @property
    def behind(self) -> int:
        """Tokens that stand behind the prompt at most."""
        return max(len(tokens) for tokens in self.tokens)

    @property
    def alone(self) -> bool:
        """Whether nothing is gained by pictures that go through together; answers then come one by one."""
        return self.way in ("copied", "naive")

    def inputs(self, picture: Pillow.Image) -> Inputs | None:
        """Return nothing: it reads the prompt as it is written."""
        return None

    def lessen(self) -> bool:
        """Make passes half as large, where they can be: memory ran out with a single picture."""
        before = len(self.trees)
        while len(self.trees) == before:
            if self.way == "naive" or self.most < self._vocabulary:
                return False
            self.most //= 2
            self._plant()
        self.way = None  # what is done in other parts is found out anew
        return True

    def weighed(self, group: Sequence[Ready]) -> list[Said]:
        """Return the log-probabilities of the labels for pictures that are alike in shape."""
        with torch.inference_mode(), of_transformers._quiet():
            sums = self._decided(group) if self.way is None else self._by(self.way, group)
        told = []
        for one, row in zip(group, sums.tolist(), strict=True):
            tokens_in = one.tokens + self._read(one.tokens)[1]
            if all(abs(value) < torch.inf for value in row):  # nor is what is not a number
                text = dumps(Weighed(tuple(row), tuple(len(tokens) for tokens in self.tokens), self.sizes))
                told.append(Said(text, "stop", tokens_in, 0, level="likelihood"))
            else:
                told.append(Said(error=NOT_FINITE, tokens_in=tokens_in))
        return told

    def _by(self, way: Way, group: Sequence[Ready]) -> Tensor:
        """Return the sums ``"pictures labels"``, in float64."""
        model = self.chat.model
        if way == "naive":
            return torch.stack([full_passes(model, self.chat._whole(self.prompt, one.picture), self.tokens) for one in group])
        sums = torch.zeros(len(group), len(self.tokens), dtype=torch.float64)
        if way == "joined":
            (tree,) = self.trees
            for rows in self._parts(len(group), tree):
                sums[rows] = by_joined(model, self.prompt.prefix, _stacked(group[rows]), tree, len(self.tokens))
            return sums
        looked = look(model, self.prompt.prefix, _stacked(group))
        if way == "copied":
            each = [looked.only(slice(at, at + 1)) for at in range(len(group))]
            return torch.cat([by_copies(model, row, self.tokens, self.most) for row in each])
        for tree in self.trees:
            for rows in self._parts(len(group), tree):
                sums[rows] += by_tree(model, looked.only(rows), tree, len(self.tokens))
        return sums

    def _parts(self, pictures: int, tree: Tree) -> list[slice]:
        """Return which pictures go through together, so that there are not too many logits."""
        most = max(1, self.most // (self._vocabulary * (len(tree.tokens) + 1)))
        return [slice(at, at + most) for at in range(0, pictures, most)]

    def _decided(self, group: Sequence[Ready]) -> Tensor:
        """Find out with the first pictures which way gives what full passes give, and return what it gave."""
        rows, places = zip(*self._compared(len(group)), strict=True)
        expected, noise = self._expected([group[row] for row in rows], places)
        if not bool(expected.isfinite().all()):
            return torch.full((len(group), len(self.tokens)), torch.nan)  # no way can be told from another by these pictures
        why: dict[str, str] = {}
        for way in self.ways:
            if way == "naive":
                break
            if way == "joined" and len(self.trees) > 1:
                continue  # what several trees follow is read once
            try:
                sums = self._by(way, group)
                _require_agreement(sums[rows, places], expected, noise)
            except Exception as error:  # an architecture that was not made for this fails in ways of its own
                if out_of_memory(error):
                    raise
                why[way] = plain(error)
                continue
            return self._told(way, why, group[0], sums)
        self._told("naive", why, group[0])
        self.prompt.prefix = None  # it is of no use to full passes, and nothing is said to have been read before
        return self._by("naive", group)

    def _compared(self, pictures: int) -> list[tuple[int, int]]:
        """Return which pictures and labels full passes are taken for: the longest label and others with the first, one with the last."""
        longest = max(range(len(self.tokens)), key=lambda at: len(self.tokens[at]))
        step = max(1, len(self.tokens) // (_CHECKED - 1))
        some = sorted({*range(0, len(self.tokens), step), longest, len(self.tokens) - 1})
        return [(0, at) for at in some] + [(pictures - 1, longest)] * (pictures > 1)

    def _expected(self, pictures: Sequence[Ready], places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the sums ``"labels"`` that full passes give, and how far rounding alone moves each."""
        model, labels = self.chat.model, [[self.tokens[at]] for at in places]
        wholes = [self.chat._whole(self.prompt, one.picture) for one in pictures]
        sums = torch.cat([full_passes(model, whole, label) for whole, label in zip(wholes, labels, strict=True)])
        if model.dtype == torch.float32:
            return sums, torch.zeros_like(sums)
        with jostled(model):
            moved = torch.cat([full_passes(model, whole, label) for whole, label in zip(wholes, labels, strict=True)])
        # Every token adds its own: the error of a sum grows as the root of their number.
        lengths = torch.tensor([len(label[0]) for label in labels], dtype=torch.float64)
        return sums, ((moved - sums).square() / lengths).mean().sqrt() * lengths.sqrt()

    def _read(self, prompt: int) -> tuple[int, int]:
        """Return how many full passes and tokens the labels cost for a picture whose prompt has so many tokens."""
        behind = sum(len(label) - 1 for label in self.tokens)
        if self.way == "naive":
            return len(self.tokens), (len(self.tokens) - 1) * prompt + behind
        return 1, behind if self.way == "copied" else sum(len(tree.tokens) for tree in self.trees)

    def _told(self, way: Way, why: Mapping[str, str], one: Ready, sums: Tensor | None = None) -> Tensor:
        """Note the way and what it costs: tokens that are read once for all pictures, for each picture, and for the labels of each."""
        self.way = self.chat.ways[self.prompt.asking.hash] = way
        once = self.prompt.prefix.tokens if self.prompt.prefix else 0
        read = self._read(one.tokens)[1]
        told: dict[str, Any] = {
            "way": way,
            "labels": len(self.labels),
            "tokens": sum(map(len, self.tokens)),
            "once": once,
            "picture": one.tokens - once,
            "behind": read,
            "each": round(read / len(self.labels), 2),
            "full": len(self.tokens) * one.tokens + sum(len(label) - 1 for label in self.tokens),
        }
        if why:
            told["why"] = dict(why)
            self.chat.note(f"Labels are scored {_SAID[way]}: {list(why.values())[-1]}.")
        self.chat.facts = {**self.chat.facts, "likelihood": told}
        return torch.empty(0) if sums is None else sums


def _stacked(group: Sequence[Ready]) -> Inputs:
    """Return the inputs of pictures that are alike in shape, one below the other."""
    return {name: torch.cat([one.inputs[name] for one in group]) for name in group[0].inputs}


def _require_agreement(found: Tensor, expected: Tensor, noise: Tensor) -> None:
    """Raise `ValueError` where sums are farther from those of full passes than rounding explains."""
    far = (found - expected).abs()
    if not bool((far <= prefixes.CLOSE + _NOISE * noise).all()):  # nor is what is not a number
        raise ValueError(f"log-probabilities differ by {float(far.max()):.2g} from those of full passes")
