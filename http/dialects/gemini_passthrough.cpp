#include "http/dialects/gemini_passthrough.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <utility>

#include "http/dialects/foreign_thoughts.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_chunk.hpp"
#include "http/dialects/gemini_media.hpp"
#include "http/dialects/gemini_passthrough_stream.hpp"
#include "http/dialects/gemini_request.hpp"
#include "http/dialects/gemini_signature.hpp"
#include "http/dialects/translation.hpp"
#include "http/retry_hints.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

/// How ids of calls begin at OpenAI, Anthropic, vLLM; Gemini gives none, or others.
constexpr std::array<std::string_view, 3> foreign_call_prefixes = {"call_", "toolu_", "chatcmpl-tool-"};

std::string_view status_name(int status) {
  switch (status) {
    case 400:
    case 413:
    case 414:
    case 415:
    case 422:
    case 431:
      return "INVALID_ARGUMENT";
    case 401:
      return "UNAUTHENTICATED";
    case 402:
      return "RESOURCE_EXHAUSTED";
    case 412:
      return "FAILED_PRECONDITION";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "NOT_FOUND";
    case 405:
    case 501:
      return "UNIMPLEMENTED";
    case 409:
      return "ABORTED";
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 499:
      return "CANCELLED";
    case 502:
    case 503:
      return "UNAVAILABLE";
    case 504:
      return "DEADLINE_EXCEEDED";
    default:
      return status < 500 ? "INVALID_ARGUMENT" : "INTERNAL";
  }
}

/// Reasons are written in upper case.
std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

/// Seconds with three places, such as "1.500s".
std::string delay_text(engine::duration d) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(d).count();
  std::string places = std::to_string(ms % 1000);
  places.insert(0, 3 - places.size(), '0');
  return std::to_string(ms / 1000) + "." + places + "s";
}

void write_details(const engine::api_error& e, std::string& out) {
  const char* separator = "";
  const auto detail = [&](std::string_view type) {
    out.append(std::exchange(separator, ",")).append("{\"@type\":\"type.googleapis.com/google.rpc.");
    out.append(type).append("\",");
  };
  if (!e.code.empty()) {
    detail("ErrorInfo");
    out += "\"reason\":";
    json_quote(upper(e.code), out);
    out += ",\"domain\":\"millrace\"}";
  }
  if (!e.param.empty()) {
    detail("BadRequest");
    out += "\"fieldViolations\":[{\"field\":";
    json_quote(e.param, out);
    out += ",\"description\":";
    json_quote(e.message, out);
    out += "}]}";
  }
  if (e.retry_after > engine::duration{}) {
    detail("RetryInfo");
    out.append("\"retryDelay\":\"").append(delay_text(e.retry_after)).append("\"}");
  }
}

class gemini_client_dialect final : public engine::client_dialect {
 public:
  bool read_request(route_kind route, std::string_view body, engine::request_facts& facts,
                    engine::api_error& error) const override {
    return read_gemini_request(route, body, facts, error);
  }

  bool replay_stream(route_kind route, std::string_view answer, bool /*client_wants_usage*/,
                     std::string& out) const override {
    out.clear();
    return route == route_kind::generate && replay_gemini_answer(answer, out);
  }

  std::string error_body(const engine::api_error& e) const override {
    std::string out = "{\"error\":{\"code\":" + std::to_string(e.status) + ",\"message\":";
    json_quote(e.message, out);
    out.append(",\"status\":\"").append(status_name(e.status)).append("\",\"details\":[");
    write_details(e, out);
    out += "]}}";
    return out;
  }

  std::string error_event(const engine::api_error& e) const override {
    return "data: " + error_body(e) + "\r\n\r\n";
  }
};

