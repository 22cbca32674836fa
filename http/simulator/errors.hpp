#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http::simulation {

engine::api_error make_error(int status, std::string_view type, std::string_view code, std::string message);

/// Thrown where a request is taken apart and found to be what the real API would refuse, mostly with 400.
class rejected : public std::runtime_error {
 public:
  /// `param`: the member that is wrong, where the API names it apart.
  explicit rejected(const std::string& message, std::string param = {}, std::string code = "invalid_value",
                    int status = 400)
      : std::runtime_error(message), param_(std::move(param)), code_(std::move(code)), status_(status) {}
  engine::api_error error() const;

 private:
  std::string param_;
  std::string code_;
  int status_;
};

}  // namespace millrace::http::simulation
