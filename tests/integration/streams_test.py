"""Streams that are silent, and as many of them as open files allow."""

import json
import unittest

from harness import (Gateway, RawClient, Simulator, TestCase, chat_body, post_bytes, provider, request, target,
                     wait_until)

PING = b": ping\n\n"
CHAT = "/v1/chat/completions"


def dechunked(body):
    """The body's bytes, and whether it ended as it should."""
    out = b""
    while body:
        size, body = body.split(b"\r\n", 1)
        length = int(size, 16)
        if length == 0:
            return out, body == b"\r\n"
        out, body = out + body[:length], body[length + 2:]
    return out, False


class Silence(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--model", "slow:tokens=3,tokens_per_second=1",
                                             "--model", "silent:fault=stall-stream=4"))
        cls.gateway = cls.shared(Gateway({
            "http": {"ping_interval": "300ms"},
            "providers": {"p": provider(cls.simulator.base_url, "k", timeouts={"idle": "2s"})},
            "models": {m: {"targets": [target("p", m)]} for m in ("slow", "silent")}}))

    def stream(self, model):
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes(CHAT, chat_body(model, stream=True), "Connection: close"))
            head = client.read_until(b"\r\n\r\n")
            self.assertIn(b" 200 ", head)
            return dechunked(client.read_all())

    def test_a_slow_stream_is_whole_between_its_pings(self):
        body, ended = self.stream("slow")
        self.assertTrue(ended)
        blocks = body.split(b"\n\n")
        self.assertGreaterEqual(blocks.count(b": ping"), 2, body)
        chunks = [json.loads(b[len(b"data: "):]) for b in blocks if b.startswith(b"data: {")]
        content = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        self.assertEqual(content, self.gateway.chat("slow").content())
        self.assertTrue(body.endswith(b"data: [DONE]\n\n"), body)

    def test_pings_do_not_keep_a_silent_provider(self):
        before = self.simulator.key("k")["cancelled"]
        body, _ = self.stream("silent")
        self.assertGreaterEqual(body.count(PING), 2, body)
        self.assertIn(b"timeout", body.rsplit(PING, 1)[1], "the stream says why it ends")
        self.assertNotIn(b"[DONE]", body)
        wait_until(lambda: self.simulator.key("k")["cancelled"] == before + 1, "the provider is let go")


class OpenFiles(TestCase):
    FILES = 100
    MOST = 25  # half of them are kept for other things, and a stream needs two

    def setUp(self):
        self.simulator = self.own(Simulator("--model", "held:fault=stall-stream=4"))
        self.gateway = self.own(Gateway(self.config(), files=self.FILES))

    def config(self, **http):
        return {"http": {"listen": "127.0.0.1:0", "threads": 2, **http},
                "providers": {"p": provider(self.simulator.base_url, "k")},
                "models": {m: {"targets": [target("p", m)]} for m in ("held", "quick")}}

    def capped(self):
        return [(e["configured"], e["effective"], e["open_files"])
                for e in self.gateway.events("max_connections_capped")]

    def test_the_cap_is_said_and_shown(self):
        wait_until(self.capped, "the log tells")
        self.assertEqual(self.capped(), [(20000, self.MOST, self.FILES)])
        self.assertEqual(self.gateway.status()["connections"]["max"], self.MOST)
        self.gateway.reload(self.config(max_connections=10))
        wait_until(lambda: self.gateway.status()["connections"]["max"] == 10, "what fits is taken as it is")
        self.assertEqual(len(self.capped()), 1)
        self.gateway.reload(self.config(max_connections=5000))
        wait_until(lambda: self.gateway.status()["connections"]["max"] == self.MOST, "the cap holds after a reload")
        wait_until(lambda: len(self.capped()) == 2, "and the log tells again")
        self.assertEqual(self.capped()[1:], [(5000, self.MOST, self.FILES)])

    def test_streams_up_to_the_cap_and_a_clear_refusal_beyond(self):
        clients = [self.own(RawClient(self.gateway.port)) for _ in range(self.MOST)]
        for client in clients:
            client.send(post_bytes(CHAT, chat_body("held", stream=True)))
        for client in clients:
            client.read_until(b'"content":"echo')
        with RawClient(self.gateway.port) as one_more:
            answer = one_more.read_answer()
            self.assertEqual((answer.status, answer.error["code"]), (503, "overloaded"))
            self.assertTrue(answer.header("retry-after"))
        crowd = [self.own(RawClient(self.gateway.port)) for _ in range(4 * self.FILES)]
        for client in crowd:
            self.assertIn(client.read_all()[:12], (b"", b"HTTP/1.1 503"))
        self.assertTrue(all(c.is_open() for c in clients), "nobody who was there is disturbed")
        for client in clients + crowd:
            client.close()
        wait_until(lambda: request(self.gateway.port, "GET", "/health").status == 200, "there is room again")
        self.assertEqual(self.gateway.chat("quick").status, 200)
        said = " ".join(self.gateway.errors)
        self.assertNotIn("cannot accept", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
