"""Starts real processes and speaks raw HTTP to them. Python's standard library only.

Nothing here sleeps for a fixed time: whatever takes time is polled with a deadline, or is an event.
"""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

MILLRACE = os.environ.get("MILLRACE", "millrace")
PATIENCE = 20  # seconds; generous, for slow machines: only failing tests wait so long

# A client's view of nothing but the process under test: proxies of the machine would stand between.
for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]


def wait_until(condition, what, seconds=PATIENCE):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def at_once(calls):
    """Runs the callables at the same time, each on a thread of its own; their results in order."""
    with concurrent.futures.ThreadPoolExecutor(max(1, len(calls))) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


class Process:
    """A running `millrace`. Its address is known when the constructor returns. `files`: how many it may have open.

    `under`: a command that runs what follows it in the same process.
    """

    def __init__(self, *arguments, environment=None, directory=None, files=None, under=()):
        env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        env.update(environment or {})
        self.popen = subprocess.Popen([*under, MILLRACE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      stdin=subprocess.DEVNULL, env=env, cwd=directory,
                                      preexec_fn=files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                                       (files, files))))
        self.output = []
        self.errors = []
        self._readers = [self._collect(self.popen.stdout, self.output),
                         self._collect(self.popen.stderr, self.errors)]
        try:
            wait_until(lambda: self.output or self.popen.poll() is not None, "the process says where it listens")
            match = self.output and re.fullmatch(r"listening http://(?:127\.0\.0\.1|\[::ffff:127\.0\.0\.1\]):(\d+)",
                                                 self.output[0])
            if not match:
                raise AssertionError(f"first line of stdout: {self.output[:1]}, stderr: {self.errors}")
            self.port = int(match.group(1))
        except BaseException:
            self.kill()
            raise

    @staticmethod
    def _collect(pipe, lines):
        def run():
            with pipe:
                for line in pipe:
                    lines.append(line.decode("utf-8", "replace").rstrip("\n"))
        reader = threading.Thread(target=run, daemon=True)
        reader.start()
        return reader

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, seconds=PATIENCE):
        """SIGTERM; returns the exit code."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop within {seconds} s of SIGTERM") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def log_records(self):
        return [json.loads(line) for line in list(self.errors)]

    def events(self, *names):
        """The event lines with these names so far, without their times."""
        records = [r for r in self.log_records() if r["event"] in names]
        return [{k: v for k, v in r.items() if k != "ts"} for r in records]


class Simulator(Process):
    def __init__(self, *arguments):
        super().__init__("simulate", "--listen", "127.0.0.1:0", *arguments)
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def stats(self):
        return request(self.port, "GET", "/stats").json()

    def key(self, name):
        """The books of one API key; zeros before its first request."""
        zeros = dict.fromkeys(["requests", "answered", "failed", "cancelled", "in_flight", "max_in_flight"], 0)
        return self.stats()["keys"].get(name, zeros)

    def control(self, **settings):
        answer = request(self.port, "POST", "/control", json.dumps(settings))
        if answer.status != 200:
            raise AssertionError(f"the simulator refused {settings}: {answer.body}")


class Gateway(Process):
    """`millrace serve` with a configuration given as a Python value (JSON is YAML)."""

    def __init__(self, config, environment=None, files=None, under=()):
        self.directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.config_file = os.path.join(self.directory.name, "millrace.yaml")
        config = dict(config)
        config["http"] = {"listen": "127.0.0.1:0", "threads": 2, **config.get("http", {})}
        self.write_config(config)
        super().__init__("serve", "--config", self.config_file, environment=environment,
                         directory=self.directory.name, files=files, under=under)

    def write_config(self, config):
        with open(self.config_file, "w", encoding="utf-8") as file:
            file.write(config if isinstance(config, str) else json.dumps(config, indent=1))

    def reload(self, config):
        self.write_config(config)
        self.signal(signal.SIGHUP)

    def status(self, key=None):
        answer = request(self.port, "GET", "/v1/status", headers=bearer(key))
        if answer.status != 200:
            raise AssertionError(f"/v1/status answers {answer.status}: {answer.body}")
        return answer.json()

    def metric(self, name, key=None, **labels):
        """The sum of a metric's values with these labels."""
        answer = request(self.port, "GET", "/metrics", headers=bearer(key))
        if answer.status != 200:
            raise AssertionError(f"/metrics answers {answer.status}: {answer.body}")
        found = [line for line in answer.body.decode().splitlines() if re.match(rf"{name}[{{ ]", line)
                 and all(f'{k}="{v}"' in line for k, v in labels.items())]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def breaker(self, target, key=None):
        return next((b["state"] for b in self.status(key)["breakers"] if b["target"] == target), "closed")

    def provider_key(self, key_id):
        keys = [k for p in self.status()["providers"] for k in p["keys"]]
        return next(k for k in keys if k["id"] == key_id)

    def chat(self, model="chat", key=None, headers=None, **fields):
        return request(self.port, "POST", "/v1/chat/completions", chat_body(model, **fields),
                       {**bearer(key), **(headers or {})})

    def stop(self, seconds=PATIENCE):
        try:
            return super().stop(seconds)
        finally:
            self.directory.cleanup()


def bearer(key):
    return {"Authorization": f"Bearer {key}"} if key else {}


QUESTIONS = itertools.count(1)


def chat_body(model="chat", text="What is a mill race?", **fields):
    """A question that nobody asked before: identical ones in flight would share one call."""
    fields.setdefault("seed", next(QUESTIONS))
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields})


