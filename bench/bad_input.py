"""Bad input (R12): whether all of it is refused, and what good clients feel of it."""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from bad_clients import MIX
from judging import row
from node import Load, Node, Simulator, provider
from process import Failed
from upstream_down import numbered

SLOWER = 1.2  # good clients' p99 beside bad ones, at most so many times their p99 without them
LATE = 1  # second by which bad clients may be behind their rate, as they run only where a processor is idle
BAD_CLIENTS = str(pathlib.Path(__file__).resolve().parent / "bad_clients.py")
# phase -> whom the bad clients of this phase send to
PHASES = {"without": None, "elsewhere": "decoy", "beside": "millrace"}


def bad_clients(port, *options):
    # What is to be measured is what a server's good clients feel of bad ones, not what sharing two cores with their
    # program costs: it gets the time that nobody else wants.
    return subprocess.Popen([sys.executable, "-B", BAD_CLIENTS, str(port), "--idle", *options],
                            stdout=subprocess.PIPE, text=True)


def outcome(child, seconds):
    try:
        return json.loads(child.communicate(timeout=seconds)[0])
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def merge(into, more):
    for what in ("sent", "wrong"):
        for kind, count in more[what].items():
            into[what][kind] = into[what].get(kind, 0) + count
    into["examples"] |= more["examples"]
    into["latest"] = max(into["latest"], more["latest"])


def good_clients(a, node, latency):
    """p50 and p99 in ms of clients that ask at a steady rate, from when each request was due. Twice as many as the
    provider's latency keeps busy, and some: so none waits for another.
    """
    clients = 32 + 2 * a.good_rate * latency // 1000
    r = Load(a.loadgen, node.url(), numbered("m"), "-c", str(clients), "-r", str(a.good_rate), "-d", f"{a.bad_seconds:g}",
             "--drain", "5").result(a.bad_seconds + 60)
    if r["ok"] < 0.999 * r["sent"]:
        raise Failed(f"good clients' answers: {r['status']} {r['errors']}")
    return {q: r["latency_us"][q] / 1000 for q in ("p50", "p99")} | {"requests": r["ok"]}


def phase(a, nodes, latency, whom, book):
    if not whom:
        return good_clients(a, nodes["millrace"], latency)
    bad = bad_clients(nodes[whom].port, "--seconds", f"{a.bad_seconds + LATE:g}")
    try:
        if bad.stdout.readline() != "started\n":
            raise Failed("the bad clients did not start")
        felt = good_clients(a, nodes["millrace"], latency)
        merge(book, outcome(bad, a.bad_seconds + 60))
    finally:
        if bad.poll() is None:
            bad.kill()
            bad.wait()
    return felt


def rounds(a, latency, book):
    """What good clients felt in each round, with a provider that takes `latency` ms."""
    seen = []
    with tempfile.TemporaryDirectory() as work, Simulator(a.millrace, work, "--latency", f"{latency}ms") as upstream:
        config = {"http": {"header_timeout": "2s"}, "providers": {"p": provider(upstream.port, "k")},
                  "models": {"m": {"targets": [{"provider": "p", "model": "m"}]}}}
        with Node(a.millrace, work, config) as node, Node(a.millrace, work, config, "decoy") as decoy:
            nodes = {"millrace": node, "decoy": decoy}
            merge(book, outcome(bad_clients(node.port), 90))
            good_clients(a, node, latency)  # Does not count: caches and connections.
            for number in range(a.bad_rounds):
                # In turn, and the other way round every second time, so that a drift of the machine hits all alike.
                order = list(PHASES)[::1 if number % 2 == 0 else -1]
                seen.append({name: phase(a, nodes, latency, PHASES[name], book) for name in order})
    return seen


def felt(a, latency, seen):
    """(result, rows) of the good clients of one provider."""
    p99 = {name: statistics.median(r[name]["p99"] for r in seen) for name in PHASES}
    ratio = p99["beside"] / p99["without"]
    single = sorted(r["beside"]["p99"] / r["without"]["p99"] for r in seen)
    whose = f"p99 of {a.good_rate} good requests/s, provider {latency} ms"
    rows = [row(f"R12 {whose}, beside {MIX} / without", f"<= {SLOWER}x",
                f"{ratio:.2f}x ({p99['beside']:.2f} / {p99['without']:.2f} ms, medians of {a.bad_rounds}; "
                f"single rounds {single[0]:.2f}x to {single[-1]:.2f}x)", ratio <= SLOWER),
            row(f"R12 control, {whose}: the bad ones at another node on this machine / without", "-",
                f"{p99['elsewhere'] / p99['without']:.2f}x ({p99['elsewhere']:.2f} ms)", None),
            row(f"R12 what Millrace adds to that, {whose}: beside the bad ones / control", "-",
                f"{p99['beside'] / p99['elsewhere']:.2f}x", None)]
    return {"rounds": seen, "p99_ms": p99, "ratio": ratio, "ratio_to_elsewhere": p99["beside"] / p99["elsewhere"]}, rows


def measure(a):
    """(everything seen, rows of the table)."""
    book = {"sent": {}, "wrong": {}, "examples": {}, "latest": 0}
    seen = {latency: felt(a, latency, rounds(a, latency, book)) for latency in a.good_latency}
    if book["latest"] > LATE:
        raise Failed(f"bad clients were {book['latest']:.1f} s behind their rate")
    sent, wrong = sum(book["sent"].values()), sum(book["wrong"].values())
    said = f"{1 - wrong / sent:.2%} of {sent:,}" + "".join(f"; {k}: {v}" for k, v in book["examples"].items())
    rows = [row("R12 bad input refused with a clear 4xx (505 for a wrong version) and closed", "100 %", said, not wrong)]
    result = {"refused": book, "by_latency": {latency: r for latency, (r, _) in seen.items()}}
    return {"bad_input": result}, rows + [r for _, more in seen.values() for r in more]
