#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"
#include "engine/retry_policy.hpp"

namespace millrace::engine {

/// One admitted request on its way to a provider. The views and the cancellation outlive the answer and its
/// stream.
struct call {
  config_ptr config;
  route_kind route = route_kind::chat;
  std::string id;  ///< x-request-id
  std::string_view body;
  request_facts facts;
  resolved_model model;
  const client_config* client = nullptr;  ///< inside `config`
  header_list forwarded;                  ///< request headers that go on to the provider
  std::uint8_t strategy = 0xff;           ///< override; 0xff: the model's own
  bool private_only = false;
  time_point received;
  time_point deadline = time_point::max();  ///< the caller's
  cancellation* gone = nullptr;
};

/// Takes a request through plan, lease, call, judge and settle, and hands back the answer or an open stream.
///
/// One per I/O thread; `run` is called from any number of coroutines of that thread. The decisions (which
/// target, which key, when) are the dispatcher's, asked through `permit_port`; what is decided here is only
/// what one attempt's outcome means for this one request.
class pipeline {
 public:
  struct ports {
    permit_port& permits;
    upstream_port& upstream;
    clock_port& time;
    const dialect& format;
    observer& watch;
    retry_budget& budget;
  };

  explicit pipeline(ports p) : ports_(p) {}

  /// Never throws for what clients or providers do; every outcome is an answer.
  answer run(call c, yield y);

 private:
  ports ports_;
};

}  // namespace millrace::engine
