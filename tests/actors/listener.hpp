#pragma once

#include <string>
#include <vector>

#include "actors_world.hpp"

namespace millrace::actors {

/// A dispatcher that only listens.
class listener {
 public:
  dispatcher_actor handle;
  std::vector<std::string> heard;    ///< in order: states of breakers and answers about probes
  std::vector<std::int64_t> grants;  ///< permits, in order
  std::size_t notices = 0;           ///< of keys

  explicit listener(actors_world& w) : world_(w) {
    handle = w.system.spawn([this](dispatcher_actor::pointer) -> dispatcher_actor::behavior_type {
      return {
          [](const desk_batch_ptr&) {},
          [](const join_desk&) {},
          [this](const key_grant& g) { grants.push_back(g.grant.permits); },
          [this](const engine::key_notice&) { ++notices; },
          [this](const engine::breaker_notice& n) {
            EXPECT_EQ(n.target, "breaker/p/m");
            heard.push_back(n.state == engine::breaker_state::open     ? "open"
                            : n.state == engine::breaker_state::closed ? "closed"
                                                                       : "half-open");
          },
          [this](const probe_answer& answer) { heard.push_back(answer.granted ? "granted" : "refused"); },
          [](const engine::config_ptr&) {},
          [](const engine::weights_order&) {},
          [](const tick&) {},
      };
    });
  }
  ~listener() { world_.end(handle); }
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;

 private:
  actors_world& world_;
};

}  // namespace millrace::actors
