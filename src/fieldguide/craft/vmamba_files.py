"""VMamba's official weights files: which they are, and where its project publishes them."""

from __future__ import annotations

from fieldguide.craft.zoo.weights import Source, fetched
from fieldguide.errors import UsageProblem, allowed_names, plain

#: Where the project's releases lie (MIT, as its code).
RELEASES = "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
#: The file of each published size, trained on ImageNet-1k.
FILES = {
    "tiny": "vssm1_tiny_0230s_ckpt_epoch_264.pth",
    "tiny_s2l5": "vssm_tiny_0230_ckpt_epoch_262.pth",
    "small": "vssm_small_0229_ckpt_epoch_222.pth",
    "small_s1l20": "vssm1_small_0229s_ckpt_epoch_240.pth",
    "base": "vssm_base_0229_ckpt_epoch_237.pth",
    "base_s1l20": "vssm1_base_0229s_ckpt_epoch_225.pth",
}


def official(size: str, online: bool) -> Source:
    """Return the official checkpoint of a published size from torch's cache folder; it is downloaded into it only if `online`.

    Raises `UsageProblem` for any other size, `EnvironmentProblem` where the file is not on this machine and may not be fetched.
    """
    if size not in FILES:
        raise UsageProblem(
            f"There are no official weights of a VMamba called {plain(size)!r}.",
            f"{allowed_names(size, FILES)} Or weights=none (from scratch), or weights=FILE.",
            "For example vmamba/tiny:weights=hub",
        )
    return fetched(RELEASES + FILES[size], f"vmamba/{size}", online, checked=False)
