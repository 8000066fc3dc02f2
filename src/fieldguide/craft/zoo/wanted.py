"""What is read of a room's settings to borrow a network; each setting is described where it lives, in the room."""

from __future__ import annotations

from typing import Literal, Protocol

from fieldguide.data.batches import Interpolation


class Looks(Protocol):
    """What is asked of the pictures a network sees; `None` leaves it to the weights file, then to the network."""

    @property
    def weights(self) -> str: ...

    @property
    def image_size(self) -> int | None: ...

    @property
    def mean(self) -> tuple[float, float, float] | None: ...

    @property
    def std(self) -> tuple[float, float, float] | None: ...

    @property
    def interpolation(self) -> Interpolation | None: ...

    @property
    def crop(self) -> float | None: ...

    @property
    def fit(self) -> Literal["crop", "squash"] | None: ...


class Costs(Protocol):
    """The settings that decide what training costs; `epochs` may be `None` where a room has a number of its own."""

    @property
    def train(self) -> str: ...

    @property
    def epochs(self) -> int | None: ...

    @property
    def batch_size(self) -> int: ...


class Wanted(Looks, Protocol):
    """A network and its pictures; `fieldguide.families.backbone.Settings` and `fieldguide.craft.frozen.Lens` have these."""

    @property
    def model(self) -> str: ...

    @property
    def patch_size(self) -> int | None: ...

    @property
    def pad_type(self) -> str | None: ...


class Trained(Wanted, Costs, Protocol):
    """A network, its pictures, and how it is trained."""
