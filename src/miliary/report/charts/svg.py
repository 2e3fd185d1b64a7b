"""Parts that every drawing shares: the frame, lines of text, ticks, colors and textures."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

# Okabe and Ito's palette, darkened where it must show on white; each series has its own texture too.
SERIES_FILL = ("#0072b2", "#d55e00", "#5f6b00", "#8b3a78")
SERIES_DASH = ("", "6 3", "2 3", "8 3 2 3")
_TEXTURE_PATHS = ("", "M0 6L6 0", "M3 3h.01", "M0 0L6 6M0 6L6 0")


def open_svg(width: float, height: float, title: str, *, css: str = "chart") -> str:
    """Open a drawing that a screen reader announces as an image.

    Parameters
    ----------
    width, height : float
        Size of the drawing in its own units.
    title : str
        What the screen reader says.
    css : str
        Class of the element.

    Returns
    -------
    str
        The opening tag.
    """
    return (
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    )


def close_svg(parts: Iterable[str]) -> Markup:
    """Join the parts of a drawing.

    Parameters
    ----------
    parts : iterable of str
        The opening tag first; every part must have escaped what it took from saved results.

    Returns
    -------
    Markup
        A whole ``<svg>``.
    """
    return Markup("".join(parts) + "</svg>")  # noqa: S704  every text went through escape


def write_text(x: float, y: float, label: object, *, anchor: str = "start", css: str = "") -> str:
    """Write one line of text.

    Parameters
    ----------
    x, y : float
        Where it starts, ends or has its middle, by `anchor`; `y` is its base line.
    label : object
        Escaped.
    anchor : str
        start, middle or end.
    css : str
        Class of the element; empty for none.

    Returns
    -------
    str
        A ``<text>`` element.
    """
    style = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(label)}</text>'


def choose_ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) that cover a range.

    Parameters
    ----------
    low, high : float
    about : int
        How many ticks are wanted at most, roughly.

    Returns
    -------
    list of float
        Only `low` where the range is empty or not finite.
    """
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / about
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def define_textures(prefix: str) -> str:
    """Fills of up to four series: plain, hatched, dotted, crossed, so that no series needs its color.

    Parameters
    ----------
    prefix : str
        The fills get the ids ``<prefix>0`` to ``<prefix>3``.
    """
    parts = []
    for index, (fill, path) in enumerate(zip(SERIES_FILL, _TEXTURE_PATHS, strict=True)):
        stroke = f'<path d="{path}" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/>' if path else ""
        parts.append(
            f'<pattern id="{prefix}{index}" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<rect width="6" height="6" fill="{fill}"/>{stroke}</pattern>'
        )
    return f"<defs>{''.join(parts)}</defs>"


def draw_legend_entry(x: float, name: str, series: int, *, texture: str) -> list[str]:
    """Draw the legend of one series at the top of a drawing.

    Parameters
    ----------
    x : float
        Left end of the entry.
    name : str
        Shortened to 26 letters.
    series : int
        Number of the series from 0.
    texture : str
        Prefix given to `define_textures`.

    Returns
    -------
    list of str
        A box with the texture, and the name.
    """
    box = (
        f'<rect x="{x + 110:.1f}" y="5" width="12" height="12" fill="url(#{texture}{series % 4})" '
        'stroke="#222"/>'
    )
    return [box, write_text(x + 127, 15, name[:26])]
