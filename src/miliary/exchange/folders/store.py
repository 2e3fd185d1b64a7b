"""The folder that `miliary ct` writes, complete or not there at all.

::

    DIR/scan.json         the summary, described by schemas/scan.schema.json
    DIR/nodules.csv       one row per reported nodule
    DIR/nodules.parquet   the same with full precision
    DIR/lungs.nii.gz      1 right, 2 left, on the grid of the source
    DIR/preview.png       slabs without and with the nodules marked, where the result has a picture
    DIR/figures/          pictures for a report; figures.json says what each is and what is marked on it
    DIR/volume.zarr       int16 HU cropped to the body, unless left out

What `miliary simulate` writes (volume.nii.gz or dicom/, truth.csv, truth_lungs.nii.gz,
simulation.json) follows the same rule: a folder is written beside its final name and renamed at the
end, so that an interrupted or failing run leaves nothing under that name and an earlier result stays
until the new one is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.errors import OutputError
from miliary.exchange.folders.volume_store import VOLUME_NAME, write_stored_volume
from miliary.model.ct_result import SUMMARY_KIND, CtResult, summarize
from miliary.model.figure import FIGURES_VERSION, Figure, summarize_figure
from miliary.model.nodules import COLUMN_NAMES, COLUMNS, Nodules
from miliary.model.scan import Scan
from miliary.model.study import STUDY_KIND

if TYPE_CHECKING:
    import pyarrow as pa

FIGURES_NAME = "figures"
CT_FILES = (
    *("scan.json", "nodules.csv", "nodules.parquet", "lungs.nii.gz", "preview.png"),
    *(FIGURES_NAME, VOLUME_NAME),
)
SIMULATION_KIND = "miliary.simulation"
SIMULATION_FILES = ("simulation.json", "truth.csv", "truth_lungs.nii.gz", "volume.nii.gz", "dicom")

# What `miliary report` leaves in a result folder by default; made anew at will.
REPORT_FILES = ("report.html", "report.pdf", "report.docx", "report.md")

CASE_KIND = "miliary.case"
CASE_FILES = ("case.json", "summary.md", "study.json", "ct", "radiographs")

COMPARISON_KIND = "miliary.compare"
COMPARISON_FILES = (
    *("response.json", "matches.csv", "tracks.csv", "transform.npz", "registered.zarr", "response.png"),
    FIGURES_NAME,
)
SERIES_KIND = "miliary.series"
SERIES_FILES = ("series.json", "compare")
STUDY_FILES = ("study.json", "inputs.json", "ct", "compare", "case", "radiographs", "corrections.jsonl")

# For each kind of folder its files; the first says in `kind` what the folder is.
_FILES = {
    SUMMARY_KIND: CT_FILES,
    SIMULATION_KIND: SIMULATION_FILES,
    CASE_KIND: CASE_FILES,
    COMPARISON_KIND: COMPARISON_FILES,
    SERIES_KIND: SERIES_FILES,
    STUDY_KIND: STUDY_FILES,
}

# Digits after the point in the CSV: finer than any error of the measurement, and a file that reads well.
DECIMALS = {"mm": 3, "mm3": 4, "mg": 5, "": 4}


def read_schema() -> dict[str, Any]:
    """The published JSON schema of `scan.json`."""
    text = resources.files("miliary.exchange").joinpath("schemas/scan.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_output(folder: str | Path, *, kind: str = SUMMARY_KIND) -> None:
    """Make sure that a result can go to `folder`, before the long work.

    It must not exist, be an empty folder, or hold an earlier result of the same kind and nothing else;
    and files can be made where it will stand.

    Parameters
    ----------
    folder : path
    kind : str
        What will be written there: `SUMMARY_KIND`, `SIMULATION_KIND` or `CASE_KIND`.

    Raises
    ------
    OutputError
        Naming the folder and what to do.
    """
    target = Path(folder)
    _check_replaceable(target, kind)
    with _writable(target):
        parent = _first_existing(target.absolute().parent)
        probe = tempfile.mkdtemp(prefix=".miliary-", dir=parent)
        Path(probe).rmdir()


def write_ct_result(result: CtResult, folder: str | Path, *, scan: Scan | None = None) -> None:
    """Write a result folder, whole or not at all.

    Parameters
    ----------
    result : CtResult
    folder : path
        New, empty, or an earlier result of `miliary ct`, which is replaced at the end.
    scan : Scan, optional
        What was measured, to keep its voxels beside the result; left out, no volume is kept.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    target = Path(folder)
    _check_replaceable(target, SUMMARY_KIND)
    with _writable(target), replacing_folder(target) as draft, ThreadPoolExecutor(2) as pool:
        # Compressing holds no lock of the interpreter: the large files are written side by side.
        written = [pool.submit(_write_lungs, result, draft), pool.submit(_write_pictures, result, draft)]
        if scan is not None:
            written.insert(0, pool.submit(write_stored_volume, scan, draft / VOLUME_NAME))
        _write_tables(result, draft)
        for part in written:
            part.result()


