"""Start, check, reload and drain of a node."""

import itertools
import json
import os
import resource
import signal
import subprocess
import tempfile
import threading
import unittest

from harness import (MILLRACE, PATIENCE, Gateway, Process, RawClient, Simulator, TestCase, chat_body, post_bytes, provider,
                     request, target, wait_until)


def run(*arguments, environment=None, directory=None):
    """A command that ends by itself."""
    env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    return subprocess.run([MILLRACE, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={**env, **(environment or {})}, cwd=directory)


class Commands(TestCase):
    GOOD = {"http": {"listen": "0.0.0.0:0"}, "auth": {"keys": [{"name": "a", "secret": "${env:CLIENT_KEY}"}]},
            "providers": {"p": provider("https://api.example.com/v1", {"id": "k", "secret": "${env:PROVIDER_KEY}"})},
            "models": {"m": {"targets": [target("p", "x")]}}}
    KEYS = {"CLIENT_KEY": "client-canary", "PROVIDER_KEY": "provider-canary"}

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def check(self, config, **environment):
        file = os.path.join(self.directory, "c.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(config if isinstance(config, str) else json.dumps(config, indent=1))
        return run("check", file, environment=environment)

    def test_check_accepts_and_hides_secrets(self):
        done = self.check(self.GOOD, **self.KEYS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("canary", done.stdout)

    def test_check_names_file_line_and_key(self):
        cases = {
            "unknown key": ("http:\n  listen: 127.0.0.1:0\n  lisen: x\n", ":3", "lisen"),
            "missing unit": ("http:\n  idle_timeout: 75\n", ":2", "idle_timeout"),
            "wrong unit": ("http:\n  max_body: 5s\n", ":2", "max_body"),
            "dangling provider": ("providers:\n  p: { base_url: http://a/v1, kind: openai, keys: [ { id: a, secret: b } ] }\n"
                                  "models:\n  m: { targets: [ { provider: q, model: x } ] }\n", ":4", "q"),
            "unset variable": ("auth:\n  keys:\n    - { name: a, secret: '${env:NOT_SET_HERE}' }\n", ":3", "NOT_SET_HERE"),
            "broken YAML": ("http: {\n", "", ""),
        }
        for name, (text, line, word) in cases.items():
            with self.subTest(name):
                done = self.check(text)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("c.yaml" + line, done.stderr)
                self.assertIn(word, done.stderr)
        done = run("check", "/nowhere/at/all.yaml")
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(done.stderr.startswith("/nowhere/at/all.yaml: cannot be read"), done.stderr)

    def test_what_is_no_command_is_named_beside_those_there_are(self):
        for arguments, said in ((("foo",), "There is no command `foo`; the commands are: serve, check, simulate, cache, version\n"),
                                (("--foo",), "There is no option `--foo`; the commands are: serve, "),
                                (("cache", "foo"), "There is no command `foo`; the commands are: warm\n"),
                                ((), "A command is required; the commands are: serve, "),
                                (("check",), "FILE is required\n")):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (106, ""), arguments)
            self.assertTrue(done.stderr.startswith(said), done.stderr)
            self.assertNotIn("document-worker", done.stderr)

    def test_the_version_is_told_either_way(self):
        told = [(d.returncode, d.stdout, d.stderr) for d in (run("version"), run("--version"))]
        self.assertEqual(told[0], told[1])
        self.assertRegex(told[0][1], r"^millrace \d+\.\d+\.\d+\n$")

    def test_an_open_node_stays_on_loopback(self):
        for listen in ("0.0.0.0:0", "[::]:0"):
            config = {k: v for k, v in self.GOOD.items() if k != "auth"} | {"http": {"listen": listen}}
            done = self.check(config, **self.KEYS)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("listen", done.stderr)
            done = run("serve", "--config", os.path.join(self.directory, "c.yaml"), environment=self.KEYS)
            self.assertNotEqual(done.returncode, 0)
            self.assertNotIn("listening", done.stdout)
            self.assertIn("listen", done.stderr)

    def test_wrong_use(self):
        for arguments in (["--config", "/nowhere/at/all.yaml"], ["/nowhere/at/all.yaml"]):
            done = run("serve", *arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("/nowhere/at/all.yaml: cannot be read", done.stderr)
        for option, word in (("--fault", "stall-stream"), ("--latency", "like 50ms"), ("--model", "NAME:key=value"),
                             ("--key", "NAME:key=value")):
            done = run("simulate", "--listen", "127.0.0.1:0", option, "boom")
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, f"{option} 'boom': .*{word}")

    def test_an_address_in_use_is_said(self):
        gateway = self.own(Gateway({}))
        config = {**self.GOOD, "http": {"listen": f"127.0.0.1:{gateway.port}"}}
        self.check(config, **self.KEYS)
        done = run("serve", "--config", os.path.join(self.directory, "c.yaml"), environment=self.KEYS)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(gateway.port), done.stderr)
        self.assertIn("http.listen", done.stderr)
        self.assertNotIn("terminate called", done.stderr)

    def test_a_proxy_that_is_none_is_said_and_nothing_else(self):
        self.check({**self.GOOD, "http": {"listen": "127.0.0.1:0"}}, **self.KEYS)
        done = run("serve", "--config", os.path.join(self.directory, "c.yaml"),
                   environment={**self.KEYS, "HTTPS_PROXY": "::nowhere::"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("HTTPS_PROXY is not a proxy", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_without_configuration_the_simulator_answers_any_model(self):
        try:
            node = self.own(Process("serve", directory=self.directory))
        except AssertionError as e:
            if "in use" in str(e):
                self.skipTest("port 8080, the default, is taken on this machine")
            raise
        self.assertIn("simulator", "".join(wait_until(lambda: node.output[1:], "it says where answers come from")))
        for model in ("gpt-4o-mini", "anything", "a/b"):
            answer = request(node.port, "POST", "/v1/chat/completions", chat_body(model))
            self.assertEqual((answer.status, answer.json()["model"]), (200, model))
        self.assertEqual(request(node.port, "GET", "/v1/models").status, 200)
        self.assertEqual(node.stop(), 0)


class Reload(TestCase):
    def setUp(self):
        self.simulator = self.own(Simulator("--tokens", "4"))

    def config(self, *models):
        return {"providers": {"p": provider(self.simulator.base_url, "k")},
                "models": {m: {"targets": [target("p", m)]} for m in models}}

    def version(self, gateway):
        return gateway.status()["config"]["version"]

    def test_a_good_file_is_applied(self):
        gateway = self.own(Gateway(self.config("old")))
        before = self.version(gateway)
        self.assertEqual([gateway.chat(m).status for m in ("old", "new")], [200, 404])
        gateway.reload(self.config("new"))
        wait_until(lambda: self.version(gateway) > before, "the new version is applied")
        wait_until(lambda: [gateway.chat(m).status for m in ("old", "new")] == [404, 200], "the new models are there")

    def test_a_bad_file_changes_nothing_and_says_why(self):
        gateway = self.own(Gateway(self.config("old")))
        before = self.version(gateway)
        gateway.reload("queue:\n  max_weight: 30s\n")
        said = wait_until(lambda: [r for r in gateway.log_records() if "max_weight" in json.dumps(r)], "it says why")
        self.assertIn("millrace.yaml:2", json.dumps(said[0]))
        self.assertEqual(said[0]["level"], "error")
        self.assertEqual(self.version(gateway), before)
        self.assertEqual(gateway.chat("old").status, 200)

    def refusal(self, gateway):
        """The reason given for a reload that was refused, once there is one."""
        refused = wait_until(lambda: [r for r in gateway.log_records() if r["event"] == "reload_refused"],
                             "the reload is refused")
        return refused[0]["why"]

    def test_what_takes_a_restart_stays_as_it_runs_and_is_named(self):
        gateway = self.own(Gateway({**self.config("old"), "node": {"id": "first"}}))

        def named():
            return [r for r in gateway.log_records() if r["event"] == "needs_restart" and r["setting"] == "node.id"]
        gateway.reload({**self.config("new"), "node": {"id": "second"}})
        wait_until(named, "the setting is named")
        self.assertEqual(gateway.status()["node"], "first")
        self.assertEqual(gateway.chat("new").status, 200)
        gateway.reload({**self.config("old"), "node": {"id": "first"}})
        wait_until(lambda: gateway.chat("old").status == 200, "the file is applied")
        self.assertEqual(len(named()), 1)

    def test_a_node_bound_to_more_than_loopback_is_never_opened(self):
        # Not a loopback address for the configuration, and yet nobody outside can reach it.
        address = "[::ffff:127.0.0.1]:0"
        auth = {"keys": [{"name": "a", "secret": "s", "admin": True}]}
        gateway = self.own(Gateway({**self.config("m"), "http": {"listen": address}, "auth": auth}))
        before = gateway.status("s")["config"]["version"]
        gateway.reload({**self.config("m"), "http": {"listen": "127.0.0.1:0"}})
        self.assertIn("::ffff:127.0.0.1", self.refusal(gateway))
        self.assertEqual(gateway.chat("m").status, 401)
        self.assertEqual(gateway.status("s")["config"]["version"], before)
        gateway.reload({**self.config("m", "new"), "auth": auth})
        wait_until(lambda: gateway.chat("new", "s").status == 200, "with `auth` it is applied")

    def test_a_reload_that_fails_for_want_of_files_changes_nothing(self):
        gateway = self.own(Gateway(self.config("old")))
        before, pid = self.version(gateway), gateway.popen.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(f) for f in os.listdir(f"/proc/{pid}/fd")}
        free = next(n for n in itertools.count() if n not in used)
        # Enough to read the file, and not enough to start the simulator that it wants.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free + 1, limit[1]))
        gateway.reload({})
        self.assertTrue(self.refusal(gateway))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        self.assertEqual(self.version(gateway), before)
        self.assertEqual(gateway.chat("old").status, 200)
        gateway.reload({})
        wait_until(lambda: gateway.chat("anything").status == 200, "with files it is applied")

    def test_requests_in_flight_keep_their_configuration(self):
        self.simulator.control(models={"old": {"latency": "700ms"}})
        gateway = self.own(Gateway(self.config("old")))
        before = self.version(gateway)
        answers = []
        flying = [threading.Thread(target=lambda s=s: answers.append(gateway.chat("old", stream=s))) for s in (False, True)]
        for t in flying:
            t.start()
        wait_until(lambda: self.simulator.stats()["in_flight"] == 2, "two are in flight")
        gateway.reload(self.config("new"))
        wait_until(lambda: self.version(gateway) > before, "the new version is applied")
        self.assertEqual(self.simulator.stats()["in_flight"], 2, "they are still in flight")
        for t in flying:
            t.join()
        self.assertEqual([a.status for a in answers], [200, 200])
        self.assertTrue(all(a.content() for a in answers))

    def test_who_waits_for_a_key_that_is_removed_still_gets_it(self):
        def config(key):
            one = {"id": key, "secret": "k", "concurrency": 1}
            return {**self.config("m"), "providers": {"p": provider(self.simulator.base_url, one)}}
        self.simulator.control(models={"m": {"latency": "500ms"}})
        gateway = self.own(Gateway(config("old")))
        before = self.version(gateway)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.chat("m"))) for _ in range(3)]
        for t in threads:
            t.start()
        wait_until(lambda: sum(q["depth"] for q in gateway.status()["queues"]) == 2, "two wait for the first")
        gateway.reload(config("new"))
        wait_until(lambda: self.version(gateway) > before, "the new version is applied")
        for t in threads:
            t.join()
        self.assertEqual([(a.status, a.header("x-millrace-key")) for a in answers], [(200, "old")] * 3)
        self.assertEqual(gateway.chat("m").header("x-millrace-key"), "new")

    def test_keys_of_clients_change(self):
        def config(secret):
            return {**self.config("m"), "auth": {"keys": [{"name": "a", "secret": secret, "admin": True}]}}

        gateway = self.own(Gateway(config("first")))
        self.assertEqual(gateway.chat("m", "first").status, 200)
        gateway.reload(config("second"))
        wait_until(lambda: gateway.chat("m", "second").status == 200, "the new key is known")
        wait_until(lambda: gateway.chat("m", "first").status == 401, "the old one is not")

    def test_reloads_under_load_lose_nothing(self):
        gateway = self.own(Gateway(self.config("m", "x")))
        stop, statuses = threading.Event(), []

        def load():
            while not stop.is_set():
                statuses.append(gateway.chat("m").status)

        workers = [threading.Thread(target=load) for _ in range(3)]
        for w in workers:
            w.start()
        try:
            for i in range(10):
                before = self.version(gateway)
                gateway.reload(self.config("m", f"x{i}"))
                wait_until(lambda before=before: self.version(gateway) > before, "the new version is applied")
        finally:
            stop.set()
            for w in workers:
                w.join()
        self.assertEqual(set(statuses), {200})


