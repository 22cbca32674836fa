#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>

#include "http/simulator/request_reader.hpp"
#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

std::string expected_echo(const std::string& raw, const std::string& text) {
  char head[32];
  std::snprintf(head, sizeof head, "echo %08lx: ",
                crc32(0, reinterpret_cast<const Bytef*>(raw.data()), static_cast<uInt>(raw.size())));
  return head + text;
}

// --- shapes
// ----------------------------------------------------------------------------------------------------

TEST_F(Simulator, SaysWhatItIsToldAndHowSureItIs) {
  start(R"({"models": {"m": {"say": "{\"confidence\": 0.25}", "probability": 0.5}}})");
  client c(port_);
  for (const bool stream : {false, true}) {
    c.write(
        post(chat_path, std::string(R"({"model":"m","messages":[{"role":"user","content":"?"}],"stream":)") +
                            (stream ? "true}" : "false}")));
    const answer a = c.read();
    ASSERT_EQ(a.status, 200);
    EXPECT_NE(a.body.find(R"("logprob":-0.693147)"), std::string::npos) << a.body;
    if (stream) continue;
    const json choice = a.parsed()["choices"][0];
    EXPECT_EQ(choice["message"]["content"], R"({"confidence": 0.25})");
    std::string tokens;
    for (const json& token : choice["logprobs"]["content"]) tokens += token["token"].get<std::string>();
    EXPECT_EQ(tokens, R"({"confidence": 0.25})");
  }
}

TEST_F(Simulator, AnswersAChatWithAnEchoOfItsQuestion) {
  start(R"({"tokens": 5})");
  // Spacing and escapes are the client's; the digest is over its own bytes.
  const std::string messages = "[ {\"role\":\"user\", \"content\":\"gr\\u00fcn \\\"x\\\"\"} ]";
  client c(port_);
  c.write(post(chat_path, "{\"messages\": " + messages + " , \"model\":\"m\\\"1\"}"));
  const answer a = c.read();
  ASSERT_EQ(a.status, 200);
  const json body = a.parsed();
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["model"], "m\"1");
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(body["choices"][0]["message"]["content"].get<std::string>().starts_with(
      expected_echo(messages, "gr\u00fcn \"x\"")))
      << body;
  EXPECT_EQ(body["usage"]["completion_tokens"], 5);
  EXPECT_EQ(body["usage"]["total_tokens"], body["usage"]["prompt_tokens"].get<int>() + 5);
  EXPECT_TRUE(body["usage"]["completion_tokens_details"].contains("reasoning_tokens"));
  EXPECT_TRUE(a.headers.contains("x-request-id"));
  EXPECT_TRUE(a.headers.contains("openai-processing-ms"));
  EXPECT_FALSE(a.headers.contains("x-ratelimit-limit-requests"));
}

TEST_F(Simulator, EchoesAtMost64CharactersAndKeepsThemWhole) {
  start();
  std::string text;
  for (int i = 0; i < 80; ++i) text += "\u00e9";
  const std::string content = ask(chat(text)).parsed()["choices"][0]["message"]["content"];
  EXPECT_NE(content.find(text.substr(0, 128)), std::string::npos);
  EXPECT_EQ(content.find(text.substr(0, 130)), std::string::npos);
}

TEST_F(Simulator, CutsAnAnswerAtTheRequestsMaximum) {
  start();
  const json cut = ask(with(chat("hi"), "max_tokens", 3)).parsed();
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(cut["usage"]["completion_tokens"], 3);
  provider_->configure([] {
    simulator_settings s;
    s.behaviour.tokens = 0;
    return s;
  }());
  EXPECT_EQ(ask(with(chat("hi"), "max_completion_tokens", 200)).parsed()["usage"]["completion_tokens"], 200);
}

TEST_F(Simulator, StreamsTheSameAnswerItGivesWhole) {
  start();
  for (const bool usage : {false, true}) {
    const json question = with(with(chat("hello"), "n", 2), "max_tokens", 7);
    const json whole = ask(question).parsed();
    json streamed = with(question, "stream", true);
    if (usage) streamed["stream_options"] = {{"include_usage", true}};
    const answer a = ask(streamed);
    ASSERT_TRUE(a.complete);
    EXPECT_EQ(a.headers.at("content-type"), "text/event-stream; charset=utf-8");
    auto data = events(a.body);
    ASSERT_EQ(data.back(), "[DONE]");
    data.pop_back();
    std::vector<std::string> text(2);
    std::vector<std::string> reasons(2);
    for (size_t i = 0; i < data.size(); ++i) {
      const json chunk = json::parse(data[i]);
      EXPECT_EQ(chunk["object"], "chat.completion.chunk");
      EXPECT_EQ(chunk["id"], json::parse(data[0])["id"]);
      EXPECT_EQ(chunk.contains("usage"), usage);
      if (usage && i + 1 == data.size()) {
        EXPECT_TRUE(chunk["choices"].empty());
        EXPECT_EQ(chunk["usage"], whole["usage"]);
        continue;
      }
      const json& choice = chunk["choices"][0];
      text[choice["index"]] += choice["delta"].value("content", "");
      if (choice["finish_reason"].is_string()) reasons[choice["index"]] = choice["finish_reason"];
    }
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(text[i], whole["choices"][i]["message"]["content"]);
      EXPECT_EQ(reasons[i], "length");
    }
  }
}

