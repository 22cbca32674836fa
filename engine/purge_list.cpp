#include "engine/purge_list.hpp"

#include <algorithm>

namespace millrace::engine {
namespace {

const purge_scope everything{};

}  // namespace

void purge_list::add(const purge_scope& scope, wall_time at) {
  wall_time& time = rules_.try_emplace(scope, at).first->second;
  time = std::max(time, at);
  newest_ = std::max(newest_, at);
  drop_superfluous();
  while (rules_.size() > max_rules) {
    wall_time oldest = wall_time::max();
    for (const auto& [what, when] : rules_) {
      if (what != everything) oldest = std::min(oldest, when);
    }
    rules_.insert_or_assign(everything, oldest);
    drop_superfluous();
  }
}

bool purge_list::covers(const cached_answer& a) const {
  if (rules_.empty() || a.stored_at > newest_) return false;
  return covers(everything, a.stored_at) || covers({.tenant = a.tenant, .model = {}}, a.stored_at) ||
         covers({.tenant = {}, .model = a.model}, a.stored_at) ||
         covers({.tenant = a.tenant, .model = a.model}, a.stored_at);
}

void purge_list::forget_before(wall_time time) {
  std::erase_if(rules_, [&](const auto& r) { return r.second < time; });
}

/// What is about everything makes earlier rules about parts superfluous.
void purge_list::drop_superfluous() {
  const auto all = rules_.find(everything);
  if (all == rules_.end()) return;
  const wall_time until = all->second;
  std::erase_if(rules_, [&](const auto& r) { return r.first != everything && r.second <= until; });
}

bool purge_list::covers(const purge_scope& scope, wall_time stored_at) const {
  const auto it = rules_.find(scope);
  return it != rules_.end() && stored_at <= it->second;
}

}  // namespace millrace::engine
