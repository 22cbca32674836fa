"""What the Python SDK raises when something goes wrong, and how often it calls."""

import json
import time
import unittest

import openai
from world import (QUESTION, Gateway, RecordingUpstream, World, configuration, provider, reply, target,
                   wait_until)


class Errors(World):
    def setUp(self):
        super().setUp()
        self.requests = []
        count = {"event_hooks": {"request": [self.requests.append]}}
        self.counted = self.client(http_client=openai.DefaultHttpxClient(**count))
        self.once = self.client(max_retries=0)

    def refusal(self, kind, status, code, client=None, model="chat", **fields):
        """The exception that a chat raises, looked at."""
        with self.assertRaises(openai.APIStatusError) as caught:
            self.ask(model, client or self.counted, **fields)
        error = caught.exception
        self.assertIs(type(error), kind, error)
        self.assertEqual((error.status_code, error.code), (status, code), error)
        self.assertTrue(error.body["message"])
        self.assertEqual(error.request_id, error.response.headers["x-request-id"])
        return error

    def test_a_wrong_key(self):
        self.refusal(openai.AuthenticationError, 401, "invalid_api_key", self.client("wrong"))

    def test_an_unknown_model_and_an_unknown_route(self):
        self.refusal(openai.NotFoundError, 404, "model_not_found", model="no-such-model")
        with self.assertRaises(openai.NotFoundError):
            self.sdk.post("/no-such-route", cast_to=object, body={})

    def test_a_bad_request(self):
        before = self.calls("gpt-4o-mini")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.sdk.post("/chat/completions", cast_to=object, body={"messages": QUESTION})
        self.assertTrue(caught.exception.body["message"])
        with self.assertRaises(openai.BadRequestError):
            self.sdk.post("/chat/completions", cast_to=object, content=b'{"model":"chat","model":"chat"}',
                          options={"headers": {"content-type": "application/json"}})
        self.assertEqual(self.calls("gpt-4o-mini"), before, "such a request costs nothing")

    def test_the_providers_word_about_a_request_is_passed_on(self):
        self.refusal(openai.BadRequestError, 400, "simulated", model="fault-400")
        self.refusal(openai.UnprocessableEntityError, 422, "simulated", model="fault-422")
        self.assertEqual(len(self.requests), 2)

    def test_a_failing_provider_is_not_called_again_by_the_sdk(self):
        for model in ("fault-500", "fault-503", "fault-reset", "fault-html", "fault-truncate"):
            for stream in (False, True):
                if stream and model == "fault-truncate":
                    continue  # a stream that is cut; below
                with self.subTest(model=model, stream=stream):
                    self.requests.clear()
                    before = self.calls(model)
                    with self.assertRaises(openai.InternalServerError) as caught:
                        self.ask(model, self.counted, stream=stream)
                    self.assertEqual(caught.exception.status_code, 502)
                    self.assertEqual(caught.exception.response.headers["x-should-retry"], "false")
                    self.assertEqual(len(self.requests), 1)
                    # A pooled connection that is reset before any answer may just have grown old: one more try.
                    self.assertLessEqual(self.calls(model) - before, 2 if model == "fault-reset" else 1)

    def test_a_provider_that_refuses_the_key_is_not_the_clients_fault(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("fault-401", self.once)
        self.assertEqual(caught.exception.status_code, 502)

    def test_a_late_provider(self):
        before = self.calls("fault-stall")
        error = self.refusal(openai.InternalServerError, 504, "upstream_timeout", model="late")
        self.assertEqual(error.response.headers["x-should-retry"], "false")
        self.assertEqual((len(self.requests), self.calls("fault-stall") - before), (1, 1))

    def test_a_deadline_of_the_callers(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("fault-stall", self.once, extra_headers={"x-millrace-timeout-ms": "200"})
        self.assertEqual(caught.exception.status_code, 504)

    def test_an_open_breaker(self):
        config = configuration(self.provider.base_url)
        config["breaker"] = {"consecutive_failures": 2, "open": "60s"}
        gateway = self.own(Gateway(config))
        client = self.client(base_url=f"http://127.0.0.1:{gateway.port}/v1", max_retries=0)
        for _ in range(2):
            with self.assertRaises(openai.InternalServerError):
                self.ask("fault-500", client)
        before = self.calls("fault-500")
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("fault-500", client)
        self.assertEqual(caught.exception.status_code, 503)
        self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
        self.assertEqual(self.calls("fault-500"), before)

    def test_the_clients_own_limit(self):
        config = configuration(self.provider.base_url)
        gateway = self.own(Gateway(config))
        client = self.client("small-key", base_url=f"http://127.0.0.1:{gateway.port}/v1", max_retries=0)
        for _ in range(2):
            self.ask(client=client)
        before = self.calls("gpt-4o-mini")
        error = self.refusal(openai.RateLimitError, 429, "rate_limit_exceeded", client)
        self.assertGreater(int(error.response.headers["retry-after"]), 50)
        self.assertEqual(error.response.headers["x-ratelimit-remaining-requests"], "0")
        self.assertEqual(self.calls("gpt-4o-mini"), before)

    def test_nobody_listens(self):
        gone = Gateway(configuration(self.provider.base_url))
        gone.stop()
        with self.assertRaises(openai.APIConnectionError):
            self.ask(client=self.client(base_url=f"http://127.0.0.1:{gone.port}/v1", max_retries=0))


class Retries(World):
    """A provider that says when to come back."""

    def test_the_sdk_comes_back_when_it_is_told_to(self):
        arrived = []

        def answer(recorded, _):
            arrived.append(time.monotonic())
            if len(arrived) == 1:
                body = json.dumps({"error": {"message": "slow down", "type": "requests", "param": None, "code": "x"}})
                return reply(429, body, "Retry-After: 2")
            return reply(200, json.dumps({"id": "i", "object": "chat.completion", "created": 1, "model": "m",
                                          "choices": [{"index": 0, "finish_reason": "stop",
                                                       "message": {"role": "assistant", "content": "good"}}]}))

        upstream = self.own(RecordingUpstream(answer))
        config = configuration(upstream.base_url)
        config["providers"]["p"] = provider(upstream.base_url, "k")
        gateway = self.own(Gateway(config))
        requests = []
        http_client = openai.DefaultHttpxClient(event_hooks={"request": [requests.append]})
        client = self.client(base_url=f"http://127.0.0.1:{gateway.port}/v1", http_client=http_client)
        got = self.ask(client=client, extra_headers={"x-millrace-timeout-ms": "300"})
        self.assertEqual(got.choices[0].message.content, "good")
        self.assertEqual([len(requests), len(arrived)], [2, 2], "it came back too early")
        self.assertGreaterEqual(arrived[1] - arrived[0], 2.0)


class Partings(World):
    """Streams and answers that end before their end."""

    def cancelled(self):
        return self.provider.key("upstream-1")["cancelled"]

    def expect_cancel(self, before):
        wait_until(lambda: self.cancelled() == before + 1, "the provider sees that the client is gone")
        wait_until(lambda: self.provider.key("upstream-1")["in_flight"] == 0, "nothing is left in flight")

    def test_a_closed_stream_ends_the_providers_work(self):
        before = self.cancelled()
        stream = self.ask("long", stream=True)
        self.assertTrue(next(iter(stream)).choices)
        stream.close()
        self.expect_cancel(before)

    def test_the_sdks_own_timeout_ends_the_providers_work(self):
        before = self.cancelled()
        with self.assertRaises(openai.APITimeoutError):
            self.ask("fault-stall", self.client(max_retries=0, timeout=0.5))
        self.expect_cancel(before)

    def test_a_broken_stream_never_looks_complete(self):
        for model in ("cut", "error-event", "fault-truncate"):
            with self.subTest(model=model):
                before, chunks = self.calls(model), []
                with self.assertRaises(openai.APIError):
                    for chunk in self.ask(model, stream=True):
                        chunks.append(chunk)
                self.assertTrue(chunks, "what came before the break is delivered")
                self.assertTrue(all(c.choices[0].finish_reason is None for c in chunks))
                self.assertEqual(self.calls(model) - before, 1)

    def test_a_stream_that_stops_is_ended_with_an_error(self):
        config = configuration(self.provider.base_url)
        config["models"]["stops"] = {"targets": [target("hasty", "fault-stall-stream=5")]}
        gateway = self.own(Gateway(config))
        chunks = []
        with self.assertRaises(openai.APIError):
            for chunk in self.ask("stops", self.client(base_url=f"http://127.0.0.1:{gateway.port}/v1"), stream=True):
                chunks.append(chunk)
        self.assertTrue(chunks)
        self.assertTrue(all(c.choices[0].finish_reason is None for c in chunks))


if __name__ == "__main__":
    unittest.main(verbosity=2)
