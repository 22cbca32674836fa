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
    case route_kind::responses:
      return "/v1/responses";
    case route_kind::messages:
      return "/v1/messages";
    case route_kind::count_tokens:
      return "/v1/messages/count_tokens";
    case route_kind::generate:
      return "/v1beta/models/{model}:generateContent";
    case route_kind::embed:
      return "/v1beta/models/{model}:embedContent";
    case route_kind::batch_embed:
      return "/v1beta/models/{model}:batchEmbedContents";
  }
  return "";
}

}  // namespace millrace::engine
