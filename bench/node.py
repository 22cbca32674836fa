"""`millrace serve` and `millrace simulate` on ports of their own choice, asked how they are."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import time

from judging import series
from process import Failed, Server

CHAT = "/v1/chat/completions"
# What takes the breaker out of the way, as far as a configuration may: fewer failures than this are made.
NO_BREAKER = {"consecutive_failures": 10000, "min_calls": 1000000, "failure_ratio": 1}


def request(port, method, path, body=None, timeout=10):
    """(status, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def chat_body(model, text="mill", **fields):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields})


def provider(port, key, **settings):
    """A provider on this machine with one key, whose name is its secret, too."""
    return {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "keys": [{"id": key, "secret": key}], **settings}


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)


class Program(Server):
    """`millrace` with port 0: it says itself where it listens."""

    def __init__(self, name, command, work, log=None):
        output = pathlib.Path(work) / f"{name}.out"
        super().__init__(name, command, log or pathlib.Path(work) / f"{name}.log", output=output)
        self.port = None
        try:
            wait_until(lambda: self._find_port(output), 60, f"{name} says where it listens")
        except BaseException:
            self.stop()
            raise

    def _find_port(self, output):
        match = re.match(r"listening http://127\.0\.0\.1:(\d+)\n", output.read_text())
        if match:
            self.port = int(match[1])
        elif self.child.poll() is not None:
            raise Failed(f"{self.name} ended with {self.child.returncode}: {self.log_tail()}")
        return match

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Simulator(Program):
    def __init__(self, binary, work, *options, name="simulator"):
        super().__init__(name, [binary, "simulate", "--listen", "127.0.0.1:0", *options], work)

    def stats(self):
        return json.loads(request(self.port, "GET", "/stats")[1])

    def calls(self, key):
        """Calls that ever arrived with an API key."""
        return self.stats()["keys"].get(key, {"requests": 0})["requests"]


class Node(Program):
    """`millrace serve` with a configuration given as a Python value (JSON is YAML)."""

    def __init__(self, binary, work, config, name="millrace", log=None):
        file = pathlib.Path(work) / f"{name}.yaml"
        self.data_dir = os.path.join(work, f"{name}-data")
        file.write_text(json.dumps({**config, "http": {"listen": "127.0.0.1:0", **config.get("http", {})},
                                    "node": {"data_dir": self.data_dir}}))
        super().__init__(name, [binary, "serve", "--config", str(file)], work, log)

    def url(self):
        return f"http://127.0.0.1:{self.port}{CHAT}"

    def chat(self, model, text="mill", **fields):
        return request(self.port, "POST", CHAT, chat_body(model, text, **fields), timeout=60)

    def metrics(self):
        return series(request(self.port, "GET", "/metrics")[1].decode())

    def status(self):
        return json.loads(request(self.port, "GET", "/v1/status")[1])

    def breaker(self, target):
        return next((b["state"] for b in self.status()["breakers"] if b["target"] == target), "closed")


class Load:
    """A running load generator."""

    def __init__(self, loadgen, url, body, *options):
        self._child = subprocess.Popen([loadgen, url, "--data", body, "--warmup", "0", *options],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self, seconds):
        """Its figures when it is through; ended by force after `seconds`."""
        try:
            out, errors = self._child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failed(f"loadgen did not end within {seconds:g} s") from None
        if not out.startswith("{"):
            raise Failed(f"loadgen ended with {self._child.returncode}: {(out + errors)[-600:]}")
        return json.loads(out)

    def stop(self):
        if self._child.poll() is None:
            self._child.terminate()
        self._child.communicate()
