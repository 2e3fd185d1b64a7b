import numpy as np
import pytest
from scipy import ndimage

from miliary.image.kernels import loops, scales
from miliary.image.kernels.loops import filter_gaussian, span_whole

SPACING = np.array([0.9, 0.6, 0.7])
SCALES_MM = (0.5, 0.75, 1.1)
FLOORS = np.array([30.0, 25.0, 20.0])


def _scene(shape=(50, 34, 46)):
    rng = np.random.default_rng(5)
    volume = ndimage.gaussian_filter(rng.normal(-850.0, 400.0, shape), 0.7).astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[4:30, 6:28, 5:20], labels[12:49, 4:30, 26:43] = 1, 2
    return volume, labels


def _search(volume, labels, reach=(1, 2, 2)):
    return scales.search_scales(
        volume, labels, SPACING, scales_mm=SCALES_MM, reach=np.array(reach), floors=FLOORS
    )


def _filter_whole(volume):
    """Responses of all scales as whole volumes."""
    fields, smooth = [], volume
    for k, sigma in enumerate(SCALES_MM):
        if k:
            smooth = filter_gaussian(smooth, tuple(np.sqrt(sigma**2 - SCALES_MM[k - 1] ** 2) / SPACING))
        field = np.empty_like(smooth)
        loops.laplacian(smooth, np.asarray(sigma**2 / SPACING**2, dtype=np.float32), field)
        fields.append(field)
    return fields


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_rings_of_slices_give_what_whole_volumes_give(monkeypatch, n_threads):
    monkeypatch.setattr(scales, "MIN_PIECE", 7)
    monkeypatch.setattr(scales.nb, "get_num_threads", lambda: n_threads)
    volume, labels = _scene()
    maxima, sampled = _search(volume, labels)
    fields = _filter_whole(volume)
    room, near = np.empty(20_000, dtype=np.int64), ndimage.maximum_filter(labels, (3, 5, 5))
    for k, field in enumerate(fields):
        n = loops.list_maxima(
            0,
            len(field),
            field,
            span_whole(field.shape),
            near,
            np.zeros(3, dtype=np.int64),
            np.float32(FLOORS[k]),
            (room, np.empty(len(room), dtype=np.float32)),
        )
        rows = maxima.scale == k
        assert n > 20
        np.testing.assert_array_equal(maxima.index[rows], room[:n])
        np.testing.assert_array_equal(maxima.value[rows], field.ravel()[room[:n]])
        np.testing.assert_array_equal(maxima.responses[:, k], field.ravel()[maxima.index])
        np.testing.assert_array_equal(sampled[:, k], field.ravel()[np.flatnonzero(labels)])
    assert np.all(np.diff(maxima.scale) >= 0)


def test_the_top_of_a_parabola_is_found():
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in (5, 6, 7)), indexing="ij")
    top = np.array([2.2, 3.4, 2.7])
    field = (50.0 - (z - top[0]) ** 2 - 2.0 * (y - top[1]) ** 2 - 0.5 * (x - top[2]) ** 2).astype(np.float32)
    index = np.ravel_multi_index((2, 3, 3), field.shape)
    np.testing.assert_allclose(scales._find_tops(field, np.array([index])), [top - (2, 3, 3)], atol=1e-4)
    # In a ring of three slices the same ones, elsewhere.
    ring = field[[3, 1, 2]]
    np.testing.assert_array_equal(
        scales._find_tops(ring, np.array([index])), scales._find_tops(field, np.array([index]))
    )


@pytest.mark.parametrize("n_samples", [1, 50, 900, 10**6])
def test_samples_are_evenly_spaced_among_the_labelled_voxels(monkeypatch, n_samples):
    monkeypatch.setattr(scales, "N_SAMPLES", n_samples)
    labels = (np.random.default_rng(2).random((9, 12, 15)) < 0.4).astype(np.uint8)
    labels[4] = 0
    step = max(1, int(labels.sum()) // n_samples)
    expected = np.flatnonzero(labels)[::step]
    np.testing.assert_array_equal(np.concatenate(scales._pick_samples(labels)), expected)


def test_pieces_share_the_work():
    spans = np.zeros((100, 10, 2, 2), dtype=np.int64)
    spans[60:, :, 0, 1] = 30
    pieces = scales._cut(spans, 2)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == 100
    assert 76 < pieces[0][1] == pieces[1][0] < 84
    assert scales._cut(spans, 1) == [(0, 100)]
    assert len(scales._cut(spans, 64)) == 2
