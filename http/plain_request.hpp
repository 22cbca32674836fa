#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/api.hpp"

/// What the handlers of routes share: who asks, and answers that come from no provider.
namespace millrace::http {

/// The client whose key the request carries; null when it carries none that is known. Every configured key is
/// compared, so that the time taken tells nothing about which one matched.
const engine::client_config* authenticate(const engine::config& c, const edge_request& r);

/// The refusal of a request without a known key.
engine::api_error invalid_key();

/// Answers a request that never reached the pipeline, and counts it.
class plain_request {
 public:
  plain_request(api_services& services, const edge_request& request);

  const std::string& id() const { return id_; }
  const engine::config& config() const { return *config_; }
  void set_client(const engine::client_config& c) { client_ = &c; }

  engine::answer refuse(const engine::api_error& e);
  engine::answer finish(engine::answer a, std::string_view error_code = {});
  /// To a request that was cancelled.
  engine::answer give_up();

 private:
  api_services& services_;
  const edge_request& request_;
  const engine::config_ptr config_;  ///< of the client: a reload meanwhile must not take it away
  std::string id_;
  const engine::client_config* client_ = nullptr;
};

/// The answer to a request without a known key; nullopt for one that has it.
std::optional<engine::answer> refuse_stranger(api_services& services, const edge_request& r);

/// The answer to a client that is no admin; nullopt for one that is, which `plain` then knows.
std::optional<engine::answer> refuse_unless_admin(const edge_request& r, plain_request& plain);

}  // namespace millrace::http
