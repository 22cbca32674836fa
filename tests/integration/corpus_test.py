"""Ambiguous, oversized and slow requests: refused with a clear answer and a closed connection; good clients go on."""

import http.client
import re
import threading
import unittest

from corpus_reader import corpus
from harness import (Gateway, RawClient, Simulator, TestCase, at_once, chat_body, exchange, post_bytes, provider, target,
                     wait_until)


class GoodClient:
    """Asks all the time on one connection, and checks every answer."""

    def __init__(self, port):
        self.stop_now = threading.Event()
        self.answered = 0
        self.problem = None
        self.thread = threading.Thread(target=self._run, args=(port,))
        self.thread.start()

    def _run(self, port):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            while not self.stop_now.is_set():
                text = f"question {self.answered}"
                answer = exchange(connection, "POST", "/v1/chat/completions", chat_body(text=text))
                if answer.status != 200 or text not in answer.content():
                    raise AssertionError(f"{answer.status} {answer.body}")
                self.answered += 1
            connection.close()
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def stop(self):
        self.stop_now.set()
        self.thread.join()


class BadInput(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--tokens", "4", "--latency", "5ms"))
        cls.gateway = cls.shared(Gateway({"http": {"header_timeout": "500ms", "idle_timeout": "700ms", "max_body": "1MiB"},
                                          "providers": {"p": provider(cls.simulator.base_url, "k")},
                                          "models": {"chat": {"targets": [target("p", "m")]}}}))

    def setUp(self):
        self.good = GoodClient(self.gateway.port)
        self.addCleanup(self.good.stop)

    def tearDown(self):
        if self.good is None:
            return
        reached = self.good.answered
        wait_until(lambda: self.good.answered >= reached + 3 or self.good.problem, "the good client goes on")
        self.assertIsNone(self.good.problem)

    def answers(self, data, split=None):
        """Everything the server says to `data`, sent whole or in pieces, until it closes."""
        with RawClient(self.gateway.port) as client:
            try:
                step = split or max(1, len(data))
                for i in range(0, len(data), step):
                    client.send(data[i:i + step])
            except (ConnectionResetError, BrokenPipeError):
                pass  # refused before all of it was sent
            return client.read_all()

    def assert_refused(self, name, statuses, said):
        heads = re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)
        with self.subTest(name):
            self.assertEqual(len(heads), 1, f"one answer, then the end: {said[:400]}")
            self.assertIn(int(heads[0]), statuses)
            head, _, body = said.partition(b"\r\n\r\n")
            self.assertIn(b"connection: close", head.lower())
            self.assertRegex(body, rb'^\{"error":\{"message":"[^"]+","type":"[^"]+","param":null,"code":"[a-z_]+"\}\}$')

    def test_each_of_the_corpus_is_refused_and_the_connection_closed(self):
        entries = list(corpus())
        self.assertGreater(len(entries), 50)
        # A request behind the refused one must never be answered: that is what smuggling is.
        behind = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        said = at_once([lambda data=data: self.answers(data + behind) for _, _, data in entries])
        for (name, statuses, _), answer in zip(entries, said):
            self.assert_refused(name, statuses, answer)

    def test_verdicts_do_not_depend_on_how_bytes_arrive(self):
        entries = [(n, s, d) for n, s, d in corpus() if len(d) < 300]
        said = at_once([lambda data=data: self.answers(data, split=1) for _, _, data in entries])
        for (name, statuses, _), answer in zip(entries, said):
            self.assert_refused(name, statuses, answer)

    def test_nothing_of_the_corpus_reaches_a_provider(self):
        self.good.stop()
        self.good = None
        before = self.simulator.key("k")["requests"]
        for _, _, data in corpus():
            self.answers(data)
        self.assertEqual(self.simulator.key("k")["requests"], before)

    def drip(self, data, step):
        """Sends byte after byte until the server answers or closes; what it said."""
        with RawClient(self.gateway.port) as client:
            at = 0

            def refused():
                nonlocal at
                if not client.is_open():
                    return True
                if at < len(data):
                    client.send(data[at:at + step])
                    at += step
                return False

            wait_until(refused, "a slow client is refused")
            return client.read_all()

    def test_slow_headers(self):
        head = b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 30000
        for said in at_once([lambda: self.drip(head, 1)] * 20):
            self.assertIn(b" 408 ", said.split(b"\r\n")[0])
            self.assertIn(b"connection: close", said.lower())

    def test_a_body_that_stops(self):
        data = post_bytes("/v1/chat/completions", chat_body())[:-10]
        for said in at_once([lambda: self.answers(data)] * 5):
            self.assertIn(b" 408 ", said.split(b"\r\n")[0])

    def test_silent_connections_are_closed(self):
        for said in at_once([lambda: self.answers(b"")] * 5):
            self.assertEqual(said, b"")
        with RawClient(self.gateway.port) as client:
            client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(client.read_answer().status, 200)
            self.assertEqual(client.read_all(), b"")

    def test_deep_and_odd_json(self):
        depth = 100_000
        bodies = [b"[" * depth, b'{"a":' * depth, b'{"model":"chat","messages":' + b"[" * depth + b"]" * depth + b"}",
                  b'{"model":"chat","messages":["a"],' + b'"a":{' * 200 + b"}" * 201,
                  b'{"model":"chat","n":1' + b"0" * 100_000 + b"x}", b'"' + b"\\" * 99_999, b"\xef\xbb\xbf{}", b"\x00" * 1000]
        for body in bodies:
            answer = self.gateway_post(body)
            self.assertEqual(answer.status, 400, body[:40])
            self.assertTrue(answer.error["message"])

    def gateway_post(self, body, *lines):
        """The answer, behind which the connection must end."""
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", body, *lines))
            answer = client.read_answer()
            self.assertEqual(answer.header("connection"), "close")
            self.assertEqual(client.read_all(), b"")
            return answer

    def test_compressed_bodies_are_not_taken(self):
        bomb = b"\x1f\x8b\x08" + b"\0" * 50
        self.assertEqual(self.gateway_post(bomb, "Content-Encoding: gzip").status, 415)
        self.assertEqual(self.gateway_post(bomb).status, 400)

    def test_a_mistaken_request_keeps_its_connection(self):
        with RawClient(self.gateway.port) as client:
            for body in (b"{}", b'{"model":"unknown","messages":[]}', b'{"model":"chat","messages":1}'):
                client.send(post_bytes("/v1/chat/completions", body))
                self.assertIn(client.read_answer().status, (400, 404))


class Crowd(TestCase):
    def test_connections_above_the_maximum_are_told(self):
        gateway = self.own(Gateway({"http": {"max_connections": 4}}))
        clients = [self.own(RawClient(gateway.port)) for _ in range(4)]
        for client in clients:
            client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(client.read_answer().status, 200)
        with RawClient(gateway.port) as late:
            self.assertRegex(late.read_all(), rb"^HTTP/1\.1 503 (?s:.*)(?i:connection: close)")
        clients.pop().close()

        def served():
            with RawClient(gateway.port) as client:
                try:
                    client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                    return client.read_answer().status == 200
                except ConnectionError:
                    return False

        wait_until(served, "room that was made is used")


if __name__ == "__main__":
    unittest.main(verbosity=2)
