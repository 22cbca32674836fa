#include "http/dialects/anthropic_blocks.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "http/bad_request.hpp"
#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

/// Members of all blocks that are translated, by their place in `member_names`.
enum member : std::size_t {
  type,
  text,
  source,
  title,
  context,
  citations,
  thinking,
  signature,
  data,
  id,
  name,
  input,
  caller,
  toolset,
  call_id,
  content,
  is_error,
  cache,
  member_count
};
constexpr std::array<std::string_view, member_count> member_names = {
    "type",     "text",         "source",      "title",   "context",  "citations",
    "thinking", "signature",    "data",        "id",      "name",     "input",
    "caller",   "toolset_name", "tool_use_id", "content", "is_error", "cache_control"};

template <class... Members>
constexpr std::uint32_t set_of(Members... members) {
  return ((1U << members) | ... | 0U);
}

template <class... Homes>
constexpr std::uint8_t homes(Homes... all) {
  return static_cast<std::uint8_t>((static_cast<unsigned>(all) | ...));
}

struct block_type {
  std::string_view name;
  part_kind kind;
  std::uint8_t homes;
  std::uint32_t required;
  std::uint32_t optional;
};

constexpr auto by_user = homes(block_home::user, block_home::tool_result);
constexpr auto by_assistant = homes(block_home::assistant);
constexpr auto by_all =
    homes(block_home::user, block_home::tool_result, block_home::assistant, block_home::system);

constexpr std::array<block_type, 7> block_types = {{
    {"text", part_kind::text, by_all, set_of(text), set_of(citations, cache)},
    {"image", part_kind::image, by_user, set_of(source), set_of(cache)},
    {"document", part_kind::document, by_user, set_of(source), set_of(title, context, citations, cache)},
    {"tool_use", part_kind::tool_call, by_assistant, set_of(id, name, input), set_of(caller, toolset, cache)},
    {"tool_result", part_kind::tool_result, homes(block_home::user), set_of(call_id),
     set_of(content, is_error, toolset, cache)},
    {"thinking", part_kind::thinking, by_assistant, set_of(thinking, signature), 0},
    {"redacted_thinking", part_kind::sealed_thinking, by_assistant, set_of(data), 0},
}};

bool is_direct_caller(json_literal caller) {
  const json_members<1> value(caller, {"type"});
  if (!value.is_object) return false;
  return json_text(value[0]) == "direct";
}

bool switches_on(json_literal citations) {
  const json_members<1> value(citations, {"enabled"});
  if (!value.is_object) return false;
  return value[0] == "true";
}

}  // namespace

struct block_decoder::block : json_members<member_count> {
  using json_members::json_members;
};

std::string block_place::path(std::string_view member) const {
  std::string out(root);
  const bool nested = root == "messages";
  if (first >= 0) out.append(".").append(std::to_string(first));
  if (second >= 0) out.append(nested ? ".content." : ".").append(std::to_string(second));
  if (third >= 0) out.append(".content.").append(std::to_string(third));
  if (!member.empty()) out.append(".").append(member);
  return out;
}

block_home place_of(chat_role role) {
  if (role == chat_role::user) return block_home::user;
  return role == chat_role::assistant ? block_home::assistant : block_home::system;
}

bool is_direct_caller_list(json_literal callers) {
  json_scanner scanner(callers);
  if (!scanner.enter_array()) return false;
  while (scanner.next_element()) {
    if (json_text(scanner.value()) != "direct") return false;
  }
  return true;
}

bool block_decoder::fail(std::string code, std::string param, std::string_view why) {
  const std::string message = param.empty() ? std::string(why) : "`" + param + "`: " + std::string(why);
  error_ = bad_request(std::move(code), message, std::move(param));
  return false;
}

bool block_decoder::fail_unsupported(std::string param) {
  return fail("unsupported_field", std::move(param),
              "the provider of this model cannot do this: leave it out, or ask for a model of Anthropic's.");
}

void block_decoder::drop(std::string_view name) {
  if (std::find(out_.dropped.begin(), out_.dropped.end(), name) == out_.dropped.end())
    out_.dropped.emplace_back(name);
}

bool block_decoder::read_content(json_scanner& scanner, block_place at, block_home home,
                                 std::vector<chat_part>& into) {
  if (scanner.peek() == '"') {
    into.emplace_back().text = scanner.value();
    return true;
  }
  if (!scanner.enter_array())
    return fail("invalid_type", at.path("content"), "it must be a string or an array of blocks.");
  int& index = at.first < 0 ? at.first : at.second < 0 ? at.second : at.third;
  for (index = 0; scanner.next_element(); ++index) {
    if (!read_block(scanner, at, home, into)) return false;
  }
  return true;
}

bool block_decoder::judge_cache_control(json_literal value, block_place at) {
  return value.empty() || value.front() == '{' ||
         fail("invalid_type", at.path("cache_control"), "it must be an object.");
}

