"""What a node remembers of its provider keys over a restart. The simulator's own count is the judge."""

import json
import os
import stat
import tempfile
import threading
import unittest

from harness import (Gateway, RecordingUpstream, Simulator, TestCase, at_once, provider, reply, request, target,
                     wait_until)


class Restart(TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.data = os.path.join(directory.name, "data")
        self.simulator = self.own(Simulator("--tokens", "4"))

    def config(self, secret="k", node="n1", base_url=None, **limits):
        return {"node": {"id": node, "data_dir": self.data}, "queue": {"max_wait": "100ms"},
                "providers": {"p": provider(base_url or self.simulator.base_url, {"id": "k", "secret": secret, **limits})},
                "models": {"chat": {"targets": [target("p", "m")]}}}

    def gateway(self, *arguments, **limits):
        return self.own(Gateway(self.config(*arguments, **limits)))

    def assert_ready(self, gateway, status, word):
        answer = request(gateway.port, "GET", "/ready")
        self.assertEqual((answer.status, answer.json()), (status, {"status": word}))
        self.assertEqual(gateway.status()["ready"], word == "ready")
        self.assertEqual(gateway.metric("millrace_ready"), word == "ready")

    def file(self):
        with open(os.path.join(self.data, "limits.json"), encoding="utf-8") as file:
            return json.load(file)

    def served(self, gateway, count=12):
        return [a.status for a in at_once([gateway.chat] * count)].count(200)

    def used(self, window="rpm"):
        """What the file says of all keys together; a node that listens has written what it starts with."""
        return sum(sum(key[window]["uses"][1::2]) for key in self.file()["keys"] if window in key)

    @staticmethod
    def warnings(gateway):
        return [r for r in gateway.log_records() if r["level"] in ("warn", "error")]

    def test_quick_restarts_under_load_stay_within_the_minute(self):
        stop, served = threading.Event(), []
        current = [self.gateway(rpm=40)]

        def load():
            while not stop.is_set():
                try:
                    served.append(current[0].chat().status == 200)
                except OSError:
                    stop.wait(0.01)

        workers = [threading.Thread(target=load) for _ in range(4)]
        for w in workers:
            w.start()
        try:
            for i in range(6):
                before = served.count(True)
                if i == 0:
                    wait_until(lambda before=before: served.count(True) > before, "a request is served")
                self.assertEqual(current[0].stop(), 0)
                current[0] = self.gateway(rpm=40)
                self.served(current[0])
        finally:
            stop.set()
            for w in workers:
                w.join()
        seen = self.simulator.key("k")
        self.assertLessEqual(seen["max_requests_in_60s"], 40)
        self.assertGreaterEqual(seen["requests"], 10)
        self.assertEqual(self.warnings(current[0]), [])

    def test_a_day_is_remembered(self):
        total = 0
        for _ in range(4):
            gateway = self.gateway(rpd=10)
            total += self.served(gateway)
            self.assertEqual(gateway.stop(), 0)
            self.assertEqual(self.warnings(gateway), [])
        self.assertLessEqual(total, 10)
        self.assertEqual(self.simulator.key("k")["requests"], total)
        self.assertGreaterEqual(total, 5)

    def test_killed_nodes_stay_within_the_minute(self):
        for _ in range(6):
            gateway = self.gateway(rpm=40, rpd=1000)
            self.served(gateway)
            gateway.kill()
        seen = self.simulator.key("k")
        self.assertLessEqual(seen["max_requests_in_60s"], 40)
        self.gateway(rpm=40, rpd=1000)
        self.assertGreaterEqual(self.used("rpd"), seen["requests"])
        self.assertLess(self.used("rpd"), 150, "a crash does not cost the day")

    def test_a_killed_node_had_saved_what_is_a_second_old(self):
        gateway = self.gateway(rpm=400)
        served = self.served(gateway)
        wait_until(lambda: self.used() >= served, "it is saved")
        self.assertFalse(self.file()["clean"])
        gateway.kill()
        self.gateway(rpm=400)
        self.assertGreaterEqual(self.used(), served)

    def test_another_secret_place_or_node_is_another_key(self):
        gateway = self.gateway(rpm=40)
        served = self.served(gateway)
        self.assertEqual(gateway.stop(), 0)
        other = self.own(Simulator("--tokens", "4"))
        for config in (self.config("other", rpm=40), self.config(node="n2", rpm=40),
                       self.config(base_url=other.base_url, rpm=40)):
            before = self.used()
            gateway = self.own(Gateway(config))
            self.assertEqual(self.used(), before, "nothing is carried over")
            # An idle key gives a quarter at once; one that had used as much would not.
            self.assertGreaterEqual(self.served(gateway), 10)
            self.assertEqual(gateway.stop(), 0)
        self.assertGreaterEqual(self.used(), 4 * served, "and nothing is lost")
        self.assertLess(self.served(self.gateway(rpm=40)), 10)

    def test_the_file_holds_no_secret_and_is_private(self):
        gateway = self.gateway("sk-canary-of-the-file", rpm=40)
        self.served(gateway)
        self.assertEqual(gateway.stop(), 0)
        self.assertTrue(self.file()["clean"])
        self.assertEqual([k["key"] for k in self.file()["keys"]], ["key/p/k"])
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.data, "cache")).st_mode), 0o700)
        for directory, _, names in os.walk(self.data):
            for name in names:
                path = os.path.join(directory, name)
                if directory == self.data:
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, name)
                with open(path, "rb") as file:
                    self.assertNotIn(b"canary", file.read())

    def test_a_file_that_cannot_be_read_is_said_and_does_no_harm(self):
        os.mkdir(self.data)
        for text in ("", "{", '{"version":99}', "\0" * 1000, "[" * 100000):
            with open(os.path.join(self.data, "limits.json"), "w", encoding="utf-8") as file:
                file.write(text)
            gateway = self.gateway(rpm=40)
            self.assertEqual(gateway.chat().status, 200)
            self.assertEqual(gateway.stop(), 0)
            self.assertEqual([r["event"] for r in self.warnings(gateway)], ["limits_forgotten"])
            self.assertTrue(self.file()["clean"])

    def test_a_directory_that_cannot_be_had_is_said_and_does_no_harm(self):
        with open(self.data, "w", encoding="utf-8"):
            pass
        gateway = self.gateway(rpm=40)
        self.assertEqual(gateway.chat().status, 200)
        self.assert_ready(gateway, 503, "storage_not_open")
        self.assertEqual(gateway.stop(), 0)
        self.assertEqual([r["event"] for r in self.warnings(gateway)],
                         ["usage_not_kept", "limits_not_kept", "cache_disk_unavailable"])

    def test_one_node_at_a_time_has_the_directory(self):
        first, second = self.gateway(rpm=40), self.gateway(rpm=40)
        served = self.served(first)
        self.assertEqual(second.chat().status, 200)
        self.assert_ready(first, 200, "ready")
        self.assert_ready(second, 503, "storage_not_open")
        self.assertEqual([first.stop(), second.stop()], [0, 0])
        self.assertEqual(self.warnings(first), [])
        self.assertEqual([r["event"] for r in self.warnings(second)],
                         ["usage_not_kept", "limits_not_kept", "cache_disk_unavailable"])
        self.assertGreaterEqual(self.used(), served)

    def test_a_cooldown_is_remembered(self):
        upstream = RecordingUpstream(lambda *_: reply(429, b"{}", "Retry-After: 600"))
        self.addCleanup(upstream.close)
        for limits in ({"rpm": 400}, {}):
            secret = f"s{len(limits)}"
            gateway = self.gateway(secret, "n1", upstream.base_url, **limits)
            self.assertEqual(gateway.chat().status, 429)
            self.assertEqual(gateway.provider_key("k")["state"], "cooldown")
            self.assertEqual(gateway.stop(), 0)
            before = upstream.count()
            gateway = self.gateway(secret, "n1", upstream.base_url, **limits)
            answer = gateway.chat()
            self.assertEqual((answer.status, answer.error["code"]), (429, "no_capacity"))
            self.assertGreater(int(answer.header("retry-after")), 500)
            self.assertEqual(upstream.count(), before, "it is not called")
            self.assertGreater(gateway.provider_key("k")["cooldowns"][0]["remaining_s"], 500)
            gateway.kill()
            gateway = self.gateway(secret, "n1", upstream.base_url, **limits)
            self.assertEqual(gateway.chat().status, 429)
            self.assertEqual(upstream.count(), before)
            self.assertEqual(gateway.stop(), 0)
            self.assertEqual(self.warnings(gateway), [])

    def test_without_limits_nothing_is_written(self):
        gateway = self.gateway(concurrency=5)
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(gateway.stop(), 0)
        self.assertEqual(sorted(os.listdir(self.data)), ["cache", "usage"])

    def test_a_start_that_fails_costs_nothing(self):
        gateway = self.gateway(rpm=40)
        self.assertEqual(gateway.stop(), 0)
        taken = self.config(rpm=40)
        taken["http"] = {"listen": f"127.0.0.1:{self.simulator.port}"}
        for _ in range(3):
            failed = Gateway.__new__(Gateway)
            with self.assertRaises(AssertionError):
                failed.__init__(taken)
            failed.directory.cleanup()
        self.gateway(rpm=40)
        self.assertEqual(self.used(), 0)

    def test_a_key_that_a_reload_brings_back_is_remembered(self):
        gateway = self.gateway(rpm=40)
        served = self.served(gateway)
        self.assertEqual(gateway.stop(), 0)
        without = self.config(rpm=40)
        without["providers"]["p"]["keys"] = [{"id": "q", "secret": "q", "rpm": 5}]
        gateway = self.own(Gateway(without))
        self.assertGreaterEqual(self.used(), served)
        gateway.reload({**self.config(rpm=40), "http": {"listen": "127.0.0.1:0", "threads": 2}})
        wait_until(lambda: gateway.status()["config"]["version"] > 1, "the new version is applied")
        self.assertLess(self.served(gateway), 10, "an idle key would give a quarter at once")
        self.assertGreaterEqual(served, 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
