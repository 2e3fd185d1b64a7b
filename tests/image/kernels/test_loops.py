import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from miliary.image.kernels import loops
from miliary.image.kernels.loops import filter_gaussian, sample_gaussian


def _random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("sigma", [(1.3, 0.8, 2.1), (0.7, 2.4, 1.2), (0.0, 1.5, 0.9), (1.5, 0.0, 0.0)])
@pytest.mark.parametrize("shape", [(9, 14, 23), (31, 5, 12)])
def test_filter_is_a_gaussian_filter_along_each_axis(shape, sigma):
    volume = _random(shape)
    expected = volume.astype(np.float64)
    for axis, width in enumerate(sigma):
        half = sample_gaussian(width).astype(np.float64)
        kernel = np.concatenate([half[:0:-1], half])
        expected = ndimage.correlate1d(expected, kernel, axis=axis, mode="nearest")
    np.testing.assert_allclose(filter_gaussian(volume, sigma), expected, atol=2e-6)


@pytest.mark.parametrize("sigma", [(1.3, 0.9, 2.1), (2.0, 2.6, 1.1)])
def test_filter_agrees_with_scipy(sigma):
    volume = _random((17, 26, 35))
    # Weights integrated over the sample are those of a Gaussian wider by 1/12 of a sample squared.
    wider = np.sqrt(np.square(sigma) + 1 / 12)
    expected = ndimage.gaussian_filter(volume, wider, mode="nearest", truncate=5)
    difference = filter_gaussian(volume, sigma) - expected
    assert difference.std() < 0.01 * expected.std()


@pytest.mark.parametrize("sigma", [0.0, 0.04, 0.3, 0.7, 1.9, 6.0])
def test_weights_sum_to_one_and_have_the_width(sigma):
    half = sample_gaussian(sigma).astype(np.float64)
    assert half[0] + 2 * half[1:].sum() == pytest.approx(1.0, abs=1e-6)
    variance = 2 * (half[1:] @ np.arange(1, len(half)) ** 2)
    if sigma >= 0.6:
        assert variance == pytest.approx(sigma**2 + 1 / 12, rel=0.03)


@pytest.mark.parametrize(("n", "n_threads"), [(0, 3), (1, 3), (7, 3), (1000, 3), (1000, 1)])
def test_every_row_is_done_once_on_any_number_of_threads(monkeypatch, n, n_threads):
    monkeypatch.setattr(loops.nb, "get_num_threads", lambda: n_threads)
    done = np.zeros(n, dtype=int)

    def kernel(first, last, add):
        done[first:last] += add

    loops.run_rows(kernel, n, 2)
    assert np.all(done == 2)


def test_what_goes_wrong_on_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(loops.nb, "get_num_threads", lambda: 2)

    def kernel(first, last):
        if last == 50:
            raise ValueError("the last piece")

    with pytest.raises(ValueError, match="the last piece"):
        loops.run_rows(kernel, 50)


def test_threads_give_the_bits_of_one(monkeypatch):
    volume = _random((21, 33, 40))
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr(loops.nb, "get_num_threads", lambda n=n_threads: n)
        smooth, field = filter_gaussian(volume, (1.1, 0.8, 1.4)), np.empty_like(volume)
        loops.laplacian(smooth, np.array([1.0, 0.5, 0.7], dtype=np.float32), field)
        results.append((smooth, field))
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)


def test_filter_keeps_a_constant_and_its_input():
    volume = np.full((6, 9, 11), -850.0, dtype=np.float32)
    before = volume.copy()
    np.testing.assert_allclose(filter_gaussian(volume, (1.4, 0.6, 2.2)), -850.0, rtol=1e-6)
    np.testing.assert_array_equal(volume, before)


def _filter_in_spans(volume, kernels, wide_spans, spans, n_ring):
    """Slices one after another through rings; what is outside the spans is left as NaN."""
    nz = len(volume)
    ring = np.full((n_ring, *volume.shape[1:]), np.nan, dtype=np.float32)
    source = np.full((2 * len(kernels[0]) - 1, *volume.shape[1:]), np.nan, dtype=np.float32)
    out, filled = np.full_like(volume, np.nan), 0
    for z in range(nz):
        while filled < min(nz, z + len(kernels[0])):
            source[filled % len(source)] = volume[filled]
            filled += 1
        loops.filter_slices(z, z + 1, source, kernels, wide_spans, spans, ring)
        out[z] = ring[z % n_ring]
        ring[z % n_ring] = np.nan
    return out


def test_rings_and_spans_give_what_the_whole_gives():
    volume, labels = _random((19, 26, 40)), np.zeros((19, 26, 40), dtype=np.uint8)
    labels[3:9, 4:9, 2:15], labels[5:16, 2:20, 25:37] = 1, 2
    sigma = (1.2, 0.9, 1.6)
    kernels = loops.SeparableKernel(*(sample_gaussian(one) for one in sigma))
    spans, wide = loops.span_labels(labels, [(1, 2, 1), (1, 2 + len(kernels[1]), 1 + len(kernels[2]))])
    part = _filter_in_spans(volume, kernels, wide, spans, 3)
    inside = np.zeros(volume.shape, dtype=bool)
    for z, y, s in np.ndindex(*spans.shape[:3]):
        inside[z, y, slice(*spans[z, y, s])] = True
    assert ndimage.binary_dilation(labels > 0, np.ones((3, 5, 3)))[~inside].sum() == 0
    np.testing.assert_array_equal(np.isnan(part), ~inside)
    np.testing.assert_array_equal(part[inside], filter_gaussian(volume, sigma)[inside])


