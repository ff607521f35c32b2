"""The address under which the page's scripts are handed out."""

from __future__ import annotations

from urllib.parse import urljoin

from app.window import scripts
from tests.app.conftest import Served


def test_a_browser_may_keep_them_for_ever(served: Served) -> None:
    import httpx

    address = urljoin(served.site, scripts.head().split('src="')[1].split('"')[0])
    with httpx.Client(headers=served.headers) as browser:
        script = browser.get(address)
        assert script.status_code == 200
        assert script.content == scripts.scripts()[scripts.FIRST]
        assert script.headers["content-type"].startswith("text/javascript")
        assert "immutable" in script.headers["cache-control"]
        for other in (address.replace(scripts.version(), "0" * 16), urljoin(address, "scripts.py")):
            assert browser.get(other).status_code == 404
    assert httpx.get(address).status_code == 403, "another user of this machine has no key"
