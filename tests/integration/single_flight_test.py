"""Identical requests at the same time share one call of the provider, whatever the others do."""

import json
import socket
import threading
import unittest

from harness import (PATIENCE, Gateway, RawClient, RecordingUpstream, TestCase, at_once, bearer, chat_body,
                     post_bytes, provider, reply, request, target, wait_until)

CHAT = "/v1/chat/completions"
WORDS = [f"word{i} " for i in range(40)]
TEXT = "".join(WORDS)
WHOLE = json.dumps({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 40, "total_tokens": 41}})
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(delta, reason=None):
    event = json.dumps({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
    data = f"data: {event}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_BEGIN = STREAM_HEAD + chunk({"role": "assistant"}) + b"".join(chunk({"content": w}) for w in WORDS[:20])
STREAM_END = chunk({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class StreamClient(RawClient):
    """Reads a streamed answer as it comes."""

    def __init__(self, port, body, key=None):
        super().__init__(port)
        lines = [f"{n}: {v}" for n, v in bearer(key).items()]
        self.send(post_bytes(CHAT, body, "Connection: close", *lines))
        self.head = None

    def read_head(self):
        self.head = self.read_until(b"\r\n\r\n").decode("latin-1")
        return self

    def read_word(self, index):
        return self.read_until(WORDS[index].encode())

    def rest(self):
        """Everything that is left, and whether it came to its proper end."""
        body = self.read_all()
        return body, body.endswith(b"0\r\n\r\n")


class SingleFlight(TestCase):
    """A provider that answers when the test lets it.

    A stream's first half comes at once, one word more after `self.nudge`, and the rest after `self.gate`, which whole
    answers wait for, too. `self.gone` tells that the gateway closed a stream.
    """

    def setUp(self):
        self.gate = threading.Event()
        self.nudge = threading.Event()
        self.gone = threading.Event()
        self.answers = []  # of the first calls; the good ones follow
        self.addCleanup(self.gate.set)
        self.upstream = self.own(RecordingUpstream(self.provide))
        clients = [{"name": "a", "secret": "a"}, {"name": "b", "secret": "b"}, {"name": "root", "secret": "root",
                                                                                "admin": True}]
        self.gateway = self.own(Gateway({
            "auth": {"keys": clients}, "providers": {"p": provider(self.upstream.base_url, "k")},
            "retry": {"base": "1ms", "cap": "1ms"}, "models": {"chat": {"targets": [target("p", "m")]}}}))

    def provide(self, recorded, connection):
        if recorded.json().get("stream") and not self.answers:
            connection.sendall(STREAM_BEGIN)
            sent = 20
            connection.settimeout(0.02)
            while not self.gate.is_set():
                if self.nudge.is_set() and sent == 20:
                    connection.sendall(chunk({"content": WORDS[20]}))
                    sent = 21
                try:
                    if not connection.recv(1):
                        self.gone.set()
                        return None
                except socket.timeout:
                    pass
                except OSError:
                    self.gone.set()
                    return None
            connection.settimeout(PATIENCE)
            return b"".join(chunk({"content": w}) for w in WORDS[sent:]) + STREAM_END
        self.gate.wait(PATIENCE)
        return self.answers.pop(0) if self.answers else reply(200, WHOLE)

    def serving(self, count):
        """Waits until so many requests are with the gateway."""
        # The question itself is one of them.
        wait_until(lambda: self.gateway.status("root")["connections"]["serving"] == count + 1, f"{count} are waiting")

    def ask_together(self, count, body, key="a", before=None, others=0):
        """The answers to identical requests of which none is answered before all, and `others`, are there."""
        opener = threading.Thread(target=lambda: (self.serving(count + others), before and before(), self.gate.set()))
        opener.start()
        answers = at_once([lambda: request(self.gateway.port, "POST", CHAT, body, bearer(key))] * count)
        opener.join()
        return answers

    def words(self, answers):
        return sorted(a.header("x-millrace-cache") for a in answers)

    def test_plain_ones(self):
        answers = self.ask_together(8, chat_body())
        self.assertEqual([a.status for a in answers], [200] * 8)
        self.assertEqual({a.content() for a in answers}, {TEXT})
        self.assertEqual(self.upstream.count(), 1)
        self.assertEqual(self.words(answers), ["bypass"] + ["coalesced"] * 7)
        self.assertEqual(len({a.header("x-request-id") for a in answers}), 8)
        for a in answers:
            if a.header("x-millrace-cache") == "coalesced":
                self.assertEqual((a.header("x-millrace-attempts"), float(a.header("x-millrace-cost-usd"))), ("0", 0))
        wait_until(lambda: self.gateway.status("root")["cache"]["calls_in_flight"] == 0, "no call is left")
        self.assertEqual(self.gateway.metric("millrace_cache_requests_total", "root", outcome="coalesced"), 7)

    def test_a_later_one_makes_a_call_of_its_own(self):
        body = chat_body()
        self.gate.set()
        for calls in (1, 2):
            self.assertEqual(request(self.gateway.port, "POST", CHAT, body, bearer("a")).header("x-millrace-cache"), "bypass")
            self.assertEqual(self.upstream.count(), calls)

    def test_only_identical_ones_of_one_tenant(self):
        body, other = chat_body(), chat_body()
        asked = [("a", body, {}), ("b", body, {}), ("a", other, {}), ("a", body, {"Cache-Control": "no-cache"}),
                 ("a", body, {"Cache-Control": "no-store"})]
        opener = threading.Thread(target=lambda: (wait_until(lambda: self.upstream.count() == 5, "five calls"),
                                                  self.gate.set()))
        opener.start()
        answers = at_once([lambda a=a: request(self.gateway.port, "POST", CHAT, a[1], {**bearer(a[0]), **a[2]})
                           for a in asked])
        opener.join()
        self.assertEqual(self.words(answers), ["bypass"] * 5)
        self.assertEqual(self.upstream.count(), 5)

    def test_refusals_are_shared_and_not_kept(self):
        body = chat_body()
        self.answers = [reply(400, '{"error":{"message":"no such thing","type":"invalid_request_error","param":null,'
                                   '"code":"odd"}}')]
        answers = self.ask_together(5, body)
        self.assertEqual([(a.status, a.error["code"]) for a in answers], [(400, "odd")] * 5)
        self.assertEqual(self.upstream.count(), 1)
        self.assertEqual(request(self.gateway.port, "POST", CHAT, body, bearer("a")).status, 200)
        self.assertEqual(self.upstream.count(), 2)

    def test_a_failure_is_retried_once_for_all(self):
        self.answers = [reply(500, '{"error":{"message":"broken","type":"server_error"}}')]
        answers = self.ask_together(5, chat_body())
        self.assertEqual([a.status for a in answers], [200] * 5)
        self.assertEqual(self.upstream.count(), 2)

    def test_streams_and_a_late_joiner(self):
        body = chat_body(stream=True)
        leader = self.own(StreamClient(self.gateway.port, body, "a"))
        leader.read_head().read_word(19)
        late = self.own(StreamClient(self.gateway.port, body, "a"))
        begun = late.read_head().read_word(19)
        for word in WORDS[:20]:
            self.assertIn(word.encode(), begun)
        self.assertIn("x-millrace-cache: coalesced", late.head.lower())
        plain = []
        asked = json.loads(body)
        del asked["stream"]
        asker = threading.Thread(target=lambda: plain.append(
            request(self.gateway.port, "POST", CHAT, json.dumps(asked), bearer("a"))))
        asker.start()
        self.serving(3)
        self.gate.set()
        asker.join()
        endings = [leader.rest(), late.rest()]
        for rest, ended in endings:
            self.assertTrue(ended)
            self.assertIn(b"data: [DONE]", rest)
            for word in WORDS[20:]:
                self.assertEqual(rest.count(word.encode()), 1)
        self.assertEqual((plain[0].content(), plain[0].header("x-millrace-cache")), (TEXT, "coalesced"))
        self.assertEqual(self.upstream.count(), 1)

    def test_many_streams(self):
        body = chat_body(stream=True)
        opener = threading.Thread(target=lambda: (self.serving(30), self.gate.set()))
        opener.start()
        answers = at_once([lambda: request(self.gateway.port, "POST", CHAT, body, bearer("a"))] * 30)
        opener.join()
        self.assertEqual({a.content() for a in answers}, {TEXT})
        self.assertEqual({a.events()[-1] for a in answers}, {b"[DONE]"})
        self.assertEqual(self.words(answers), ["bypass"] + ["coalesced"] * 29)
        self.assertEqual(self.upstream.count(), 1)

    def left(self, count):
        wait_until(lambda: len([r for r in self.gateway.log_records() if r["event"] == "access" and r.get("client_gone")])
                   == count, f"{count} have left")

    def leave(self, client):
        """Closes it; the gateway knows before this returns, though it may have nothing to show for it yet."""
        client.close()
        for _ in range(5):
            self.gateway.status("root")

    def assert_whole_rest(self, client):
        rest, ended = client.rest()
        self.assertTrue(ended, rest)
        self.assertIn(b"data: [DONE]", rest)
        for word in WORDS[21:]:
            self.assertEqual(rest.count(word.encode()), 1)

    def test_the_leader_of_a_stream_may_leave(self):
        for silent in (True, False):
            with self.subTest(silent=silent):
                self.gate.clear()
                self.nudge.clear()
                before = self.upstream.count()
                body = chat_body(stream=True)
                leader = StreamClient(self.gateway.port, body, "a")
                leader.read_head().read_word(19)
                others = [self.own(StreamClient(self.gateway.port, body, "a")) for _ in range(3)]
                for other in others:
                    other.read_head().read_word(19)
                if not silent:
                    self.nudge.set()
                    for client in (leader, *others):
                        client.read_word(20)
                self.leave(leader)
                if not silent:
                    self.serving(3)
                self.gate.set()
                for other in others:
                    self.assert_whole_rest(other)
                self.assertFalse(self.gone.is_set())
                self.assertEqual(self.upstream.count() - before, 1)

    def test_the_leader_of_a_plain_call_may_leave(self):
        body = chat_body()
        leader = RawClient(self.gateway.port)
        leader.send(post_bytes(CHAT, body, "Authorization: Bearer a"))
        wait_until(lambda: self.upstream.count() == 1, "the call is made")
        answers = self.ask_together(5, body, before=lambda: self.leave(leader), others=1)
        self.assertEqual([(a.status, a.header("x-millrace-cache")) for a in answers], [(200, "coalesced")] * 5)
        self.assertEqual(self.upstream.count(), 1)

    def test_the_last_one_takes_the_call_along(self):
        for leader in (0, 2):
            with self.subTest(leader_leaves_as_number=leader):
                self.gone.clear()
                self.gate.clear()
                calls, left = self.upstream.count(), len([r for r in self.gateway.log_records() if r.get("client_gone")])
                body = chat_body(stream=True)
                clients = [StreamClient(self.gateway.port, body, "a").read_head() for _ in range(3)]
                for client in clients:
                    client.read_word(19)
                clients.insert(leader, clients.pop(0))
                for client in clients[:2]:
                    self.leave(client)
                self.assertFalse(self.gone.is_set(), "one is left")
                self.leave(clients[2])
                self.assertTrue(self.gone.wait(PATIENCE), "the provider is let go")
                self.left(left + 3)
                wait_until(lambda: self.gateway.status("root")["cache"]["calls_in_flight"] == 0, "no call is left")
                self.assertEqual(self.upstream.count(), calls + 1)
                self.gate.set()
                answer = request(self.gateway.port, "POST", CHAT, body, bearer("a"))
                self.assertEqual((answer.content(), self.upstream.count()), (TEXT, calls + 2))

    def test_a_slow_reader_holds_up_nobody(self):
        body = chat_body(stream=True)
        slow = self.own(StreamClient(self.gateway.port, body, "a"))
        slow.read_head().read_word(0)
        quick = self.own(StreamClient(self.gateway.port, body, "a"))
        quick.read_head().read_word(19)
        self.gate.set()
        rest, ended = quick.rest()
        self.assertTrue(ended and b"data: [DONE]" in rest)
        rest, ended = slow.rest()
        self.assertTrue(ended and b"data: [DONE]" in rest)


if __name__ == "__main__":
    unittest.main(verbosity=2)
