"""Providers that speak OpenAI's dialect in their own way: Azure's paths, keys and limits; answers without usage; heads without
end. And the proxy before them."""

import json
import threading
import unittest

from harness import PATIENCE, Gateway, RecordingUpstream, Simulator, TestCase, provider, reply, request, target, wait_until

AZURE = {"api_version": "2024-10-21"}
TEXT = "What is a mill race?"
QUESTION = [{"role": "user", "content": TEXT}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}


class Azure(TestCase):
    """The simulator answers under Azure's paths only with an api-version and a key in `api-key`."""

    def prepare_gateway(self, *simulator):
        self.azure = self.own(Simulator("--require-key", "azure-1", *simulator))
        base = f"http://127.0.0.1:{self.azure.port}/openai"
        return self.own(Gateway({
            "providers": {"az": provider(base, "azure-1", **AZURE, responses=True),
                          "deployed": provider(f"{base}/deployments/ours", "azure-1", **AZURE),
                          "locked": provider(base, "wrong", **AZURE)},
            "models": {"gpt": {"targets": [target("az", "gpt-4o", input_usd=1, output_usd=2)]},
                       "ours": {"targets": [target("deployed", "gpt-4o")]},
                       "closed": {"targets": [target("locked", "gpt-4o")]},
                       "gone": {"targets": [target("az", "fault-404")]},
                       "embed": {"targets": [target("az", "text-embedding-3-small")]}},
            "retry": {"attempts": 1}}))

    def test_answers_streams_and_embeddings(self):
        gateway = self.prepare_gateway()
        answer = gateway.chat("gpt", messages=QUESTION)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn(TEXT, answer.content())
        self.assertEqual(answer.json()["model"], "gpt")
        stream = gateway.chat("gpt", stream=True, stream_options={"include_usage": True}, messages=QUESTION)
        self.assertIn(TEXT, stream.content())
        self.assertEqual(stream.events()[-1], b"[DONE]")
        self.assertGreater(json.loads(stream.events()[-2])["usage"]["completion_tokens"], 0)
        called = gateway.chat("gpt", tools=[TOOL], tool_choice="required")
        self.assertEqual(called.json()["choices"][0]["finish_reason"], "tool_calls")
        embedded = request(gateway.port, "POST", "/v1/embeddings", json.dumps({"model": "embed", "input": "a mill"}))
        self.assertEqual(embedded.status, 200, embedded.body)
        self.assertEqual(self.azure.stats()["models"], {"gpt-4o": 3, "text-embedding-3-small": 1})

    def test_responses_have_no_deployment_in_their_path(self):
        gateway = self.prepare_gateway()
        body = {"model": "gpt", "input": TEXT, "truncation": "auto"}
        answer = request(gateway.port, "POST", "/v1/responses", json.dumps(body))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual([answer.json()["truncation"], answer.json()["model"]], ["auto", "gpt"])
        stream = request(gateway.port, "POST", "/v1/responses", json.dumps({**body, "stream": True}))
        self.assertEqual(json.loads(stream.events()[-1])["type"], "response.completed")

    def test_a_deployment_in_the_base_url(self):
        gateway = self.prepare_gateway()
        self.assertEqual(gateway.chat("ours").status, 200)
        self.assertEqual(self.azure.stats()["models"], {"ours": 1})

    def test_other_clients_are_translated(self):
        gateway = self.prepare_gateway()
        body = {"model": "gpt", "max_tokens": 50, "messages": QUESTION}
        for stream in (False, True):
            answer = request(gateway.port, "POST", "/v1/messages", json.dumps({**body, "stream": stream}))
            self.assertEqual(answer.status, 200, answer.body)
            self.assertIn(b"end_turn", answer.body)

    def test_no_limits_are_no_limits(self):
        """Azure tells -1 where nothing limits a deployment."""
        gateway = self.prepare_gateway()
        for n in range(5):
            self.assertEqual(gateway.chat("gpt", seed=n).status, 200)

    def test_refusals(self):
        gateway = self.prepare_gateway()
        closed = gateway.chat("closed")
        self.assertEqual(closed.status, 502, closed.body)
        self.assertEqual(self.azure.stats()["keys"]["wrong"]["unauthorized"], 1)
        gone = gateway.chat("gone")
        self.assertEqual([gone.status, gone.json()["error"]["code"]], [404, "DeploymentNotFound"])

    def test_limits(self):
        gateway = self.prepare_gateway("--rpm", "2")
        statuses = [gateway.chat("gpt", seed=n, headers={"x-millrace-timeout-ms": "400"}).status for n in range(4)]
        self.assertEqual(statuses[:2], [200, 200])
        self.assertNotIn(200, statuses[2:])


