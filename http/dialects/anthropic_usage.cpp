#include <algorithm>

#include "http/dialects/anthropic_codec.hpp"
#include "http/token_count.hpp"

namespace millrace::http {

void anthropic_usage::read(json_scanner& scanner) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    std::int64_t* into = nullptr;
    if (key == "input_tokens") into = &input_tokens;
    if (key == "output_tokens") into = &output_tokens;
    if (key == "cache_read_input_tokens") into = &cache_read_tokens;
    if (key == "cache_creation_input_tokens") into = &cache_write_tokens;
    if (key == "output_tokens_details") {
      read_token_detail(scanner, "thinking_tokens", thinking_tokens);
      continue;
    }
    if (key == "cache_creation") {
      read_token_detail(scanner, "ephemeral_1h_input_tokens", long_write_tokens);
      continue;
    }
    const std::string_view value = scanner.value();
    if (into != nullptr) read_token_count(value, *into);
  }
}

engine::usage anthropic_usage::total() const {
  const auto told = [](std::int64_t count) { return std::max<std::int64_t>(count, 0); };
  engine::usage used;
  used.cached_tokens = told(cache_read_tokens);
  used.cache_write_tokens = told(cache_write_tokens);
  used.long_write_tokens = std::min(told(long_write_tokens), used.cache_write_tokens);
  used.input_tokens = told(input_tokens) + used.cached_tokens + used.cache_write_tokens;
  used.output_tokens = told(output_tokens);
  used.reasoning_tokens = told(thinking_tokens);
  used.known = input_tokens >= 0 || output_tokens >= 0;
  return used;
}

void write_anthropic_usage(const engine::usage& used, std::string& out) {
  const std::int64_t fresh = used.input_tokens - used.cached_tokens - used.cache_write_tokens;
  out.append("{\"input_tokens\":").append(std::to_string(std::max<std::int64_t>(fresh, 0)));
  out.append(",\"cache_creation_input_tokens\":").append(std::to_string(used.cache_write_tokens));
  out.append(",\"cache_read_input_tokens\":").append(std::to_string(used.cached_tokens));
  out.append(",\"output_tokens\":").append(std::to_string(used.output_tokens));
  if (used.reasoning_tokens > 0) {
    out.append(",\"output_tokens_details\":{\"thinking_tokens\":");
    out.append(std::to_string(used.reasoning_tokens)).append("}");
  }
  out += '}';
}

}  // namespace millrace::http
