"""The demo set: scikit-learn's 1,797 handwritten digits (8 x 8 pixels), written as a folder of class folders.

Origin: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (CC BY 4.0); test part, as shipped with scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fieldguide.files import building


def write_digits(target: Path) -> Path:
    """Write ``target/<digit>/<number>.png``, whole or not at all; what is there is kept. Returns `target`."""
    if target.exists():
        return target
    from sklearn.datasets import load_digits

    digits = load_digits()
    with building(target) as folder:
        for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            path = folder / str(label) / f"{number:04d}.png"
            path.parent.mkdir(exist_ok=True)
            # Sixteen grey levels, dark ink on white as on paper.
            Image.fromarray((255 - pixels * 15.9375).astype(np.uint8)).save(path)
    return target
