#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/messages.hpp"
#include "engine/time.hpp"

/// What a key's windows hold and which cooldowns run, as a plain value: it goes to the next home of the key,
/// also over a restart.
namespace millrace::engine {

/// `amount` was used `age` ago or earlier; below 0: a lease may still use it.
struct aged_use {
  duration age{};
  std::int64_t amount = 0;
  bool operator==(const aged_use&) const = default;
};
template <class Inspector>
auto inspect(Inspector& f, aged_use& x) {
  return f(x.age, x.amount);
}

/// One window's use, oldest first; nothing where there is no limit.
struct window_use {
  std::vector<aged_use> uses;
  /// How much more may be granted within `key_use::unheard`. Whoever does not know whether it was counts it.
  std::int64_t soon = 0;
  bool operator==(const window_use&) const = default;
};
template <class Inspector>
auto inspect(Inspector& f, window_use& x) {
  return f(x.uses, x.soon);
}

struct key_use {
  /// The time for which `soon` is reckoned: longer than from one saving to the end of the next.
  static constexpr duration unheard = std::chrono::seconds(3);

  std::string key;            ///< "key/<provider>/<id>"
  std::uint64_t changes = 0;  ///< grants and reports that the home has seen; of no meaning to another home
  window_use rpm;
  window_use tpm;
  window_use tpm_input;
  window_use tpm_output;
  window_use rpd;
  std::vector<cooldown> cooldowns;  ///< those that have not ended
  bool operator==(const key_use&) const = default;
};
template <class Inspector>
auto inspect(Inspector& f, key_use& x) {
  return f(x.key, x.changes, x.rpm, x.tpm, x.tpm_input, x.tpm_output, x.rpd, x.cooldowns);
}

}  // namespace millrace::engine
