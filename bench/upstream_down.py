"""A provider that is down: how often it is called all the same (R8), and how its breaker leaves it alone (R9)."""

import contextlib
import json
import pathlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from judging import probes, row
from node import NO_BREAKER, Load, Node, Simulator, provider, wait_until
from process import Failed, free_port

AMPLIFICATION = 1.1
FAILURES = 5  # after which a dead target's breaker must be open
CONNECTIONS = 64
STALL = "200ms"  # time to the first byte that is allowed where the provider never answers

# name -> (fault, targets, settings of the node, whether it served before); without the breaker only the retry
# budget is left. A provider that served has open connections, on which a reset may just mean that they are old.
DOWN = {
    "500, defaults": ("status=500", 1, {}, False),
    "reset, defaults": ("reset", 1, {}, False),
    "reset after it served, defaults": ("reset", 1, {}, True),
    "500 from all of three targets, defaults": ("status=500", 3, {}, False),
    "500, no breaker": ("status=500", 1, {"breaker": NO_BREAKER}, False),
    "reset, no breaker": ("reset", 1, {"breaker": NO_BREAKER}, False),
    "reset after it served, no breaker": ("reset", 1, {"breaker": NO_BREAKER}, True),
    "no answer, no breaker": ("stall", 1, {"breaker": NO_BREAKER}, False),
}
DEAD = ("status=500", "stall", "content-type", "cut=0", "reset")  # and a port that nobody listens on
BUDGET_WINDOW = 10.5  # seconds after which requests of before earn no retries any more
HEALTHY = ("--model", "healthy:latency=20ms")  # so slow that calls at once need a connection each
PROBE_ANSWER = 0.1  # seconds the dead target takes to fail a probe, so that two at once would be seen
SEEN_LATE = 0.3  # seconds a probe may be late on a busy machine


