#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/config.hpp"

/// Weights that were changed while the node runs. They stand in for those of the file until the file says
/// something else about the model.
namespace millrace::engine {

/// The weights of one model, in the order of its groups and targets in the configuration.
struct traffic_weights {
  std::vector<double> groups;
  std::vector<double> targets;
  bool operator==(const traffic_weights&) const = default;
};

/// "From now on." Meant for the configuration `config_version`; ignored where another one came first.
struct weights_order {
  std::string model;
  std::uint64_t config_version = 0;
  std::vector<double> groups;
  std::vector<double> targets;
};
template <class Inspector>
auto inspect(Inspector& f, weights_order& x) {
  return f(x.model, x.config_version, x.groups, x.targets);
}

/// What the file says.
traffic_weights configured_weights(const model_config& m);

/// Whether weights have any meaning for the model: it has groups, or a strategy that looks at them.
bool uses_weights(const model_config& m);

/// Whether the file says the same about what can be weighed in both, so that a change made at run time stays.
bool same_traffic(const config& before, const model_config& m, const config& after, const model_config& n);

}  // namespace millrace::engine
