"""Clients that leave (R11): how soon the provider is rid of their calls, and what ten thousand of them leave behind."""

import asyncio
import contextlib
import random
import re
import socket
import tempfile
import time

from judging import busy, row, spread
from node import CHAT, Node, Simulator, chat_body, provider, wait_until
from process import Failed

CANCELLED = 0.1  # seconds from a client's leaving to the provider's seeing its call end
RSS_GROWTH = 0.05  # that 10,000 cuts may leave behind
PATIENCE = 10  # seconds until something that never came counts as missed
CONCURRENT = 8  # cuts timed at once; more would measure this program
LINGER_ZERO = b"\1\0\0\0\0\0\0\0"  # struct linger: close() sends RST
SEED = 1

EVENT = (b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
         b'[{"index":0,"delta":{"role":"assistant","content":"word"},"finish_reason":null}]}\n\n')
CONTENT = b'"content":"word"'

# case -> (the provider's model, streamed)
TIMED = {
    "plain, before the first byte": ("wait", False),
    "plain, in the middle of the body": ("body", False),
    "stream, before the first byte": ("wait", True),
    "stream, between events every 20 ms": ("ticking", True),
    "stream, silent after an event": ("silent", True),
}


class Call(asyncio.Protocol):
    """One connection of a provider that never ends an answer, and that knows when its caller went."""

    def __init__(self, book):
        self.book = book
        self.received = b""
        self.number = None
        self.ticks = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        match = self.number is None and re.search(rb'"model": ?"(\w+)".*cut-(\d+)-end', self.received, re.DOTALL)
        if match:
            self.number = int(match[2])
            self.answer(match[1].decode())
            self.book.arrived[self.number].set_result(time.monotonic())

    def answer(self, model):
        if model == "body":
            self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"id":')
        elif model != "wait":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.event(again=model == "ticking")

    def event(self, again):
        self.transport.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        if again:
            self.ticks = asyncio.get_running_loop().call_later(0.02, self.event, True)

    def over(self):
        if self.ticks:
            self.ticks.cancel()
        if self.number is not None and not self.book.gone[self.number].done():
            self.book.gone[self.number].set_result(time.monotonic())

    def eof_received(self):
        self.over()

    def connection_lost(self, _):
        self.over()


class Book:
    """When each call arrived at the provider and when its caller was gone, as futures by its number."""

    def __init__(self, count):
        loop = asyncio.get_running_loop()
        self.arrived = [loop.create_future() for _ in range(count)]
        self.gone = [loop.create_future() for _ in range(count)]


def post(model, text, **fields):
    body = chat_body(model, text, **fields).encode()
    return b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        CHAT.encode(), len(body), body)


async def connect(port):
    s = socket.socket()
    s.setblocking(False)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
    except OSError:
        s.close()
        raise
    return s


def leave(s, by_reset):
    if by_reset:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    s.close()


async def timed_cut(port, book, number, model, streamed, draw):
    """Seconds from the client's close() to the provider's seeing it; None: it never did."""
    loop = asyncio.get_running_loop()
    s = await connect(port)
    with contextlib.closing(s):
        await loop.sock_sendall(s, post(model, f"cut-{number}-end", stream=streamed))
        await asyncio.wait_for(book.arrived[number], PATIENCE)
        seen = b""
        while model in ("ticking", "silent") and CONTENT not in seen:
            seen += await asyncio.wait_for(loop.sock_recv(s, 65536), PATIENCE)
        await asyncio.sleep(draw.uniform(0, 0.05))
        left = time.monotonic()
        leave(s, draw.random() < 0.5)
    try:
        return await asyncio.wait_for(book.gone[number], PATIENCE) - left
    except asyncio.TimeoutError:
        return None


async def timed_case(port, book, numbers, model, streamed):
    draw = random.Random(SEED)
    free = asyncio.Semaphore(CONCURRENT)

    async def one(number):
        async with free:
            return await timed_cut(port, book, number, model, streamed, draw)

    return await asyncio.gather(*(one(n) for n in numbers))


