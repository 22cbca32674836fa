#include "engine/ports.hpp"

namespace millrace::engine {

std::string_view upstream_head::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::string_view to_string(route_kind r) {
  switch (r) {
    case route_kind::chat:
      return "/v1/chat/completions";
    case route_kind::completions:
      return "/v1/completions";
    case route_kind::embeddings:
      return "/v1/embeddings";
  }
  return "";
}

}  // namespace millrace::engine
