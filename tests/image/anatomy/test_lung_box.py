import numpy as np
import pytest

from miliary.image.anatomy.lung_box import crop_to_lungs
from miliary.model.ct_result import Lungs
from miliary.model.scan import Grid, Scan


def test_the_box_holds_the_lungs_with_a_margin(small_scan, small_labels):
    box = crop_to_lungs(small_scan, Lungs(small_labels, small_scan.grid.voxel_volume_mm3))
    # 12 mm are 6, 8 and 12 voxels: only towards the back (y) is there more room than that.
    assert box.start_zyx == (0, 0, 0)
    assert box.voxels_hu.dtype == np.float32
    assert np.array_equal(box.labels, small_labels[:, :38])
    far = np.pad(small_scan.voxels_hu, [(9, 9), (11, 11), (15, 15)], constant_values=-3000)
    labels = np.pad(small_labels, [(9, 9), (11, 11), (15, 15)])
    scan = Scan(far, Grid(far.shape, small_scan.grid.spacing_zyx_mm))
    box = crop_to_lungs(scan, Lungs(labels, 1.0))
    # The lungs start at (3, 8, 8) of the small scan; 12 mm are 6, 8 and 12 voxels.
    assert box.start_zyx == (9 + 3 - 6, 11 + 8 - 8, 15 + 8 - 12)
    assert box.voxels_hu.shape == (18 + 12, 22 + 16, 44 + 24)
    assert box.voxels_hu.min() == -1024.0


def test_labels_without_lung_are_refused(small_scan, small_labels):
    with pytest.raises(ValueError, match="no lung"):
        crop_to_lungs(small_scan, Lungs(np.zeros_like(small_labels), 1.0))
