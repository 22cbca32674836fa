"""OpenAI's SDK for Python and its Responses API, at providers that do not have it."""

import json
import unittest

import openai

from dialects import MODELS, SCHEMA, TEXT, Dialects

TOOL = {"type": "function", "name": "weather", "parameters": {**SCHEMA, "additionalProperties": False}, "strict": True}


class Responses(Dialects):
    def client(self):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="sdk-key", max_retries=0)

    def test_plain_and_streamed(self):
        for model in MODELS:
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
        for model in MODELS:
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


if __name__ == "__main__":
    unittest.main()