def write_simulation(
    scan: Scan,
    truth: Mapping[str, npt.NDArray[Any]],
    lung_labels: npt.NDArray[np.uint8],
    folder: str | Path,
    *,
    parameters: Mapping[str, Any],
    seed: int,
    as_dicom: bool = False,
) -> None:
    """Write a simulated scan with its truth, whole or not at all.

    Parameters
    ----------
    scan : Scan
    truth : mapping of str to ndarray
        The columns of `COLUMNS`, then any further ones.
    lung_labels : ndarray of uint8, shape (z, y, x) of the scan
    folder : path
        New, empty, or an earlier simulation, which is replaced at the end.
    parameters : mapping
        What the scan was made from; plain JSON values.
    seed : int
    as_dicom : bool
        A folder ``dicom`` with one file per slice in place of ``volume.nii.gz``.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    from miliary.exchange.dicom.write_ct import write_dicom_series
    from miliary.exchange.volumes.volume_file import write_label_volume, write_volume

    target = Path(folder)
    _check_replaceable(target, SIMULATION_KIND)
    with _writable(target), replacing_folder(target) as draft:
        about = {"schema_version": "1.0", "kind": SIMULATION_KIND, "origin": "simulated", "seed": seed}
        write_json({**about, "parameters": dict(parameters)}, draft / "simulation.json")
        nodules = Nodules({name: truth[name] for name in COLUMN_NAMES})
        extra = {name: values for name, values in truth.items() if name not in COLUMN_NAMES}
        write_nodules_csv(nodules, draft / "truth.csv", extra=extra)
        write_label_volume(draft / "truth_lungs.nii.gz", lung_labels, scan.grid, scan.source_order)
        if as_dicom:
            write_dicom_series(
                draft / "dicom", scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=seed
            )
        else:
            write_volume(draft / "volume.nii.gz", scan.voxels_hu, scan.grid)


@contextlib.contextmanager
def writing(folder: str | Path, *, kind: str) -> Iterator[Path]:
    """A draft of a result folder that takes its place when the block ends well.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    target = Path(folder)
    _check_replaceable(target, kind)
    with _writable(target), replacing_folder(target) as draft:
        yield draft


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its name at the end; gone if the block fails."""
    final = target.absolute()
    made = _make_parents(final.parent)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
        try:
            # mkdtemp keeps others out; a result is as readable as anything else made here.
            draft.chmod(0o777 & ~_current_umask())
            yield draft
            _swap_in(draft, final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap_in(draft: Path, final: Path) -> None:
    """Give `draft` the final name; what stood there returns if that fails."""
    if not final.exists():
        draft.rename(final)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
    try:
        final.rename(old)
        draft.rename(final)
    except BaseException:
        if not final.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _make_parents(parent: Path) -> list[Path]:
    """Create missing parents; those created, innermost first."""
    missing = []
    here = parent
    while not here.exists():
        missing.append(here)
        here = here.parent
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _first_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


@contextlib.contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Turn the operating system's refusal into one line for the user."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{target.name or 'output folder'}: cannot write there ({reason}); choose another folder"
        ) from error


def _check_replaceable(target: Path, kind: str) -> None:
    name = target.name or "output folder"
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(f"{name}: exists and is not a folder; choose a new folder")
    with _writable(target):
        inside = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    if not inside:
        return
    strangers = [entry for entry in inside if entry not in _FILES[kind] + REPORT_FILES]
    if strangers:
        raise OutputError(f"{name}: holds {strangers[0]}, which miliary did not write; choose a new folder")
    if not _is_of_kind(target, kind):
        raise OutputError(f"{name}: is not an earlier result of this command; choose a new folder")


def _is_of_kind(folder: Path, kind: str) -> bool:
    try:
        content = json.loads((folder / _FILES[kind][0]).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == kind


def load_writers() -> None:
    """Load the libraries that writing takes: half a second that can pass while a scan is measured."""
    import pyarrow.parquet  # noqa: F401
    import zarr  # noqa: F401


def _write_tables(result: CtResult, folder: Path) -> None:
    write_json(summarize(result), folder / "scan.json")
    write_nodules_csv(result.nodules, folder / "nodules.csv")
    _write_parquet(result.nodules, folder / "nodules.parquet")


def _write_lungs(result: CtResult, folder: Path) -> None:
    from miliary.exchange.volumes.volume_file import write_label_volume

    write_label_volume(folder / "lungs.nii.gz", result.lungs.labels, result.grid, result.source_order)


def _write_pictures(result: CtResult, folder: Path) -> None:
    if result.preview_rgb is not None:
        write_png(result.preview_rgb, folder / "preview.png")
    write_figures(result.figures, folder / FIGURES_NAME)


def write_figures(figures: Iterable[Figure], folder: str | Path) -> None:
    """Write pictures and `figures.json` into a new folder.

    Parameters
    ----------
    figures : iterable of Figure
    folder : path
        Made here; must not exist.
    """
    place = Path(folder)
    place.mkdir()
    listed = []
    for figure in figures:
        if figure.pixels is not None:
            write_png(figure.pixels, place / f"{figure.name}.png")
        listed.append(summarize_figure(figure))
    content = {"schema_version": FIGURES_VERSION, "kind": "miliary.figures", "figures": listed}
    # Thousands of marks: one line of text is a third of the indented form.
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    (place / "figures.json").write_text(text + "\n", encoding="utf-8")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write plain values as indented JSON; NaN is refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


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


def _write_parquet(nodules: Nodules, path: Path) -> None:
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


def write_png(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture of gray or RGB bytes."""
    from PIL import Image

    # Level 2 is a quarter of the default's time for an eighth more bytes.
    Image.fromarray(pixels).save(path, compress_level=2)
