#include "http/dialects/anthropic_passthrough.hpp"

#include <algorithm>

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_thinking.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/dialects/foreign_thoughts.hpp"
#include "http/dialects/gemini_signature.hpp"
#include "http/dialects/translation.hpp"
#include "http/openai_answer.hpp"
#include "http/request_id.hpp"
#include "http/retry_hints.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

constexpr std::string_view version = "2023-06-01";
constexpr std::string_view own_call_prefix = "toolu_";
constexpr std::string_view own_domain = ".anthropic.com";

class anthropic_client_dialect final : public engine::client_dialect {
 public:
  bool read_request(route_kind route, std::string_view body, engine::request_facts& facts,
                    engine::api_error& error) const override {
    return read_anthropic_request(route, body, facts, error);
  }

  bool replay_stream(route_kind route, std::string_view answer, bool /*client_wants_usage*/,
                     std::string& out) const override {
    if (route == route_kind::messages) return replay_anthropic_answer(answer, out);
    out.clear();
    return false;
  }

  std::string error_body(const engine::api_error& e) const override {
    std::string out;
    write_anthropic_error(e, out);
    return out;
  }

  std::string error_event(const engine::api_error& e) const override {
    return "event: error\ndata: " + error_body(e) + "\n\n";
  }
};

class anthropic_provider_dialect final : public engine::provider_dialect {
 public:
  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& /*error*/) const override {
    out = {};
    if (q.route == route_kind::messages && began_elsewhere(q) && retell(q, out)) return true;
    out = {};
    out.path = anthropic_path(q.route, q.provider);
    const bool mark = q.mark_prompt_cache && q.route == route_kind::messages;
    write_anthropic_body(q.body, q.facts, q.model, mark, out.body);
    add_anthropic_headers(q.forwarded, q.key, out.headers);
    return true;
  }

  bool rewrite_answer(route_kind route, std::string_view body, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    const bool has_content = route == route_kind::messages;
    return rewrite_anthropic_answer(body, form.model, has_content, out, used);
  }

  void rewrite_refusal(route_kind /*route*/, int /*status*/, std::string& /*body*/,
                       std::string& /*content_type*/) const override {
    // It is in the client's dialect.
  }

  std::unique_ptr<engine::stream_reader> read_stream(route_kind /*route*/, const engine::answer_form& form,
                                                     bool /*client_wants_usage*/) const override {
    return read_anthropic_stream(form.model);
  }

  bool collect_answer(route_kind route, std::string_view stream, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    if (route == route_kind::messages) return collect_anthropic_answer(stream, form.model, out, used);
    out.clear();
    used = {};
    return false;
  }

  engine::limit_hint read_limits(const engine::upstream_head& head) const override {
    return read_anthropic_limits(head, std::chrono::system_clock::now());
  }

  engine::duration read_retry_after(const engine::upstream_head& head,
                                    std::string_view /*body*/) const override {
    return read_retry_hint(head, std::chrono::system_clock::now());
  }

  bool speaks_of_credit(std::string_view body, std::string_view request) const override {
    return http::speaks_of_credit(body, request);
  }

 private:
  /// Whether another provider answered earlier turns, so that this one would refuse the request as it is.
  static bool began_elsewhere(const question& q) {
    const bool thinks = holds_bytes(q.body, "\"budget_tokens\"");
    // Others that speak this API may leave their own thoughts unsigned.
    const bool signs_all = q.provider.host.ends_with(own_domain);
    if (!thinks && !holds_bytes(q.body, gemini_signature_mark) &&
        !(signs_all && holds_blank_signature(q.body)))
      return false;
    chat_request request;
    engine::api_error unread;
    if (!anthropic_chat().decode_request(q.body, request, unread)) return false;
    return has_foreign_thought(request, signs_all ? is_anthropic_thought : is_not_geminis) ||
           (thinks && lacks_thoughts(request) && calls_are_foreign(request));
  }
  static bool is_not_geminis(const chat_part& thought) { return !is_gemini_signature(thought.signature); }
  /// The last answer calls tools without any thought, under ids that are not Anthropic's.
  static bool calls_are_foreign(const chat_request& request) {
    const auto last = std::find_if(request.messages.rbegin(), request.messages.rend(),
                                   [](const chat_message& m) { return m.role == chat_role::assistant; });
    if (last == request.messages.rend()) return false;
    const auto& parts = last->parts;
    const bool thought = std::any_of(parts.begin(), parts.end(), [](const chat_part& part) {
      return part.kind == part_kind::thinking || part.kind == part_kind::sealed_thinking;
    });
    return !thought && std::any_of(parts.begin(), parts.end(), [](const chat_part& part) {
      return part.kind == part_kind::tool_call && !part.id.starts_with(own_call_prefix);
    });
  }
  /// The request as a translation puts it, which leaves such thoughts out and tells so.
  bool retell(const question& q, engine::provider_request& out) const {
    const translation own({anthropic_chat(), anthropic_client()},
                          {anthropic_chat(), *this,
                           [](const question& asked) { return anthropic_path(asked.route, asked.provider); },
                           [](const question& asked, engine::header_list& headers) {
                             add_anthropic_headers(asked.forwarded, asked.key, headers);
                           }});
    engine::api_error untold;
    return own.encode_request(q, out, untold);
  }
};

}  // namespace

void write_anthropic_error(const engine::api_error& error, std::string& out) {
  out.append(R"({"type":"error","error":{"type":")").append(anthropic_error_type(error.status));
  out += "\",\"message\":";
  json_quote(error.message, out);
  if (!error.code.empty()) {
    out += ",\"details\":{\"error_code\":";
    json_quote(error.code, out);
    out += '}';
  }
  out.append("},").append(unnamed_request);
}

std::string anthropic_path(route_kind route, const engine::provider_config& provider) {
  constexpr std::string_view v1 = "/v1";
  std::string path = provider.base_path;
  const bool has_version =
      path.size() >= v1.size() && path.compare(path.size() - v1.size(), v1.size(), v1) == 0;
  if (!has_version) path += v1;
  path += route == route_kind::count_tokens ? "/messages/count_tokens" : "/messages";
  return path;
}

void add_anthropic_headers(const engine::header_list& forwarded, const engine::secret& key,
                           engine::header_list& headers) {
  headers.append(forwarded);
  const bool has_version = std::any_of(forwarded.begin(), forwarded.end(),
                                       [](const auto& h) { return h.first == "anthropic-version"; });
  if (!has_version) headers.emplace_back("anthropic-version", version);
  if (!key.empty()) headers.emplace_back("x-api-key", key.reveal());
}

const engine::client_dialect& anthropic_client() {
  static const anthropic_client_dialect dialect;
  return dialect;
}

const engine::provider_dialect& anthropic_passthrough() {
  static const anthropic_provider_dialect dialect;
  return dialect;
}

}  // namespace millrace::http
