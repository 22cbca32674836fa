#include "http/simulator/errors.hpp"

#include <utility>

namespace millrace::http::simulation {

using engine::api_error;

api_error make_error(int status, std::string_view type, std::string_view code, std::string message) {
  api_error e;
  e.status = status;
  e.type = type;
  e.code = code;
  e.message = std::move(message);
  return e;
}

api_error error_of_status(int status) {
  switch (status) {
    case 401:
      return make_error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.");
    case 402:
      return make_error(402, "insufficient_quota", "insufficient_quota",
                        "You have no credit left. Please check your plan and billing details.");
    case 403:
      return make_error(403, "permission_error", "permission_denied", "This key may not use this model.");
    case 404:
      return make_error(404, "invalid_request_error", "model_not_found", "The model does not exist.");
    case 429:
      return make_error(429, "requests", "rate_limit_exceeded",
                        "Rate limit reached. Please try again later.");
    case 503:
      return make_error(503, "server_error", "engine_overloaded", "The engine is currently overloaded.");
    default:
      return status < 500 ? make_error(status, "invalid_request_error", "simulated", "A simulated error.")
                          : make_error(status, "server_error", "server_error", "The server had an error.");
  }
}

}  // namespace millrace::http::simulation
