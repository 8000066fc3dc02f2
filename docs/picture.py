"""Take the picture in the README: the first screen of a report, drawn by Chromium without a network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main(report: Path, target: Path, width: int = 1280, height: int = 1300) -> None:
    """Write `target` (PNG, `width` x `height` CSS pixels)."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.screenshot(path=str(target))
        browser.close()
    Image.open(target).quantize(256).save(target, optimize=True)  # a third of the bytes, for every clone


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