bool block_decoder::read_block(json_scanner& scanner, block_place at, block_home home,
                               std::vector<chat_part>& into) {
  const block b(scanner, member_names);
  if (!b.is_object) return fail("invalid_type", at.path(), "a content block must be an object.");
  if (scanner.error() != json_error::none) return fail("invalid_json", at.path(), "it is not valid JSON.");
  if (!want_string(b[type], at, "type")) return false;
  const std::string named = json_text(b[type]);
  const auto known =
      std::find_if(block_types.begin(), block_types.end(), [&](const auto& t) { return t.name == named; });
  // First the type: blocks of other types have other members.
  if (known == block_types.end()) return fail_unsupported(at.path("type"));
  if (!b.unknown.empty()) return fail_unsupported(at.path(b.unknown));
  if ((known->homes & static_cast<unsigned>(home)) == 0)
    return fail("invalid_value", at.path("type"), "blocks of type " + named + " have no place here.");
  for (std::size_t m = text; m < member_count; ++m) {
    const bool given = !b[m].empty();
    const std::uint32_t bit = 1U << m;
    if (given && ((known->required | known->optional) & bit) == 0)
      return fail_unsupported(at.path(member_names[m]));
    if (!given && (known->required & bit) != 0)
      return fail("missing_field", at.path(member_names[m]), "a block of type " + named + " needs it.");
  }
  chat_part part;
  part.kind = known->kind;
  part.cache_control = b[cache];
  if (!judge_cache_control(b[cache], at) || !fill(b, at, part, into)) return false;
  into.push_back(std::move(part));
  return true;
}

bool block_decoder::fill(const block& b, block_place at, chat_part& part, std::vector<chat_part>& into) {
  switch (part.kind) {
    case part_kind::text:
      part.text = b[text];
      if (!json_is_blank(b[citations])) drop("citations");
      return want_string(part.text, at, "text");
    case part_kind::image:
      return fill_source(b, at, part);
    case part_kind::document:
      return fill_document(b, at, part, into);
    case part_kind::tool_call:
      return fill_call(b, at, part);
    case part_kind::tool_result:
      return fill_result(b, at, part);
    case part_kind::thinking:
      part.text = b[thinking];
      part.signature = b[signature];
      return want_string(part.text, at, "thinking") && want_string(part.signature, at, "signature");
    default:  // redacted_thinking; there are no others in `block_types`
      part.signature = b[data];
      return want_string(part.signature, at, "data");
  }
}

bool block_decoder::fill_source(const block& b, block_place at, chat_part& part) {
  const json_members<4> value(b[source], {"type", "media_type", "data", "url"});
  if (!value.is_object) return fail("invalid_type", at.path("source"), "it must be an object.");
  const std::string kind = json_text(value[0]);
  const bool plain_text = kind == "text" && part.kind == part_kind::document;
  if (kind != "base64" && kind != "url" && !plain_text) return fail_unsupported(at.path("source.type"));
  if (!value.unknown.empty()) return fail_unsupported(at.path("source." + value.unknown));
  if (kind == "url") {
    part.url = text_of(value[3], out_);
    return !part.url.empty() || fail("missing_field", at.path("source.url"), "it must be a URL.");
  }
  if (!want_string(value[2], at, "source.data")) return false;
  part.media_type = text_of(value[1], out_);
  if (plain_text) {
    part.text = value[2];
  } else {
    part.data = text_of(value[2], out_);
    if (part.media_type.empty())
      return fail("missing_field", at.path("source.media_type"), "say what kind of data it is.");
  }
  return true;
}

bool block_decoder::fill_document(const block& b, block_place at, chat_part& part,
                                  std::vector<chat_part>& into) {
  if (switches_on(b[citations])) return fail_unsupported(at.path("citations"));
  if (!b[context].empty()) {
    if (!want_string(b[context], at, "context")) return false;
    into.emplace_back().text = b[context];
  }
  part.name = text_of(b[title], out_);
  return fill_source(b, at, part);
}

bool block_decoder::fill_call(const block& b, block_place at, chat_part& part) {
  if (!b[caller].empty() && !is_direct_caller(b[caller])) return fail_unsupported(at.path("caller"));
  if (!b[toolset].empty()) return fail_unsupported(at.path("toolset_name"));
  part.id = text_of(b[id], out_);
  part.name = text_of(b[name], out_);
  part.arguments = b[input];
  if (part.id.empty()) return fail("invalid_value", at.path("id"), "it must be the id of the call.");
  if (part.name.empty()) return fail("invalid_value", at.path("name"), "it must be the name of the tool.");
  return part.arguments.front() == '{' || fail("invalid_type", at.path("input"), "it must be an object.");
}

bool block_decoder::fill_result(const block& b, block_place at, chat_part& part) {
  if (!b[toolset].empty()) return fail_unsupported(at.path("toolset_name"));
  part.id = text_of(b[call_id], out_);
  if (part.id.empty())
    return fail("invalid_value", at.path("tool_use_id"), "it must be the id of the call that it answers.");
  if (!b[is_error].empty() && b[is_error] != "true" && b[is_error] != "false")
    return fail("invalid_type", at.path("is_error"), "it must be true or false.");
  part.failed = b[is_error] == "true";
  if (b[content].empty()) return true;
  json_scanner scanner(b[content]);
  return read_content(scanner, at, block_home::tool_result, part.result);
}

bool block_decoder::want_string(json_literal value, block_place at, std::string_view name) {
  if (!value.empty() && value.front() == '"') return true;
  return fail(value.empty() ? "missing_field" : "invalid_type", at.path(name), "it must be a string.");
}

}  // namespace millrace::http
