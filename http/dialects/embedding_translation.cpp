#include "http/dialects/embedding_translation.hpp"

#include "http/dialects/embedding.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_passthrough.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/translation.hpp"
#include "http/openai.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

/// Where the provider counts nothing the client is told what it is billed for.
void count_input(embedding_answer& a, const engine::answer_form& form) {
  if (a.used.known) return;
  a.used.input_tokens = form.input_tokens;
  a.used.known = true;
}

/// What both directions have in common: no streams, and refusals as in conversations.
class embedding_translation : public engine::provider_dialect {
 public:
  embedding_translation(const chat_format& theirs, const engine::client_dialect& clients,
                        const engine::provider_dialect& native)
      : theirs_(theirs), clients_(clients), native_(native) {}

  void rewrite_refusal(route_kind, int status, std::string& body, std::string& content_type) const override {
    tell_refusal(theirs_, clients_, status, body, content_type);
  }
  std::unique_ptr<engine::stream_reader> read_stream(route_kind route, const engine::answer_form& form,
                                                     bool usage) const override {
    return native_.read_stream(route, form, usage);
  }
  bool collect_answer(route_kind, std::string_view, const engine::answer_form&, std::string& out,
                      engine::usage& used) const override {
    out.clear();
    used = {};
    return false;
  }
  engine::limit_hint read_limits(const engine::upstream_head& head) const override {
    return native_.read_limits(head);
  }
  engine::duration read_retry_after(const engine::upstream_head& head, std::string_view body) const override {
    return native_.read_retry_after(head, body);
  }
  bool speaks_of_credit(std::string_view body, std::string_view request) const override {
    return native_.speaks_of_credit(body, request);
  }
  bool refuses_key(std::string_view body) const override { return native_.refuses_key(body); }

 private:
  const chat_format& theirs_;
  const engine::client_dialect& clients_;
  const engine::provider_dialect& native_;
};

class at_gemini final : public embedding_translation {
 public:
  at_gemini() : embedding_translation(gemini_chat(), openai(), gemini_passthrough()) {}

  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& error) const override {
    embedding_request r;
    if (!decode_openai_embedding_request(q.body, r, error)) return false;
    encode_gemini_batch(r, q.model, out.body, out.dropped);
    out.path = gemini_path(q);
    add_gemini_headers(q.forwarded, q.key, out.headers);
    return true;
  }
  bool rewrite_answer(route_kind, std::string_view body, const engine::answer_form& form, std::string& out,
                      engine::usage& used) const override {
    out.clear();
    used = {};
    embedding_answer a;
    if (!decode_gemini_embeddings(body, a)) return false;
    used = a.used;
    count_input(a, form);
    encode_openai_embeddings(a, form.base64, form.model, out);
    return true;
  }
};

class at_openai final : public embedding_translation {
 public:
  at_openai() : embedding_translation(openai_chat(), gemini_client(), openai()) {}

  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& error) const override {
    embedding_request r;
    if (!decode_gemini_embedding_request(q.route, q.body, r, error)) return false;
    encode_openai_embedding_request(r, q.model, out.body, out.dropped);
    out.path = openai_path(route_kind::embeddings, q.provider, q.model);
    out.headers = without_dialect_headers(q.forwarded);
    add_openai_credentials(q.provider, q.key, out.headers);
    return true;
  }
  bool rewrite_answer(route_kind route, std::string_view body, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    out.clear();
    used = {};
    embedding_answer a;
    if (!decode_openai_embeddings(body, a)) return false;
    used = a.used;
    count_input(a, form);
    encode_gemini_embeddings(route, a, out);
    return true;
  }
};

}  // namespace

const engine::provider_dialect& openai_embeddings_at_gemini() {
  static const at_gemini dialect;
  return dialect;
}

const engine::provider_dialect& gemini_embeddings_at_openai() {
  static const at_openai dialect;
  return dialect;
}

}  // namespace millrace::http
