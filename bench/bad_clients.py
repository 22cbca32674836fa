#!/usr/bin/env python3
"""Clients that send what no server should take, for bench/faults: a process of its own, so that the load is not its own
victim. Beside others it says `started` once all its clients are there. Prints one JSON object: how many of each kind were
sent, and what was wrong with the answers.
"""

import argparse
import asyncio
import collections
import contextlib
import gzip
import json
import os
import pathlib
import random
import sys

from judging import refusal

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/integration"))
from corpus_reader import corpus  # pylint: disable=wrong-import-position

PATIENCE = 30  # seconds until a connection that stays open counts as a failure
DRIP = 0.1  # seconds between two bytes of a slow client
DEPTH = 100_000
CHAT = "/v1/chat/completions"


def post(body, *lines):
    head = [f"POST {CHAT} HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def kinds():
    """kind -> [(what, bytes, expected statuses)]; of slow ones the bytes follow one by one."""
    chat = b'{"model":"m","messages":'
    bomb = gzip.compress(b"0" * 10_000_000)
    huge = [b"X: " + b"a" * 1_000_000 + b"\r\n", b"X: 1\r\n" * 10_000, b"A" * 1_000_000]
    deep = [b"[" * DEPTH, b'{"a":' * DEPTH, chat + b"[" * DEPTH + b"]" * DEPTH + b"}",
            chat + b'["a"],"a":' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"}"]
    return {
        "smuggling corpus": [(name, data, statuses) for name, statuses, data in corpus()],
        "huge headers": [("headers", b"GET /health HTTP/1.1\r\nHost: a\r\n" + h, {431}) for h in huge],
        "deep JSON": [("body", post(d), {400}) for d in deep],
        "zip bomb": [("declared", post(bomb, "Content-Encoding: gzip"), {415}), ("not declared", post(bomb), {400})],
        "slow headers": [("drip", b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000, {408})],
        "slow body": [("stops", post(chat)[:-1], {408})],
    }


SLOW = ("slow headers",)
# Requests per second beside good clients, and how many there are all the time of slow clients and of silent ones.
RATES = {"smuggling corpus": 60, "huge headers": 5, "deep JSON": 10, "zip bomb": 10}
SLOW_CLIENTS = 50
SILENT_CLIENTS = 64
MIX = f"{sum(RATES.values())} bad inputs/s, {SLOW_CLIENTS} slow and {SILENT_CLIENTS} silent clients"
RAMP = 1  # seconds until all slow clients are there


async def drip(writer, data, stopped):
    with contextlib.suppress(ConnectionError):
        for byte in data:
            if stopped.is_set():
                return
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP)


async def said(reader):
    """Everything until the server closes; a reset counts as a close."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            out += piece
    return out


async def send_bad(port, data, slowly):
    """What the server said until it closed; None: it never closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stopped = asyncio.Event()
    sending = None
    try:
        if slowly:
            sending = asyncio.create_task(drip(writer, data, stopped))
        else:
            writer.write(data)
        return await asyncio.wait_for(said(reader), PATIENCE)
    except asyncio.TimeoutError:
        return None
    finally:
        stopped.set()
        if sending:
            await sending
        writer.transport.abort()


class Book:
    def __init__(self):
        self.sent = collections.Counter()
        self.wrong = collections.Counter()
        self.examples = {}
        self.latest = 0  # seconds by which a paced request went out late, at most

    async def one(self, port, kind, entry):
        what, data, statuses = entry
        answer = await send_bad(port, data, kind in SLOW)
        why = "never closed" if answer is None else refusal(answer, statuses)
        self.sent[kind] += 1
        if why:
            self.wrong[kind] += 1
            self.examples.setdefault(kind, f"{what}: {why}")

    def result(self):
        return {"sent": self.sent, "wrong": self.wrong, "examples": self.examples, "latest": self.latest}


async def each_once(port, book):
    """All of them at once."""
    await asyncio.gather(*(book.one(port, kind, e) for kind, entries in kinds().items() for e in entries))


async def beside(port, book, seconds):
    """The mix for so long once it is whole; slow clients that are not through by then are waited for."""
    everything = kinds()  # Before the clock runs: it takes as much work as many requests.
    draw = random.Random(1)
    loop = asyncio.get_running_loop()
    end = loop.time() + RAMP + seconds

    async def paced(kind, rate):
        running, due = set(), loop.time() + draw.uniform(0, 1 / rate)
        while due < end:
            await asyncio.sleep(max(0, due - loop.time()))
            book.latest = max(book.latest, loop.time() - due)
            running.add(asyncio.create_task(book.one(port, kind, draw.choice(everything[kind]))))
            due += 1 / rate
        await asyncio.gather(*running)

    async def slow(number):
        await asyncio.sleep(RAMP * number / SLOW_CLIENTS)
        while loop.time() < end:
            await book.one(port, "slow headers", everything["slow headers"][0])

    async def silent():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(end - loop.time())
        writer.transport.abort()

    async def tell():
        await asyncio.sleep(RAMP)
        print("started", flush=True)

    await asyncio.gather(tell(), *(paced(k, r) for k, r in RATES.items()), *(slow(n) for n in range(SLOW_CLIENTS)),
                         *(silent() for _ in range(SILENT_CLIENTS)))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("port", type=int)
    p.add_argument("--seconds", type=float, help="beside others; without it each kind is sent once")
    p.add_argument("--idle", action="store_true", help="run only where a processor has nothing else to do")
    a = p.parse_args()
    if a.idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    book = Book()
    asyncio.run(beside(a.port, book, a.seconds) if a.seconds else each_once(a.port, book))
    print(json.dumps(book.result()))


if __name__ == "__main__":
    main()
