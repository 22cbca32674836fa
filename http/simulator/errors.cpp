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

api_error rejected::error() const {
  api_error e = make_error(status_, "invalid_request_error", code_, what());
  e.param = param_;
  return e;
}

}  // namespace millrace::http::simulation
