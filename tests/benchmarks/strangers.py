"""How much of the window answers others: every route of its web server, asked by everybody who has no business there.

python -m tests.benchmarks.strangers
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from app.password import hashed
from app.settings import Settings
from styles.storage.home import Home
from tests.app.conftest import window_over
from tests.app.window.server.strangers import (
    PASSWORD,
    Shared,
    every_route,
    let_in,
    refused_on,
    run,
    strangers,
)


def main() -> None:
    """Open a window that lets other devices in, ask, and print who was answered."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        Settings(shared=True, password=hashed(PASSWORD)).save(Home(home).create())
        with window_over(home) as url:
            shared = Shared(url, home)
            routes = run(every_route())
            cases = [
                (route, who) for route in routes for who in strangers(shared) + refused_on(shared, route)
            ]
            found = let_in(shared, cases)
    print(*found, sep="\n")
    print(f"{len(routes)} routes, {len(cases)} requests of strangers, {len(found)} answered")


if __name__ == "__main__":
    main()
