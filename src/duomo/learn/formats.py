"""Records of samples out of every format: JSON lines, JSON, CSV, Parquet, and folders of Hugging Face `datasets`.

A record is what a JSON line would hold; `samples` checks it. A line that cannot be read gives its error in place of a
record, so that reading goes on and all mistakes are told at once.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from duomo.errors import InputError
from duomo.learn.task import Head

MEDIA = ("image", "audio", "video")
KEYS = ("id", "text", *MEDIA, "features", "group", "labels", "history", "split")
"""Of a record. Columns of tables are called `labels.HEAD` (or `label_HEAD`, or as the head) and `features.NAME`."""

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".csv", ".tsv", ".parquet")
MOST_LINE_BYTES = 64 << 20

Records = Iterator[tuple[int, object]]
"""(line or row from 1, record or the InputError that came instead)"""


def records(path: Path, *, heads: Mapping[str, Head], group: str) -> Records:
    """Read a file or a folder.

    Args:
        heads: of the task, whose bare names may be columns too.
        group: a further column to read.
    Raises:
        InputError: no known format, or damaged as a whole.
        OSError: cannot be opened.
    """
    name = path.name.lower()
    if path.is_dir():
        return _dataset(path, heads, group)
    if name.endswith((".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")):
        return _json_lines(path)
    if name.endswith(".json"):
        return _json(path)
    if name.endswith((".csv", ".tsv")):
        return _csv(path, {head.name for head in heads.values() if head.type == "multilabel"})
    if name.endswith(".parquet"):
        return _parquet(path, heads, group)
    raise InputError(f"{path} is no known samples file; allowed: {', '.join(FORMATS)}, or a folder of `datasets`")


def short(value: str) -> str:
    """For messages."""
    return value if len(value) <= 60 else value[:57] + "..."


# --- JSON


def _json_lines(path: Path) -> Records:
    with _opened(path) as file:
        number = 0
        while line := _line(file, path):
            number += 1
            if line.strip():
                yield number, _attempt(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _opened(path: Path) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _line(file: IO[bytes], path: Path) -> bytes:
    try:
        line = file.readline(MOST_LINE_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if len(line) > MOST_LINE_BYTES:
        raise InputError(f"{path} has a line of more than {MOST_LINE_BYTES >> 20} MiB; each sample takes one line")
    return line


def _json(path: Path) -> Records:
    try:
        whole = _parsed(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    yield from enumerate(whole if isinstance(whole, list) else [whole], 1)


def _attempt(data: bytes) -> object:
    try:
        return _parsed(data)
    except InputError as error:
        return error


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise InputError("not JSON that can be read: nested too deep, or a number too long") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InputError(f"{short(twice)!r} stands twice in one sample")
    return record


def _refuse_constant(name: str) -> float:
    raise InputError(f"{name} is not a number of JSON; leave the value out, or write null")


# --- CSV


def _csv(path: Path, several: set[str]) -> Records:
    csv.field_size_limit(MOST_LINE_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = 1
        try:
            reader = csv.reader(file, delimiter=_delimiter(path, file), strict=True)
            columns = [name.strip() for name in next(reader, [])]
            if not any(columns):
                raise InputError(f"{path} has no header; its first line names the columns")
            if len(set(columns)) != len(columns):
                raise InputError(f"{path}:1: two columns have the same name")
            for cells in reader:
                line = reader.line_num
                if any(cell.strip() for cell in cells):
                    yield line, _csv_record(columns, cells, several)
        except csv.Error as error:
            raise InputError(f"{path}:{line + 1}: not CSV: {error}") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: not UTF-8; in Excel save it as “CSV UTF-8”") from None


def _delimiter(path: Path, file: IO[str]) -> str:
    """Excel writes semicolons where the comma is the decimal sign."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    head = file.readline(1 << 20)
    file.seek(0)
    return ";" if ";" in head and "," not in head else ","


def _csv_record(columns: list[str], cells: list[str], several: set[str]) -> object:
    if len(cells) > len(columns):
        return InputError(f"{len(cells)} cells, but {len(columns)} columns")
    try:
        row = zip(columns, cells, strict=False)
        return {name: _cell(name, cell, several) for name, cell in row if cell.strip()}
    except InputError as error:
        return error


def _cell(name: str, cell: str, several: set[str]) -> object:
    """Lists stand in cells as JSON, or separated by semicolons."""
    head = name.removeprefix("labels.").removeprefix("label_")
    if name.startswith("features."):
        return _vector(cell.strip())
    if name in ("history", "features", "labels") or (
        cell.lstrip().startswith("[") and head in {*several, *_dotted(name)}
    ):
        return _parsed(cell.encode("utf-8", "replace"))
    if head in several:
        return [label.strip() for label in cell.split(";") if label.strip()]
    return cell


