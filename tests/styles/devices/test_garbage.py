"""The garbage collector stands still while libraries are imported, and passes by what they brought."""

from __future__ import annotations

import gc

import pytest

from styles.devices.garbage import collection_paused


@pytest.mark.parametrize("before", [True, False])
def test_it_goes_on_as_before_and_passes_by_what_is_there(before: bool) -> None:
    try:
        gc.enable() if before else gc.disable()
        with pytest.raises(ImportError), collection_paused():
            brought = [[number] for number in range(1000)]
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == before
        walked = {id(one) for one in gc.get_objects()}
        assert not walked & {id(one) for one in brought}
    finally:
        gc.enable()
