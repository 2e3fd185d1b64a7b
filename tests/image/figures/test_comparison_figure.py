import numpy as np
import pytest
from PIL import Image, ImageDraw

from miliary.image.figures.comparison_figure import COLORS, draw_fate
from miliary.model.nodules import Fate


def mark(fate):
    image = Image.new("RGB", (40, 40))
    draw_fate(ImageDraw.Draw(image), fate, (20.0, 20.0), 10.0)
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("fate", list(Fate))
def test_each_fate_has_its_color(fate):
    drawn = mark(fate)
    inked = drawn.reshape(-1, 3)[drawn.reshape(-1, 3).any(axis=1)]
    assert (inked == COLORS[fate]).all()


def test_each_fate_has_a_shape_of_its_own():
    shapes = {fate: mark(fate).any(axis=2) for fate in Fate}
    for one in Fate:
        for other in Fate:
            if one is not other:
                overlap = (shapes[one] & shapes[other]).sum() / shapes[one].sum()
                assert overlap < 0.6, (one, other)


def test_up_is_growth_and_down_is_shrinkage():
    widest = {fate: int(mark(fate).any(axis=2).sum(axis=1).argmax()) for fate in (Fate.GROWN, Fate.SHRUNK)}
    assert widest[Fate.GROWN] > 20 > widest[Fate.SHRUNK]
