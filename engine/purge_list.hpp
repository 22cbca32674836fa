#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "engine/cached_answer.hpp"

namespace millrace::engine {

/// What a purge of the cache is about; what is absent means all.
struct purge_scope {
  std::optional<std::string> tenant;
  std::optional<std::string> model;  ///< as configured

  friend bool operator==(const purge_scope&, const purge_scope&) = default;
  friend bool operator<(const purge_scope& a, const purge_scope& b) {
    return std::tie(a.tenant, a.model) < std::tie(b.tenant, b.model);
  }
};

/// Which stored answers were purged, without looking for them: an answer is covered if it matches a rule's
/// scope and was stored at or before the rule's time. A value; const calls may be concurrent.
class purge_list {
 public:
  /// Beyond it the oldest rule becomes one about everything: more is purged than was asked for, never less.
  static constexpr std::size_t max_rules = 1024;
  using rules_map = std::map<purge_scope, wall_time>;

  /// An earlier time than the scope has already changes nothing.
  void add(const purge_scope& scope, wall_time at);
  /// At most four look-ups; one comparison when everything purged is older. Allocates only for long names.
  bool covers(const cached_answer& a) const;
  /// Drops the rules of before `time`. Nothing that they cover may be left: `time` must be as long ago as
  /// anything is kept.
  void forget_before(wall_time time);

  const rules_map& rules() const { return rules_; }
  bool empty() const { return rules_.empty(); }

 private:
  bool covers(const purge_scope& scope, wall_time stored_at) const;
  void drop_superfluous();

  rules_map rules_;
  wall_time newest_ = wall_time::min();
};

}  // namespace millrace::engine
