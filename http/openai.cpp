#include "http/openai.hpp"

#include "http/json_scan.hpp"
#include "http/openai_answer.hpp"
#include "http/openai_collect.hpp"
#include "http/openai_replay.hpp"
#include "http/openai_request.hpp"
#include "http/openai_stream.hpp"
#include "http/retry_hints.hpp"

namespace millrace::http {
namespace {

class openai_dialect final : public engine::dialect {
 public:
  bool read_request(engine::route_kind route, std::string_view body, engine::request_facts& facts,
                    engine::api_error& error) const override {
    return read_openai_request(route, body, facts, error);
  }

  void encode_request(engine::route_kind route, std::string_view body, const engine::request_facts& facts,
                      std::string_view model, std::string& out) const override {
    encode_openai_request(route, body, facts, model, out);
  }

  std::string request_path(engine::route_kind route, const engine::provider_config& provider) const override {
    switch (route) {
      case engine::route_kind::chat:
        return provider.base_path + "/chat/completions";
      case engine::route_kind::completions:
        return provider.base_path + "/completions";
      case engine::route_kind::embeddings:
        return provider.base_path + "/embeddings";
    }
    return provider.base_path;
  }

  /// Local servers need no key; an empty one is not sent.
  void add_credentials(const engine::secret& key, engine::header_list& headers) const override {
    if (!key.empty()) headers.emplace_back("authorization", "Bearer " + key.reveal());
  }

  bool rewrite_answer(std::string_view body, std::string_view client_model, std::string& out,
                      engine::usage& used) const override {
    return rewrite_openai_answer(body, client_model, out, used);
  }

  std::unique_ptr<engine::stream_reader> read_stream(engine::route_kind /*route*/,
                                                     std::string_view client_model,
                                                     bool client_wants_usage) const override {
    return read_openai_stream(client_model, client_wants_usage);
  }

  bool replay_stream(engine::route_kind route, std::string_view answer, bool client_wants_usage,
                     std::string& out) const override {
    return replay_openai_answer(route, answer, client_wants_usage, out);
  }

  bool collect_answer(engine::route_kind route, std::string_view stream, std::string_view client_model,
                      std::string& out, engine::usage& used) const override {
    return collect_openai_answer(route, stream, client_model, out, used);
  }

  engine::limit_hint read_limits(const engine::upstream_head& head) const override {
    return read_openai_limits(head);
  }

  engine::duration read_retry_after(const engine::upstream_head& head) const override {
    return read_retry_hint(head, std::chrono::system_clock::now());
  }

  bool speaks_of_credit(std::string_view body, std::string_view request) const override {
    return http::speaks_of_credit(body, request);
  }

  std::string error_body(const engine::api_error& e) const override {
    std::string out = "{\"error\":{\"message\":";
    json_quote(e.message, out);
    out += ",\"type\":";
    json_quote(e.type, out);
    add_optional(",\"param\":", e.param, out);
    add_optional(",\"code\":", e.code, out);
    out += "}}";
    return out;
  }

  std::string error_event(const engine::api_error& e) const override {
    return "data: " + error_body(e) + "\n\n";
  }

 private:
  static void add_optional(std::string_view name, const std::string& value, std::string& out) {
    out += name;
    if (value.empty()) {
      out += "null";
    } else {
      json_quote(value, out);
    }
  }
};

}  // namespace

const engine::dialect& openai() {
  static const openai_dialect dialect;
  return dialect;
}

}  // namespace millrace::http