def test_laplacian_equals_slow_twin():
    volume = _random((7, 10, 13))
    weights = np.array([0.3, 1.7, 0.9], dtype=np.float32)
    out = np.empty_like(volume)
    loops.laplacian(volume, weights, out)
    expected = np.zeros(volume.shape)
    for axis, weight in enumerate(weights):
        padded = np.pad(volume.astype(float), 1, mode="edge")
        inner = [slice(1, -1)] * 3
        low, high = list(inner), list(inner)
        low[axis], high[axis] = slice(None, -2), slice(2, None)
        expected += weight * (2.0 * volume - padded[tuple(low)] - padded[tuple(high)])
    expected[:, :, [0, -1]] = 0.0
    np.testing.assert_allclose(out, expected, atol=1e-5)


def _list_maxima(field, mask, floor):
    room = np.prod([(n + 1) // 2 for n in field.shape])
    index, value = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.float32)
    spans, reach = loops.span_whole(field.shape), np.zeros(3, dtype=np.int64)
    n = loops.list_maxima(0, len(field), field, spans, mask, reach, np.float32(floor), (index, value))
    return index[:n], value[:n]


def _list_maxima_slowly(field, mask, floor):
    found = []
    for z, y, x in np.ndindex(field.shape):
        edge = any(i in (0, n - 1) for i, n in zip((z, y, x), field.shape, strict=True))
        if edge or not mask[z, y, x] or field[z, y, x] <= floor:
            continue
        around = field[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].ravel()
        if (around[:13] < field[z, y, x]).all() and (around[14:] <= field[z, y, x]).all():
            found.append(np.ravel_multi_index((z, y, x), field.shape))
    return np.array(found, dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int8, (5, 6, 7), elements=st.integers(0, 4)),
    hnp.arrays(np.uint8, (5, 6, 7), elements=st.integers(0, 1)),
    st.integers(-1, 3),
)
def test_maxima_equal_slow_twin(field, mask, floor):
    field = field.astype(np.float32)
    index, value = _list_maxima(field, mask, floor)
    np.testing.assert_array_equal(index, _list_maxima_slowly(field, mask, floor))
    np.testing.assert_array_equal(value, field.ravel()[index])


@pytest.mark.parametrize("reach", [(0, 0, 0), (1, 2, 3), (2, 0, 1)])
def test_maxima_are_listed_up_to_a_reach_from_the_labels(reach):
    rng = np.random.default_rng(3)
    field = rng.normal(size=(13, 14, 15)).astype(np.float32)
    labels = (rng.random(field.shape) < 0.004).astype(np.uint8)
    grown = ndimage.maximum_filter(labels, [2 * r + 1 for r in reach])
    expected = _list_maxima_slowly(field, grown, 0.0)
    index, value = np.empty(400, dtype=np.int64), np.empty(400, dtype=np.float32)
    spans = loops.span_whole(field.shape)
    arguments = (field, spans, labels, np.array(reach), np.float32(0.0), (index, value))
    n = loops.list_maxima(0, len(field), *arguments)
    assert 0 < n < len(_list_maxima_slowly(field, np.ones_like(labels), 0.0))
    np.testing.assert_array_equal(index[:n], expected)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 2), (2, 1, 1), (2, 2, 2), (1, 2, 2), (2, 2, 1)])
def test_a_plateau_is_one_maximum(size):
    field = np.zeros((6, 7, 8), dtype=np.float32)
    field[2 : 2 + size[0], 3 : 3 + size[1], 4 : 4 + size[2]] = 5.0
    index, value = _list_maxima(field, np.ones(field.shape, dtype=np.uint8), 0.0)
    assert [tuple(int(i) for i in np.unravel_index(one, field.shape)) for one in index] == [(2, 3, 4)]
    assert value.tolist() == [5.0]


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 12), st.data())
def test_suppression_equals_slow_twin(n, data):
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    chosen = sorted(data.draw(st.lists(st.sampled_from(every), unique=True)))
    kept = np.ones(n, dtype=bool)
    loops.suppress(np.array(chosen, dtype=np.int64).reshape(-1, 2), kept)
    expected = []
    for j in range(n):
        if not any(i in expected for i, k in chosen if k == j):
            expected.append(j)
    assert np.flatnonzero(kept).tolist() == expected


@pytest.mark.parametrize("n", [1, 7, 96, 288, 1500])
def test_sort_floats_orders_as_numpy_does(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.0, 300.0, n).astype(np.float32)
    values[: n // 3] = np.round(values[: n // 3], -2)
    expected = np.sort(values)
    loops.sort_floats(values, loops.make_sorting(n))
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 33, 96])
def test_columns_are_sorted_as_numpy_does(n):
    table = np.random.default_rng(n).choice([-3.0, 0.5, 2.0, 1e3, 7.25], (n, loops.LANES)).astype(np.float32)
    expected = np.sort(table, axis=0)
    loops.sort_columns(table, loops.list_comparators(n))
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("n", [2, 5, 12, 13])
def test_comparators_sort_all_zeros_and_ones(n):
    """What sorts every row of zeros and ones sorts everything (Knuth's principle)."""
    table = np.array(np.meshgrid(*[[0, 1]] * n), dtype=np.float32).reshape(n, -1)
    loops.sort_columns(table, loops.list_comparators(n))
    assert np.all(np.diff(table, axis=0) >= 0)