async def timed_cases(a, work):
    book = Book(a.timed_cuts * len(TIMED))
    server = await asyncio.get_running_loop().create_server(lambda: Call(book), "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    models = {m for m, _ in TIMED.values()}
    config = {"providers": {"p": provider(upstream, "k")},
              "models": {m: {"targets": [{"provider": "p", "model": m}]} for m in models}}
    taken = {}
    with Node(a.millrace, work, config) as node:
        for i, (case, (model, streamed)) in enumerate(TIMED.items()):
            numbers = range(i * a.timed_cuts, (i + 1) * a.timed_cuts)
            taken[case] = await timed_case(node.port, book, numbers, model, streamed)
    server.close()
    return taken


def timing(a):
    with tempfile.TemporaryDirectory() as work:
        taken = asyncio.run(timed_cases(a, work))
    cases, rows = [], []
    for case, times in taken.items():
        seen = [t for t in times if t is not None]
        figures = spread(seen) | {"missed": len(times) - len(seen)}
        passed = figures["missed"] == 0 and figures["max"] <= CANCELLED
        cases.append({"case": case, "seconds": figures, "passed": passed})
        said = " / ".join(f"{figures[q] * 1000:.1f}" for q in ("p50", "p99", "max")) if seen else "-"
        rows.append(row(f"R11 cancelled upstream, {case}, p50 / p99 / max ms", f"max <= {CANCELLED * 1000:g} ms",
                        f"{said} ({len(seen)} of {len(times)})", passed))
    return {"cancelled": cases}, rows


# What a client of the ten thousand asks for. "narrow" has a key for four calls at once, so that most wait in the queue.
ASKED = (("quick", False), ("quick", True), ("slow", False), ("slow", True), ("paced", True), ("silent", True),
         ("narrow", False), ("narrow", True))
SIMULATED = ("--model", "slow:latency=5ms-80ms", "--model", "paced:tokens=200,tokens_per_second=2000",
             "--model", "silent:fault=stall-stream=4", "--model", "narrow:latency=30ms")


async def random_cut(port, draw):
    """Leaves somewhere between the first byte of the request and the end of the answer."""
    loop = asyncio.get_running_loop()
    model, streamed = draw.choice(ASKED)
    request = post(model, f"mill {draw.random()}", stream=streamed, max_tokens=200)
    s = await connect(port)
    with contextlib.closing(s):
        whole = draw.random() < 0.8
        await loop.sock_sendall(s, request if whole else request[:draw.randrange(len(request))])
        # A third waits for bytes of the answer, the others for a time in which none, some or all of it comes.
        if whole and draw.random() < 1 / 3:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_recv(s, draw.randrange(1, 4096)), 0.1)
        else:
            await asyncio.sleep(draw.choice((0, draw.uniform(0, 0.01), draw.uniform(0, 0.06))))
        leave(s, draw.random() < 0.5)


async def random_cuts(port, count, concurrent, draw):
    free = asyncio.Semaphore(concurrent)
    refused = 0

    async def one():
        nonlocal refused
        async with free:
            try:
                await random_cut(port, draw)
            except ConnectionError:
                refused += 1

    await asyncio.gather(*(one() for _ in range(count)))
    return refused


def rest(node, upstream):
    """Waits until nothing is under way, and returns what the node holds then."""
    def quiet():
        b = busy(node.metrics())
        ours_only = b.pop("millrace_connections") == 1 and node.status()["connections"]["serving"] == 1
        return ours_only and not any(b.values()) and upstream.stats()["in_flight"] == 0

    try:
        wait_until(quiet, 2 * PATIENCE, "nothing is under way")
        calm = True
    except Failed:
        calm = False
    m = node.metrics()
    idle = m['millrace_upstream_connections{state="idle"}']
    return {"calm": calm, "gauges": busy(m), "upstream_in_flight": upstream.stats()["in_flight"], "upstream_idle": idle,
            # Idle connections to the provider are kept on purpose, and the one that asks is ours.
            "descriptors": m["process_open_fds"] - idle - m["millrace_connections"], "rss_mib": node.rss_mib()}


def leaks(a):
    draw = random.Random(SEED)
    models = ("quick", "slow", "paced", "silent")
    with tempfile.TemporaryDirectory() as work, Simulator(a.millrace, work, *SIMULATED) as upstream:
        narrow = provider(upstream.port, "n")
        narrow["keys"][0]["concurrency"] = 4
        config = {"providers": {"p": provider(upstream.port, "k"), "narrow": narrow},
                  "models": {**{m: {"targets": [{"provider": "p", "model": m}]} for m in models},
                             "narrow": {"targets": [{"provider": "narrow", "model": "narrow"}]}}}
        with Node(a.millrace, work, config) as node:
            # The same first, for buffers, stacks and pools that are kept once they were needed.
            asyncio.run(random_cuts(node.port, a.warm_cuts, a.cut_clients, draw))
            before = rest(node, upstream)
            calls = upstream.stats()["requests"]
            begin = time.monotonic()
            refused = asyncio.run(random_cuts(node.port, a.cuts, a.cut_clients, draw))
            took = time.monotonic() - begin
            after = rest(node, upstream)
            calls = upstream.stats()["requests"] - calls
            answers = {m: node.chat(m)[0] for m in ("quick", "slow", "narrow")}
    growth = after["rss_mib"] / before["rss_mib"] - 1
    fds = after["descriptors"] - before["descriptors"]
    result = {"cuts": a.cuts, "concurrent": a.cut_clients, "seconds": took, "refused": refused, "upstream_calls": calls,
              "before": before, "after": after, "answers_after": answers}
    rows = [row(f"R11 descriptors left by {a.cuts:,} cuts, {a.cut_clients} at once", "0", f"{fds:+.0f}", fds <= 0),
            row("R11 gauges (connections, in flight, queues, mailboxes) as before", "all",
                "all" if after["gauges"] == before["gauges"] else str(after["gauges"]),
                after["calm"] and after["gauges"] == before["gauges"]),
            row("R11 resident memory after / before", f"<= {RSS_GROWTH:+.0%}",
                f"{growth:+.1%} ({before['rss_mib']:.1f} to {after['rss_mib']:.1f} MiB)", growth <= RSS_GROWTH),
            row("R11 clients refused meanwhile; answers afterwards", "0; 200", f"{refused}; {sorted(set(answers.values()))}",
                not refused and set(answers.values()) == {200})]
    return {"leaks": result}, rows


def measure(a):
    """(everything seen, rows of the table)."""
    seen, rows = timing(a)
    more_seen, more_rows = leaks(a)
    return seen | more_seen, rows + more_rows
