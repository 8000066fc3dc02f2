"""The frozen front of a network, computed once: activations at the first trained block, for a fixed number of views of each picture.

A view is a function of (seed, picture, number of the view), so its activations can be kept, and every fit that shares the front
reads them: other rates, other heads, other seeds. Kept as bf16, in files named by all that decides them (weights of the front,
preprocessing, augmentation, pictures, arithmetic); exact within bf16.

It pays where views come again. In units of a forward pass a block and picture, a fit of E epochs that trains the last t of n blocks
costs E (n + 2t) without a cache and K (n - t) + 3 E t with one of K views: nothing is won at K = E, and much at K = 1.
The idea of a cached front is PipeTransformer's (arXiv 2102.03161) and others'; seeded views keep real augmentation.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldguide.bench import Bench
from fieldguide.craft import ranks
from fieldguide.craft.anatomy import anatomy
from fieldguide.craft.feed import Pictures
from fieldguide.craft.pace import Pace, autocast, memory_format
from fieldguide.data.batches import Batch
from fieldguide.files import digest, writing

#: The most the activations may take of what is free on the disk.
SHARE = 0.5
#: The cut network has to agree with the whole one to this part of the largest logit; bf16 keeps eight bits.
AGREES = 0.05


class _Reached(Exception):
    """The forward pass has come to the cut."""


@dataclass(frozen=True)
class Cut:
    """A network that can begin at the module `at`; `passed` are the paths of the blocks in front of it, which are then skipped."""

    network: nn.Module
    at: str
    passed: tuple[str, ...]

    def activations(self, pixels: Tensor) -> Tensor:
        """Return what reaches the cut from pictures ``"pictures 3 size size"``: ``"pictures ..."``."""
        found: list[Tensor] = []

        def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
            found.append(given[0])
            raise _Reached

        handle = self.network.get_submodule(self.at).register_forward_pre_hook(keep)
        try:
            self.network(pixels)
        except _Reached:
            return found[0]
        finally:
            handle.remove()
        raise RuntimeError(f"nothing reaches {self.at}")

    def logits(self, called: Callable[[Tensor], Tensor], activations: Tensor, size: int) -> Tensor:
        """Return the logits that `called` (the network, perhaps wrapped) makes of activations at the cut."""

        def put(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            return (activations, *given[1:])

        # The stem sees black pictures, the blocks up to the cut hand on what they get, and there the activations take its place.
        black = torch.zeros(len(activations), 3, size, size, device=activations.device)
        handle = self.network.get_submodule(self.at).register_forward_pre_hook(put)
        try:
            with _skipped([self.network.get_submodule(path) for path in self.passed]):
                return called(black)
        finally:
            handle.remove()


@contextmanager
def _skipped(blocks: Sequence[nn.Module]) -> Iterator[None]:
    for block in blocks:
        block.forward = lambda hidden, *rest, **named: hidden
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def cut_of(network: nn.Module) -> Cut | str:
    """Return where a partly frozen network can be cut, or the reason why it cannot."""
    body = anatomy(network)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if body.stem.parameters & trained:
        return "all of the network is trained"
    passed: list[str] = []
    for part in body.blocks:
        if part.parameters & trained:
            if part.entry is None:
                return f"{part.name} does not begin with one module"
            return Cut(network, part.entry, tuple(passed)) if passed else "the first block is trained"
        if part.module is None:
            return f"{part.name} is not one module"
        passed.append(part.module)
    owners = {name.rpartition(".")[0] for name in body.head.parameters}
    if body.neck.parameters & trained or len(owners) != 1:
        return "the head is not one layer"
    return Cut(network, owners.pop(), tuple(passed))


@torch.inference_mode()
def agrees(cut: Cut, pixels: Tensor, pace: Pace) -> bool:
    """Tell whether the cut network answers as the whole one does."""
    cut.network.eval()
    with autocast(pixels.device.type, pace.precision):
        whole: Tensor = cut.network(pixels)
        try:
            parts = cut.logits(cut.network, cut.activations(pixels).bfloat16().float(), pixels.shape[-1])
        except (RuntimeError, ValueError, IndexError, TypeError):  # the network looks back past the cut
            return False
    return bool((whole - parts).abs().max() <= AGREES * whole.abs().max().clamp(min=1e-6)) and whole.shape == parts.shape


class Front:
    """A feed of activations instead of pictures, made by `opened`."""

    def __init__(self, cut: Cut, pictures: Pictures, pace: Pace, folder: Path, bench: Bench) -> None:
        self.cut, self.pictures, self.pace, self.folder, self.bench = cut, pictures, pace, folder, bench
        self.name = f"front {folder.name}"

    def training(self, rows: NDArray[np.int64], view: int) -> Generator[Batch]:
        """Yield batches of the activations of a view, computed first where no fit has needed them yet."""
        table = self._table(f"view-{view}", lambda: self.pictures.training(np.arange(len(self.pictures.train)), view))
        for start in range(0, len(rows), self.pictures.batch_size):
            some = rows[start : start + self.pictures.batch_size]
            chosen = tuple(int(row) for row in some)
            yield Batch(tuple(self.pictures.train[row] for row in chosen), table(some), rows=chosen)

    def plain(self, rows: Sequence[int]) -> Iterable[Batch]:
        """Yield batches of the activations of training pictures without augmentation."""
        for batch in self.pictures.plain(rows):
            yield Batch(batch.images, self._activations(batch.pixels).float(), order=batch.order)

    def validation(self) -> Iterable[Batch]:
        """Yield batches of the activations of validation pictures."""
        val, size = self.pictures.val, self.pictures.batch_size
        table = self._table("validation", self.pictures.validation)
        for start in range(0, len(val), size):
            rows = range(start, min(start + size, len(val)))
            yield Batch(tuple(val[row] for row in rows), table(np.array(rows)))

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Ask the network from the cut on."""
        return self.cut.logits(network, inputs.to(self.pictures.device), self.pictures.preprocessing.size)

    @torch.inference_mode()
    def _activations(self, pixels: Tensor) -> Tensor:
        moved = pixels.to(self.pictures.device, memory_format=memory_format(self.pace.layout))
        was = self.cut.network.training
        self.cut.network.eval()
        with autocast(self.pictures.device, self.pace.precision):
            found = self.cut.activations(moved).to(torch.bfloat16).cpu()
        self.cut.network.train(was)
        return found

    def _table(self, name: str, batches: Callable[[], Iterable[Batch]]) -> Callable[[NDArray[np.int64]], Tensor]:
        """Return what reads rows of a table ``"pictures ..."`` as float32; it is written first where it is not there."""
        path = self.folder / f"{name}.npy"
        if not path.exists() and ranks.rank() == 0:
            self._write(path, batches())
        ranks.told()
        table = np.load(path, mmap_mode="r")
        return lambda rows: torch.from_numpy(np.asarray(table[rows])).view(torch.bfloat16).float()

    def _write(self, path: Path, batches: Iterable[Batch]) -> None:
        from fieldguide.craft import loop

        count = len(self.pictures.val) if path.stem == "validation" else len(self.pictures.train)
        at = 0
        with writing(path) as temporary, self.bench.progress.bar("frozen front", count) as bar:
            table: Any = None
            for batch in batches:
                bits = self._activations(batch.pixels).view(torch.int16).numpy()
                if table is None:
                    # Named after the temporary file, which has no suffix that numpy would add to.
                    table = np.lib.format.open_memmap(temporary, "w+", np.int16, (count, *bits.shape[1:]))
                table[at : at + len(bits)] = bits
                at += len(bits)
                bar.advance(len(bits))
            table.flush()
        loop.train_mode(self.cut.network)


