"""Limits of provider keys and of clients, and the queue between them. The simulator's own count is the judge."""

import threading
import time
import unittest

from harness import Gateway, Simulator, TestCase, at_once, provider, target, wait_until


def key(name, **limits):
    return {"id": name, "secret": name, **limits}


class ProviderLimits(TestCase):
    @classmethod
    def prepare(cls):
        # The simulator enforces the same limits: a single request too early would be refused there.
        cls.simulator = cls.shared(Simulator("--tokens", "4", "--key", "paced:rpm=120", "--key", "tokens:tpm=6000"))

    def gateway(self, *keys, **more):
        return self.own(Gateway({"providers": {"p": provider(self.simulator.base_url, *keys)},
                                 "models": {"chat": {"targets": [target("p", "m")]}}, **more}))

    def test_a_burst_beyond_the_limit_is_paced_and_answered(self):
        limit, burst = 120, 40
        gateway = self.gateway(key("paced", rpm=limit))
        begun = time.monotonic()
        answers = at_once([gateway.chat] * burst)
        took = time.monotonic() - begun
        self.assertEqual([a.status for a in answers], [200] * burst)
        seen = self.simulator.key("paced")
        self.assertEqual((seen["requests"], seen["rejected_429"], seen["over_limit"]), (burst, 0, 0))
        # An idle key grants a quarter at once; the others follow at the limit's pace, never faster.
        waited = burst - limit // 4
        self.assertGreater(took, (waited - 1) * 60 / limit * 0.9)
        self.assertEqual(sum(int(a.header("x-millrace-attempts")) for a in answers), burst)
        self.assertEqual(sum(q["depth"] for q in gateway.status()["queues"]), 0)

    def test_tokens_are_reserved_before_they_are_used(self):
        gateway = self.gateway(key("tokens", tpm=6000), queue={"max_wait": "300ms"})
        answers = at_once([lambda: gateway.chat(max_tokens=1000)] * 12)
        served = [a.status for a in answers].count(200)
        self.assertGreaterEqual(served, 1)
        seen = self.simulator.key("tokens")
        self.assertEqual((seen["requests"], seen["rejected_429"]), (served, 0))
        self.assertLessEqual(seen["max_estimated_tokens_in_60s"], 6000)
        for refused in (a for a in answers if a.status != 200):
            self.assertEqual(refused.status, 429)
            self.assertGreaterEqual(int(refused.header("retry-after")), 1)
            self.assertTrue(refused.error["code"])

    def test_concurrency(self):
        self.simulator.control(models={"m": {"latency": "50ms"}})
        gateway = self.gateway(key("narrow", concurrency=2))
        answers = at_once([gateway.chat] * 12)
        self.assertEqual([a.status for a in answers], [200] * 12)
        self.assertEqual(self.simulator.key("narrow")["max_in_flight"], 2)

    def test_requests_per_day(self):
        gateway = self.gateway(key("daily", rpd=4), queue={"max_wait": "100ms"})
        statuses = [gateway.chat().status for _ in range(8)]
        self.assertLessEqual(statuses.count(200), 4)
        self.assertGreaterEqual(statuses.count(200), 1)
        self.assertEqual(statuses.count(200) + statuses.count(429), 8)

    def test_a_full_queue_refuses(self):
        self.simulator.control(models={"m": {"latency": "500ms"}})
        gateway = self.gateway(key("one", concurrency=1), queue={"max_waiting": 2})
        answers = at_once([gateway.chat] * 8)
        self.assertEqual(sorted(a.status for a in answers), [200] * 3 + [503] * 5)
        for refused in (a for a in answers if a.status == 503):
            self.assertIsNotNone(refused.header("retry-after"))

    def test_several_keys_share_the_work(self):
        self.simulator.control(models={"m": {"latency": "50ms"}})
        gateway = self.gateway(key("a", concurrency=2), key("b", concurrency=2))
        at_once([gateway.chat] * 12)
        for name in ("a", "b"):
            self.assertGreater(self.simulator.key(name)["requests"], 0)


