#pragma once

#include <string>

#include "engine/ports.hpp"
#include "http/dialects/chat.hpp"

namespace millrace::http {

/// One side's dialect of conversations with all that belongs to it.
struct client_side {
  const chat_client_format& format;
  const engine::client_dialect& dialect;
};
struct provider_side {
  const chat_provider_format& format;
  const engine::provider_dialect& native;  ///< for limits, hints and credit, which are the provider's affair
  std::string (*path)(const engine::provider_dialect::question& q);
  void (*add_headers)(const engine::provider_dialect::question& q, engine::header_list& headers);
};

/// The client's headers that concern no dialect.
engine::header_list without_dialect_headers(const engine::header_list& forwarded);

/// What a provider's refusal says, as an error of the client's dialect.
void tell_refusal(const chat_provider_format& theirs, const engine::client_dialect& clients, int status,
                  std::string& body, std::string& content_type);

/// Clients of one dialect at providers of another: requests are decoded and encoded again, answers and
/// streams the other way round. Stateless and thread-safe.
class translation final : public engine::provider_dialect {
 public:
  translation(client_side client, provider_side provider) : client_(client), provider_(provider) {}

  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& error) const override;
  bool rewrite_answer(engine::route_kind route, std::string_view body, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override;
  void rewrite_refusal(engine::route_kind route, int status, std::string& body,
                       std::string& content_type) const override;
  std::unique_ptr<engine::stream_reader> read_stream(engine::route_kind route,
                                                     const engine::answer_form& form,
                                                     bool client_wants_usage) const override;
  bool collect_answer(engine::route_kind route, std::string_view stream, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override;
  engine::limit_hint read_limits(const engine::upstream_head& head) const override;
  engine::duration read_retry_after(const engine::upstream_head& head, std::string_view body) const override;
  bool speaks_of_credit(std::string_view body, std::string_view request) const override;
  bool refuses_key(std::string_view body) const override;

 private:
  const client_side client_;
  const provider_side provider_;
};

}  // namespace millrace::http
