#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "engine/ports.hpp"

/// What tests of observers have in common: a record to be observed, and the lines that come out.
namespace millrace::engine {

/// A request that went well.
inline request_record finished_request() {
  request_record r;
  r.id = "req-1";
  r.method = "POST";
  r.route = "/v1/chat/completions";
  r.model = "mini";
  r.tenant = "acme";
  r.client = "a";
  r.provider = "openai";
  r.upstream_model = "gpt-mini";
  r.key = "k1";
  r.status = 200;
  r.attempts = 1;
  r.used = {10, 20, 5, 0, 0, 0, true};
  r.cost = money::of_usd(0.25);
  r.total = 3ms;
  r.overhead = 70us;
  r.first_token = 2ms;
  return r;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace millrace::engine
