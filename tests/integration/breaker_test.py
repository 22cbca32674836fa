"""Circuit breakers: a dead target is left alone, and one probe brings it back."""

import time
import unittest

from harness import Gateway, Simulator, TestCase, at_once, provider, request, target, wait_until

MODEL = {"m": {"targets": [target("p", "m")]}}


class Breaker(TestCase):
    def setUp(self):
        self.simulator = self.own(Simulator("--tokens", "4"))

    def gateway(self, models=None, **more):
        config = {"providers": {"p": provider(self.simulator.base_url, "k")}, "models": models or MODEL,
                  "breaker": {"open": "1s"}, "retry": {"attempts": 3, "base": "1ms", "cap": "5ms", "budget": 1}}
        return self.own(Gateway({**config, **more}))

    def arrived(self):
        return self.simulator.key("k")["requests"]

    def test_a_dead_target_is_asked_five_times_at_most(self):
        for fault in ("status=500", "reset", "content-type"):
            self.simulator.control(models={"m": {"faults": [fault]}})
            gateway = self.gateway(breaker={"open": "60s"})
            before = self.arrived()
            statuses = [gateway.chat("m").status for _ in range(12)]
            self.assertLessEqual(self.arrived() - before, 5, fault)
            self.assertEqual(statuses[0], 502)
            self.assertEqual(gateway.breaker("p/m"), "open")
            answer = gateway.chat("m")
            self.assertEqual(answer.status, 503, fault)
            self.assertTrue(1 <= int(answer.header("retry-after")) <= 73)
            self.assertEqual(answer.header("x-millrace-attempts"), "0")
            self.assertTrue(answer.error["code"])

    def test_a_burst_at_a_dead_target_opens_it_too(self):
        self.simulator.control(models={"m": {"faults": ["status=500"], "latency": "20ms"}})
        gateway = self.gateway(breaker={"open": "60s"})
        at_once([lambda: gateway.chat("m")] * 20)
        before = self.arrived()
        self.assertEqual({a.status for a in at_once([lambda: gateway.chat("m")] * 20)}, {503})
        self.assertEqual(self.arrived(), before)

    def test_one_probe_closes_it_again(self):
        self.simulator.control(models={"m": {"faults": ["status=500"]}})
        gateway = self.gateway()
        wait_until(lambda: gateway.chat("m").status == 503, "the breaker opens")
        self.simulator.control(models={"m": {"faults": [], "latency": "300ms"}})
        self.assertEqual(gateway.breaker("p/m"), "open")
        before = self.arrived()
        # 1 s +-20 % after it opened one request goes through, whoever asks then, and no second before it is answered.
        answers = []

        def probed():
            answers.extend(at_once([lambda: gateway.chat("m")] * 8))
            return any(a.status == 200 for a in answers)

        wait_until(probed, "a probe is answered")
        self.assertEqual(self.simulator.key("k")["max_in_flight"], 1)
        self.assertEqual({a.status for a in answers}, {200, 503})
        self.assertEqual([a.status for a in answers].count(200), self.arrived() - before)
        wait_until(lambda: gateway.breaker("p/m") == "closed", "the breaker closes")
        self.assertEqual({a.status for a in at_once([lambda: gateway.chat("m")] * 8)}, {200})

    def test_the_first_request_after_the_interval_is_the_probe(self):
        self.simulator.control(models={"m": {"faults": ["status=500"]}})
        gateway = self.gateway()
        wait_until(lambda: gateway.chat("m").status == 503, "the breaker opens")
        self.simulator.control(models={"m": {"faults": []}})
        wait_until(lambda: gateway.status()["breakers"][0]["retry_in_s"] == 0, "the interval is over")
        self.assertEqual(gateway.chat("m").status, 200)
        wait_until(lambda: gateway.breaker("p/m") == "closed", "the breaker closes")
        names = ("breaker_open", "breaker_closed")
        events = wait_until(lambda: len(gateway.events(*names)) > 1 and gateway.events(*names), "both are logged")
        self.assertEqual(events, [{"level": "warn", "event": "breaker_open", "target": "p/m"},
                                  {"level": "info", "event": "breaker_closed", "target": "p/m"}])

    def test_a_failed_probe_opens_it_for_another_interval(self):
        self.simulator.control(models={"m": {"faults": ["status=500"]}})
        gateway = self.gateway()
        wait_until(lambda: gateway.chat("m").status == 503, "the breaker opens")
        opened, before = time.monotonic(), self.arrived()
        wait_until(lambda: gateway.chat("m").status != 503, "a probe is made")
        wait_until(lambda: gateway.chat("m").status != 503, "another probe is made")
        self.assertEqual(self.arrived() - before, 2)
        self.assertGreaterEqual(time.monotonic() - opened, 1.5, "at least twice 0.8 s, less the first's head start")

    def test_the_fallback_takes_over_without_a_detour(self):
        models = {**MODEL, "good": {"targets": [target("p", "good")]}}
        models["m"] = {**MODEL["m"], "fallbacks": ["good"]}
        self.simulator.control(models={"m": {"faults": ["status=500"]}})
        gateway = self.gateway(models, breaker={"open": "60s"})
        answers = [gateway.chat("m") for _ in range(12)]
        self.assertEqual({a.status for a in answers}, {200})
        self.assertEqual(answers[-1].header("x-millrace-attempts"), "1")
        self.assertLessEqual(self.simulator.stats()["models"]["m"], 5)

    def test_the_requests_own_faults_break_nothing(self):
        self.simulator.control(models={"m": {"faults": ["status=400"]}})
        gateway = self.gateway()
        self.assertEqual({gateway.chat("m").status for _ in range(12)}, {400})
        self.assertEqual(gateway.breaker("p/m"), "closed")

    def test_an_open_breaker_is_seen_in_the_metrics(self):
        self.simulator.control(models={"m": {"faults": ["status=500"]}})
        gateway = self.gateway(breaker={"open": "60s"})
        wait_until(lambda: gateway.chat("m").status == 503, "the breaker opens")
        metrics = request(gateway.port, "GET", "/metrics").body.decode()
        self.assertRegex(metrics, r'(?m)^millrace_breaker_state\{[^}]*model="m"[^}]*\} [12]')


if __name__ == "__main__":
    unittest.main(verbosity=2)
