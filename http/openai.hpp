#pragma once

#include "engine/ports.hpp"

namespace millrace::http {

/// OpenAI's wire format, as spoken by OpenAI and everything compatible with it. Stateless; safe from any
/// thread.
///
/// What it promises beyond the interfaces:
/// - `read_request` accepts exactly one JSON object in valid UTF-8, nested at most 128 deep, without
/// duplicate
///   top-level keys (compared unescaped), and looks only at the members Millrace itself needs. Refusals are
///   400 `invalid_request_error`. `facts.input_tokens` follows token_estimate.hpp; whoever counts tokens "as
///   the limit counts them" adds `facts.max_output_tokens` (which already covers `n` and `best_of`; -1: not
///   said).
/// - `encode_request`, `rewrite_answer` and `read_stream` edit in place: every byte they do not replace is
/// kept.
///   `encode_request` and `rewrite_answer` replace `out`; the stream reader's `feed` appends to it.
class openai_dialect final : public engine::client_dialect, public engine::provider_dialect {
 public:
  bool read_request(engine::route_kind route, std::string_view body, engine::request_facts& facts,
                    engine::api_error& error) const override;
  bool replay_stream(engine::route_kind route, std::string_view answer, bool client_wants_usage,
                     std::string& out) const override;
  std::string error_body(const engine::api_error& e) const override;
  std::string error_event(const engine::api_error& e) const override;

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
};

const openai_dialect& openai();

/// Local servers need no key; an empty one is not sent.
void add_openai_credentials(const engine::provider_config& provider, const engine::secret& key,
                            engine::header_list& headers);
/// The path of a route at a provider: of chat for all routes of conversations, of embeddings for all of
/// those. Azure's has the deployment in it, which bears the model's name unless `base_url` names one, and its
/// version behind it.
std::string openai_path(engine::route_kind route, const engine::provider_config& provider,
                        std::string_view model);
/// Whether it is one of the models that think before they answer, for which OpenAI refuses `max_tokens`: o1,
/// o3, o4-mini and the like, and all that begin with gpt-5 but gpt-5-chat.
/// https://platform.openai.com/docs/api-reference/chat/create
bool is_openai_reasoning_model(std::string_view model);

}  // namespace millrace::http
