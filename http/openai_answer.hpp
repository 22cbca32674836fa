#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/json_scan.hpp"

/// Answers in OpenAI's format. Pure functions, safe from any thread.
namespace millrace::http {

/// Consumes the value of a `usage` member. Counts that are absent or no whole numbers stay as they are; where
/// only the total and the input are given, the output is their difference.
void read_openai_usage(json_scanner& scanner, engine::usage& used);

/// Whether an answer that ends for this reason, a literal, has failed.
bool is_failing_reason(std::string_view literal);
/// The first `finish_reason` of the choices of an answer or a chunk that is such a one, as written; empty:
/// there is none.
std::string_view failing_reason_in(std::string_view json);

/// See `engine::provider_dialect::rewrite_answer`. Replaces `out`; on false it is empty. With an error, or
/// where it says that it failed, it is no answer, whatever else is there; nor where the list `told`, if one
/// is named, is not there. An empty one is the provider's to give.
bool rewrite_openai_answer(std::string_view body, std::string_view client_model, std::string& out,
                           engine::usage& used, std::string_view told = {});

/// What an error said, as far as anybody reacts to it. Texts are empty where the provider gave none.
struct provider_error {
  std::string message;
  std::string type;
  std::string code;    ///< also when it was sent as a number
  std::string status;  ///< Google's compatible endpoint names its reason here
  bool has_param = false;
};

/// Reads the value of an `error` member, an object or a text, as written.
provider_error read_openai_error(std::string_view value);

/// Whether an error says that the account has no credit left. Codes and types decide first; wording counts
/// only where the error has no code of its own and points at no parameter, because there a client's own words
/// may be quoted, and a key must not be given up for those.
bool speaks_of_credit(const provider_error& e, std::string_view request = {});
/// The status that a failure with this error would have had, 0: unknown. Those of an empty account come as
/// 429, too; 402 tells them from rate limits, which the text alone would not.
int status_of(const provider_error& e);
/// `speaks_of_credit` for a whole error body; see `engine::provider_dialect::speaks_of_credit`.
bool speaks_of_credit(std::string_view body, std::string_view request);

}  // namespace millrace::http
