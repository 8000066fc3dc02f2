"""The loop: steps of so many pictures, a look at validation in between, the best kept, exact resume.

Which pictures a step sees is a function of (seed, step), so a checkpoint needs only tensors, the random state of dropout and the
position; killed at any moment, the same call goes on to the same weights (bit for bit on a CPU with as many threads). A look at
validation asks the model as it will be asked: generated or weighed answers, by the task's own metric, not the loss of tokens that
were foretold. A step's loss is a mean over all its terms, in however many pieces it went through.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fieldguide.bench import Bench, trim_log
from fieldguide.craft import checkpoint, decisions, loop, optimiser
from fieldguide.craft.pace import autocast
from fieldguide.craft.tuning import Lesson, quantised, rates
from fieldguide.craft.tuning.adapters import Student, named
from fieldguide.craft.tuning.heads import Head
from fieldguide.data.batches import draw_order
from fieldguide.errors import EnvironmentProblem, out_of_memory
from fieldguide.files import digest

#: Scores validation answers (`None` where nothing came) against lessons; `Plan.monitor` names the one that decides.
Judge = Callable[[Sequence[str | None], Sequence[Lesson]], Mapping[str, float]]
_KEPT = ("sitting", "fact", "parts", "rates")


def exact(answers: Sequence[str | None], lessons: Sequence[Lesson]) -> dict[str, float]:
    """Return the share of answers that are right letter for letter."""
    right = sum(answer == lesson.answer for answer, lesson in zip(answers, lessons, strict=True))
    return {"accuracy": right / max(1, len(lessons))}


@dataclass(frozen=True)
class Plan:
    """All that shapes a training run; the checkpoint of another plan is not resumed.

    A step sees ``batch_size * accumulate`` pictures. `warmup` is a part of all `steps`. Validation is looked at every `every` steps and
    at the end; `patience` looks without a better score end the run. `betas` and `epsilon` are the optimiser's.
    """

    steps: int
    batch_size: int = 2
    accumulate: int = 1
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: float = 0.0
    schedule: rates.Schedule = "linear"
    optimiser: Literal["adamw", "adamw8bit"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float = 1.0
    every: int = 1
    patience: int = 3
    monitor: str = "accuracy"


def steps_of(pictures: int, batch_size: int, accumulate: int, epochs: float, most: int | None = None) -> int:
    """Return the steps of so many epochs over `pictures`, `most` of them at most."""
    steps = max(1, math.ceil(pictures * epochs / (batch_size * accumulate)))
    return steps if most is None else min(steps, most)


def evenly(kinds: Sequence[Hashable], most: int, seed: int) -> list[int]:
    """Return the places of `most` things of these `kinds`, drawn so that every kind is there as evenly as there are any."""
    drawn = [int(at) for at in draw_order(len(kinds), seed, 0)]
    seen: Counter[Hashable] = Counter()
    turn = {}
    for at in drawn:
        turn[at] = seen[kinds[at]]
        seen[kinds[at]] += 1
    return sorted(drawn, key=lambda at: turn[at])[:most]


@dataclass
class _Position:
    """Where a run is: the next step, sums since the last look, looks so far, and the best of them; `due`: a look comes next."""

    step: int = 0
    look: int = 0
    due: bool = False
    loss_sum: float = 0.0
    terms: int = 0
    seconds: float = 0.0
    best_look: int = -1
    best: dict[str, float] = field(default_factory=dict)
    finished: bool = False


class Course:
    """The state of one training run of the student of `head`."""

    def __init__(
        self, head: Head, train: Sequence[Lesson], val: Sequence[Lesson], plan: Plan, bench: Bench, judge: Judge = exact
    ) -> None:
        self.head, self.train, self.val = head, train, val
        self.plan, self.bench, self.judge = plan, bench, judge
        self.student = student = head.student
        parts = {"network": student.network} | ({} if head.module is None else {"head": head.module})
        self.whole = nn.ModuleDict(parts)
        self.free = {name: one for name, one in self.whole.named_parameters() if one.requires_grad}
        self.optimiser = self._optimiser()
        self.scaler = torch.amp.GradScaler(bench.device.split(":")[0], enabled=student.precision == "fp16")
        self.position = _Position()
        self.best = self._copied()
        self.folder = bench.scratch / "checkpoints"
        lessons = [[(one.image.key, one.answer) for one in some] for some in (train, val)]
        asked = [head.rows.asking.hash, type(head).__name__, head.rows.looked is not None]
        made = [student.base, student.tuning.told(), student.precision, *asked]
        self.identity = digest(asdict(plan), made, lessons, bench.seed)
        self.pieces = int(decisions.known(bench).get("pieces", 1))

    def go(self) -> Student:
        """Train to the end from wherever the last sitting came to; return the student with its best weights."""
        self._resume()
        saved = time.perf_counter()
        with self.bench.progress.bar("train", self.plan.steps) as bar:
            bar.advance(self.position.step)
            while not self.position.finished:
                if self.position.due:
                    self._look()
                    saved = time.perf_counter()
                    continue
                self._one()
                here = self.position
                bar.advance(note=f"loss {here.loss_sum / max(1, here.terms):.3f}")
                if here.due or time.perf_counter() - saved > loop.CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.perf_counter()
        self._put(self.best)
        self.whole.eval()
        named(self.student)
        kept = {f"val_{name}": value for name, value in self.position.best.items()}
        self.bench.log("best", epoch=self.position.best_look, **kept, **self._learned())
        return self.student

    def drawn(self, step: int) -> list[Lesson]:
        """Return the lessons of a step: epochs follow each other in orders of their own, without a break."""
        size, found, orders = self.plan.batch_size * self.plan.accumulate, [], {}
        for number in range(step * size, (step + 1) * size):
            epoch, at = divmod(number, len(self.train))
            if epoch not in orders:
                orders[epoch] = draw_order(len(self.train), self.bench.seed, epoch)
            found.append(self.train[int(orders[epoch][at])])
        return found

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.plan.learning_rate * rates.rate(step, self.plan.steps, self.plan.warmup, self.plan.schedule)

    def _one(self) -> None:
        """Learn from the pictures of the next step."""
        here, started = self.position, time.perf_counter()
        loop.train_mode(self.whole)
        lessons = self.drawn(here.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(here.step)
        value, terms = self._gradient(lessons)
        if not math.isfinite(value):
            raise EnvironmentProblem(
                f"Training diverged: the loss is {value} in step {here.step}.",
                f"The learning rate was {self.plan.learning_rate:g} at precision {self.student.precision}.",
                f"Try learning_rate={self.plan.learning_rate / 10:g} or precision=fp32.",
            )
        if here.step == 0:
            self._tell_unreached()
        if self.plan.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.free.values(), self.plan.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        here.step, here.loss_sum, here.terms = here.step + 1, here.loss_sum + value, here.terms + terms
        here.due = here.step % self.plan.every == 0 or here.step >= self.plan.steps
        here.seconds += time.perf_counter() - started

    def _gradient(self, lessons: Sequence[Lesson]) -> tuple[float, int]:
        """Add up the gradients of a step; return its summed loss and how many terms that has. Where memory runs out, in smaller pieces."""
        terms, size = sum(self.head.weight(lesson) for lesson in lessons), self.plan.batch_size
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            try:
                value = 0.0
                for start in range(0, len(lessons), size):
                    for piece in self._pieces(lessons[start : start + size]):
                        with autocast(self.bench.device, self.student.precision):
                            loss = self.head.loss(piece)
                        self.scaler.scale(loss / terms).backward()  # type: ignore[no-untyped-call]
                        value += float(loss.detach())
                return value, terms
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._halve(min(size, len(lessons))):
                    raise

    def _pieces(self, lessons: Sequence[Lesson]) -> list[Sequence[Lesson]]:
        each = max(1, -(-len(lessons) // self.pieces))
        return [lessons[start : start + each] for start in range(0, len(lessons), each)]

    def _halve(self, pictures: int) -> bool:
        """Cut every batch into twice as many pieces, and remember it; `False` where a piece is one picture already."""
        if self.pieces >= pictures:
            return False
        self.pieces = decisions.cut(self.bench, min(2 * self.pieces, pictures))
        return True

    def _tell_unreached(self) -> None:
        """Note the parameters that no gradient reaches: the model has them and does not use them."""
        missed = {name: one.numel() for name, one in self.free.items() if one.grad is None}
        if missed:
            self.bench.fact(unreached={"tensors": len(missed), "parameters": sum(missed.values()), "first": min(missed)})
        if len(missed) == len(self.free):
            raise EnvironmentProblem(
                "No gradient reaches any parameter that is trained, so nothing would be learned.",
                "Allowed: parts of the model that its answers depend on.",
                "Take other parts, or another model.",
            )

    def _look(self) -> None:
        """Ask about validation as the model will be asked, and keep the weights if they are the best so far."""
        here, started = self.position, time.perf_counter()
        scores = self._scores(self.val)
        better = not here.best or scores.get(self.plan.monitor, math.inf) > here.best.get(self.plan.monitor, -math.inf)
        if better:
            here.best, here.best_look, self.best = scores, here.look, self._copied()
        self.bench.log(
            "epoch",
            epoch=here.look,
            step=here.step,
            pictures=here.step * self.plan.batch_size * self.plan.accumulate,
            train_loss=here.loss_sum / max(1, here.terms),
            **{f"val_{name}": value for name, value in scores.items()},
            learning_rate=self.rate(here.step - 1),
            seconds=here.seconds + time.perf_counter() - started,
        )
        stale = here.look - here.best_look
        here.look, here.due, here.loss_sum, here.terms, here.seconds = here.look + 1, False, 0.0, 0, 0.0
        here.finished = here.step >= self.plan.steps or (bool(self.val) and stale >= self.plan.patience)
        self._save()

    def _scores(self, some: Sequence[Lesson], what: str = "validate") -> dict[str, float]:
        """Return what the judge says of the answers about `some`; of validation without any, which makes later looks better, nothing."""
        if not some:
            return {}
        self.whole.eval()
        with self.bench.progress.bar(what, len(some)) as bar:
            answers = []
            for answer in self.head.answers(some):
                answers.append(answer)
                bar.advance()
        return {name: float(value) for name, value in self.judge(answers, some).items()}

    def _learned(self) -> dict[str, float]:
        """Return how well the kept weights know their own training pictures: a sample of them, as large as validation and drawn evenly."""
        drawn = evenly([one.answer for one in self.train], len(self.val), self.bench.seed)
        found = self._scores([self.train[at] for at in drawn], "training pictures").get("accuracy")
        return {} if found is None else {"train_accuracy": found, "train_pictures": len(drawn), "val_pictures": len(self.val)}

    def _optimiser(self) -> Any:
        groups = optimiser.groups(self.whole, self.plan.weight_decay, {})
        told: dict[str, Any] = {"lr": self.plan.learning_rate, "betas": self.plan.betas, "eps": self.plan.epsilon}
        if self.plan.optimiser == "adamw8bit":
            return quantised.library().optim.AdamW8bit(groups, **told)
        return torch.optim.AdamW(groups, fused=True, **told)

    def _copied(self) -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in self.free.items()}

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, one in self.free.items():
            one.copy_(tensors[name])

    def _save(self) -> None:
        random = {"cpu": torch.get_rng_state()}
        if self.bench.device.startswith("cuda"):
            random["cuda"] = torch.cuda.get_rng_state(self.bench.device)
        groups = {
            "model": self._copied(),
            "best": self.best,
            "optimiser": checkpoint.optimiser_tensors(self.optimiser, self.whole),
            "random": random,
        }
        state = {"identity": self.identity, "position": asdict(self.position), "scaler": self.scaler.state_dict()}
        checkpoint.save(self.folder, groups, state)

    def _resume(self) -> None:
        found = checkpoint.load(self.folder)
        log = self.bench.scratch / "log.jsonl"
        if found is None or found[1]["identity"] != self.identity:
            trim_log(log, lambda event: event["event"] in _KEPT)
            torch.manual_seed(self.bench.seed)
            return
        groups, state = found
        self._put(groups["model"])
        self.best = {name: tensor.to(self.free[name].device) for name, tensor in groups["best"].items()}
        self.position = _Position(**state["position"])
        restored(self.optimiser, self.free, groups["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"]:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.bench.device)
        look = self.position.look
        trim_log(log, lambda event: event["event"] != "best" and event.get("epoch", -1) < look)
        self.bench.log("resumed", at_epoch=look, at_step=self.position.step)


def restored(steps: Any, free: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Put back what `checkpoint.optimiser_tensors` returned: eight-bit moments keep their bits, and what was a number is one again."""
    counts = not isinstance(steps, torch.optim.AdamW)
    for flat, value in tensors.items():
        name, _, entry = flat.rpartition("|")
        parameter = free[name]
        if counts and not value.ndim:
            steps.state[parameter][entry] = value.item()
        elif value.shape == parameter.shape and value.is_floating_point():
            steps.state[parameter][entry] = torch.empty_like(parameter).copy_(value)
        else:
            steps.state[parameter][entry] = value.to(parameter.device)