class gemini_provider_dialect final : public engine::provider_dialect {
 public:
  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& /*error*/) const override {
    out = {};
    if (q.route == route_kind::generate && began_elsewhere(q) && retell(q, out)) return true;
    out = {};
    out.path = gemini_path(q);
    encode_gemini_passthrough(q.route, q.body, q.model, out.body);
    add_gemini_headers(q.forwarded, q.key, out.headers);
    return true;
  }

  bool rewrite_answer(route_kind route, std::string_view body, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    out.clear();
    used = {};
    gemini_chunk chunk;
    if (!read_gemini_chunk(body, chunk)) return false;
    used = chunk.used;
    const bool tells = route != route_kind::generate || !chunk.candidates.empty() || chunk.blocked;
    if (!chunk.error.empty() || !tells) return false;
    if (chunk.model_version.empty()) {
      out = body;
      return true;
    }
    const auto offset = static_cast<size_t>(chunk.model_version.data() - body.data());
    out.reserve(body.size() + form.model.size() + 2);
    out.append(body, 0, offset);
    json_quote(form.model, out);
    out.append(body.substr(offset + chunk.model_version.size()));
    return true;
  }

  void rewrite_refusal(route_kind /*route*/, int /*status*/, std::string& /*body*/,
                       std::string& /*content_type*/) const override {}

  std::unique_ptr<engine::stream_reader> read_stream(route_kind /*route*/, const engine::answer_form& form,
                                                     bool /*client_wants_usage*/) const override {
    return read_gemini_stream(form.model);
  }

  bool collect_answer(route_kind route, std::string_view stream, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    out.clear();
    used = {};
    return route == route_kind::generate && collect_gemini_answer(stream, form.model, out, used);
  }

  /// Gemini's answers tell of no limits.
  engine::limit_hint read_limits(const engine::upstream_head& /*head*/) const override { return {}; }

  engine::duration read_retry_after(const engine::upstream_head& head, std::string_view body) const override {
    const engine::duration by_header = read_retry_hint(head, std::chrono::system_clock::now());
    gemini_error e;
    if (by_header > engine::duration{} || !read_gemini_error_body(body, e)) return by_header;
    return std::min(parse_reset(e.retry_delay).value_or(engine::duration{}), max_hint);
  }

  bool speaks_of_credit(std::string_view body, std::string_view request) const override {
    gemini_error e;
    return read_gemini_error_body(body, e) && gemini_speaks_of_credit(e, request);
  }

  bool refuses_key(std::string_view body) const override {
    gemini_error e;
    return read_gemini_error_body(body, e) && gemini_refuses_key(e);
  }

 private:
  static bool is_own(const chat_part& thought) {
    return json_is_blank(thought.signature) || is_gemini_signature(thought.signature);
  }
  /// Whether another provider answered earlier turns, so that Gemini would refuse the request as it is.
  static bool began_elsewhere(const question& q) {
    const bool wants_signed_calls = is_gemini_3(q.model) && holds_bytes(q.body, "unctionCall\"");
    if (!wants_signed_calls && !holds_bytes(q.body, foreign_signature_mark)) return false;
    chat_request request;
    engine::api_error unread;
    if (!gemini_chat().decode_request(q.body, request, unread)) return false;
    if (has_foreign_thought(request, is_own)) return true;
    return wants_signed_calls &&
           std::any_of(request.messages.begin(), request.messages.end(),
                       [&q](const chat_message& m) { return has_foreign_call(m, q.body); });
  }
  /// A call that bears another API's id, and no signature. Ids that stand not in the body were made up.
  static bool has_foreign_call(const chat_message& message, std::string_view body) {
    const std::less<> before;
    for (const chat_part& part : message.parts) {
      if (is_gemini_signature(part.signature)) return false;
      if (part.kind != part_kind::tool_call) continue;
      const bool told =
          !before(part.id.data(), body.data()) && before(part.id.data(), body.data() + body.size());
      return told && std::any_of(foreign_call_prefixes.begin(), foreign_call_prefixes.end(),
                                 [&part](std::string_view prefix) { return part.id.starts_with(prefix); });
    }
    return false;
  }
  /// The request as a translation puts it, which leaves such thoughts out and tells so.
  bool retell(const question& q, engine::provider_request& out) const {
    const translation own({gemini_chat(), gemini_client()},
                          {gemini_chat(), *this, [](const question& asked) { return gemini_path(asked); },
                           [](const question& asked, engine::header_list& headers) {
                             add_gemini_headers(asked.forwarded, asked.key, headers);
                           }});
    engine::api_error untold;
    return own.encode_request(q, out, untold);
  }
};

bool is_path_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~/@").find(c) != std::string_view::npos;
}

std::string_view method_of(route_kind route, bool stream) {
  if (route == route_kind::embed) return ":embedContent";
  if (route == route_kind::batch_embed || route == route_kind::embeddings) return ":batchEmbedContents";
  return stream ? ":streamGenerateContent?alt=sse" : ":generateContent";
}

}  // namespace

std::string gemini_model_name(std::string_view model) {
  const bool whole = model.substr(0, 7) == "models/" || model.substr(0, 12) == "tunedModels/";
  return std::string(whole ? "" : "models/").append(model);
}

std::string gemini_path(const engine::provider_dialect::question& q) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string path = q.provider.base_path + "/";
  for (const char c : gemini_model_name(q.model)) {
    if (is_path_character(c)) {
      path += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      path.append("%").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    }
  }
  return path.append(method_of(q.route, q.facts.stream));
}

void add_gemini_headers(const engine::header_list& forwarded, const engine::secret& key,
                        engine::header_list& headers) {
  for (const auto& header : forwarded) {
    const std::string_view name = header.first;
    if (name.substr(0, 10) != "anthropic-" && name.substr(0, 7) != "openai-") headers.push_back(header);
  }
  if (!key.empty()) headers.emplace_back("x-goog-api-key", key.reveal());
}

const engine::client_dialect& gemini_client() {
  static const gemini_client_dialect side;
  return side;
}

const engine::provider_dialect& gemini_passthrough() {
  static const gemini_provider_dialect side;
  return side;
}

}  // namespace millrace::http
