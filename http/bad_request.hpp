#pragma once

#include <string>
#include <utility>

#include "engine/ports.hpp"

namespace millrace::http {

/// What a client did wrong: status 400. `code` is a stable snake_case word, `param` the field that is to
/// blame; `message` says what to do.
inline engine::api_error bad_request(std::string code, std::string message, std::string param = {}) {
  engine::api_error e;
  e.status = 400;
  e.type = "invalid_request_error";
  e.code = std::move(code);
  e.message = std::move(message);
  e.param = std::move(param);
  return e;
}

}  // namespace millrace::http
