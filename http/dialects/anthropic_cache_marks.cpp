#include "http/dialects/anthropic_cache_marks.hpp"

#include <optional>
#include <utility>

#include "http/dialects/json_members.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

const std::string mark_member = ",\"cache_control\":" + std::string(anthropic_cache_mark);

/// The last element of an array, as written; empty when there is none.
json_literal last_element(json_literal array) {
  json_literal last;
  each_element(array, [&](json_literal element, std::size_t) {
    last = element;
    return true;
  });
  return last;
}

/// Puts the mark behind the last member of an object that has some.
body_edit mark_object(std::string_view body, json_literal object) {
  return {static_cast<std::size_t>(object.data() - body.data()) + object.size() - 1, 0, mark_member};
}

std::optional<body_edit> mark_tools(std::string_view body, json_literal tools) {
  const json_literal last = last_element(tools);
  const json_members<2> tool(last, {"name", "defer_loading"});
  if (!tool.whole || tool[0].empty() || tool[1] == "true") return std::nullopt;
  return mark_object(body, last);
}

std::optional<body_edit> mark_system(std::string_view body, json_literal system) {
  if (is_string(system)) {
    body_edit edit;
    edit.offset = static_cast<std::size_t>(system.data() - body.data());
    edit.length = system.size();
    edit.text.append(R"([{"type":"text","text":)").append(system).append(mark_member).append("}]");
    return edit;
  }
  const json_literal last = last_element(system);
  const json_members<2> block(last, {"type", "text"});
  if (!block.whole || !json_says(block[0], "text") || json_is_blank(block[1])) return std::nullopt;
  return mark_object(body, last);
}

bool long_enough(std::size_t bytes) {
  return token_estimate::of_text(bytes) >= least_marked_tokens;
}

}  // namespace

std::vector<body_edit> mark_anthropic_prompt(std::string_view body) {
  // However it is spelt: a body that speaks of marks in another way than as a member's name goes without.
  if (body.find("cache_control") != std::string_view::npos || body.find("cache\\u") != std::string_view::npos)
    return {};
  const json_members<2> request(body, {"system", "tools"});
  if (!request.whole) return {};
  const json_literal system = request[0];
  const json_literal tools = request[1];
  std::vector<body_edit> edits;
  if (long_enough(tools.size())) {
    if (auto edit = mark_tools(body, tools)) edits.push_back(std::move(*edit));
  }
  if (!json_is_blank(system) && long_enough(tools.size() + system.size())) {
    if (auto edit = mark_system(body, system)) edits.push_back(std::move(*edit));
  }
  if (edits.size() == 2 && edits[1].offset < edits[0].offset) std::swap(edits[0], edits[1]);
  return edits;
}

}  // namespace millrace::http
