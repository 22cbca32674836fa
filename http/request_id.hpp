#pragma once

#include <string>
#include <string_view>

namespace millrace::http {

/// The client's own x-request-id if it matches [A-Za-z0-9._-]{1,128}, else a new one. Thread-safe.
std::string request_id(std::string_view given);

/// How an error of Anthropic's dialect ends as long as it is not known whose it is.
inline constexpr std::string_view unnamed_request = R"("request_id":null})";

}  // namespace millrace::http
