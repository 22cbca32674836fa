#include "http/dialects/formats.hpp"

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/anthropic_passthrough.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/translation.hpp"
#include "http/openai.hpp"

namespace millrace::http {
namespace {

using engine::provider_kind;
using engine::route_kind;

/// Headers that concern no dialect.
engine::header_list neutral(const engine::header_list& forwarded) {
  engine::header_list out;
  for (const auto& h : forwarded) {
    if (!h.first.starts_with("openai-") && !h.first.starts_with("anthropic-")) out.push_back(h);
  }
  return out;
}

const provider_side& openai_provider() {
  static const provider_side side = {
      openai_chat(), openai(),
      [](const engine::provider_dialect::question& q) {
        return openai_path(route_kind::chat, q.provider, q.model);
      },
      [](const engine::provider_dialect::question& q, engine::header_list& out) {
        out = neutral(q.forwarded);
        add_openai_credentials(q.provider, q.key, out);
      }};
  return side;
}

const provider_side& anthropic_provider() {
  static const provider_side side = {
      anthropic_chat(), anthropic_passthrough(),
      [](const engine::provider_dialect::question& q) {
        return anthropic_path(route_kind::messages, q.provider);
      },
      [](const engine::provider_dialect::question& q, engine::header_list& out) {
        add_anthropic_headers(neutral(q.forwarded), q.key, out);
      }};
  return side;
}

const client_side openai_clients{openai_chat(), openai()};
const client_side anthropic_clients{anthropic_chat(), anthropic_client()};

class formats final : public engine::wire_formats {
 public:
  const engine::client_dialect& of(route_kind route) const override {
    switch (route) {
      case route_kind::messages:
      case route_kind::count_tokens:
        return anthropic_client();
      default:
        return openai();
    }
  }

  const engine::provider_dialect* between(route_kind route,
                                          const engine::provider_config& provider) const override {
    switch (provider.kind) {
      case provider_kind::openai:
      case provider_kind::builtin:
        return at_openai(route);
      case provider_kind::anthropic:
        return at_anthropic(route);
      case provider_kind::gemini:
        break;
    }
    return nullptr;
  }

 private:
  static const engine::provider_dialect* at_openai(route_kind route) {
    static const translation from_anthropic(anthropic_clients, openai_provider());
    switch (route) {
      case route_kind::chat:
      case route_kind::completions:
      case route_kind::embeddings:
        return &openai();
      case route_kind::messages:
        return &from_anthropic;
      default:
        return nullptr;
    }
  }

  static const engine::provider_dialect* at_anthropic(route_kind route) {
    static const translation from_openai(openai_clients, anthropic_provider());
    switch (route) {
      case route_kind::messages:
      case route_kind::count_tokens:
        return &anthropic_passthrough();
      case route_kind::chat:
        return &from_openai;
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
