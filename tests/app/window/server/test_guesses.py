"""Wrong passwords cost their address time, are counted, and end with a right one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.password import hashed
from app.window.server.access import Access, address_of, from_here
from app.window.server.guesses import MOST_ADDRESSES, Guesses
from tests.app.window.server.strangers import PASSWORD, device, run


def test_wrong_passwords_cost_their_device_time() -> None:
    lines: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def through() -> None:
        access = Access(page, "k" * 43, hashed(PASSWORD), lines.append)

        async def tried(number: int, password: str) -> int:
            answers: list[Any] = []

            async def send(message: Any) -> None:
                answers.append(message)

            sent = [(b"authorization", device(number, password)["Authorization"].encode())]
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/config",
                "client": (f"192.0.2.{number}", 1),
                "headers": sent,
            }
            await access(scope, None, send)
            waits = dict(answers[0]["headers"]).get(b"retry-after", b"1")
            assert 1 <= int(waits) <= 2
            return int(answers[0]["status"])

        assert await tried(9, PASSWORD) == 200
        answers = await asyncio.gather(*(tried(8, f"guess {one}") for one in range(100)))
        assert sorted(answers) == [401] + [429] * 99, "one of many at once is looked at"
        assert await tried(8, PASSWORD) == 429, "not even looked at, though another device has said it"
        assert await tried(9, PASSWORD) == await tried(10, PASSWORD) == 200, "others are not slowed"
        assert len(access.guesses.tries) == 1

    run(through())
    assert (
        len(lines) == 1
        and "wrong password from 192.0.2.8: 1 in a row" in lines[0]
        and "guess" not in lines[0]
    )


def test_the_time_grows_and_a_right_password_ends_it() -> None:
    now, lines = 0.0, []
    guesses = Guesses(hashed(PASSWORD), lines.append, clock=lambda: now)

    async def wrong(address: str) -> tuple[bool, float]:
        return await guesses.are_right(address, address.encode(), None)

    async def right(address: str) -> tuple[bool, float]:
        return await guesses.are_right(address, b"right", PASSWORD)

    async def through() -> None:
        nonlocal now
        waits = []
        for _ in range(12):
            assert await wrong("192.0.2.1") == (False, 0.0)
            waits.append((await wrong("192.0.2.1"))[1])
            now += waits[-1]
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] and len(lines) == 12
        assert "192.0.2.1: 12 in a row" in lines[-1]
        assert await right("192.0.2.1") == (True, 0.0)
        await wrong("192.0.2.1")
        assert "192.0.2.1: 1 in a row" in lines[-1]
        for number in range(MOST_ADDRESSES + 50):
            await wrong(f"198.51.{number // 256}.{number % 256}")
        assert len(guesses.tries) == MOST_ADDRESSES

    run(through())


def test_more_addresses_than_are_remembered_may_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.window.server.guesses.MOST_ADDRESSES", 2)

    async def through() -> None:
        guesses = Guesses(hashed(PASSWORD), lambda text: None)
        at_once = (guesses.are_right(f"192.0.2.{number}", b"", None) for number in range(5))
        assert await asyncio.gather(*at_once) == [(False, 0.0)] * 5

    run(through())


def test_a_proxy_can_make_up_no_addresses() -> None:
    def scope(address: str, **headers: str) -> dict[str, Any]:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http", "client": (address, 1), "headers": sent}

    assert from_here(scope("127.0.0.9")) and from_here(scope("::1")) and from_here(scope("::ffff:127.0.0.1"))
    assert not any(
        map(from_here, (scope("192.168.1.2"), scope("fe80::1"), scope("nowhere"), {"client": None}))
    )
    assert (
        address_of(scope("2001:db8::1"))
        == address_of(scope("2001:db8::ffff"))
        != address_of(scope("2001:db8:1::1"))
    )
    assert address_of(scope("::ffff:192.0.2.1")) == address_of(scope("192.0.2.1")) == "192.0.2.1"
    assert address_of(scope("192.0.2.1", x_forwarded_for="192.0.2.1")) == address_of(
        scope("192.0.2.2", forwarded="for=x")
    )
