#include "http/dialects/anthropic_cache_marks.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_passthrough.hpp"

/// Marks for Anthropic's prompt cache in requests of its own dialect: where, and that nothing else changes.
namespace millrace::http {
namespace {

using json = nlohmann::json;

const std::string long_text(5000, 'x');
const json mark = json::parse(R"({"type":"ephemeral"})");

/// The body as the provider gets it.
std::string sent(const std::string& body, bool automatic = true, const std::string& model = "claude") {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(anthropic_client().read_request(engine::route_kind::messages, body, facts, error))
      << error.message;
  const engine::header_list none;
  const engine::provider_config provider;
  const engine::secret key("k");
  engine::provider_request out;
  EXPECT_TRUE(anthropic_passthrough().encode_request(
      {engine::route_kind::messages, body, facts, none, provider, key, model, automatic}, out, error));
  return out.body;
}

std::string request_with(const std::string& members) {
  return R"({"model":"claude","max_tokens":9,)" + members + R"("messages":[{"role":"user","content":"q"}]})";
}

std::string text_block(const std::string& text) {
  return R"({ "type":"text", "text":")" + text + "\" }";
}

TEST(anthropic_cache_marks, a_long_system_text_becomes_a_marked_block) {
  const json body = json::parse(sent(request_with(R"("system":")" + long_text + "\",")));
  EXPECT_EQ(body["system"], json::array({{{"type", "text"}, {"text", long_text}, {"cache_control", mark}}}));
}

TEST(anthropic_cache_marks, of_blocks_the_last_one_and_of_tools_the_last_one) {
  const std::string tools = R"("tools":[{"name":"f","description":")" + long_text +
                            R"(","input_schema":{}},{"name":"g","input_schema":{}}],)";
  const json body = json::parse(sent(
      request_with(R"("system":[)" + text_block("a") + "," + text_block("b") + "]," + tools), true, "other"));
  EXPECT_EQ(body["model"], "other");
  EXPECT_FALSE(body["system"][0].contains("cache_control"));
  EXPECT_EQ(body["system"][1]["cache_control"], mark) << "short, but long with the tools before it";
  EXPECT_FALSE(body["tools"][0].contains("cache_control"));
  EXPECT_EQ(body["tools"][1]["cache_control"], mark);
}

TEST(anthropic_cache_marks, every_other_byte_stays) {
  const std::string system = R"( "system" : [)" + text_block(long_text) + R"(  ] , )";
  std::string marked = sent(request_with(system));
  const std::string added = R"(,"cache_control":{"type":"ephemeral"})";
  const auto at = marked.find(added);
  ASSERT_NE(at, std::string::npos);
  marked.erase(at, added.size());
  EXPECT_EQ(marked, request_with(system));
}

TEST(anthropic_cache_marks, nothing_changes_where_nothing_is_to_be_gained_or_allowed) {
  const std::string cases[] = {
      request_with(""),
      request_with(R"("system":"short",)"),
      request_with(R"("system":[],)"),
      request_with(R"("system":[)" + text_block(long_text) + R"(,{"type":"text","text":""}],)"),
      request_with(R"("system":[{"type":"text","text":")" + long_text +
                   R"(","cache_control":{"type":"ephemeral"}}],)"),
      request_with(R"("cache_control":{"type":"ephemeral"},"system":")" + long_text + "\","),
      request_with(R"("system":[{"type":"text","text":")" + long_text + R"(","cache\u005fcontrol":null}],)"),
      request_with(R"("tools":[{"name":"f","description":")" + long_text + R"(","defer_loading":true}],)"),
      request_with(R"("tools":[")" + long_text + R"("],)"),
  };
  for (const std::string& body : cases) EXPECT_EQ(sent(body), body);
  const std::string marked = request_with(R"("system":")" + long_text + "\",");
  EXPECT_EQ(sent(marked, false), marked) << "not asked for";
}

}  // namespace
}  // namespace millrace::http
