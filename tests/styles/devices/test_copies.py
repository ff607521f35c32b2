"""How a few numbers go to a device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from styles.devices.device import sent_to


class Numbers:
    """Stands for a tensor, as no device is here."""

    def to(self, device: torch.device, **settings: Any) -> tuple[torch.device, dict[str, Any]]:
        return device, settings


@pytest.mark.parametrize(("name", "waits"), [("cuda:1", False), ("xpu", False), ("mps", True)])
def test_only_an_apple_device_is_waited_for(name: str, waits: bool) -> None:
    device = torch.device(name)
    there: Any = sent_to(device, Numbers())  # type: ignore[arg-type]
    assert there == (device, {"non_blocking": not waits})
