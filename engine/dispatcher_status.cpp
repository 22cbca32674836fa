#include <algorithm>

#include "engine/dispatcher_impl.hpp"

namespace millrace::engine {

namespace {

duration from_seconds(double s) {
  return std::chrono::duration_cast<duration>(std::chrono::duration<double>(s));
}

duration until(time_point t, time_point now) {
  return std::max<duration>(t - now, duration{});
}

}  // namespace

dispatcher_status dispatcher_machine::impl::status(time_point now) const {
  dispatcher_status s;
  s.open_tickets = calls_.size();
  s.budgets = budgets_.view(wall_);
  for (size_t i = 0; i < queue_classes; ++i) {
    const auto which = static_cast<queue_class>(i);
    auto& lane = s.lanes[i];
    lane.depth = queue_.depth(which);
    lane.tokens = queue_.tokens(which);
    const time_point oldest = queue_.oldest(which);
    lane.oldest = oldest == time_point::max() ? duration{} : now - oldest;
    lane.granted = lanes_[i].granted;
    lane.refused = lanes_[i].refused;
    lane.total_wait = lanes_[i].total_wait;
    lane.joined = lanes_[i].joined;
  }
  if (snapshots_.empty()) return s;
  const config& c = *snapshots_.back().config;
  s.config_version = c.version;
  s.weights = snapshots_.back().weights;
  for (const provider_config& p : c.providers) {
    for (const key_config& configured : p.keys) {
      const known_key& k = keys_[key_of_[configured.name]];
      auto& out = s.keys.emplace_back();
      out.name = k.name;
      out.provider = k.provider;
      out.index = k.index;
      out.permits_in_hand = k.book.permits();
      out.waiting = k.interested;
      out.in_flight = k.in_flight;
      out.used_fraction = k.used_fraction;
      out.used = k.use.at(now);
      out.next_permit = k.no_room ? until(k.room_at, now) : duration{};
      out.quarantine = k.quarantine;
      out.granted = k.granted;
      for (const auto& x : k.cooldowns) {
        if (x.until <= now) continue;
        out.cooldowns.push_back({x.target == no_name ? std::string() : target_text(x.target), x.until - now});
      }
    }
  }
  std::vector<bool> seen(targets_.size(), false);
  for (const model_config& m : c.models) {
    for (const target_config& configured : m.targets) {
      const std::uint32_t index = target_of_[configured.name];
      if (seen[index]) continue;
      seen[index] = true;
      const known_target& t = targets_[index];
      auto& out = s.targets.emplace_back();
      out.name = t.name;
      out.breaker = t.state;
      out.retry_in = t.state == breaker_state::closed ? duration{} : until(t.retry_at, now);
      out.consecutive_failures = t.consecutive_failures;
      out.in_flight = t.stats.in_flight();
      out.first_token = from_seconds(t.stats.first_token_seconds());
      out.tokens_per_second = t.stats.tokens_per_second();
      out.p95_output_tokens = t.stats.p95_output_tokens();
    }
  }
  return s;
}

}  // namespace millrace::engine
