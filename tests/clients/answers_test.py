"""What the Python SDK gets when all goes well."""

import asyncio
import json
import unittest

from pydantic import BaseModel

import openai
from world import QUESTION, WEATHER, World


class Place(BaseModel):
    city: str
    days: int


class Answers(World):
    def test_a_whole_answer(self):
        answer = self.ask(max_tokens=8)
        self.assertEqual((answer.object, answer.model), ("chat.completion", "chat"))
        self.assertIn("What is a mill race?", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 8)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 8)

    def test_a_streamed_answer_is_the_whole_one(self):
        whole = self.ask().choices[0].message.content
        chunks = list(self.ask(stream=True))
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), whole)
        self.assertEqual({c.model for c in chunks}, {"chat"})
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], ["stop"])
        self.assertTrue(all(c.usage is None for c in chunks), "usage that was not asked for")

    def test_a_stream_with_usage(self):
        *chunks, last = self.ask(stream=True, stream_options={"include_usage": True}, max_tokens=6)
        self.assertEqual((last.choices, last.usage.completion_tokens), ([], 6))
        self.assertTrue(all(c.choices and c.usage is None for c in chunks))

    def test_several_choices(self):
        answer = self.ask(n=3)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2])
        chunks = list(self.ask(n=3, stream=True))
        self.assertEqual({c.choices[0].index for c in chunks if c.choices[0].finish_reason}, {0, 1, 2})

    def test_a_tool_is_called_and_its_result_answered(self):
        call = self.ask(tools=[WEATHER], tool_choice="required").choices[0]
        self.assertEqual(call.finish_reason, "tool_calls")
        tool = call.message.tool_calls[0]
        self.assertEqual((tool.type, tool.function.name), ("function", "weather"))
        self.assertEqual(json.loads(tool.function.arguments)["days"], 42)
        messages = [*QUESTION, call.message, {"role": "tool", "tool_call_id": tool.id, "content": "rain"}]
        answer = self.sdk.chat.completions.create(model="chat", messages=messages, tools=[WEATHER])
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertTrue(answer.choices[0].message.content)

    def test_a_streamed_tool_call_is_put_together(self):
        with self.sdk.chat.completions.stream(model="chat", messages=QUESTION, tools=[WEATHER],
                                              tool_choice="required") as stream:
            pieces = sum(event.type == "tool_calls.function.arguments.delta" for event in stream)
            final = stream.get_final_completion()
        self.assertGreater(pieces, 1, "the arguments are streamed")
        self.assertEqual(final.choices[0].finish_reason, "tool_calls")
        function = final.choices[0].message.tool_calls[0].function
        self.assertEqual((function.name, json.loads(function.arguments)["days"]), ("weather", 42))

    def test_json_mode_and_a_schema(self):
        asked = [{"role": "system", "content": "Answer in JSON."}, *QUESTION]
        text = self.sdk.chat.completions.create(model="chat", messages=asked,
                                                response_format={"type": "json_object"}).choices[0].message.content
        self.assertIn("What is a mill race?", json.loads(text)["echo"])
        parsed = self.sdk.chat.completions.parse(model="chat", messages=QUESTION, response_format=Place)
        self.assertEqual(parsed.choices[0].message.parsed.days, 42)

    def test_embeddings(self):
        texts = ["a mill", "a race", "a mill"]
        packed = self.sdk.embeddings.create(model="embed", input=texts, dimensions=16)  # base64 on the wire
        plain = self.sdk.embeddings.create(model="embed", input=texts, dimensions=16, encoding_format="float")
        self.assertEqual([len(d.embedding) for d in packed.data], [16, 16, 16])
        for a, b in zip(packed.data, plain.data, strict=True):
            self.assertEqual(a.index, b.index)
            for x, y in zip(a.embedding, b.embedding, strict=True):
                self.assertAlmostEqual(x, y, places=5)
        self.assertEqual(packed.data[0].embedding, packed.data[2].embedding)
        self.assertNotEqual(packed.data[0].embedding, packed.data[1].embedding)
        self.assertEqual(packed.model, "embed")
        self.assertGreater(packed.usage.prompt_tokens, 0)

    def test_completions(self):
        answer = self.sdk.completions.create(model="chat", prompt="Once upon a time", max_tokens=5)
        self.assertEqual((answer.object, answer.model), ("text_completion", "chat"))
        self.assertIn("Once upon a time", answer.choices[0].text)
        chunks = list(self.sdk.completions.create(model="chat", prompt="Once upon a time", max_tokens=5, stream=True))
        self.assertEqual("".join(c.choices[0].text for c in chunks), answer.choices[0].text)

    def test_models(self):
        names = [m.id for m in self.sdk.models.list()]
        self.assertIn("chat", names)
        self.assertIn("embed", names)
        self.assertEqual(self.sdk.models.retrieve("chat").id, "chat")
        with self.assertRaises(openai.NotFoundError):
            self.sdk.models.retrieve("no-such-model")

    def test_every_answer_has_its_request_id(self):
        first, second = self.ask(), self.ask()
        self.assertTrue(first._request_id)
        self.assertNotEqual(first._request_id, second._request_id)
        own = self.ask(extra_headers={"x-request-id": "mine-1"})
        self.assertEqual(own._request_id, "mine-1")

    def test_the_headers_of_an_answer(self):
        raw = self.client("small-key").chat.completions.with_raw_response.create(model="chat", messages=QUESTION)
        self.assertEqual(raw.headers["x-ratelimit-limit-requests"], "2")
        self.assertEqual(raw.headers["x-ratelimit-remaining-requests"], "1")
        self.assertEqual(raw.headers["x-ratelimit-limit-tokens"], "100000")
        self.assertLess(int(raw.headers["x-ratelimit-remaining-tokens"]), 100000)
        self.assertRegex(raw.headers["x-ratelimit-reset-requests"], r"^(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?$")
        self.assertEqual((raw.headers["x-millrace-provider"], raw.headers["x-millrace-model"]), ("p", "gpt-4o-mini"))
        self.assertEqual((raw.headers["x-millrace-key"], raw.headers["x-millrace-attempts"]), ("upstream-1", "1"))
        self.assertGreater(float(raw.headers["x-millrace-cost-usd"]), 0)
        self.assertEqual(raw.headers["x-request-id"], raw.request_id)
        self.assertEqual(raw.parse().model, "chat")

    def test_the_asynchronous_client(self):
        async def run():
            async with openai.AsyncOpenAI(api_key="sdk-key", base_url=self.url) as sdk:
                async def one(i):
                    message = [{"role": "user", "content": f"question {i}"}]
                    stream = await sdk.chat.completions.create(model="chat", messages=message, stream=True)
                    return "".join([c.choices[0].delta.content or "" async for c in stream])
                return await asyncio.gather(*[one(i) for i in range(20)])
        for i, text in enumerate(asyncio.run(run())):
            self.assertIn(f"question {i} ", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
