#include "http/dialects/responses_output.hpp"

#include <array>

#include "http/dialects/json_members.hpp"

namespace millrace::http {
namespace {

constexpr std::string_view thought_mark = "\"millrace:t:";
constexpr std::string_view sealed_mark = "\"millrace:s:";

/// An id without what tells other dialects' answers apart.
std::string_view bare(std::string_view id) {
  for (const std::string_view prefix : {"resp_", "chatcmpl-", "msg_"}) {
    if (id.starts_with(prefix)) return id.substr(prefix.size());
  }
  return id;
}

std::string literal_of(std::string_view text) {
  std::string out;
  json_quote(text, out);
  return out;
}

void write_text(std::string_view name, std::string_view escaped, std::string& out) {
  out.append(name).append("\"").append(escaped).append("\"");
}

}  // namespace

std::string_view to_string(response_status status) {
  constexpr std::array<std::string_view, 3> words = {"in_progress", "completed", "incomplete"};
  return words.at(static_cast<std::size_t>(status));
}

response_status response_status_of(finish_reason finish) {
  const bool cut = finish == finish_reason::length || finish == finish_reason::content_filter;
  return cut ? response_status::incomplete : response_status::completed;
}

response_object::response_object(std::string_view answer_id, std::string_view model, std::int64_t created)
    : base_(bare(answer_id)), model_(literal_of(model)) {
  if (base_.empty()) base_ = std::to_string(created);
  head_.append("{\"id\":")
      .append(literal_of("resp_" + base_))
      .append(R"(,"object":"response","created_at":)");
  head_ += std::to_string(created);
}

response_item& response_object::add(response_item_kind kind) {
  constexpr std::array<std::string_view, 3> prefixes = {"msg_", foreign_thought_prefix, "fc_"};
  const std::string id = base_ + '_' + std::to_string(items.size());
  response_item& item = items.emplace_back();
  item.kind = kind;
  item.id = literal_of(std::string(prefixes.at(static_cast<std::size_t>(kind))) + id);
  return item;
}

response_item& response_object::add_call(std::string_view id, std::string_view name) {
  response_item& item = add(response_item_kind::call);
  ++calls_;
  item.call_id = literal_of(id.empty() ? "call_" + base_ + '_' + std::to_string(calls_) : std::string(id));
  item.name = literal_of(name);
  return item;
}

void response_object::write(response_status status, finish_reason finish, const engine::usage& used,
                            std::string& out) const {
  const bool over = status != response_status::in_progress;
  out.append(head_).append(",\"status\":\"").append(to_string(status));
  out += R"(","background":false,"error":null,"incomplete_details":)";
  if (status == response_status::incomplete) {
    out += finish == finish_reason::length ? R"({"reason":"max_output_tokens"})"
                                           : R"({"reason":"content_filter"})";
  } else {
    out += "null";
  }
  out.append(R"(,"instructions":null,"metadata":{},"model":)").append(model_).append(",\"output\":[");
  for (std::size_t i = 0; over && i < items.size(); ++i) {
    if (i > 0) out += ',';
    // Whatever cut the answer short cut its last item.
    write_response_item(items[i], i + 1 == items.size() ? status : response_status::completed, out);
  }
  out += R"(],"parallel_tool_calls":true,"previous_response_id":null,"temperature":null,)";
  out += R"("tool_choice":"auto","tools":[],"top_p":null,"usage":)";
  if (over) {
    write_response_usage(used, out);
  } else {
    out += "null";
  }
  out += '}';
}

void write_response_part(const response_item::part& part, std::string& out) {
  if (part.refusal) {
    write_text(R"({"type":"refusal","refusal":)", part.text, out);
  } else {
    write_text(R"({"type":"output_text","annotations":[],"logprobs":[],"text":)", part.text, out);
  }
  out += '}';
}

void write_response_summary(const response_item& item, std::string& out) {
  write_text(R"({"type":"summary_text","text":)", item.text, out);
  out += '}';
}

void write_response_item(const response_item& item, response_status status, std::string& out) {
  out.append("{\"id\":").append(item.id);
  switch (item.kind) {
    case response_item_kind::message:
      out += R"(,"type":"message","role":"assistant","content":[)";
      for (const auto& part : item.parts) {
        if (&part != item.parts.data()) out += ',';
        write_response_part(part, out);
      }
      out += ']';
      break;
    case response_item_kind::reasoning:
      out += R"(,"type":"reasoning","summary":[)";
      if (item.has_text) write_response_summary(item, out);
      out += ']';
      if (!item.encrypted.empty()) out.append(",\"encrypted_content\":").append(item.encrypted);
      break;
    case response_item_kind::call:
      out.append(R"(,"type":"function_call","call_id":)").append(item.call_id);
      out.append(",\"name\":").append(item.name);
      write_text(",\"arguments\":", item.text, out);
  }
  out.append(",\"status\":\"").append(to_string(status)).append("\"}");
}

void write_response_usage(const engine::usage& used, std::string& out) {
  const auto count = [&out](std::string_view name, std::int64_t n) {
    out.append(name).append(std::to_string(n));
  };
  count("{\"input_tokens\":", used.input_tokens);
  count(",\"input_tokens_details\":{\"cached_tokens\":", used.cached_tokens);
  count(",\"cache_write_tokens\":", used.cache_write_tokens);
  count("},\"output_tokens\":", used.output_tokens);
  count(",\"output_tokens_details\":{\"reasoning_tokens\":", used.reasoning_tokens);
  count("},\"total_tokens\":", used.input_tokens + used.output_tokens);
  out += '}';
}

std::string mark_response_signature(json_literal signature, bool sealed) {
  if (!is_string(signature)) return {};
  return std::string(sealed ? sealed_mark : thought_mark).append(signature.substr(1));
}

bool unmark_response_signature(json_literal encrypted, std::string& signature, bool& sealed) {
  const bool is_sealed = encrypted.starts_with(sealed_mark);
  if (!is_sealed && !encrypted.starts_with(thought_mark)) return false;
  sealed = is_sealed;
  signature = '"';
  signature += encrypted.substr(sealed_mark.size());
  return true;
}

}  // namespace millrace::http
