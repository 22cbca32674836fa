"""LangChain's OpenAI integration, unmodified, at providers of every dialect."""

import unittest

from dialects import MODELS, TEXT, Dialects

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@tool
def weather(city: str, days: int) -> str:
    """Tells the weather."""
    return f"rain in {city} for {days} days"


class LangChain(Dialects):
    def model(self, name, **settings):
        return ChatOpenAI(model=name, base_url=f"{self.url}/v1", api_key="sdk-key", max_retries=0, **settings)

    def test_plain_and_streamed(self):
        for name in MODELS:
            answer = self.model(name).invoke([("system", "Be brief."), ("human", TEXT)])
            self.assertIn(TEXT, answer.content)
            self.assertGreater(answer.usage_metadata["output_tokens"], 0)
            self.assertIn(TEXT, "".join(chunk.content for chunk in self.model(name).stream(TEXT)))

    def test_tools(self):
        for name in MODELS:
            bound = self.model(name).bind_tools([weather], tool_choice="any")
            answer = bound.invoke(TEXT)
            [call] = answer.tool_calls
            self.assertEqual([call["name"], call["args"]["days"]], ["weather", 42])
            messages = [HumanMessage(TEXT), answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
            self.assertTrue(self.model(name).bind_tools([weather]).invoke(messages).content)

    def test_embeddings(self):
        embeddings = OpenAIEmbeddings(model="embed", base_url=f"{self.url}/v1", api_key="sdk-key",
                                      check_embedding_ctx_length=False)
        self.assertEqual(len(embeddings.embed_documents(["a mill", "a race"])), 2)


if __name__ == "__main__":
    unittest.main()
