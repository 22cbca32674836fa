"""Reads `corpus/requests.txt`: bytes that must be refused, for the tests and for bench/faults."""

import os
import re

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "requests.txt")


def expand(text):
    """The bytes of a corpus line: repetitions from the inside out, then escapes."""
    text = text.encode("latin-1").decode("unicode_escape")
    while match := re.search(r"\{(\d+)\*([^{}]*)\}", text):
        text = text[:match.start()] + match[2] * int(match[1]) + text[match.end():]
    return text.encode("latin-1")


def corpus():
    with open(CORPUS, encoding="ascii") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, statuses, text = (part.strip(" \n") for part in line.split("|", 2))
                yield name, {int(s) for s in statuses.split(",")}, expand(text)
