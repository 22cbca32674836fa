#include "http/dialects/json_members.hpp"
#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_output.hpp"

namespace millrace::http {
namespace {

/// Texts in a row are one, as they are in a stream.
void add_text(const chat_part& said, response_object& response) {
  auto& items = response.items;
  const bool refusal = said.kind == part_kind::refusal;
  const bool grows = !items.empty() && items.back().kind == response_item_kind::message;
  response_item& message = grows ? items.back() : response.add(response_item_kind::message);
  if (message.parts.empty() || message.parts.back().refusal != refusal)
    message.parts.push_back({refusal, {}});
  message.parts.back().text += inside(said.text);
}

void add_part(const chat_part& part, response_object& response) {
  switch (part.kind) {
    case part_kind::text:
    case part_kind::refusal:
      return add_text(part, response);
    case part_kind::thinking: {
      response_item& item = response.add(response_item_kind::reasoning);
      item.text = inside(part.text);
      item.has_text = !item.text.empty();
      if (!json_is_blank(part.signature)) item.encrypted = mark_response_signature(part.signature, false);
      return;
    }
    case part_kind::sealed_thinking:
      response.add(response_item_kind::reasoning).encrypted = mark_response_signature(part.signature, true);
      return;
    case part_kind::tool_call: {
      std::string arguments;
      json_quote(part.arguments.empty() ? "{}" : part.arguments, arguments);
      response.add_call(part.id, part.name).text = inside(arguments);
      return;
    }
    default:
      return;
  }
}

class responses_format final : public chat_client_format {
 public:
  bool decode_request(std::string_view body, chat_request& out, engine::api_error& error) const override {
    return decode_responses_request(body, out, error);
  }
  void encode_answer(const chat_answer& answer, const encode_options& options,
                     std::string& out) const override {
    encode_responses_answer(answer, options, out);
  }
  std::unique_ptr<delta_sink> encode_stream(const encode_options& options,
                                            bool /*include_usage*/) const override {
    return encode_responses_stream(options);
  }
};

}  // namespace

void encode_responses_answer(const chat_answer& answer, const encode_options& options, std::string& out) {
  response_object response(answer.id, options.model, answer.created > 0 ? answer.created : options.now);
  for (const chat_part& part : answer.parts) add_part(part, response);
  response.write(response_status_of(answer.finish), answer.finish, answer.used, out);
}

const chat_client_format& responses_chat() {
  static const responses_format format;
  return format;
}

}  // namespace millrace::http
