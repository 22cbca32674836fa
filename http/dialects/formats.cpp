#include "http/dialects/formats.hpp"

#include "http/builtin/builtin_chat.hpp"
#include "http/dialects/answer_gist.hpp"
#include "http/dialects/answer_text.hpp"
#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/anthropic_passthrough.hpp"
#include "http/dialects/embedding_translation.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_passthrough.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/refusals.hpp"
#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_passthrough.hpp"
#include "http/dialects/translation.hpp"
#include "http/openai.hpp"

namespace millrace::http {
namespace {

using engine::provider_kind;
using engine::route_kind;
using question = engine::provider_dialect::question;

client_side openai_clients() {
  return {openai_chat(), openai()};
}
client_side anthropic_clients() {
  return {anthropic_chat(), anthropic_client()};
}
client_side responses_clients() {
  return {responses_chat(), responses_client()};
}
client_side gemini_clients() {
  return {gemini_chat(), gemini_client()};
}

provider_side at_openai() {
  return {openai_chat(), openai(),
          [](const question& q) { return openai_path(route_kind::chat, q.provider, q.model); },
          [](const question& q, engine::header_list& out) {
            out = without_dialect_headers(q.forwarded);
            add_openai_credentials(q.provider, q.key, out);
          }};
}
provider_side at_builtin() {
  const provider_side openai_side = at_openai();
  return {builtin_chat(), openai_side.native, openai_side.path, openai_side.add_headers};
}
provider_side at_anthropic() {
  return {anthropic_chat(), anthropic_passthrough(),
          [](const question& q) { return anthropic_path(route_kind::messages, q.provider); },
          [](const question& q, engine::header_list& out) {
            add_anthropic_headers(without_dialect_headers(q.forwarded), q.key, out);
          }};
}
provider_side at_gemini() {
  return {gemini_chat(), gemini_passthrough(), [](const question& q) { return gemini_path(q); },
          [](const question& q, engine::header_list& out) { add_gemini_headers(q.forwarded, q.key, out); }};
}

class formats final : public engine::wire_formats {
 public:
  const engine::client_dialect& of(route_kind route) const override {
    switch (route) {
      case route_kind::messages:
      case route_kind::count_tokens:
        return anthropic_client();
      case route_kind::generate:
      case route_kind::embed:
      case route_kind::batch_embed:
        return gemini_client();
      case route_kind::responses:
        return responses_client();
      default:
        return openai();
    }
  }

  bool text_answer(route_kind route, std::string_view client_model, std::string_view text, std::int64_t now,
                   std::string& out) const override {
    return write_text_answer(route, client_model, text, now, out);
  }
  engine::answer_gist gist_of(route_kind route, std::string_view answer,
                              const engine::confidence_source& source) const override {
    return read_gist(route, answer, source);
  }
  engine::refusal_reason reason_of(const engine::provider_config& provider, int status,
                                   std::string_view body) const override {
    return refusal_of(provider.kind, status, body);
  }

  const engine::provider_dialect* between(route_kind route,
                                          const engine::provider_config& provider) const override {
    switch (provider.kind) {
      case provider_kind::openai:
        if (route == route_kind::responses && provider.responses) return &responses_passthrough();
        return for_openai(route);
      case provider_kind::builtin:
        return for_builtin(route);
      case provider_kind::anthropic:
        return for_anthropic(route);
      case provider_kind::gemini:
        return for_gemini(route);
    }
    return nullptr;
  }

 private:
  static const engine::provider_dialect* for_openai(route_kind route) {
    static const translation from_anthropic(anthropic_clients(), at_openai());
    static const translation from_gemini(gemini_clients(), at_openai());
    static const translation from_responses(responses_clients(), at_openai());
    switch (route) {
      case route_kind::chat:
      case route_kind::completions:
      case route_kind::embeddings:
        return &openai();
      case route_kind::messages:
        return &from_anthropic;
      case route_kind::generate:
        return &from_gemini;
      case route_kind::responses:
        return &from_responses;
      case route_kind::embed:
      case route_kind::batch_embed:
        return &gemini_embeddings_at_openai();
      default:
        return nullptr;
    }
  }

  static const engine::provider_dialect* for_builtin(route_kind route) {
    static const translation from_openai(openai_clients(), at_builtin());
    static const translation from_anthropic(anthropic_clients(), at_builtin());
    static const translation from_gemini(gemini_clients(), at_builtin());
    static const translation from_responses(responses_clients(), at_builtin());
    switch (route) {
      case route_kind::chat:
        return &from_openai;  // no passthrough, which could not tell what it leaves out
      case route_kind::messages:
        return &from_anthropic;
      case route_kind::generate:
        return &from_gemini;
      case route_kind::responses:
        return &from_responses;
      case route_kind::completions:
        return nullptr;
      default:
        return for_openai(route);
    }
  }

  static const engine::provider_dialect* for_anthropic(route_kind route) {
    static const translation from_openai(openai_clients(), at_anthropic());
    static const translation from_gemini(gemini_clients(), at_anthropic());
    static const translation from_responses(responses_clients(), at_anthropic());
    switch (route) {
      case route_kind::messages:
      case route_kind::count_tokens:
        return &anthropic_passthrough();
      case route_kind::chat:
        return &from_openai;
      case route_kind::generate:
        return &from_gemini;
      case route_kind::responses:
        return &from_responses;
      default:
        return nullptr;
    }
  }

  static const engine::provider_dialect* for_gemini(route_kind route) {
    static const translation from_openai(openai_clients(), at_gemini());
    static const translation from_anthropic(anthropic_clients(), at_gemini());
    static const translation from_responses(responses_clients(), at_gemini());
    switch (route) {
      case route_kind::generate:
      case route_kind::embed:
      case route_kind::batch_embed:
        return &gemini_passthrough();
      case route_kind::chat:
        return &from_openai;
      case route_kind::messages:
        return &from_anthropic;
      case route_kind::responses:
        return &from_responses;
      case route_kind::embeddings:
        return &openai_embeddings_at_gemini();
      default:
        return nullptr;
    }
  }
};

}  // namespace

const engine::wire_formats& all_formats() {
  static const formats all;
  return all;
}

}  // namespace millrace::http
