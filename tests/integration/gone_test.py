"""A client that goes away takes its upstream call with it, within 100 ms, whatever is being waited for."""

import statistics
import time
import unittest

from harness import Gateway, RawClient, Simulator, TestCase, chat_body, post_bytes, provider, reset, target, wait_until

TRIES = 7


class Gone(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--model", "slow:latency=60s", "--model", "long:tokens=100000,"
                                             "tokens_per_second=20", "--model", "silent:fault=stall-stream=4"))
        models = {m: {"targets": [target("p", m)]} for m in ("slow", "long", "silent", "quick")}
        models["narrow"] = {"targets": [target("one", "slow")]}
        cls.gateway = cls.shared(Gateway({
            "models": models, "breaker": {"consecutive_failures": 10000, "min_calls": 1000000},
            "providers": {"p": provider(cls.simulator.base_url, "k", timeouts={"first_byte": "90s"}),
                          "one": provider(cls.simulator.base_url, {"id": "n", "secret": "n", "concurrency": 1},
                                          timeouts={"first_byte": "90s"})}}))

    def tearDown(self):
        """Nothing is left behind in the node."""
        def quiet():
            status = self.gateway.status()
            busy = sum(k.get("in_flight", 0) for p in status["providers"] for k in p["keys"])
            waiting = sum(q["depth"] for q in status["queues"])
            return busy == 0 and waiting == 0 and status["connections"]["open"] <= 1
        wait_until(quiet, "no call, no waiting request and no connection is left")
        self.assertEqual(self.gateway.chat("quick").status, 200)

    def cut(self, model, after, leave, **fields):
        """Seconds from the client's leaving to the provider's noticing."""
        before = self.simulator.key("k")["cancelled"]
        with RawClient(self.gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body(model, max_tokens=100000, **fields)))
            after(client)
            left = time.time()
            leave(client)
            wait_until(lambda: self.simulator.key("k")["cancelled"] > before, f"{model} is cancelled")
        seen = self.simulator.key("k")
        self.assertEqual((seen["cancelled"], seen["in_flight"]), (before + 1, 0))
        return seen["last_cancelled_unix_us"] / 1e6 - left

    def assert_prompt(self, model, after, leave, **fields):
        taken = [self.cut(model, after, leave, **fields) for _ in range(TRIES)]
        self.assertLess(statistics.median(taken), 0.1, taken)

    def in_flight(self, _):
        wait_until(lambda: self.simulator.key("k")["in_flight"] == 1, "the provider has the request")

    @staticmethod
    def content(client):
        client.read_until(b'"content":"echo')

    def test_before_the_first_byte(self):
        self.assert_prompt("slow", self.in_flight, RawClient.close)

    def test_before_the_first_byte_of_a_stream(self):
        self.assert_prompt("slow", self.in_flight, RawClient.close, stream=True)

    def test_by_reset(self):
        self.assert_prompt("slow", self.in_flight, lambda c: reset(c.socket))

    def test_within_a_stream(self):
        self.assert_prompt("long", self.content, RawClient.close, stream=True)

    def test_within_a_stream_that_is_silent(self):
        self.assert_prompt("silent", self.content, RawClient.close, stream=True)

    def test_while_waiting_in_the_queue(self):
        with RawClient(self.gateway.port) as holder:
            holder.send(post_bytes("/v1/chat/completions", chat_body("narrow")))
            wait_until(lambda: self.simulator.key("n")["in_flight"] == 1, "the key is busy")

            def depth():
                return sum(q["depth"] for q in self.gateway.status()["queues"])

            clients = [RawClient(self.gateway.port) for _ in range(5)]
            for client in clients:
                client.send(post_bytes("/v1/chat/completions", chat_body("narrow")))
            wait_until(lambda: depth() == 5, "five wait")
            for client in clients:
                client.close()
            wait_until(lambda: depth() == 0, "nobody waits for those who left", 2)
            self.assertEqual(self.simulator.key("n")["requests"], 1, "none of them reached the provider")

    def test_many_at_once(self):
        count = 100
        before = self.simulator.key("k")["cancelled"]
        clients = [RawClient(self.gateway.port) for _ in range(count)]
        for client in clients:
            client.send(post_bytes("/v1/chat/completions", chat_body("slow")))
        wait_until(lambda: self.simulator.key("k")["in_flight"] == count, "all are in flight")
        for client in clients:
            client.close()
        wait_until(lambda: self.simulator.key("k")["cancelled"] == before + count, "all are cancelled")


if __name__ == "__main__":
    unittest.main(verbosity=2)
