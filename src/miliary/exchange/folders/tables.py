"""Tables of a result folder as CSV and Parquet, written from and read by their declared columns.

A file of an earlier version may lack columns that were added since: they are read as not known (NaN, or empty
text) with a warning. Columns that this version does not know are left out with a warning.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.errors import RecordError
from miliary.model.nodules import COLUMNS, TRACK_COLUMNS, Column, Fate, Nodules, Tracks
from miliary.model.saved.codec import Decoded, FileWarning

if TYPE_CHECKING:
    import pyarrow as pa

# Digits after the point in the CSV: finer than any error of the measurement, and a file that reads well.
DECIMALS = {"mm": 3, "mm3": 4, "mg": 5, "": 4}
MATCH_COLUMNS = ("baseline_id", "followup_id", "probability", "volume_change_fraction")


def write_nodules_csv(
    nodules: Nodules, path: str | Path, *, extra: Mapping[str, npt.NDArray[Any]] | None = None
) -> None:
    """Write nodules as CSV: the declared columns, then those of `extra`; NaN is left empty."""
    columns = {column.name: format_column(nodules[column.name], DECIMALS[column.unit]) for column in COLUMNS}
    columns |= {name: format_column(values, 3) for name, values in (extra or {}).items()}
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def format_column(values: npt.NDArray[Any], decimals: int) -> list[str]:
    """Texts of one column; vocabulary words hold no comma or quote, so none needs quoting."""
    if np.issubdtype(values.dtype, np.floating):
        return ["" if np.isnan(value) else f"{value:.{decimals}f}" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def write_nodules_parquet(nodules: Nodules, path: Path) -> None:
    """Write nodules as Parquet with full precision, unit and meaning in each column's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_parquet_array(nodules[column.name], column.dtype) for column in COLUMNS]
    fields = [
        pa.field(
            column.name, array.type, metadata={"unit": column.unit, "meaning": column.meaning}, nullable=True
        )
        for column, array in zip(COLUMNS, arrays, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)


def _parquet_array(values: npt.NDArray[Any], dtype: type) -> pa.Array:
    """An arrow array over the bytes themselves: given a list or an array, arrow loads all of pandas."""
    import pyarrow as pa

    if dtype is object:
        texts = [str(value).encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))
    plain: npt.NDArray[Any] = np.ascontiguousarray(values, dtype=dtype)
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])


def write_matches_csv(tracks: Tracks, path: str | Path) -> None:
    """Write the pairs of nodules that are the same, one row each."""
    pairs = tracks.select((tracks["baseline_id"] > 0) & (tracks["followup_id"] > 0))
    rows = zip(*(pairs[name].tolist() for name in MATCH_COLUMNS), strict=True)
    lines = [",".join(MATCH_COLUMNS), *(f"{a},{b},{p:.4f},{change:.4f}" for a, b, p, change in rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def write_tracks_csv(tracks: Tracks, path: str | Path) -> None:
    """Write what became of each nodule; what does not apply is left empty."""
    columns = {
        column.name: format_column(tracks[column.name], DECIMALS[column.unit]) for column in TRACK_COLUMNS
    }
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def read_nodules_csv(path: Path, *, name: str = "") -> Decoded[Nodules]:
    """Read `nodules.csv`.

    Parameters
    ----------
    path : path
    name : str
        How messages call the file; its own name where not given.

    Returns
    -------
    Decoded
        The nodules; a number that is empty, or whose column the file lacks, is NaN.

    Raises
    ------
    RecordError
        It cannot be read, or holds no number and no position of its nodules.
    """
    called = name or path.name
    columns, warnings = _read_columns(path, COLUMNS, ("id", "x_mm", "y_mm", "z_mm"), called)
    return Decoded(Nodules(columns), warnings)


def read_tracks_csv(path: Path, *, name: str = "") -> Decoded[Tracks]:
    """Read `tracks.csv`; see `read_nodules_csv`.

    Raises
    ------
    RecordError
        It cannot be read, or does not say which nodules it is about.
    """
    called = name or path.name
    columns, warnings = _read_columns(
        path, TRACK_COLUMNS, ("id", "fate", "baseline_id", "followup_id"), called
    )
    # Words of earlier versions become those of this one; what is no fate at all stays for a reader to see.
    known = {"gone": Fate.NO_LONGER_SEEN.value}
    columns["fate"] = np.array([known.get(word, word) for word in columns["fate"]], dtype=object)
    return Decoded(Tracks(columns), warnings)


def read_matches_csv(path: Path) -> list[tuple[int, int]]:
    """Numbers of the nodules that are the same, baseline first.

    Raises
    ------
    RecordError
        It cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            names = next(rows)
            first, second = [place for place, name in enumerate(names) if name.endswith("id")][:2]
            return [(int(row[first]), int(row[second])) for row in rows if row[first] and row[second]]
    except (OSError, ValueError, IndexError, StopIteration, csv.Error) as error:
        raise RecordError(f"{path.name}: cannot be read ({type(error).__name__}); compare again") from error


def _read_columns(
    path: Path, declared: Sequence[Column], needed: Sequence[str], called: str
) -> tuple[dict[str, npt.NDArray[Any]], tuple[FileWarning, ...]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            rows = list(table)
            names = list(table.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise RecordError(f"{called}: cannot be read ({type(error).__name__}); measure again") from error
    lost = [name for name in needed if name not in names]
    if lost:
        raise RecordError(f"{called}: has no column {lost[0]}; the file is damaged, measure again")
    columns = {column.name: _read_column(column, rows, called) for column in declared}
    missing = [c.name for c in declared if c.name not in names]
    unknown = [name for name in names if name not in columns]
    warnings = [
        FileWarning("missing", n, f"{called}: {n} is missing and taken as not known") for n in missing
    ]
    warnings += [
        FileWarning("unknown", n, f"{called}: {n} is not known to this version and left out") for n in unknown
    ]
    return columns, tuple(warnings)


def _read_column(column: Column, rows: Sequence[Mapping[str, Any]], called: str) -> npt.NDArray[Any]:
    texts = [row.get(column.name) or "" for row in rows]
    try:
        if column.dtype is np.float64:
            return np.array([float(text) if text else np.nan for text in texts], np.float64)
        if column.dtype is np.int64:
            return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"{called}: {column.name} must hold numbers only; measure again") from error
    return np.array(texts, dtype=object)