def numbered(model):
    """A body in which the load generator numbers the requests, so that no two are the same."""
    return json.dumps({"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "mill @@@@@@@@@@@@"}]})


def named(fault):
    return fault.replace("=", "-")


def simulator(a, work, faults, *options, name="simulator"):
    models = [f"{named(fault)}:fault={fault}" for fault in faults]
    return Simulator(a.millrace, work, *[o for m in models for o in ("--model", m)], *HEALTHY, *options, name=name)


def serve_first(a, node):
    """Leaves open connections to the provider that all models of the node share."""
    load = Load(a.loadgen, node.url(), numbered("healthy"), "-c", str(CONNECTIONS), "-n", str(10 * CONNECTIONS))
    if load.result(60)["ok"] != 10 * CONNECTIONS:
        raise Failed("the healthy model does not answer")


def amplify(a, work, upstream, number, name):
    """Upstream calls per client request of one case, by the provider's count."""
    fault, targets, settings, served = DOWN[name]
    key = f"amplify-{number}"
    dead = [f"p{i}" for i in range(targets)]
    providers = {p: provider(upstream.port, key, timeouts={"first_byte": STALL}) for p in dead}
    providers["before"] = provider(upstream.port, f"before-{number}")
    config = {"providers": providers, **settings, "models": {
        "m": {"targets": [{"provider": p, "model": named(fault)} for p in dead]},
        "healthy": {"targets": [{"provider": "before", "model": "healthy"}]}}}
    with Node(a.millrace, work, config, f"node-{number}") as node:
        if served:
            serve_first(a, node)
            time.sleep(BUDGET_WINDOW)
        rate = a.requests / a.down_seconds
        result = Load(a.loadgen, node.url(), numbered("m"), "-c", str(CONNECTIONS * 4), "-r", f"{rate:g}",
                      "-d", f"{a.down_seconds:g}", "--drain", "30").result(a.down_seconds + 60)
        calls = upstream.calls(key)
    answered = sum(result["status"].values())
    return {"case": name, "requests": result["sent"], "answered": answered, "calls": calls,
            "amplification": calls / max(1, result["sent"]), "status": result["status"],
            "passed": answered == result["sent"] >= 0.9 * a.requests and calls <= AMPLIFICATION * result["sent"]}


def amplification(a):
    """All cases at once, each with a node of its own: counts do not depend on who shares the machine."""
    with tempfile.TemporaryDirectory() as work, simulator(a, work, {f for f, *_ in DOWN.values()}) as upstream:
        with ThreadPoolExecutor(len(DOWN)) as pool:
            tasks = [pool.submit(amplify, a, work, upstream, i, name) for i, name in enumerate(DOWN)]
            cases = [t.result() for t in tasks]
    rows = [row(f"R8 calls per request, {c['case']}", f"<= {AMPLIFICATION}x",
                f"{c['amplification']:.3f}x ({c['calls']:,} / {c['requests']:,})", c["passed"]) for c in cases]
    return {"cases": cases}, rows


def attempts(node, model):
    """Upstream calls of a target by the node's own count, for calls that reach nobody who could count."""
    return sum(v for name, v in node.metrics().items()
               if name.startswith("millrace_attempts_total{") and f'model="{model}"' in name)


def until_open(node, name, model, counted):
    """Asks one after the other until the breaker is open; the calls this took, and those of a dozen requests more."""
    while node.breaker(f"{name}/{model}") != "open":
        status, body = node.chat(name)
        if status < 500:
            raise Failed(f"a dead provider's answer: {status} {body[:200]!r}")
    taken = counted()
    for _ in range(12):
        node.chat(name)
    return {"target": name, "calls": taken, "after": counted() - taken, "passed": taken <= FAILURES and counted() == taken}


def opening(a):
    """How many calls each kind of dead target gets before its breaker is open for the default of 60 s."""
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as started:
        burst = ("--model", "burst:latency=50ms,fault=status=500")
        upstream = started.enter_context(simulator(a, work, DEAD, *burst))
        # Other targets' calls leave open connections to the first; nobody else ever calls the second.
        alone = started.enter_context(simulator(a, work, ("reset",), name="alone"))
        ports = {**{named(f): upstream.port for f in DEAD}, "reset": alone.port, "burst": upstream.port,
                 "kept": upstream.port, "healthy": upstream.port, "nobody": free_port()}
        config = {"providers": {n: provider(p, n, timeouts={"first_byte": STALL}) for n, p in ports.items()},
                  "models": {n: {"targets": [{"provider": n, "model": "reset" if n == "kept" else n}]} for n in ports}}
        node = started.enter_context(Node(a.millrace, work, config))
        with ThreadPoolExecutor(len(ports)) as pool:
            tasks = [pool.submit(until_open, node, n, n, lambda n=n: upstream.calls(n)) for n in map(named, DEAD[:-1])]
            tasks.append(pool.submit(until_open, node, "reset", "reset", lambda: alone.calls("reset")))
            tasks.append(pool.submit(until_open, node, "nobody", "nobody", lambda: attempts(node, "nobody")))
            seen = [t.result() for t in tasks]
        serve_first(a, node)
        kept = until_open(node, "kept", "reset", lambda: upstream.calls("kept"))
        # What is under way when the fifth failure arrives was sent before anybody could know.
        Load(a.loadgen, node.url(), numbered("burst"), "-c", str(CONNECTIONS), "-n", str(CONNECTIONS)).result(60)
        during = upstream.calls("burst")
        Load(a.loadgen, node.url(), numbered("burst"), "-c", str(CONNECTIONS), "-n", str(CONNECTIONS)).result(60)
        after = upstream.calls("burst") - during
    worst = max(s["calls"] for s in seen)
    rows = [row(f"R9 calls until a dead target's breaker is open, worst of {len(seen)} kinds", f"<= {FAILURES}",
                f"{worst:g}", all(s["passed"] for s in seen)),
            row("R9 the same where each call is reset on a kept connection, then again on a fresh one",
                f"{FAILURES} failures", f"{kept['calls']} calls", None),
            row(f"R9 calls after a first burst of {CONNECTIONS} at once ({during} went out)", "0", str(after), after == 0)]
    return {"opening": seen, "kept": kept, "burst": {"during": during, "after": after}}, rows


def watch(node, upstream, key, begin_open, seconds):
    """(calls counted, times of arrival in seconds) of a target under load, beginning with the last before it was open."""
    wait_until(begin_open, 20, "the breaker opens")
    times, counts = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = upstream.stats()["keys"][key]
        if not counts or seen["requests"] != counts[-1]:
            counts.append(seen["requests"])
            times.append(seen["last_arrival_unix_us"] / 1e6)
        time.sleep(0.01)
    return counts, times


def probing(a):
    """Calls that a dead target gets while clients go on asking for it: one per interval."""
    dead = f"dead:latency={PROBE_ANSWER * 1000:g}ms,fault=status=500"
    with tempfile.TemporaryDirectory() as work, Simulator(a.millrace, work, "--model", dead) as upstream:
        config = {"providers": {"p": provider(upstream.port, "probe")}, "breaker": {"open": "1s"},
                  "models": {"m": {"targets": [{"provider": "p", "model": "dead"}]}}}
        with Node(a.millrace, work, config) as node:
            load = Load(a.loadgen, node.url(), numbered("m"), "-c", "16", "-r", "400", "-d", f"{a.probe_seconds + 2:g}")
            try:
                counts, times = watch(node, upstream, "probe", lambda: node.breaker("p/dead") == "open", a.probe_seconds)
                asked = load.result(a.probe_seconds + 60)["sent"]
            finally:
                load.stop()
    seen = probes(times, 1, PROBE_ANSWER, SEEN_LATE)
    together = sum(b - a > 1 for a, b in zip(counts, counts[1:]))
    seen |= {"together": together, "requests": asked, "passed": seen["passed"] and not together}
    if not seen["probes"]:
        return {"probing": seen}, [row("R9 probes", "one per interval", "none", False)]
    said = (f"{seen['probes']} in {times[-1] - times[0]:.1f} s, "
            f"{seen['least_gap']:.2f} to {seen['greatest_gap']:.2f} s apart, {together} times two at once")
    return {"probing": seen}, [row(f"R9 probes with open: 1s, {asked:,} requests meanwhile", "one per 1 s +-20 %", said,
                                   seen["passed"])]


def measure(a):
    """(everything seen, rows of the table)."""
    pathlib.Path(a.millrace).stat()  # Named at once, rather than by the first of many threads.
    result, rows = {}, []
    for part in (amplification, opening, probing):
        seen, more = part(a)
        result |= seen
        rows += more
    return result, rows
