#pragma once

#include "engine/ports.hpp"

namespace millrace::http {

/// The way to all providers: those of kind builtin are answered in place, all others through `network`. One
/// I/O thread.
class provider_upstream final : public engine::upstream_port {
 public:
  provider_upstream(engine::upstream_port& network, const engine::clock_port& time)
      : network_(network), time_(time) {}

  engine::upstream_failure connect(const engine::provider_config& provider, engine::time_point until,
                                   bool fresh, engine::cancellation& gone,
                                   std::unique_ptr<engine::upstream_exchange>& out, engine::yield y,
                                   std::string* why = nullptr) override;

 private:
  engine::upstream_port& network_;
  const engine::clock_port& time_;
};

}  // namespace millrace::http
