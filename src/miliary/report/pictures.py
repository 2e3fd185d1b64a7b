"""Saved pictures as the page embeds them: data addresses, captions, marks drawn over them."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.report import charts
from miliary.report.catalog import Catalog
from miliary.report.measures import is_simulated, name_pair
from miliary.report.reading import number, numbers, text

# Kinds of slabs that a comparison saves, both scans in one frame.
PAIRED_KINDS = ("slab", "compared_slab")
# Pictures are embedded without loss while all of them together stay below this size.
_LOSSLESS_BYTES = 9_000_000
_SMALL_BYTES = 30_000


@dataclass(frozen=True)
class PagePicture:
    """A picture as the page embeds it.

    Parameters
    ----------
    name : str
        Name of the saved picture, unique within its member.
    address : str
        ``data:`` address of the pixels; empty where none were saved.
    overlay : Markup
        SVG drawn over the picture: marks, scale bar, sides, watermark.
    alt, caption : str
        Alternative text and caption in the language of the page.
    width, height : int
        Size in pixels.
    plane : str
        Plane of a slab (axial, coronal), else empty.
    thickness : str
        Thickness of a slab in mm, as written on the page.
    level : int
        Position of a slab among those of its plane and thickness, from 1; 0 where not stated.
    n_marks : int
        Number of marked nodules.
    """

    name: str
    address: str
    overlay: Markup
    alt: str
    caption: str
    width: int
    height: int
    plane: str = ""
    thickness: str = ""
    level: int = 0
    n_marks: int = 0

    def captioned(self, label: str) -> PagePicture:
        """The same picture with a label, such as the name of the scan, before its caption."""
        return replace(self, caption=f"{label}: {self.caption}")


class PictureRenderer:
    """Renders the saved pictures of one study for its page.

    Parameters
    ----------
    study : StudyResult
        All of its pictures together decide whether PNGs are embedded as they are or as JPEG.
    catalog : Catalog
    """

    def __init__(self, study: StudyResult, catalog: Catalog) -> None:
        self.study, self.t = study, catalog
        groups: list[Sequence[Picture]] = [scan.pictures for scan in study.scans]
        groups += [compared.pictures for compared in study.comparisons]
        groups.append(study.radiographs)
        self._is_lossy = sum(len(p.data) for group in groups for p in group) > _LOSSLESS_BYTES

    def render(self, picture: Picture, saved: SavedScan | SavedComparison | None, label: str) -> PagePicture:
        """Render one picture.

        Parameters
        ----------
        picture : Picture
        saved : SavedScan, SavedComparison or None
            The member that the picture belongs to; a simulated one gets a watermark.
        label : str
            Opens the alternative text, as the name of the scan.

        Returns
        -------
        PagePicture
        """
        about = picture.about
        size = numbers(about, "size_px")
        width, height = (int(size[0]), int(size[1])) if len(size) == 2 else _read_size(picture.data)
        marks = about.get("marks")
        n_marks = len(marks) if isinstance(marks, list) else 0
        caption = self._caption(picture)
        simulated = saved is not None and is_simulated(saved)
        alt = f"{label}: {caption}" + (f"; {self.t('slabs.n_marks', n=n_marks)}" if n_marks else "")
        overlay = Markup("")
        if about:
            overlay = charts.draw_overlay(
                {**about, "size_px": [width, height]},
                scale_label="50 mm",
                watermark=self.t("page.simulated") if simulated else "",
            )
        return PagePicture(
            name=picture.name,
            address=self._address(picture) if picture.data else "",
            overlay=overlay,
            alt=alt + (f" ({self.t('word.simulated')})" if simulated else ""),
            caption=caption,
            width=width,
            height=height,
            plane=text(about, "plane"),
            thickness=f"{number(about, 'thickness_mm') or 0:g}",
            level=int(number(about, "level") or 0),
            n_marks=n_marks,
        )

    def render_kind(self, kind: str) -> tuple[PagePicture, ...]:
        """Every saved picture of one kind, scan by scan, captioned with the name of its scan."""
        return tuple(
            self.render(picture, scan, self.t.word(scan.label)).captioned(self.t.word(scan.label))
            for scan in self.study.scans
            for picture in scan.pictures
            if picture.data and (picture.kind == kind or (not picture.about and picture.name == kind))
        )

    def render_unpaired(self) -> tuple[PagePicture, ...]:
        """Pictures of the comparisons other than their registered slabs."""
        return tuple(
            self.render(picture, compared, label).captioned(label)
            for compared in self.study.comparisons
            if (label := name_pair(compared, self.t))
            for picture in compared.pictures
            if picture.data and picture.kind not in PAIRED_KINDS
        )

    def render_radiographs(self) -> tuple[PagePicture, ...]:
        """Radiographs that a person put into the study."""
        rendered = (self.render(picture, None, "") for picture in self.study.radiographs)
        return tuple(replace(one, alt=one.caption) for one in rendered)

    def _address(self, picture: Picture) -> str:
        data, media_type = picture.data, picture.media_type
        if self._is_lossy and media_type == "image/png" and len(data) > _SMALL_BYTES:
            # A picture with damaged pixels is embedded as it is: the browser shows its alternative text.
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                data, media_type = _encode_jpeg(data), "image/jpeg"
        return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"

    def _caption(self, picture: Picture) -> str:
        about = picture.about
        if picture.kind == "radiograph":
            return caption_radiograph(about, self.t)
        if picture.kind in PAIRED_KINDS:
            window, position_mm = numbers(about, "window_hu"), number(about, "position_mm")
            return self.t(
                "slabs.caption",
                plane=self.t.word(text(about, "plane")),
                thickness=f"{number(about, 'thickness_mm') or 0:g}",
                position="" if position_mm is None else self.t("slabs.position", mm=f"{position_mm:.0f}"),
                low=f"{window[0]:g}".replace("-", "\u2212") if len(window) == 2 else "?",
                high=f"{window[1]:g}".replace("-", "\u2212") if len(window) == 2 else "?",
            )
        key = f"figure.{picture.kind if about else picture.name}"
        if picture.kind == "lesion" and text(about, "title"):
            return f"{text(about, 'title')}; {self.t(key)}"
        return self.t.texts.get(key) or text(about, "title") or picture.name.replace("_", " ")


def caption_radiograph(about: Mapping[str, object], catalog: Catalog) -> str:
    """Number, view and side of a radiograph, as far as its file states them."""
    keys = (
        f"radiograph.{text(about, 'view')}",
        f"radiograph.left_is_{text(about, 'left_of_picture')}",
        "radiograph.raw" if about.get("is_raw") is True else "",
    )
    first = catalog("radiograph.caption", n=f"{number(about, 'number') or 1:g}")
    return "; ".join([first, *(catalog(key) for key in keys if key in catalog.texts)])


def name_side(picture: Picture) -> str:
    """Which scan of its comparison a registered slab shows, from its entry or its name."""
    return text(picture.about, "scan") or picture.name.partition("_")[0]


def find_pictures(pictures: Iterable[Picture], kinds: Sequence[str]) -> list[Picture]:
    """Pictures of some kinds that hold pixels."""
    return [picture for picture in pictures if picture.kind in kinds and picture.data]


def _encode_jpeg(data: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("L" if image.mode in {"L", "I", "1"} else "RGB").save(out, "JPEG", quality=82)
    return out.getvalue()


def _read_size(data: bytes) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (UnidentifiedImageError, OSError, ValueError):
        return (1, 1)
