"""Captions of pictures as COCO keeps them (Lin et al. 2014, arXiv 1405.0312), and as Karpathy's split of it does.

{"images": [{"id": 9, "file_name": "000000000009.jpg"}], "annotations": [{"image_id": 9, "caption": "..."}]}
{"images": [{"filepath": "train2014", "filename": "COCO_train2014_000000000009.jpg", "sentences": [{"raw": "..."}]}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fieldguide.data.texts.common import Said, damaged, none_there


def is_one(value: Any) -> bool:
    """Tell whether a JSON value is a list of pictures as COCO writes it."""
    return isinstance(value, dict) and isinstance(value.get("images"), list)


def read(value: Mapping[str, Any], path: Path) -> Iterator[Said]:
    """Yield every caption under the file name of its picture."""
    pictures = [_object(entry, path, "an image") for entry in value["images"]]
    if any("sentences" in entry for entry in pictures):
        yield from _karpathy(pictures, path)
        return
    annotations = value.get("annotations")
    spoken = isinstance(annotations, list) and any(isinstance(entry, dict) and "caption" in entry for entry in annotations)
    if not spoken or annotations is None:
        raise none_there(
            path,
            'Captions: annotations of {"image_id": ..., "caption": ...}; COCO keeps them in captions_*.json.',
            "its annotations have no caption (boxes are no texts)",
        )
    names: dict[str, str] = {}
    for entry in pictures:
        names[_key(entry.get("id"), path)] = str(entry.get("file_name") or entry.get("id"))
    for number, entry in enumerate(annotations, 1):
        entry = _object(entry, path, f"annotation {number}")
        if "caption" not in entry:
            continue
        key = _key(entry.get("image_id"), path)
        yield Said(names.get(key, f"image_id {key}"), _text(entry["caption"], path, f"annotation {number}"), "picture")


def _karpathy(pictures: list[Mapping[str, Any]], path: Path) -> Iterator[Said]:
    for number, entry in enumerate(pictures, 1):
        name = str(entry.get("filename") or entry.get("file_name") or f"image {number}")
        sentences = entry.get("sentences") or []
        if not isinstance(sentences, list):
            raise damaged(path, f"the sentences of image {number} are no list")
        for sentence in sentences:
            raw = _object(sentence, path, f"a sentence of image {number}").get("raw")
            yield Said(name, _text(raw, path, f"image {number}"), "picture")


def _object(entry: Any, path: Path, what: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise damaged(path, f"{what} is no JSON object")
    return entry


def _key(value: Any, path: Path) -> str:
    if not isinstance(value, int | str):
        raise damaged(path, "a picture has no id that is a number or a text")
    return str(value)


def _text(value: Any, path: Path, where: str) -> str:
    if not isinstance(value, str):
        raise damaged(path, f"{where} has {type(value).__name__} where a caption should be")
    return value