class Queue(TestCase):
    def test_priority_goes_before_batch(self):
        simulator = self.own(Simulator("--latency", "60ms", "--tokens", "4"))
        clients = [{"name": "slow", "secret": "slow", "tier": "free"}, {"name": "fast", "secret": "fast", "tier": "pro"},
                   {"name": "root", "secret": "root", "admin": True}]
        gateway = self.own(Gateway({"auth": {"keys": clients},
                                    "providers": {"p": provider(simulator.base_url, key("k", concurrency=1))},
                                    "models": {"chat": {"targets": [target("p", "m")]}}}))
        simulator.control(models={"m": {"latency": "700ms"}})
        order, lock = [], threading.Lock()

        def ask(name):
            status = gateway.chat(key=name).status
            with lock:
                order.append((name, status))

        def waiting(depth):
            return sum(q["depth"] for q in gateway.status("root")["queues"]) == depth

        threads = []

        def start(name, count):
            threads.extend(threading.Thread(target=ask, args=(name,)) for _ in range(count))
            for t in threads[-count:]:
                t.start()

        start("slow", 1)
        wait_until(lambda: simulator.key("k")["in_flight"] == 1, "the key is busy")
        simulator.control(models={"m": {"latency": "60ms"}})
        start("slow", 6)
        wait_until(lambda: waiting(6), "six of batch wait")
        start("fast", 6)
        wait_until(lambda: waiting(12), "twelve wait")
        for t in threads:
            t.join()
        self.assertEqual({status for _, status in order}, {200})
        ranks = {name: [i for i, (n, _) in enumerate(order) if n == name] for name in ("slow", "fast")}
        # Ten to one, not first come first served; batch is not starved either, but it ends last.
        self.assertLess(sum(ranks["fast"]), sum(ranks["slow"][1:]) - 20)
        self.assertEqual(order[-1][0], "slow")


class ClientLimits(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--tokens", "4"))
        clients = [{"name": "requests", "secret": "requests", "rpm": 3}, {"name": "tokens", "secret": "tokens", "tpm": 300},
                   {"name": "free", "secret": "unbounded"}]
        cls.gateway = cls.shared(Gateway({"auth": {"keys": clients},
                                          "providers": {"p": provider(cls.simulator.base_url, "k")},
                                          "models": {"chat": {"targets": [target("p", "m")]}}}))

    def test_requests_per_minute(self):
        for left in (2, 1, 0):
            answer = self.gateway.chat(key="requests")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.header("x-ratelimit-limit-requests"), "3")
            self.assertEqual(answer.header("x-ratelimit-remaining-requests"), str(left))
            self.assertRegex(answer.header("x-ratelimit-reset-requests"), r"^(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?$")
        before = self.simulator.stats()["requests"]
        answer = self.gateway.chat(key="requests")
        self.assertEqual((answer.status, answer.error["code"]), (429, "rate_limit_exceeded"))
        self.assertEqual(answer.header("x-ratelimit-remaining-requests"), "0")
        self.assertTrue(1 <= int(answer.header("retry-after")) <= 60, answer.header("retry-after"))
        self.assertEqual(self.simulator.stats()["requests"], before)
        self.assertEqual(self.gateway.chat(key="unbounded").status, 200, "others are not concerned")

    def test_tokens_per_minute(self):
        # Reserved while in flight: two of these do not fit.
        self.simulator.control(models={"m": {"latency": "500ms"}})
        answers = at_once([lambda: self.gateway.chat(key="tokens", max_tokens=200)] * 2)
        served, refused = sorted(answers, key=lambda a: a.status)
        self.assertEqual((served.status, served.header("x-ratelimit-limit-tokens")), (200, "300"))
        self.assertLess(int(served.header("x-ratelimit-remaining-tokens")), 100)
        self.assertEqual((refused.status, refused.error["code"]), (429, "rate_limit_exceeded"))
        self.assertGreaterEqual(int(refused.header("retry-after")), 1)
        # What was not used is given back: at once, but not before the answer.
        self.simulator.control(models={"m": {"latency": "0ms"}})
        wait_until(lambda: self.gateway.chat(key="tokens", max_tokens=200).status == 200, "the rest is back")

    def test_streams_tell_the_limits_too(self):
        answer = self.gateway.chat(key="tokens", max_tokens=4, stream=True)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("x-ratelimit-limit-tokens"), "300")


if __name__ == "__main__":
    unittest.main(verbosity=2)