class Drain(TestCase):
    def setUp(self):
        self.simulator = self.own(Simulator("--tokens", "10", "--tokens-per-second", "10"))

    def gateway(self, drain_timeout):
        return self.own(Gateway({"http": {"drain_timeout": drain_timeout},
                                 "providers": {"p": provider(self.simulator.base_url, "k")},
                                 "models": {"m": {"targets": [target("p", "m")]}}}))

    def test_a_stream_in_flight_is_finished(self):
        gateway = self.gateway("30s")
        with RawClient(gateway.port) as client, RawClient(gateway.port) as idle:
            idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(idle.read_answer().status, 200)
            client.send(post_bytes("/v1/chat/completions", chat_body("m", stream=True)))
            client.read_until(b"data: ")
            gateway.signal(signal.SIGTERM)
            self.assertEqual(idle.read_all(), b"", "idle connections are closed")
            try:
                self.assertEqual(request(gateway.port, "GET", "/ready").status, 503)
            except ConnectionError:
                pass
            rest = client.read_all()
            self.assertIn(b"data: [DONE]\n\n", rest)
            self.assertTrue(rest.endswith(b"0\r\n\r\n"))
        self.assertEqual(gateway.popen.wait(PATIENCE), 0)

    def test_the_drain_is_bounded(self):
        self.simulator.control(tokens=100000)
        gateway = self.gateway("300ms")
        with RawClient(gateway.port) as client:
            client.send(post_bytes("/v1/chat/completions", chat_body("m", stream=True, max_tokens=100000)))
            client.read_until(b"data: ")
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.popen.wait(PATIENCE), 0)
            rest = client.read_all()
        self.assertNotIn(b"[DONE]", rest)
        self.assertIn(b'"code":"drain_timeout"', rest, "the client is told inside the stream")
        self.assertTrue(rest.endswith(b"0\r\n\r\n"))
        self.assert_cut(gateway, 200)
        wait_until(lambda: self.simulator.key("k")["cancelled"] == 1, "the provider is let go")

    def test_waiting_requests_do_not_outlive_the_drain(self):
        self.simulator.control(models={"m": {"latency": "60s"}})
        gateway = self.gateway("300ms")
        with RawClient(gateway.port) as client, RawClient(gateway.port) as streamed:
            client.send(post_bytes("/v1/chat/completions", chat_body("m")))
            streamed.send(post_bytes("/v1/chat/completions", chat_body("m", stream=True)))
            wait_until(lambda: self.simulator.key("k")["in_flight"] == 2, "the provider has the requests")
            self.assertEqual(gateway.stop(), 0)
            for c in (client, streamed):
                told = c.read_answer()
                self.assertEqual((told.status, told.json()["error"]["code"]), (503, "drain_timeout"))
                self.assertEqual(told.header("retry-after"), "1")
                self.assertIsNone(told.header("x-should-retry"), "another node may answer")
                self.assertEqual(c.read_all(), b"")
        self.assert_cut(gateway, 503)

    def test_who_signals_twice_does_not_wait(self):
        self.simulator.control(models={"m": {"latency": "10m"}})
        for second in (signal.SIGTERM, signal.SIGINT):
            gateway = self.gateway("10m")
            before = self.simulator.key("k")["in_flight"]
            with RawClient(gateway.port) as client:
                client.send(post_bytes("/v1/chat/completions", chat_body("m")))
                wait_until(lambda n=before: self.simulator.key("k")["in_flight"] > n, "the provider has the request")
                gateway.signal(signal.SIGTERM)
                wait_until(lambda g=gateway: g.events("draining"), "the node drains")
                gateway.signal(signal.SIGHUP)
                gateway.signal(second)
                told = client.read_answer()
                self.assertEqual((told.status, told.json()["error"]["code"]), (503, "drain_timeout"))
            self.assertEqual(gateway.popen.wait(PATIENCE), 0)
            self.assert_cut(gateway, 503)
            wait_until(lambda g=gateway: g.events("stopped"), "the end is logged")
            self.assertEqual([e["signal"] for e in gateway.events("drain_cut_short")], [second])

    def test_half_a_request_does_not_hold_the_drain(self):
        gateway = self.gateway("10m")
        with RawClient(gateway.port) as client:
            whole = post_bytes("/v1/chat/completions", chat_body("m"))
            client.send(whole[:-2])
            wait_until(lambda: gateway.status()["connections"]["open"] == 2, "the node has its connection")
            gateway.signal(signal.SIGTERM)
            told = client.read_answer()
            self.assertEqual((told.status, told.json()["error"]["code"]), (503, "drain_timeout"))
        self.assertEqual(gateway.popen.wait(PATIENCE), 0)
        self.assert_cut(gateway, 503)

    def assert_cut(self, gateway, status):
        wait_until(lambda: gateway.events("access"), "the request is logged")
        line = gateway.events("access")[-1]
        self.assertEqual((line["status"], line["error"], line["client_gone"]), (status, "drain_timeout", False))

    def test_an_idle_node_stops_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            gateway = self.gateway("30s")
            gateway.chat("m")
            gateway.signal(number)
            self.assertEqual(gateway.popen.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