def _dotted(name: str) -> set[str]:
    return {name.removeprefix("labels.")} if name.startswith("labels.") else set()


def _vector(cell: str) -> object:
    if cell.startswith("["):
        return _parsed(cell.encode("utf-8", "replace"))
    try:
        return [float(number) for number in cell.split(";") if number.strip()]
    except ValueError:
        return cell  # the path of a .npy file


# --- Arrow: Parquet and `datasets`


def _parquet(path: Path, heads: Mapping[str, Head], group: str) -> Records:
    import pyarrow as pa  # type: ignore[import-untyped]  # half a second, and most samples are JSON
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            kept = _known(file.schema_arrow.names, heads, group, str(path))
            rows = (row for batch in file.iter_batches(1024, columns=kept) for row in batch.to_pylist())
            yield from enumerate(map(_without_gaps, rows), 1)
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a Parquet file that can be read: {short(str(error))}") from None


def _known(columns: list[str], heads: Iterable[str], group: str, source: str) -> list[str]:
    """Tables made by others bring columns of their own; those that mean something here are read."""
    names = set(heads)
    wanted = {*KEYS, group, *names, *(["label"] if len(names) == 1 else [])}
    kept = [name for name in columns if name in wanted or name.startswith(("labels.", "label_", "features."))]
    if not kept:
        raise InputError(f"{source}: knows none of the columns {', '.join(columns[:20])}; allowed: {', '.join(KEYS)}")
    return kept


def _without_gaps(row: dict[str, Any]) -> dict[str, Any]:
    """Arrow fills a struct's absent fields with null, and gaps among numbers with NaN."""
    if isinstance(row.get("features"), dict):
        row["features"] = {name: value for name, value in row["features"].items() if value is not None}
    return {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}


def _dataset(folder: Path, heads: Mapping[str, Head], group: str) -> Records:
    """Rows of a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    if not (folder / "dataset_dict.json").is_file():
        yield from _one_dataset(folder, heads, group)
        return
    splits = _described(folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(_plain_name(name) for name in splits):
        raise InputError(f"{folder / 'dataset_dict.json'}: splits is no list of names")
    number = 0
    for split in splits:
        for _, row in _one_dataset(folder / split, heads, group):
            number += 1
            if row.get("id") is not None:
                row["id"] = f"{split}-{row['id']}"  # each split counts its own
            yield number, {"split": split, **row}


def _one_dataset(folder: Path, heads: Mapping[str, Head], group: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa

    if not (folder / "state.json").is_file():
        raise InputError(f"{folder} is a folder without state.json; give a samples file, or what `datasets` saved")
    state = _described(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise InputError(f"{folder} keeps a selection beside its rows; save it again after `flatten_indices()`")
    names = _class_names(_described(folder / "dataset_info.json").get("features"))
    number = 0
    for entry in state.get("_data_files") or []:
        file = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(file, str) or not _plain_name(file):
            raise InputError(f"{folder / 'state.json'}: _data_files names {file!r}; allowed: files of the folder")
        try:
            with pa.memory_map(str(folder / file)) as source, pa.ipc.open_stream(source) as stream:
                kept = _known(stream.schema.names, [*heads, *names], group, str(folder / file))
                for row in (row for batch in stream for row in batch.select(kept).to_pylist()):
                    number += 1
                    yield number, _named(_without_gaps(row), names, heads)
        except pa.ArrowException as error:
            raise InputError(f"{folder / file}: not an Arrow file that can be read: {short(str(error))}") from None


def _described(path: Path) -> dict[str, Any]:
    try:
        value = _parsed(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return value if isinstance(value, dict) else {}


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def _class_names(features: object) -> dict[str, list[str]]:
    """Columns of type ClassLabel hold numbers; their names stand in dataset_info.json."""
    return {
        column: [str(name) for name in about["names"]]
        for column, about in (features.items() if isinstance(features, dict) else ())
        if isinstance(about, dict) and about.get("_type") == "ClassLabel" and isinstance(about.get("names"), list)
    }


def _named(row: dict[str, Any], names: Mapping[str, list[str]], heads: Mapping[str, Head]) -> dict[str, Any]:
    """Class numbers by their name, -1 as not labelled, under `labels.`; of several heads only the task's."""
    found: dict[str, Any] = {}
    for column, value in row.items():
        if column not in names:
            found[column] = value
            continue
        name = names[column][value] if isinstance(value, int) and 0 <= value < len(names[column]) else None
        if column in KEYS or column.startswith(("labels.", "label_")) or (column == "label" and len(heads) == 1):
            found[column] = name
        else:
            found[f"labels.{column}"] = name
    return found