def opened(
    network: nn.Module, pictures: Pictures, pace: Pace, bench: Bench, epochs: int, views: int | None, asked: str
) -> tuple[Front | None, str]:
    """Return the feed of activations, or `None`, and in both cases why.

    `views` is how many distinct views a picture has, `asked` is ``auto``, ``on`` or ``off``.
    """
    if asked == "off":
        return None, "not wanted"
    if pictures.augmentation.mixes:
        return None, "pictures are mixed before the network sees them, so no activation comes again"
    cut = cut_of(network)
    if isinstance(cut, str):
        return None, cut
    count = views or epochs
    folder = _folder(cut, pictures, pace, bench)
    if asked == "auto" and count >= epochs and not (folder / f"view-{count - 1}.npy").exists():
        return (
            None,
            f"{epochs} epochs show {epochs} distinct views: each would be computed once either way (views={max(1, epochs // 3)} would save)",
        )
    first = next(iter(pictures.plain(range(min(4, len(pictures.train))))))
    pixels = first.pixels.to(pictures.device, memory_format=memory_format(pace.layout))
    if not agrees(cut, pixels, pace):
        return None, f"the network cannot be cut at {cut.at}: later parts look back past it"
    front = Front(cut, pictures, pace, folder, bench)
    needed = front._activations(pixels[:1]).numel() * 2 * (count * len(pictures.train) + len(pictures.val))
    bench.scratch.mkdir(exist_ok=True)
    free = shutil.disk_usage(bench.scratch).free
    if needed > SHARE * free:
        return None, f"it would take {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
    folder.mkdir(parents=True, exist_ok=True)
    return front, f"{count} views of {len(pictures.train)} pictures at {cut.at}, {needed / 1e9:.2f} GB"


def _folder(cut: Cut, pictures: Pictures, pace: Pace, bench: Bench) -> Path:
    """Return the folder named by all that decides the activations."""
    trained = {name for name, parameter in cut.network.named_parameters() if parameter.requires_grad}
    weights = hashlib.sha256()
    for name, tensor in sorted(cut.network.state_dict().items()):
        if name not in trained and not name.startswith(f"{cut.at}."):
            weights.update(name.encode() + tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    keys = [[image.key for image in images] for images in (pictures.train, pictures.val)]
    looks = [asdict(pictures.preprocessing), asdict(pictures.augmentation), pictures.seed, pictures.batch_size]
    name = digest(weights.hexdigest(), cut.at, looks, keys, asdict(pace))[:24]
    return (bench.shared or bench.scratch) / "fronts" / name
