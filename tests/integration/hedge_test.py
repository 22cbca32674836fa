"""A second call beside a silent one: whose answer is given, and what becomes of the other call."""

import json
import threading
import unittest

from harness import (PATIENCE, Gateway, RawClient, RecordingUpstream, TestCase, chat_body, chunked, post_bytes, provider, reply,
                     target, wait_until)

CALM = {"breaker": {"consecutive_failures": 10000, "min_calls": 1000000}, "retry": {"attempts": 1}}


def completion(text):
    return json.dumps({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})


def chunk(**choice):
    return ("data: " + json.dumps({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                                   "choices": [{"index": 0, "finish_reason": None, **choice}]}) + "\n\n").encode()


class Provider(RecordingUpstream):
    """Answers with its name; while `silent`, only when told to, and counts those who gave up."""

    def __init__(self, name):
        self.name = name
        self.silent = False
        self.speak = threading.Event()
        self.left = 0
        super().__init__(self.reply)

    def reply(self, recorded, connection):
        if self.silent:
            connection.settimeout(0.01)
            while not self.speak.is_set():
                try:
                    if not connection.recv(1):
                        self.left += 1
                        return None
                except TimeoutError:
                    continue
                except ConnectionResetError:
                    self.left += 1
                    return None
            connection.settimeout(None)
        if recorded.json().get("stream"):
            return chunked([chunk(delta={"role": "assistant", "content": self.name}),
                            chunk(delta={}, finish_reason="stop"), b"data: [DONE]\n\n"])
        return reply(200, completion(self.name))


class Hedge(TestCase):
    def setUp(self):
        self.cheap = self.own(Provider("cheap"))
        self.dear = self.own(Provider("dear"))
        self.addCleanup(self.cheap.speak.set)
        self.addCleanup(self.dear.speak.set)

    def node(self, hedge, budget=1):
        targets = [target("cheap", "m", input_usd=1, output_usd=1), target("dear", "m", input_usd=2, output_usd=2)]
        return self.own(Gateway({
            **CALM, "hedge": {"budget": budget},
            "providers": {"cheap": provider(self.cheap.base_url, "c"), "dear": provider(self.dear.base_url, "d")},
            "models": {"chat": {"targets": targets, "hedge": hedge}}}))

    def told(self, answer):
        return tuple(answer.header(f"x-millrace-{n}") for n in ("hedged", "provider", "attempts"))

    def test_the_second_one_wins_and_the_first_is_cancelled(self):
        gateway = self.node({"after": "20ms"})
        self.cheap.silent = True
        for rounds, stream in enumerate((False, True), 1):
            answer = gateway.chat(stream=stream)
            self.assertEqual((answer.status, answer.content()), (200, "dear"))
            self.assertEqual(self.told(answer), ("won", "dear", "2"))
            wait_until(lambda n=rounds: self.cheap.left == n, "the loser's connection is closed")
        self.assertEqual(gateway.metric("millrace_hedges_total", model="chat", outcome="won"), 2)
        self.assertEqual(gateway.metric("millrace_attempts_total", provider="cheap", outcome="cancelled"), 2)
        wait_until(lambda: sum(b["in_flight"] for b in gateway.status()["breakers"]) == 0, "no permit is kept")
        self.assertEqual(gateway.breaker("cheap/m"), "closed", "being slow is no failure")

    def test_the_first_one_may_win_after_all(self):
        gateway = self.node({"after": "20ms"})
        self.cheap.silent = self.dear.silent = True
        answers = []
        asking = threading.Thread(target=lambda: answers.append(gateway.chat()))
        asking.start()
        wait_until(lambda: self.dear.count() == 1, "the second call")
        self.cheap.speak.set()
        asking.join(PATIENCE)
        self.assertEqual(answers[0].content(), "cheap")
        self.assertEqual(self.told(answers[0]), ("lost", "cheap", "2"))
        wait_until(lambda: self.dear.left == 1, "the loser's connection is closed")
        self.assertEqual(gateway.metric("millrace_hedges_total", model="chat", outcome="lost"), 1)

    def test_a_client_that_leaves_ends_both(self):
        gateway = self.node({"after": "20ms"})
        self.cheap.silent = self.dear.silent = True
        with RawClient(gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body()))
            wait_until(lambda: self.dear.count() == 1, "the second call")
        wait_until(lambda: (self.cheap.left, self.dear.left) == (1, 1), "both connections are closed")

    def test_identical_requests_share_both_calls(self):
        gateway = self.node({"after": "20ms"})
        self.cheap.silent = self.dear.silent = True
        answers = []
        asking = [threading.Thread(target=lambda: answers.append(gateway.chat(seed=10**9))) for _ in range(4)]
        for thread in asking:
            thread.start()
        wait_until(lambda: self.dear.count() == 1, "the second call")
        self.dear.speak.set()
        for thread in asking:
            thread.join(PATIENCE)
        self.assertEqual([a.content() for a in answers], ["dear"] * 4)
        self.assertEqual((self.cheap.count(), self.dear.count()), (1, 1))

    def test_the_budget_bounds_them_and_off_is_off(self):
        for hedge, budget in (({"after": "1ms"}, 0), (False, 1)):
            gateway = self.node(hedge, budget)
            self.cheap.silent = True
            self.cheap.speak.clear()
            answers = []
            asking = threading.Thread(target=lambda g=gateway, a=answers: a.append(g.chat()))
            before = self.cheap.count()
            asking.start()
            wait_until(lambda n=before: self.cheap.count() > n, "the call")
            self.cheap.speak.set()
            asking.join(PATIENCE)
            self.assertEqual(self.told(answers[0]), (None, "cheap", "1"))
        self.assertEqual(self.dear.count(), 0)

    def test_the_targets_own_p95_is_learned(self):
        gateway = self.node(True)
        for _ in range(300):  # permits that were granted ahead know less; the slowest of these may be hedged already
            self.assertEqual(gateway.chat().status, 200)
        self.cheap.silent = True
        answer = gateway.chat()
        self.assertEqual((answer.content(), self.told(answer)), ("dear", ("won", "dear", "2")))


if __name__ == "__main__":
    unittest.main()
