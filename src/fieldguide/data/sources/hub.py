"""Hugging Face data sets: what `save_to_disk` wrote, parquet files with pictures inside, and names on the hub.

Local files are read with Arrow alone, so they need no extra and run no code. The hub is asked through the library `datasets`,
which since version 4 loads no scripts. Pictures are written as files, byte for byte as the data set holds them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fieldguide.data.sources.archive import file_hash
from fieldguide.data.sources.common import SPLIT_NAMES, Found, SourceFile, clean_label, refuse_multi_label, require_classes
from fieldguide.data.sources.table import COLUMNS
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, nearest, plain
from fieldguide.files import building
from fieldguide.records import SplitName

SCHEME = "hf:"
_INDEX = "index.json"
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
#: Names image columns have on the hub, best first.
_PICTURES = (*COLUMNS["path"], "pixel_values", "picture", "photo")
_LABELS = (*COLUMNS["label"], "labels", "fine_label")
_ENDINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_BATCH = 64


@dataclass(frozen=True)
class _Part:
    """One split of a data set: its name there, the features as the data set describes them, and a way to read rows."""

    name: str
    features: dict[str, Any]
    columns: tuple[str, ...]
    rows: Iterable[dict[str, Any]]
    folder: Path | None = None


def is_saved(folder: Path) -> bool:
    """Tell whether a folder was written by `save_to_disk`, or holds parquet files with pictures (the layout of the hub)."""
    # `os.path` also answers for a folder that may not be entered; whoever lists it names it then.
    if os.path.isfile(folder / "dataset_dict.json") or (
        os.path.isfile(folder / "state.json") and os.path.isfile(folder / "dataset_info.json")
    ):
        return True
    first = next(iter(_parquet_files(folder)), None)
    return first is not None and holds_pictures(first)


def holds_pictures(table: Path) -> bool:
    """Tell whether a parquet file has a column of pictures."""
    try:
        schema = pq.read_schema(table)
    except (pa.ArrowInvalid, OSError):
        return False
    return any(_is_picture(schema.field(name).type, _features(schema).get(name)) for name in schema.names)


def read_local(where: Path, unpack_to: Path, origin: str) -> Found:
    """List a data set on disk; its pictures are written below `unpack_to` once."""
    parts = _local_parts(where)
    files = [where] if where.is_file() else sorted(path for path in where.rglob("*") if path.suffix in (".parquet", ".arrow"))
    key = hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()[:16]
    return _found(unpack_to / f"dataset-{key}", parts, origin)


def read_hub(where: str, unpack_to: Path, *, online: bool) -> Found:
    """List a data set of the hub; without `online` only what was fetched before."""
    name = where.removeprefix(SCHEME)
    if not _REPOSITORY.fullmatch(name):
        raise UsageProblem(
            f"{plain(where)} names no data set.", "Allowed: hf:owner/name, as the hub writes it.", "Correct the name."
        )
    target = unpack_to / f"hf-{name.replace('/', '--')}"
    if target.is_dir():
        return _found(target, [], where)
    if not online:
        raise EnvironmentProblem(
            f"{plain(where)} lies on the Hugging Face hub and was not fetched before.",
            "fieldguide uses the network only where you allow it.",
            "Run the same command again with --online, or give a local copy (save_to_disk or parquet).",
        )
    return _found(target, _hub_parts(name), where)


def _hub_parts(name: str) -> list[_Part]:
    try:
        import datasets
    except ImportError as error:
        raise EnvironmentProblem(
            "Data sets of the hub need the library `datasets`, which is not installed.",
            "It is an extra, so that fieldguide itself stays small.",
            "pip install 'fieldguide[hub]'",
        ) from error
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # the library raises what its many layers raise: network, missing name, gated access
        raise EnvironmentProblem(
            f"The data set {plain(name)} could not be fetched: {plain(error)}.",
            "Public data sets that hold no code; gated ones need a login of your own.",
            "Check the name and the network, or give a local copy.",
        ) from error
    parts = []
    for split, data in loaded.items():
        described = {key: feature for key, feature in data.features.to_dict().items() if isinstance(feature, dict)}
        pictures = [key for key, feature in described.items() if feature.get("_type") == "Image"]
        for key in pictures:
            data = data.cast_column(key, datasets.Image(decode=False))
        parts.append(_Part(str(split), described, tuple(data.column_names), data.with_format(None)))
    return parts


def _local_parts(where: Path) -> list[_Part]:
    if where.is_file():
        return [_parquet_part("train", [where])]
    if (where / "dataset_dict.json").is_file():
        names = json.loads((where / "dataset_dict.json").read_text("utf-8"))["splits"]
        return [_arrow_part(name, where / name) for name in names if _REPOSITORY.fullmatch(name)]
    if (where / "state.json").is_file():
        return [_arrow_part("train", where)]
    by_split: dict[str, list[Path]] = {}
    for path in _parquet_files(where):
        # The hub's names: data/train-00000-of-00004.parquet, or train/0000.parquet.
        stem = re.split(r"[-.]", path.name)[0]
        split = path.parent.name if stem.isdigit() and path.parent != where else stem
        by_split.setdefault(split, []).append(path)
    return [_parquet_part(name, paths) for name, paths in sorted(by_split.items())]


def _parquet_files(folder: Path) -> list[Path]:
    found = []
    for place in (folder, *(folder / name for name in ("data", *SPLIT_NAMES))):
        with contextlib.suppress(OSError):
            found += sorted(place.glob("*.parquet"))
    return found


def _parquet_part(name: str, paths: Sequence[Path]) -> _Part:
    schema = pq.read_schema(paths[0])
    rows = (row for path in paths for batch in pq.ParquetFile(path).iter_batches(_BATCH) for row in batch.to_pylist())
    return _Part(name, _described(schema), tuple(schema.names), rows, paths[0].parent)


def _arrow_part(name: str, folder: Path) -> _Part:
    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        paths = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
        with pa.OSFile(str(paths[0])) as stream:
            schema = pa.ipc.open_stream(stream).schema
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataProblem(
            f"{plain(folder)} is not a whole data set: {plain(error)}.",
            "A folder that `save_to_disk` wrote.",
            "Save the data set again.",
        ) from error
    return _Part(name, _described(schema), tuple(schema.names), _arrow_rows(paths), folder)


def _arrow_rows(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with pa.memory_map(str(path)) as stream:
            for batch in pa.ipc.open_stream(stream):
                for start in range(0, batch.num_rows, _BATCH):
                    yield from batch.slice(start, _BATCH).to_pylist()


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return what `datasets` wrote about the columns, or nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _described(schema: pa.Schema) -> dict[str, Any]:
    features = _features(schema)
    for name in schema.names:
        if name not in features and _is_picture(schema.field(name).type, None):
            features[name] = {"_type": "Image"}
    return features


def _is_picture(kind: pa.DataType, feature: Any) -> bool:
    if isinstance(feature, dict) and feature.get("_type") == "Image":
        return True
    return bool(pa.types.is_struct(kind)) and kind.get_field_index("bytes") >= 0 and kind.get_field_index("path") >= 0


def _choose(part: _Part, origin: str, found: Found) -> tuple[str, str, list[str] | None]:
    """Return the picture column, the label column and the class names (`None` where labels are text)."""
    pictures = [name for name in part.columns if part.features.get(name, {}).get("_type") == "Image"]
    named = [name for want in _LABELS for name in part.columns if name.casefold() == want]
    classes = [name for name in part.columns if _kind(part, name) == "ClassLabel"]
    labels = list(dict.fromkeys([*named, *classes]))
    if not pictures or not labels:
        lacks = "pictures" if not pictures else "labels"
        near = next(iter(nearest("label", [name for name in part.columns if name not in pictures])), None)
        raise UsageProblem(
            f"{plain(origin)} has no column of {lacks}; its columns are {', '.join(plain(name) for name in part.columns)}.",
            f"Pictures are a column of the type Image, labels one of the type ClassLabel or one named {', '.join(_LABELS)}.",
            f"Rename {plain(near)!r} to 'label'?" if near and lacks == "labels" else "Prepare the data set with such columns.",
        )
    picture = next((name for want in _PICTURES for name in pictures if name.casefold() == want), pictures[0])
    label = labels[0]
    for role, chosen, others in (("pictures", picture, pictures), ("labels", label, labels)):
        rest = [name for name in others if name != chosen]
        note = f"The {role} are read from the column {chosen!r}; {', '.join(map(repr, rest))} was not used."
        if rest and note not in found.notes:
            found.notes.append(note)
    if _kind(part, label) in ("Sequence", "List", "LargeList"):
        raise refuse_multi_label(f"the column {label!r} holds a list of labels for each picture")
    names = part.features[label].get("names") if _kind(part, label) == "ClassLabel" else None
    return picture, label, names


def _kind(part: _Part, name: str) -> str | None:
    feature = part.features.get(name)
    if isinstance(feature, list):
        return "List"
    return feature.get("_type") if isinstance(feature, dict) else None


def _found(target: Path, parts: Sequence[_Part], origin: str) -> Found:
    """Write the data set to `target` unless it is there, and list it from its index."""
    if not target.is_dir():
        with building(target) as folder:
            found = Found()
            for part in parts:
                _write_part(part, folder, origin, found)
            require_classes(found, origin, "Choose a data set with pictures and one class for each.")
            _write_index(folder / _INDEX, folder, found)
    return _read_index(target)


def _write_part(part: _Part, folder: Path, origin: str, found: Found) -> None:
    split = SPLIT_NAMES.get(part.name.casefold())
    if split is None:
        found.ignored.append((part.name, "a split that is neither train, validation nor test"))
        return
    picture, label, names = _choose(part, origin, found)
    here = folder / split
    here.mkdir(exist_ok=True)
    unlabelled = 0
    for number, row in enumerate(part.rows):
        text = _label(row[label], names, part.name, number)
        if text is None:
            unlabelled += 1
            continue
        value = row[picture] if isinstance(row[picture], dict) else {}
        data = value.get("bytes") or _beside(part.folder, value.get("path"))
        name = f"{part.name}/{number:07d}{_ending(data)}"
        path = here / f"{part.name}-{number:07d}{_ending(data)}"
        # A row without bytes stays listed; reading it later says that the file is missing.
        if data is not None:
            path.write_bytes(data)
        found.files.append(SourceFile(path, name, text, split))
    if unlabelled:
        found.ignored.append((part.name, f"{unlabelled} rows without a label"))


def _label(value: Any, names: list[str] | None, part: str, number: int) -> str | None:
    if isinstance(value, list):
        if len(value) != 1:
            raise refuse_multi_label(f"row {number} of {part} has {len(value)} labels")
        value = value[0]
    if value is None or (names is not None and (not isinstance(value, int) or not 0 <= value < len(names))):
        return None
    return clean_label(names[value] if names is not None else str(value)) or None


def _beside(folder: Path | None, name: Any) -> bytes | None:
    """Return the bytes of a picture the data set only points to, if it lies below the data set."""
    if folder is None or not isinstance(name, str):
        return None
    path = Path(os.path.realpath(folder / name))
    return path.read_bytes() if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _ending(data: bytes | None) -> str:
    if data is None:
        return ""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((ending for start, ending in _ENDINGS if data.startswith(start)), "")


def _write_index(path: Path, folder: Path, found: Found) -> None:
    files = [[file.path.relative_to(folder).as_posix(), file.name, file.label, file.split] for file in found.files]
    path.write_text(
        json.dumps({"files": files, "ignored": found.ignored, "notes": found.notes}, ensure_ascii=False), encoding="utf-8"
    )


def _read_index(target: Path) -> Found:
    index = json.loads((target / _INDEX).read_text("utf-8"))
    splits: dict[str, SplitName] = {"train": "train", "val": "val", "test": "test"}
    files = [SourceFile(target / path, name, label, splits.get(split)) for path, name, label, split in index["files"]]
    return Found(files, [(name, reason) for name, reason in index["ignored"]], list(index["notes"]))
