"""OpenAI's SDK for Python and its Responses API, at providers that have it and that do not."""

import json
import unittest

import openai
import pydantic

from dialects import MODELS, NATIVE, SCHEMA, TEXT, Dialects

TOOL = {"type": "function", "name": "weather", "parameters": {**SCHEMA, "additionalProperties": False}, "strict": True}


class Responses(Dialects):
    def client(self):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="sdk-key", max_retries=0)

    def test_plain_and_streamed(self):
        for model in [*MODELS, NATIVE]:
            with self.subTest(model=model), self.client() as sdk:
                answer = sdk.responses.create(model=model, instructions="Be brief.", input=TEXT)
                self.assertIn(TEXT, answer.output_text)
                self.assertEqual((answer.status, answer.model), ("completed", model))
                text = ""
                with sdk.responses.stream(model=model, input=TEXT) as stream:
                    for event in stream:
                        if event.type == "response.output_text.delta":
                            text += event.delta
                    whole = stream.get_final_response()
                self.assertEqual(text, whole.output_text)
                self.assertGreater(whole.usage.output_tokens, 0)

    def test_a_loop_of_tools(self):
        for model in [*MODELS, NATIVE]:
            with self.subTest(model=model), self.client() as sdk:
                asked = [{"role": "user", "content": TEXT}]
                answer = sdk.responses.create(model=model, input=asked, tools=[TOOL], tool_choice="required")
                call = next(item for item in answer.output if item.type == "function_call")
                self.assertEqual(json.loads(call.arguments)["days"], 42)
                result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
                last = sdk.responses.create(model=model, input=[*asked, *answer.output, result], tools=[TOOL])
                self.assertTrue(last.output_text)

    def test_what_only_openai_can_do_is_refused(self):
        for model in MODELS:
            with self.subTest(model=model), self.client() as sdk:
                with self.assertRaises(openai.BadRequestError) as raised:
                    sdk.responses.create(model=model, input=TEXT, conversation="conv_1")
                self.assertEqual(raised.exception.code, "unsupported_field")

    def test_a_schema(self):
        class Place(pydantic.BaseModel):
            city: str
            days: int

        for model in [*MODELS, NATIVE]:
            with self.subTest(model=model), self.client() as sdk:
                parsed = sdk.responses.parse(model=model, input=TEXT, text_format=Place).output_parsed
                self.assertEqual(parsed.days, 42)


class PassedOn(Dialects):
    """Requests, answers and errors are the provider's, to the byte."""

    def setUp(self):
        self.sdk = self.own(openai.OpenAI(base_url=f"{self.url}/v1", api_key="sdk-key", max_retries=0))

    def ask(self, **fields):
        return self.sdk.responses.create(**{"model": NATIVE, "input": TEXT, **fields})

    def test_what_only_the_api_itself_knows(self):
        answer = self.ask(metadata={"a": "b"}, truncation="auto", store=False, prompt_cache_key="k")
        self.assertEqual((answer.metadata, answer.truncation, answer.store), ({"a": "b"}, "auto", False))
        self.assertEqual(answer.model, NATIVE)

    def test_thoughts_come_back_by_id_or_encrypted(self):
        asked = [{"role": "user", "content": TEXT}]
        sealed = {"store": False, "include": ["reasoning.encrypted_content"]}
        for fields in ({}, sealed):
            fields["reasoning"] = {"effort": "low", "summary": "auto"}
            answer = self.ask(input=asked, **fields)
            self.assertEqual(answer.output[0].type, "reasoning")
            self.assertTrue(answer.output[0].summary[0].text)
            self.assertGreater(answer.usage.output_tokens_details.reasoning_tokens, 0)
            again = self.ask(input=[*asked, *answer.output, {"role": "user", "content": "And?"}], **fields)
            self.assertEqual(again.status, "completed")

    def test_thoughts_of_another_provider_are_left_out(self):
        asked = [{"role": "user", "content": "Please use the tool."}]
        fields = {"tools": [TOOL], "reasoning": {"effort": "low"}, "max_output_tokens": 4000}
        for first in ("claude", "gem", NATIVE):
            answer = self.ask(model=first, input=asked, **fields)
            call = next(item for item in answer.output if item.type == "function_call")
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
            for then in ("claude", "gem", "gpt", NATIVE):
                with self.subTest(first=first, then=then):
                    last = self.ask(model=then, input=[*asked, *answer.output, result], **fields)
                    self.assertEqual(last.status, "completed")

    def test_its_refusals(self):
        for fields, status, code in (({"previous_response_id": "resp_1"}, 400, "previous_response_not_found"),
                                     ({"max_output_tokens": 3}, 400, "integer_below_min_value"),
                                     ({"conversation": "conv_1"}, 404, None),
                                     ({"extra_body": {"messages": []}}, 400, "unsupported_parameter")):
            with self.assertRaises(openai.APIStatusError) as raised:
                self.ask(**fields)
            self.assertEqual((raised.exception.status_code, raised.exception.code), (status, code))

    def test_its_failures(self):
        with self.assertRaises(openai.InternalServerError):
            self.ask(model="native-broken")
        for model in ("native-cut", "native-error"):
            with self.subTest(model=model), self.assertRaises(openai.APIError):
                for event in self.ask(model=model, stream=True):
                    self.assertNotEqual(event.type, "response.completed")


if __name__ == "__main__":
    unittest.main()
