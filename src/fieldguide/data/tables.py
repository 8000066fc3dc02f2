"""Tables on disk: the manifest and the predictions, as Parquet with a schema version in their metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from fieldguide.errors import DataProblem
from fieldguide.files import digest, system_problem, writing
from fieldguide.records import SCHEMA_VERSION, Box, Manifest, ManifestRow, Prediction

_MANIFEST = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),
        ("group", pa.string()),
        ("excluded", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("notes", pa.list_(pa.string())),
        ("marks", pa.list_(pa.string())),
    ]
)
#: A list of counts has two columns more; one of classes stays as it always was.
_COUNTED = pa.schema(
    [
        *_MANIFEST,
        ("counts", pa.map_(pa.string(), pa.int64())),
        (
            "boxes",
            pa.list_(pa.struct([("label", pa.string()), *((side, pa.float64()) for side in ("x", "y", "width", "height"))])),
        ),
    ]
)
_PREDICTIONS = pa.schema(
    [
        ("run", pa.string()),
        ("image", pa.string()),
        ("label", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("counts", pa.map_(pa.string(), pa.int64())),
        ("raw", pa.string()),
        ("seconds", pa.float64()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("error", pa.string()),
    ]
)


def freeze(
    rows: Iterable[ManifestRow], classes: Sequence[str], seed: int, task: Literal["classify", "count"] = "classify"
) -> Manifest:
    """Return a manifest in its canonical order, with its hash.

    Rows are ordered by content hash (then path), so the hash depends on what the pictures are and how they are labelled
    and split, not on the order in which files were found. Paths do not enter the hash: a renamed folder is the same list.
    """
    ordered = tuple(sorted(rows, key=lambda row: (row.key, row.path)))
    listed = sorted(
        (row.key, row.label, row.split or "", -1 if row.fold is None else row.fold, row.excluded or "") for row in ordered
    )
    known: list[Any] = [listed, list(classes), seed]
    if task == "count":
        known.append(sorted([row.key, sorted([label, count] for label, count in row.counts or ())] for row in ordered))
    return Manifest(ordered, tuple(classes), seed, digest(*known), task)


def write_manifest(target: Path, manifest: Manifest) -> None:
    """Write ``manifest.parquet``."""
    meta = {"classes": json.dumps(manifest.classes), "seed": str(manifest.seed), "hash": manifest.hash}
    # `dataclasses.asdict` copies every value deeply, which takes longer than writing them.
    records = [{name: getattr(row, name) for name in _MANIFEST.names} for row in manifest.rows]
    if manifest.task == "count":
        for record, row in zip(records, manifest.rows, strict=True):
            record |= {"counts": row.counts, "boxes": [dataclasses.asdict(box) for box in row.boxes]}
        _write(target, records, _COUNTED, {**meta, "task": manifest.task})
        return
    _write(target, records, _MANIFEST, meta)


def read_manifest(path: Path) -> Manifest:
    """Read ``manifest.parquet`` and verify its hash; raises `DataProblem` where it was changed by hand or is damaged."""
    records, meta = _read(path, _MANIFEST, _COUNTED)
    rows = [ManifestRow(**{**record, **_tuples(record)}) for record in records]
    try:
        manifest = freeze(rows, json.loads(meta["classes"]), int(meta["seed"]), "count" if "task" in meta else "classify")
        whole = manifest.hash == meta["hash"]
    except (KeyError, ValueError, TypeError, RecursionError):  # missing, no number, empty where it must not be, nested too deep
        whole = False
    if not whole:
        raise DataProblem(
            f"{path} does not match its own hash: it was changed after it was frozen.",
            "The manifest is the list that all scores stand on and is never edited.",
            "Restore the file, or make a new study with `fieldguide compare` and another --out.",
        )
    return manifest


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lists of a row as the tuples of `ManifestRow`."""
    found: dict[str, Any] = {name: tuple(record[name] or ()) for name in ("notes", "marks")}
    if "counts" in record:
        found["counts"] = None if record["counts"] is None else tuple((label, count) for label, count in record["counts"])
        found["boxes"] = tuple(Box(**box) for box in record["boxes"] or ())
    return found


def write_predictions(target: Path, predictions: Iterable[Prediction]) -> None:
    """Write ``predictions.parquet``, one row for each picture."""
    records = []
    for prediction in predictions:
        record = {name: getattr(prediction, name) for name in _PREDICTIONS.names}
        record["counts"] = list(prediction.counts.items()) if prediction.counts is not None else None
        records.append(record)
    _write(target, records, _PREDICTIONS, {})


def read_predictions(path: Path) -> list[Prediction]:
    """Read ``predictions.parquet``."""
    records, _ = _read(path, _PREDICTIONS)
    return [prediction_from(record) for record in records]


def prediction_from(record: Mapping[str, Any]) -> Prediction:
    """Return a `Prediction` from a row of the table or a line of the journal."""
    values = dict(record)
    if values.get("probabilities") is not None:
        values["probabilities"] = tuple(values["probabilities"])
    if values.get("counts") is not None:
        values["counts"] = dict(values["counts"])
    return Prediction(**values)


def _write(target: Path, records: list[dict[str, Any]], schema: pa.Schema, meta: Mapping[str, str]) -> None:
    metadata = {"fieldguide.schema": str(SCHEMA_VERSION), **{f"fieldguide.{key}": value for key, value in meta.items()}}
    table = pa.Table.from_pylist(records, schema=schema.with_metadata(metadata))
    with writing(target) as temporary:
        pq.write_table(table, temporary)


def _read(path: Path, *schemas: pa.Schema) -> tuple[list[dict[str, Any]], dict[str, str]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        # A disk that cannot read it now is no reason to delete a whole table.
        refused = system_problem(error, path) if isinstance(error, OSError) else None
        if refused is not None:
            raise refused from error
        raise DataProblem(
            f"{path} cannot be read as a table: {error}.",
            "Tables of a study are Parquet files that fieldguide wrote.",
            "Delete that one file and run the same `fieldguide compare` again; what is whole is kept.",
        ) from error
    prefix = b"fieldguide."
    raw = table.schema.metadata or {}
    try:
        meta = {key[len(prefix) :].decode(): value.decode() for key, value in raw.items() if key.startswith(prefix)}
        version, records = int(meta.get("schema", "0")), table.to_pylist()
    except ValueError:  # a version that is no number, or text that is no UTF-8
        meta, version, records = {}, 0, []
    if version > SCHEMA_VERSION:
        raise DataProblem(
            f"{path} was written by a newer fieldguide (table version {meta['schema']}).",
            f"This fieldguide reads versions up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade fieldguide",
        )
    if "schema" not in meta or not any(table.schema.equals(schema) for schema in schemas):
        raise DataProblem(
            f"{path} is a Parquet file, but not the table that belongs there.",
            f"Its columns: {', '.join(schemas[0].names)}, as fieldguide wrote them.",
            "Restore the file, or delete that one file and run the same `fieldguide compare` again.",
        )
    return records, meta
