"""Saved pictures as the page embeds them: data addresses, captions, marks drawn over them."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from miliary.model.saved.figure_index import FigureEntry, RadiographEntry
from miliary.model.study import Picture, SavedComparison, SavedScan, StudyResult
from miliary.report import charts
from miliary.report.catalog import Catalog
from miliary.report.measures import is_simulated, name_pair

# Kinds of slabs that a comparison saves, both scans in one frame.
PAIRED_KINDS = ("slab", "compared_slab")
# A close-up of one nodule on both scans of a comparison.
FOLLOWED_KIND = "followed_nodule"
# Fates of a nodule that the follow-up does not show, as this version and earlier ones call them.
_UNSEEN = frozenset({"no_longer_seen", "gone"})
# Pictures are embedded without loss while all of them together stay below this size.
_LOSSLESS_BYTES = 9_000_000
_SMALL_BYTES = 30_000


_NOTHING = Markup("")


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
    marks_said : str
        How many nodules are marked, in words; empty where none are.
    plain_overlay : Markup
        As `overlay`, without marks.
    label : str
        Name of the scan, as far as `captioned` gave one.
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
    marks_said: str = ""
    plain_overlay: Markup = _NOTHING
    label: str = ""

    def captioned(self, label: str) -> PagePicture:
        """The same picture with a label, such as the name of the scan, before its caption."""
        return replace(self, caption=f"{label}: {self.caption}", label=label)

    def without_marks(self) -> PagePicture:
        """The same picture with nothing marked on it."""
        return replace(self, overlay=self.plain_overlay, marks_said="")


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
        pictures = [one for scan in study.scans for one in scan.pictures]
        pictures += [one for compared in study.comparisons for one in compared.pictures]
        n_bytes = sum(len(one.data) for one in (*pictures, *study.radiographs))
        self._is_lossy = n_bytes > _LOSSLESS_BYTES

    def render(self, picture: Picture, saved: SavedScan | SavedComparison, label: str) -> PagePicture:
        """Render one picture.

        Parameters
        ----------
        picture : Picture
        saved : SavedScan or SavedComparison
            The member that the picture belongs to; a simulated one gets a watermark.
        label : str
            Opens the alternative text, as the name of the scan.

        Returns
        -------
        PagePicture
        """
        entry = find_entry(picture)
        caption = self._caption(entry)
        size = entry.size_px or _read_size(picture.data)
        is_unseen_hidden = entry.kind in PAIRED_KINDS and name_side(picture) == "followup"
        shown = tuple(m for m in entry.marks if not (is_unseen_hidden and m.label in _UNSEEN))
        marks_said = self._say_marks(entry, len(shown), is_followup=is_unseen_hidden)
        simulated = is_simulated(saved)
        watermark = self.t("page.simulated") if simulated else ""
        alt = f"{label}: {caption}" + (f"; {marks_said}" if marks_said else "")
        return PagePicture(
            name=picture.name,
            address=self._address(picture),
            overlay=charts.draw_overlay(replace(entry, marks=shown), size, watermark=watermark),
            alt=alt + (f" ({self.t('word.simulated')})" if simulated else ""),
            caption=caption,
            width=size[0],
            height=size[1],
            plane=entry.plane or "",
            thickness=f"{entry.thickness_mm or 0:g}",
            level=entry.level or 0,
            marks_said=marks_said,
            plain_overlay=charts.draw_overlay(replace(entry, marks=()), size, watermark=watermark),
        )

    def _say_marks(self, entry: FigureEntry, n_shown: int, *, is_followup: bool) -> str:
        """How many nodules a picture marks; of a registered pair also how many are no longer seen."""
        if entry.kind not in PAIRED_KINDS:
            return self.t("slabs.n_marks", n=n_shown) if n_shown else ""
        stated = entry.facts.get("n_no_longer_seen")
        in_marks = sum(mark.label in _UNSEEN for mark in entry.marks)
        n_unseen = stated if isinstance(stated, int) else in_marks
        if is_followup:
            return self.t("slabs.present", n=n_shown, gone=n_unseen) if n_shown or n_unseen else ""
        return self.t("slabs.later_gone", n=n_shown, gone=n_unseen) if n_shown else ""

    def render_kind(self, kind: str) -> tuple[PagePicture, ...]:
        """Render every saved picture of one kind.

        Parameters
        ----------
        kind : str
            As in ``figures.json``; for a file that no index lists, its name.

        Returns
        -------
        tuple of PagePicture
            Scan by scan, captioned with the name of the scan.
        """
        return tuple(
            self.render(picture, scan, self.t.word(scan.label)).captioned(self.t.word(scan.label))
            for scan in self.study.scans
            for picture in scan.pictures
            if picture.data and find_entry(picture).kind == kind
        )

    def render_unpaired(self) -> tuple[PagePicture, ...]:
        """Pictures of the comparisons that hold no registered slabs, as figures of earlier versions."""
        return tuple(
            self.render(picture, compared, label).captioned(label)
            for compared in self.study.comparisons
            if (label := name_pair(compared, self.t))
            if not find_pictures(compared.pictures, PAIRED_KINDS)
            for picture in compared.pictures
            if picture.data and find_entry(picture).kind != FOLLOWED_KIND
        )

    def render_radiographs(self) -> tuple[PagePicture, ...]:
        """Radiographs that a person put into the study."""
        rendered = []
        for one in self.study.radiographs:
            width, height = _read_size(one.data)
            caption = caption_radiograph(one, self.t)
            rendered.append(
                PagePicture(one.name, self._address(one), Markup(""), caption, caption, width, height)
            )
        return tuple(rendered)

    def _address(self, picture: Picture) -> str:
        data, media_type = picture.data, picture.media_type
        if not data:
            return ""
        if self._is_lossy and media_type == "image/png" and len(data) > _SMALL_BYTES:
            # A picture with damaged pixels is embedded as it is: the browser shows its alternative text.
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                data, media_type = _encode_jpeg(data), "image/jpeg"
        return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"

    def _caption(self, entry: FigureEntry) -> str:
        if entry.kind in PAIRED_KINDS:
            return self._caption_slab(entry)
        key = f"figure.{entry.kind}"
        if entry.kind == "lesion" and entry.title:
            return f"{entry.title}; {self.t(key)}"
        return self.t.texts.get(key) or entry.title or entry.name.replace("_", " ")

    def _caption_slab(self, entry: FigureEntry) -> str:
        position = ""
        if entry.position_mm is not None:
            position = self.t("slabs.position", mm=f"{entry.position_mm:.0f}")
        low, high = (f"{v:g}".replace("-", "\u2212") for v in entry.window_hu) if entry.window_hu else "??"
        return self.t(
            "slabs.caption",
            plane=self.t.word(entry.plane or ""),
            thickness=f"{entry.thickness_mm or 0:g}",
            position=position,
            low=low,
            high=high,
        )


def caption_radiograph(radiograph: Picture, catalog: Catalog) -> str:
    """Describe a radiograph without the name of its file.

    Parameters
    ----------
    radiograph : Picture
        Of `StudyResult.radiographs`; its name ends in its number.
    catalog : Catalog

    Returns
    -------
    str
        Its number, then view and side as far as its file states them.
    """
    caption = catalog("radiograph.caption", n=radiograph.name.rpartition("_")[2])
    entry = radiograph.entry
    if not isinstance(entry, RadiographEntry):
        return caption
    keys = (
        f"radiograph.{entry.view}",
        f"radiograph.left_is_{entry.left_of_picture}",
        "radiograph.raw" if entry.is_raw else "",
    )
    return "; ".join([caption, *(catalog(key) for key in keys if key in catalog.texts)])


def find_entry(picture: Picture) -> FigureEntry:
    """Entry of a picture in the index of its folder.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    FigureEntry
        For a file that no index lists, an entry whose kind is the name of the file.
    """
    if isinstance(picture.entry, FigureEntry):
        return picture.entry
    return FigureEntry(picture.name, kind=picture.name)


def name_side(picture: Picture) -> str:
    """Which scan of its comparison a registered slab shows, from its entry or its name."""
    return find_entry(picture).scan or picture.name.partition("_")[0]


def find_pictures(pictures: Iterable[Picture], kinds: Sequence[str]) -> list[Picture]:
    """Find pictures by kind.

    Parameters
    ----------
    pictures : iterable of Picture
    kinds : sequence of str

    Returns
    -------
    list of Picture
        In their order; one without pixels, as a map, is left out.
    """
    return [picture for picture in pictures if picture.data and find_entry(picture).kind in kinds]


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