class WithoutUsage(TestCase):
    """Ollama's and others' older versions tell no usage, in answers and streams."""

    @classmethod
    def prepare(cls):
        cls.upstream = cls.shared(Simulator("--model", "llama:usage=0,tokens=40"))
        cls.gateway = cls.shared(Gateway({
            "providers": {"ollama": provider(cls.upstream.base_url, {"id": "o", "secret": "o", "tpm": 1000000})},
            "models": {"local": {"targets": [target("ollama", "llama", input_usd=1, output_usd=2)]}}}))

    def test_answers_pass_as_they_are(self):
        answer = self.gateway.chat("local", messages=QUESTION)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn(TEXT, answer.content())
        self.assertNotIn("usage", answer.json())

    def test_streams_end_well_and_tell_none(self):
        for options in ({}, {"stream_options": {"include_usage": True}}):
            stream = self.gateway.chat("local", stream=True, messages=QUESTION, **options)
            self.assertEqual(stream.events()[-1], b"[DONE]")
            self.assertIn(TEXT, stream.content())
            self.assertFalse(any(b'"usage":{' in e for e in stream.events()))

    def billed(self):
        rows = request(self.gateway.port, "GET", "/v1/usage").json()["totals"]
        return rows["input_tokens"], rows["output_tokens"]

    def test_other_clients_are_told_what_is_billed(self):
        body = {"model": "local", "max_tokens": 50, "messages": QUESTION}
        for stream in (False, True):
            before = self.billed()
            answer = request(self.gateway.port, "POST", "/v1/messages", json.dumps({**body, "stream": stream}))
            self.assertEqual(answer.status, 200, answer.body)
            if stream:
                events = [json.loads(e) for e in answer.events()]
                self.assertEqual(events[-1]["type"], "message_stop")
                told = next(e["usage"] for e in events if e["type"] == "message_delta")
            else:
                told = answer.json()["usage"]
            self.assertGreater(told["output_tokens"], 0)
            wait_until(lambda: self.billed() != before, "the call is billed")
            now = self.billed()
            self.assertEqual((told["input_tokens"], told["output_tokens"]), (now[0] - before[0], now[1] - before[1]))


class Proxies(TestCase):
    """Trouble with a proxy names the variable that it is of, to clients and in the log, and never its address or password."""

    def told(self, proxy, scheme="https"):
        """What a client is told when the proxy behaves like this: the error, and the log's event."""
        variable = f"{scheme.upper()}_PROXY"
        gateway = self.own(Gateway({
            "providers": {"far": provider(f"{scheme}://provider.test/v1", "k", timeouts={"connect": "300ms"})},
            "models": {"chat": {"targets": [target("far", "m")]}}, "retry": {"attempts": 1}},
            environment={variable: f"http://miller:grist@127.0.0.1:{proxy.port}"}))
        answer = gateway.chat()
        told = answer.error["message"]
        self.assertIn(f"proxy of {variable}", told)
        for secret in ("miller", "grist", str(proxy.port), "127.0.0.1"):
            self.assertNotIn(secret, told)
        if scheme == "https":
            event = wait_until(lambda: gateway.events("proxy_failed"), "the log tells of the proxy")[0]
            self.assertEqual((event["variable"], event["message"]), (variable, told))
        self.assertFalse([line for line in gateway.errors if "grist" in line])
        return answer.status, answer.error["code"], told

    def proxy(self, answer):
        return self.own(RecordingUpstream(answer))

    def test_a_proxy_that_refuses_the_password(self):
        proxy = self.proxy(lambda *_: reply(407, ""))
        self.assertEqual(self.told(proxy), (502, "upstream_unreachable", "The proxy of HTTPS_PROXY answered 407. "
                                            "Check its user and password."))
        self.assertEqual(proxy.last().line, "CONNECT provider.test:443 HTTP/1.1")

    def test_a_proxy_that_opens_no_tunnel(self):
        status, code, told = self.told(self.proxy(lambda *_: reply(503, "")))
        self.assertEqual((status, code), (502, "upstream_unreachable"))
        self.assertIn("answered 503 instead of opening a tunnel", told)

    def test_a_proxy_that_is_not_there(self):
        gone = RecordingUpstream(None)
        gone.close()
        self.assertEqual(self.told(gone)[:2], (502, "upstream_unreachable"))
        self.assertIn("HTTP_PROXY could not be reached", self.told_plainly(gone))

    def told_plainly(self, proxy):
        return self.told(proxy, "http")[2]

    def test_a_proxy_that_speaks_something_else(self):
        other = self.proxy(lambda *_: b"SSH-2.0-OpenSSH_9.2\r\n")
        status, code, told = self.told(other)
        self.assertEqual((status, code), (502, "upstream_unreachable"))
        self.assertIn("does not answer as an HTTP proxy does", told)
        self.assertEqual(self.told(other, "http")[1], "upstream_bad_answer")

    def test_a_proxy_that_closes(self):
        status, code, told = self.told(self.proxy(lambda *_: None))
        self.assertEqual((status, code), (502, "upstream_unreachable"))
        self.assertIn("closed the connection", told)

    def test_a_proxy_that_stalls(self):
        over = threading.Event()
        self.addCleanup(over.set)
        status, code, told = self.told(self.proxy(lambda *_: over.wait(PATIENCE) and None))
        self.assertEqual((status, code), (504, "upstream_timeout"))
        self.assertIn("took too long", told)


class Heads(TestCase):
    def test_a_head_that_is_too_large_is_called_so(self):
        """It is no matter of tokens."""
        def answer(recorded, connection):
            if recorded.json()["model"] == "long":
                return reply(200, "{}", "X: " + "x" * 70000)
            while True:
                connection.sendall(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 100)
        upstream = self.own(RecordingUpstream(answer))
        gateway = self.own(Gateway({"providers": {"p": provider(upstream.base_url, "k")},
                                    "models": {m: {"targets": [target("p", m)]} for m in ("long", "endless")},
                                    "retry": {"attempts": 1}}))
        for model in ("long", "endless"):
            error = gateway.chat(model).error
            self.assertEqual(error["code"], "upstream_bad_answer")
            self.assertIn("The head of the provider's answer is too large.", error["message"])


if __name__ == "__main__":
    unittest.main()
