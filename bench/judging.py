"""What a benchmark concludes from what it saw: pure functions over lists of numbers and texts."""

import re
import statistics


def quantile(values, q):
    """The nearest-rank quantile: of no values None, of few the worst rather than something in between."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def spread(values):
    """p50, p99 and maximum."""
    return {"count": len(values), "p50": quantile(values, 0.5), "p99": quantile(values, 0.99),
            "max": max(values, default=None)}


def probes(arrivals, open_seconds, answer_seconds, slack):
    """Whether calls that arrived at these times, beginning with the one that opened the breaker again, are one probe
    per interval. The breaker stays open for `open_seconds` +-20 % after a probe was answered; `slack` is for traffic to come
    by and for the way.
    """
    gaps = [b - a for a, b in zip(arrivals, arrivals[1:])]
    least, most = 0.8 * open_seconds, 1.2 * open_seconds + answer_seconds + slack
    early = sum(gap < least for gap in gaps)
    late = sum(gap > most for gap in gaps)
    return {"probes": len(gaps), "least_gap": min(gaps, default=None), "greatest_gap": max(gaps, default=None),
            "early": early, "late": late, "passed": bool(gaps) and not early and not late}


def flat(samples, tolerance):
    """How far samples stray from where they began, the median of their first tenth; both ways, as shares of it."""
    begin = statistics.median(samples[:max(1, len(samples) // 10)])
    highest, lowest = max(samples) / begin - 1, min(samples) / begin - 1
    end = statistics.median(samples[-max(1, len(samples) // 10):])
    return {"begin": begin, "end": end, "highest": highest, "lowest": lowest,
            "passed": highest <= tolerance and lowest >= -tolerance}


def series(exposition):
    """Value by series, labels as written, of a text in Prometheus' format."""
    found = re.findall(r"(?m)^([a-zA-Z_:][^\s{]*(?:\{.*\})?) (\S+)$", exposition)
    return {name: float(value) for name, value in found}


BUSY = re.compile(r"millrace_(connections$|upstream_connections\{.*active|queue_depth|key_in_flight|actor_mailbox_depth)")


def busy(values):
    """Those gauges that are above their rest only while something is under way."""
    return {name: value for name, value in values.items() if BUSY.match(name)}


def refusal(said, statuses):
    """What is wrong with everything that a server said to bad input until it closed; empty: nothing.

    It must be a single answer, with a status of the expected ones, an error that says what to do, and the
    announcement that the connection ends.
    """
    heads = re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)
    if len(heads) != 1:
        return f"{len(heads)} answers"
    status = int(heads[0])
    if status not in statuses:
        return f"status {status}"
    head, _, body = said.partition(b"\r\n\r\n")
    if b"\r\nconnection: close" not in head.lower():
        return "the end is not announced"
    if not re.fullmatch(rb'\{"error":\{"message":"[^"]+.*","type":"[^"]+","param":.*,"code":"[a-z_0-9]+"\}\}', body):
        return f"no clear error: {body[:80]!r}"
    return ""


def row(measure, goal, seen, passed):
    """A line of the table; `passed` None: shown, not judged."""
    return {"measure": measure, "goal": goal, "seen": seen, "passed": passed}


def table(rows):
    verdicts = {True: "met", False: "missed", None: "-"}
    lines = ["| measure | goal | seen | |", "|---|---|---|---|"]
    lines += [f"| {r['measure']} | {r['goal']} | {r['seen']} | {verdicts[r['passed']]} |" for r in rows]
    return "\n".join(lines)
