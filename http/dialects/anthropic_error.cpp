#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

struct error_kind {
  std::string_view type;
  int status;
};
/// https://docs.claude.com/en/api/errors; by status the first one counts.
constexpr std::array<error_kind, 11> error_kinds = {{{"invalid_request_error", 400},
                                                     {"authentication_error", 401},
                                                     {"billing_error", 402},
                                                     {"permission_error", 403},
                                                     {"not_found_error", 404},
                                                     {"conflict_error", 409},
                                                     {"request_too_large", 413},
                                                     {"rate_limit_error", 429},
                                                     {"api_error", 500},
                                                     {"timeout_error", 504},
                                                     {"overloaded_error", 529}}};

}  // namespace

anthropic_failure read_anthropic_error(std::string_view body) {
  anthropic_failure failure;
  const json_members<1> outer(body, {"error"});
  if (!outer.whole) return failure;
  const json_members<2> value(outer[0], {"type", "message"});
  failure.type = json_text(value[0]);
  failure.message = json_text(value[1]);
  return failure;
}

int anthropic_status(std::string_view type) {
  for (const error_kind& kind : error_kinds) {
    if (kind.type == type) return kind.status;
  }
  return 0;
}

std::string_view anthropic_error_type(int status) {
  for (const error_kind& kind : error_kinds) {
    if (kind.status == status) return kind.type;
  }
  // Nobody is to blame but the load: every breaker is open, or the node is draining or full.
  if (status == 503) return "overloaded_error";
  return status >= 500 ? "api_error" : "invalid_request_error";
}

}  // namespace millrace::http
