import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.artworks.buckets import bucket_sizes, crop_box, nearest_bucket


@pytest.mark.parametrize(("resolution", "multiple"), [(128, 32), (512, 64), (768, 64), (64, 8), (100, 32)])
def test_buckets_are_multiples_with_at_most_the_squares_area(resolution: int, multiple: int) -> None:
    sizes = bucket_sizes(resolution, multiple)
    square = round(resolution / multiple) * multiple
    assert (square, square) in sizes
    for width, height in sizes:
        assert width % multiple == height % multiple == 0
        assert 0.75 * square**2 < width * height <= square**2
        assert (height, width) in sizes


def test_nearly_square_artworks_are_cropped_to_the_square_and_wide_ones_keep_their_shape() -> None:
    sizes = bucket_sizes(512, 64)
    assert nearest_bucket(1000, 1050, sizes) == (512, 512)
    assert nearest_bucket(1600, 1000, sizes) == (640, 384)
    assert nearest_bucket(1000, 1600, sizes) == (384, 640)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_the_crop_is_inside_centred_and_of_the_buckets_shape(width: int, height: int) -> None:
    bucket = nearest_bucket(width, height, bucket_sizes(512, 64))
    left, top, right, bottom = crop_box(width, height, bucket)
    assert left >= -1e-6 and top >= -1e-6 and right <= width + 1e-6 and bottom <= height + 1e-6
    assert left + right == pytest.approx(width) and top + bottom == pytest.approx(height)
    assert (right - left) / (bottom - top) == pytest.approx(bucket[0] / bucket[1])
    assert right - left == pytest.approx(width) or bottom - top == pytest.approx(height)
