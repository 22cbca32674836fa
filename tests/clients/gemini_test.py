"""Google's SDK for Python, unmodified, at providers of every dialect."""

import base64
import json
import unittest

from dialects import IMAGE_TOKENS, MODELS, PNG, SCHEMA, TEXT, Dialects

from google import genai
from google.genai import errors, types

TOOLS = [types.Tool(function_declarations=[
    types.FunctionDeclaration(name="weather", description="tells it", parameters_json_schema=SCHEMA)])]


class GeminiSdk(Dialects):
    def sdk(self, key="sdk-key"):
        return self.own(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=self.url)))

    def ask(self, model, sdk=None, contents=TEXT, **config):
        config = types.GenerateContentConfig(**config) if config else None
        return (sdk or self.sdk()).models.generate_content(model=model, contents=contents, config=config)

    def test_a_whole_answer(self):
        for model in MODELS:
            answer = self.ask(model, system_instruction="Be brief.", temperature=0.5)
            self.assertIn(TEXT, answer.text)
            self.assertEqual(answer.candidates[0].finish_reason, types.FinishReason.STOP)
            self.assertGreater(answer.usage_metadata.candidates_token_count, 0)

    def test_a_stream(self):
        for model in MODELS:
            chunks = list(self.sdk().models.generate_content_stream(model=model, contents=TEXT))
            self.assertIn(TEXT, "".join(c.text or "" for c in chunks))
            self.assertEqual(chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)

    def test_a_tool_is_called_and_its_result_answered(self):
        forced = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
        for model in MODELS:
            answer = self.ask(model, tools=TOOLS, tool_config=forced)
            [call] = answer.function_calls
            self.assertEqual([call.name, call.args["days"]], ["weather", 42])
            result = types.Part(function_response=types.FunctionResponse(id=call.id, name="weather", response={"output": "rain"}))
            contents = [types.Content(role="user", parts=[types.Part(text=TEXT)]), answer.candidates[0].content,
                        types.Content(role="user", parts=[result])]
            self.assertEqual(self.ask(model, contents=contents, tools=TOOLS).candidates[0].finish_reason,
                             types.FinishReason.STOP)

    def test_an_image_and_a_schema(self):
        image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
        for model in MODELS:
            answer = self.ask(model, contents=[image, TEXT])
            self.assertIn(TEXT, answer.text)
            self.assertGreater(answer.usage_metadata.prompt_token_count, IMAGE_TOKENS)
            answer = self.ask(model, response_mime_type="application/json", response_json_schema=SCHEMA)
            self.assertEqual(json.loads(answer.text)["days"], 42)

    def test_thoughts_with_signatures_go_on_at_any_provider(self):
        thinking = types.ThinkingConfig(thinking_budget=1024, include_thoughts=True)
        asked = types.Content(role="user", parts=[types.Part(text="Please use the tool.")])
        for model in MODELS:
            for streamed in (False, True):
                content = self.think(model, streamed, [asked], thinking)
                call = next(p.function_call for p in content.parts if p.function_call)
                if model != "gpt":
                    self.assertTrue(any(p.thought_signature for p in content.parts))
                    self.assertTrue(any(p.thought and p.text for p in content.parts))
                result = types.Part(function_response=types.FunctionResponse(id=call.id, name="weather", response={"a": 1}))
                contents = [asked, content, types.Content(role="user", parts=[result])]
                for then in [*MODELS, "gem3"]:
                    with self.subTest(model=model, streamed=streamed, then=then):
                        self.assertTrue(any(p.text for p in self.think(then, streamed, contents, thinking).parts))

    def think(self, model, streamed, contents, thinking):
        config = types.GenerateContentConfig(tools=TOOLS, thinking_config=thinking, max_output_tokens=4000,
                                             automatic_function_calling={"disable": True})
        models = self.sdk().models
        if not streamed:
            return models.generate_content(model=model, contents=contents, config=config).candidates[0].content
        chunks = models.generate_content_stream(model=model, contents=contents, config=config)
        parts = [p for c in chunks for p in (c.candidates[0].content.parts or [])]
        return types.Content(role="model", parts=parts)

    def test_embeddings(self):
        for model in ("embed", "gem"):
            answer = self.sdk().models.embed_content(model=model, contents=["a mill", "a race"])
            self.assertEqual(len(answer.embeddings), 2)

    def test_errors_are_the_classes_of_the_sdk(self):
        for model, error, code in (("nobody", errors.ClientError, 404), ("refused", errors.ClientError, 400),
                                   ("broken", errors.ServerError, 502)):
            with self.assertRaises(error) as caught:
                self.ask(model)
            self.assertEqual(caught.exception.code, code)
        with self.assertRaises(errors.ClientError) as caught:
            self.ask("gpt", self.sdk("wrong"))
        self.assertEqual(caught.exception.code, 401)


if __name__ == "__main__":
    unittest.main()