TEST_F(Simulator, CallsATool) {
  start();
  const json parameters = {{"type", "object"},
                           {"properties", {{"city", {{"type", "string"}}}, {"days", {{"type", "integer"}}}}}};
  const json tools = {
      {{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", parameters}}}}};
  const json asked = with(chat("Please USE the tool now"), "tools", tools);
  EXPECT_TRUE(
      ask(with(chat("hello"), "tools", tools)).parsed()["choices"][0]["message"]["content"].is_string());
  EXPECT_TRUE(
      ask(with(asked, "tool_choice", "none")).parsed()["choices"][0]["message"]["content"].is_string());
  const json choice =
      ask(with(with(chat("hello"), "tools", tools), "tool_choice", "required")).parsed()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  const json call = choice["message"]["tool_calls"][0]["function"];
  EXPECT_EQ(call["name"], "weather");
  const json arguments = json::parse(call["arguments"].get<std::string>());
  EXPECT_TRUE(arguments["city"].is_string());
  EXPECT_TRUE(arguments["days"].is_number_integer());

  std::string streamed;
  for (const auto& event : events(ask(with(asked, "stream", true)).body)) {
    if (event == "[DONE]") continue;
    const json delta = json::parse(event)["choices"][0]["delta"];
    if (delta.contains("tool_calls")) streamed += delta["tool_calls"][0]["function"]["arguments"];
  }
  EXPECT_TRUE(json::parse(streamed)["city"].get<std::string>().ends_with("Please USE the tool now"));
}

TEST_F(Simulator, AnswersInTheAskedSchema) {
  start();
  const json schema = {{"type", "object"}, {"properties", {{"ok", {{"type", "boolean"}}}}}};
  const json format = {{"type", "json_schema"}, {"json_schema", {{"name", "n"}, {"schema", schema}}}};
  const json body = ask(with(chat("hello"), "response_format", format)).parsed();
  EXPECT_EQ(json::parse(body["choices"][0]["message"]["content"].get<std::string>()), (json{{"ok", true}}));
  const answer odd =
      ask(with(with(chat("x"), "tools", {{{"function", {{"name", 7}}}}}), "tool_choice", "required"));
  EXPECT_EQ(odd.status, 400);
}

TEST_F(Simulator, AnswersCompletions) {
  start(R"({"tokens": 4})");
  const json question = {{"model", "m"}, {"prompt", {"one", "two"}}};
  const json whole = ask(question, "k1", "/v1/completions").parsed();
  EXPECT_EQ(whole["object"], "text_completion");
  ASSERT_EQ(whole["choices"].size(), 2U);
  EXPECT_NE(whole["choices"][1]["text"].get<std::string>().find(": two"), std::string::npos);
  std::vector<std::string> text(2);
  for (const auto& event : events(ask(with(question, "stream", true), "k1", "/v1/completions").body))
    if (event != "[DONE]") {
      const json choice = json::parse(event)["choices"][0];
      text[choice["index"]] += choice["text"];
    }
  EXPECT_EQ(text[0], whole["choices"][0]["text"]);
  EXPECT_EQ(text[1], whole["choices"][1]["text"]);
}

TEST_F(Simulator, EmbedsTheSameTextTheSameWayInBothFormats) {
  start();
  const auto embed = [&](json input, json more) {
    json body = {{"model", "text-embedding-3-small"}, {"input", std::move(input)}};
    body.update(more);
    return ask(body, "k1", "/v1/embeddings").parsed();
  };
  const json floats = embed({"a quiet river", "a quiet wheel", "unlike"}, {{"dimensions", 64}});
  ASSERT_EQ(floats["data"].size(), 3U);
  std::vector<std::vector<float>> v;
  for (const auto& e : floats["data"]) v.push_back(e["embedding"].get<std::vector<float>>());
  const auto product = [&](size_t a, size_t b) {
    float sum = 0;
    for (size_t i = 0; i < 64; ++i) sum += v[a][i] * v[b][i];
    return sum;
  };
  EXPECT_NEAR(product(0, 0), 1, 1e-4);
  EXPECT_GT(product(0, 1), product(0, 2));
  const json packed = embed("a quiet river", {{"dimensions", 64}, {"encoding_format", "base64"}});
  const std::string text = packed["data"][0]["embedding"];
  ASSERT_EQ(text.size(), (64 * 4 + 2) / 3 * 4U);
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::uint32_t first = 0;  // six characters hold the first float's 32 bits, and four more
  std::uint64_t bits = 0;
  for (int i = 0; i < 6; ++i) bits = bits << 6 | alphabet.find(text[static_cast<size_t>(i)]);
  for (int i = 0; i < 4; ++i) first |= static_cast<std::uint32_t>(bits >> (28 - 8 * i) & 0xFF) << (8 * i);
  float value;
  std::memcpy(&value, &first, sizeof value);
  EXPECT_EQ(value, v[0][0]);
  EXPECT_EQ(embed(json::array({1, 2, 3}), json::object())["data"][0]["embedding"].size(), 1536U);
  EXPECT_EQ(embed({{1, 2}, {3}}, json::object())["data"].size(), 2U);
}

TEST_F(Simulator, RefusesAsOpenAiDoes) {
  start(R"({"require_keys": ["good"]})");
  const answer bad_key = ask(chat("x"), "bad");
  EXPECT_EQ(bad_key.status, 401);
  EXPECT_EQ(bad_key.parsed()["error"]["code"], "invalid_api_key");
  EXPECT_EQ(stats("bad")["unauthorized"], 1);
  EXPECT_EQ(ask(chat("x"), "good").status, 200);
  EXPECT_EQ(ask(json{{"model", "m"}}, "good").status, 400);
  EXPECT_EQ(ask(with(chat("x"), "n", 1000), "good").parsed()["error"]["param"], "n");
  EXPECT_EQ(ask(chat("x"), "good", "/v1/nothing").status, 404);
  client c(port_);
  c.write("GET /v1/models HTTP/1.1\r\n\r\nGET /v1/models/gpt-4o HTTP/1.1\r\n\r\n");
  EXPECT_GE(c.read().parsed()["data"].size(), 4U);
  EXPECT_EQ(c.read().parsed()["id"], "gpt-4o");
}

// --- framing
// ---------------------------------------------------------------------------------------------------

TEST_F(Simulator, AnswersPipelinedRequestsInOrder) {
  start();
  client c(port_);
  std::string all;
  for (int i = 0; i < 50; ++i) all += post(chat_path, chat("number " + std::to_string(i) + ".").dump());
  c.write(all);
  for (int i = 0; i < 50; ++i)
    EXPECT_NE(c.read().body.find("number " + std::to_string(i) + "."), std::string::npos);
}

TEST_F(Simulator, TakesPipelinedRequestsWhileItWaits) {
  start(R"({"models": {"slow": {"latency": "20ms"}}})");
  client c(port_);
  c.write(post(chat_path, chat("first", "slow").dump()));
  c.write(post(chat_path, chat("second", "slow").dump()) + post(chat_path, chat("third").dump()));
  for (const char* text : {"first", "second", "third"})
    EXPECT_NE(c.read().body.find(text), std::string::npos);
}

TEST(SimulatorRequestReader, ReadsTheSameHoweverTheBytesAreCut) {
  const std::string body = chat("x").dump();
  std::string chunked = "POST /a?q=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Api-Key: k2\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += 10) {
    char size[8];
    const std::string piece = body.substr(at, 10);
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    chunked += size + piece + "\r\n";
  }
  const std::string all = post("/b", body) + chunked + "0\r\nTrailer: t\r\n\r\n" + post("/c", body) +
                          chunked + "0\r\n\r\n" + "GET /d HTTP/1.0\r\n\r\n";
  for (size_t step = 1; step <= all.size(); step += step < 40 ? 1 : 97) {
    simulation::request_reader reader;
    std::string seen;
    for (size_t at = 0; at < all.size(); at += step) {
      const std::string piece = all.substr(at, step);
      for (size_t done = 0; done < piece.size();) {
        const auto [data, room] = reader.room();
        const size_t n = std::min(room, piece.size() - done);
        std::memcpy(data, piece.data() + done, n);
        reader.commit(n);
        done += n;
        simulation::http_request r;
        while (reader.next(r) == simulation::request_reader::result::ready)
          seen += std::string(r.path) + ":" + std::string(r.key) + ":" + (r.keep_alive ? "k" : "c") +
                  (r.body == body ? "+" : "-") + " ";
      }
    }
    EXPECT_EQ(seen, "/b:k1:k+ /a:k2:k+ /c:k1:k+ /a:k2:k+ /d::c- ") << "step " << step;
  }
}

TEST_F(Simulator, RefusesWhatIsNotHttp) {
  start();
  for (const char* bytes :
       {"GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"}) {
    client c(port_);
    c.write(bytes);
    EXPECT_EQ(c.read().status, 400) << bytes;
    EXPECT_FALSE(c.read_more());
  }
}

TEST_F(Simulator, SaysContinue) {
  start();
  client c(port_);
  const std::string request = post(chat_path, chat("later").dump());
  const size_t head = request.find("\r\n\r\n");
  c.write(request.substr(0, head) + "\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(c.read_more(), true);
  c.write(request.substr(head + 4));
  while (c.read_more()) {
    if (json body = json::parse(provider_->stats()); body["keys"]["k1"]["answered"] == 1) break;
  }
  EXPECT_EQ(stats()["answered"], 1);
}

}  // namespace
}  // namespace millrace::http::simulator_tests
