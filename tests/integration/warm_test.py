"""`millrace cache warm`: asks a node the questions of a file, behind everybody else."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from harness import (MILLRACE, PATIENCE, Gateway, RecordingUpstream, Simulator, TestCase, bearer, provider, reply, request,
                     target, wait_until)

CHAT = "/v1/chat/completions"


def question(text, **fields):
    return {"model": "chat", "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def summary(**counts):
    names = ("hit", "miss", "coalesced", "bypass", "failed", "unreadable")
    return ", ".join(f"{n} {counts.get(n, 0)}" for n in names)


class Warm(TestCase):
    @classmethod
    def prepare(cls):
        cls.simulator = cls.shared(Simulator("--tokens", "8"))
        clients = [{"name": "acme", "secret": "acme-key"}, {"name": "root", "secret": "root-key", "admin": True}]
        cls.gateway = cls.shared(Gateway({
            "auth": {"keys": clients}, "providers": {"p": provider(cls.simulator.base_url, "k")},
            "models": {"chat": {"targets": [target("p", "m")]}}}))

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.addCleanup(directory.cleanup)
        self.file = os.path.join(directory.name, "questions.jsonl")

    def start(self, lines, *arguments, port=None, key="acme-key", variable="MILLRACE_KEY"):
        with open(self.file, "w", encoding="utf-8") as file:
            for line in lines:
                file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        environment = {k: v for k, v in os.environ.items() if k != "MILLRACE_KEY"}
        if key:
            environment[variable] = key
        return subprocess.Popen([MILLRACE, "cache", "warm", self.file, "--url",
                                 f"http://127.0.0.1:{port or self.gateway.port}", *arguments], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def finish(self, started):
        """Exit code, and what it said; never its key."""
        try:
            out, err = started.communicate(timeout=3 * PATIENCE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()
            raise
        self.assertNotRegex(out + err, "(acme|wrong)-key")
        return started.returncode, out, err

    def warm(self, *arguments, **named):
        return self.finish(self.start(*arguments, **named))

    def word(self, body, path=CHAT):
        answer = request(self.gateway.port, "POST", path, json.dumps(body), bearer("acme-key"))
        self.assertEqual(answer.status, 200)
        return answer.header("x-millrace-cache")

    def test_what_was_warmed_is_a_hit(self):
        questions = [question(f"warm {i}", stream=i % 2 == 0) for i in range(40)]
        embedding = {"model": "chat", "input": "warm"}
        lines = [*questions, "", {"route": "/v1/embeddings", "body": embedding},
                 '{"body": {"seed": 7.0, "temperature": 0.0, "model": "chat", "messages": '
                 '[{"role": "user", "content": "warm"}]}, "route": "/v1/chat/completions"}  ']
        self.assertEqual(self.warm(lines), (0, summary(miss=42) + "\n", ""))
        for body in questions:
            self.assertEqual(self.word({**body, "stream": False}), "hit")
        self.assertEqual(self.word(embedding, "/v1/embeddings"), "hit")
        self.assertEqual(self.word(question("warm", seed=7)), "hit")
        self.assertEqual(self.warm(lines, "--concurrency", "64"), (0, summary(hit=42) + "\n", ""))

    def test_what_cannot_be_kept_is_told(self):
        chance = question("by chance")
        del chance["temperature"]
        code, out, err = self.warm([chance, question("not by chance")])
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.startswith(summary(miss=1, bypass=1) + "\n"), out)
        self.assertIn("temperature", out)

    def test_bad_lines_are_named_and_the_others_asked(self):
        long = json.dumps(question("x" * (32 << 20)))
        code, out, err = self.warm([question("good"), "not JSON", '{"model": ', "[1]", {"route": "/v1/files", "body": {}},
                                    {"route": "/v1/embeddings", "body": []}, long, question("good too"),
                                    question("unknown", model="nobody's")])
        self.assertEqual((code, out), (1, summary(miss=2, failed=1, unreadable=6) + "\n"))
        said = dict(line.split(": ", 1) for line in err.splitlines())
        self.assertEqual(sorted(said), [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 9)])
        self.assertIn("one request body per line", said["line 2"])
        self.assertIn("/v1/embeddings", said["line 5"])
        self.assertIn("32 MiB", said["line 7"])
        self.assertIn("404 The model `nobody's` is not configured", said["line 9"])
        for text in ("good", "good too"):
            self.assertEqual(self.word(question(text)), "hit")

    def test_many_bad_lines_do_not_flood(self):
        code, out, err = self.warm(["bad"] * 500)
        self.assertEqual((code, out), (1, summary(unreadable=500) + "\n"))
        self.assertEqual(len(err.splitlines()), 21)
        self.assertIn("480 more", err.splitlines()[-1])

    def test_no_node(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        code, out, err = self.warm([question("a")] * 1000, port=port)
        self.assertEqual((code, out), (1, summary() + "\n"))
        self.assertIn(f"no node can be reached at http://127.0.0.1:{port}", err)
        self.assertIn("millrace serve", err)
        self.assertEqual(len(err.splitlines()), 1)

    def test_the_key_comes_from_the_variable_that_is_named(self):
        self.assertEqual(self.warm([question("named")], "--key-env", "OTHER", variable="OTHER")[0], 0)
        for arguments, named, said in (((), {"key": "wrong-key"}, "--key-env"), ((), {"key": None}, "401"),
                                       (("--key-env", "acme-key"), {}, "that variable is not set"),
                                       ((), {"key": "acme-key\r\nx-evil: 1"}, "line breaks")):
            code, _, err = self.warm([question("named")] * 100, *arguments, **named)
            self.assertEqual(code, 1)
            self.assertIn(said, err)
            self.assertEqual(len(err.splitlines()), 1)

    def test_what_cannot_be_used(self):
        for arguments in (("--concurrency", "0"), ("--concurrency", "65"), ("--url", "127.0.0.1:1"),
                          ("--url", "http://127.0.0.1:1/v1"), ("--key", "x")):
            code, _, err = self.warm([question("a")], *arguments)
            self.assertNotEqual(code, 0, arguments)
            self.assertTrue(err)
        started = self.start([])
        self.assertEqual(self.finish(started), (0, summary() + "\n", ""))
        for file in (self.file + ".missing", os.path.dirname(self.file)):
            done = subprocess.run([MILLRACE, "cache", "warm", file], capture_output=True, text=True, timeout=PATIENCE,
                                  check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(file, done.stderr)

    def test_retry_after_is_respected(self):
        """A node that is busy at first, as a provider of raw bytes plays it."""
        said = [reply(429, "{}", "Retry-After: 1"), reply(503, "{}", "Retry-After: 1"),
                reply(200, "{}", "x-millrace-cache: miss")]
        node = self.own(RecordingUpstream(lambda recorded, connection: said.pop(0)))
        begun = time.monotonic()
        self.assertEqual(self.warm([question("a")], port=node.port), (0, summary(miss=1) + "\n", ""))
        self.assertGreaterEqual(time.monotonic() - begun, 2)
        self.assertEqual([r.body for r in node.requests], [json.dumps(question("a")).encode()] * 3)
        self.assertEqual({r.header("x-millrace-priority") for r in node.requests}, {"batch"})
        self.assertEqual({r.header("authorization") for r in node.requests}, {"Bearer acme-key"})
        stubborn = self.own(RecordingUpstream(lambda recorded, connection: reply(429, "{}", "Retry-After: 1")))
        code, out, _ = self.warm([question("a")], port=stubborn.port)
        self.assertEqual((code, out, stubborn.count()), (1, summary(failed=1) + "\n", 5))
        later = self.own(RecordingUpstream(lambda recorded, connection: reply(
            429, '{"error":{"message":"come tomorrow"}}', "Retry-After: 90000")))
        code, _, err = self.warm([question("a")], port=later.port)
        self.assertEqual((code, err, later.count()), (1, "line 1: 429 come tomorrow\n", 1))

    def test_cut_answers_are_failures(self):
        for answer in (reply(200, "whole", "x-millrace-cache: miss")[:-1], reply(200, "{}"), reply(302, "")):
            def cut(recorded, connection, answer=answer):
                connection.sendall(answer)
            node = self.own(RecordingUpstream(cut))
            code, out, err = self.warm([question("a")], port=node.port)
            self.assertEqual((code, out), (1, summary(failed=1) + "\n"))
            self.assertTrue(err.startswith("line 1: "), err)

    def test_it_stands_behind_everybody_else(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        order = []

        def answer(recorded, _):
            order.append(recorded.json()["messages"][0]["content"])
            gate.wait(PATIENCE)
            return reply(200, '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
                              '"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}')
        upstream = self.own(RecordingUpstream(answer))
        key = {"id": "k", "secret": "k", "concurrency": 1}
        gateway = self.own(Gateway({"providers": {"p": provider(upstream.base_url, key)},
                                    "models": {"chat": {"targets": [target("p", "m")]}}}))

        def depth(name):
            return next(q["depth"] for q in gateway.status()["queues"] if q["queue"] == name)
        started = self.start([question(f"warm {i}") for i in range(6)], "--concurrency", "6", port=gateway.port, key=None)
        wait_until(lambda: len(order) == 1 and depth("batch") == 5, "one has the key and five wait in batch")
        askers = [threading.Thread(target=gateway.chat, kwargs={"text": f"user {i}"}) for i in range(5)]
        for asker in askers:
            asker.start()
        wait_until(lambda: depth("standard") == 5, "five users wait")
        gate.set()
        self.assertEqual(self.finish(started), (0, summary(miss=6) + "\n", ""))
        for asker in askers:
            asker.join()
        users = [i for i, text in enumerate(order) if text.startswith("user")]
        warmed = [i for i, text in enumerate(order) if text.startswith("warm")][1:]
        # Five to one, so batch moves now and then, too.
        self.assertLess(sum(users), sum(warmed) - 10, order)

    def test_a_wish_only_lowers(self):
        answer = self.gateway.chat(key="acme-key", headers={"x-millrace-priority": "urgent"})
        self.assertEqual((answer.status, answer.error["code"]), (400, "invalid_priority"))
        for word in ("batch", "standard", "priority"):
            self.assertEqual(self.gateway.chat(key="acme-key", headers={"x-millrace-priority": word}).status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
