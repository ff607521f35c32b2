"""The bill of materials names each package that set-up installs, once, with its licence."""

from __future__ import annotations

import json

from app.setup.bom import bill_of_materials
from app.setup.lock import LOCKS, locked_packages
from app.setup.torch_choice import TORCH_VERSION
from styles.storage.version import version
from tests.conftest import REPOSITORY


def test_the_bill_names_what_is_installed_and_under_which_licence() -> None:
    bill = json.loads(json.dumps(bill_of_materials()))
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", version())
    names = [(component["name"], component["version"]) for component in bill["components"]]
    locked = [(package.name, package.version) for package in locked_packages(REPOSITORY / LOCKS[0])]
    extra = [(package.name, package.version) for package in locked_packages(REPOSITORY / LOCKS[1])]
    assert names == [*locked, ("torch", TORCH_VERSION), *extra] and len(set(names)) == len(names)
    optional = [one["name"] for one in bill["components"] if one.get("scope") == "optional"]
    assert optional == ["bitsandbytes"] == [name for name, _ in extra]
    licences = {component["name"]: component.get("licenses") for component in bill["components"]}
    assert licences["diffusers"] and licences["torch"] and licences["pi-heif"]