def provider(base_url, *keys, **settings):
    """A provider of the configuration with one key for each name given; the name is its secret, too."""
    entries = [k if isinstance(k, dict) else {"id": k, "secret": k} for k in keys]
    return {"kind": "openai", "base_url": base_url, "keys": entries, **settings}


def target(provider_name, model, **settings):
    return {"provider": provider_name, "model": model, **settings}


class Answer:
    def __init__(self, status, headers, body, version=11):
        self.status = status
        self.headers = headers  # list of (lower-case name, value)
        self.body = body
        self.version = version

    def header(self, name):
        values = [v for n, v in self.headers if n == name.lower()]
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object, its shape checked."""
        error = self.json()["error"]
        for field in ("message", "type", "param", "code"):
            if field not in error:
                raise AssertionError(f"an error without {field}: {self.body}")
        return error

    def events(self):
        """The values of the stream's `data:` lines."""
        return [line[5:].strip() for line in self.body.split(b"\n") if line.startswith(b"data:")]

    def content(self):
        """The text of a whole or streamed chat answer."""
        if not self.header("content-type").startswith("text/event-stream"):
            return self.json()["choices"][0]["message"]["content"]
        chunks = [json.loads(e) for e in self.events() if e != b"[DONE]"]
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


def request(port, method, path, body=None, headers=None, timeout=60):
    """One request on a connection of its own, answered whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        return exchange(connection, method, path, body, headers)
    finally:
        connection.close()


def exchange(connection, method, path, body=None, headers=None):
    headers = dict(headers or {})
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    if isinstance(body, str):
        body = body.encode()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    fields = [(n.lower(), v) for n, v in answer.getheaders()]
    return Answer(answer.status, fields, answer.read(), answer.version)


class RawClient:
    """A connection whose every byte is the test's own."""

    def __init__(self, port, timeout=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def read_until(self, end):
        """Up to and including `end`."""
        while end not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"closed after {self.buffer[:300]!r}")
            self.buffer += piece
        at = self.buffer.index(end) + len(end)
        found, self.buffer = self.buffer[:at], self.buffer[at:]
        return found

    def read_all(self):
        """Everything until the peer closes; a reset counts as a close."""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(65536):
                self.buffer += piece
        found, self.buffer = self.buffer, b""
        return found

    def read_answer(self, without_body=False):
        """An answer with content-length (or without a body)."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [(n.lower(), v.strip()) for n, v in (line.split(":", 1) for line in head[1:] if line)]
        version, status = head[0].split(" ")[:2]
        answer = Answer(int(status), fields, b"", 11 if version == "HTTP/1.1" else 10)
        length = 0 if without_body or answer.status in (100, 204) else int(answer.header("content-length"))
        while len(self.buffer) < length:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed within a body")
            self.buffer += piece
        answer.body, self.buffer = self.buffer[:length], self.buffer[length:]
        return answer

    def is_open(self):
        """Whether the peer has neither closed nor sent anything."""
        return not select.select([self.socket], [], [], 0)[0]


def post_bytes(path, body, *lines, version="1.1"):
    body = body if isinstance(body, bytes) else body.encode()
    head = [f"POST {path} HTTP/{version}", "Host: test", "Content-Type: application/json",
            f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


class Recorded:
    """A request as a provider saw it."""

    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.path = lines[0].split(" ")[1]
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.body = body

    def header(self, name):
        return next((v for n, v in self.headers if n.lower() == name), None)

    def json(self):
        return json.loads(self.body)


class RecordingUpstream:
    """A provider that keeps every byte it receives, and answers with the bytes that `answer` returns.

    `answer(recorded, connection)` may also write to the socket itself and return None: the connection ends then.
    """

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, data = data.split(b"\r\n\r\n", 1)
                length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head + b"\r\ncontent-length: 0")[1])
                while len(data) < length:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                recorded, data = Recorded(head, data[:length]), data[length:]
                with self._lock:
                    self.requests.append(recorded)
                reply = self.answer(recorded, connection)
                if reply is None:
                    return
                connection.sendall(reply)

    def last(self):
        with self._lock:
            return self.requests[-1]

    def count(self):
        with self._lock:
            return len(self.requests)


def reply(status, body, *lines, content_type="application/json"):
    """The bytes of a provider's answer."""
    body = body if isinstance(body, bytes) else body.encode()
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def chunked(pieces, content_type="text/event-stream", *lines):
    """The same, chunked; each piece is a chunk."""
    head = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked", *lines]
    out = ("\r\n".join(head) + "\r\n\r\n").encode()
    for piece in pieces:
        out += b"%x\r\n%s\r\n" % (len(piece), piece)
    return out + b"0\r\n\r\n"


def reset(connection):
    """Ends a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


class TestCase(unittest.TestCase):
    """Starts what a class of tests shares in `prepare`, and stops it."""

    longMessage = True
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.started = contextlib.ExitStack()
        try:
            cls.prepare()
        except BaseException:
            cls.started.close()
            raise

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        cls.started.close()

    @classmethod
    def shared(cls, thing):
        """Stops or closes `thing` when the class is through."""
        cls.started.callback(getattr(thing, "stop", None) or thing.close)
        return thing

    def own(self, thing):
        """Stops or closes `thing` when the test is through."""
        self.addCleanup(getattr(thing, "stop", None) or thing.close)
        return thing
