#include "engine/cache_shard.hpp"

namespace millrace::engine {

cache_finding cache_shard::enter(const cache_key& key, const cache_plan& plan, wall_time now,
                                 const std::function<shared_answer_ptr()>& lead) {
  cache_finding found;
  const std::lock_guard lock(mutex_);
  if (plan.look) {
    found.entry = memory_.find(key, now, &found.stale);
    if (found.entry && now - found.entry->stored_at <= plan.max_age) return found;
    found.too_old = found.entry != nullptr;
    if (found.too_old) memory_.count_as_miss();
    found.entry = nullptr;
  }
  if (!plan.join || plan.only_if_cached) return found;
  auto& flight = flights_[key];
  found.leads = !flight;
  if (!flight) flight = lead();
  found.flight = flight;
  return found;
}

void cache_shard::leave(const cache_key& key, const shared_answer_ptr& flight) {
  flight->close();
  const std::lock_guard lock(mutex_);
  const auto it = flights_.find(key);
  if (it != flights_.end() && it->second == flight) flights_.erase(it);
}

bool cache_shard::put(const cache_key& key, const cached_answer_ptr& entry, wall_time now, bool to_disk) {
  const std::lock_guard lock(mutex_);
  if (purges_.covers(*entry)) return false;
  memory_.insert(key, entry, now);
  if (!to_disk) return false;
  unwritten_.emplace_back(key, entry);
  unwritten_bytes_ += entry->size_bytes();
  while (unwritten_.size() > max_unwritten || unwritten_bytes_ > max_unwritten_bytes) {
    unwritten_bytes_ -= unwritten_.front().second->size_bytes();
    unwritten_.pop_front();
    ++unwritten_dropped_;
  }
  return !std::exchange(writer_told_, true);
}

bool cache_shard::purged(const cached_answer& entry) const {
  const std::lock_guard lock(mutex_);
  return purges_.covers(entry);
}

unwritten_entries cache_shard::take_unwritten(std::size_t most) {
  unwritten_entries taken;
  const std::lock_guard lock(mutex_);
  while (!unwritten_.empty() && taken.size() < most) {
    unwritten_bytes_ -= unwritten_.front().second->size_bytes();
    taken.push_back(std::move(unwritten_.front()));
    unwritten_.pop_front();
  }
  if (taken.empty()) writer_told_ = false;
  return taken;
}

std::size_t cache_shard::purge(const purge_scope& scope, wall_time at) {
  const std::lock_guard lock(mutex_);
  purges_.add(scope, at);
  std::erase_if(unwritten_, [&](const auto& waiting) {
    if (!purges_.covers(*waiting.second)) return false;
    unwritten_bytes_ -= waiting.second->size_bytes();
    return true;
  });
  return memory_.erase_if([&](const cached_answer& entry) { return purges_.covers(entry); });
}

cache_shard_stats cache_shard::statistics() const {
  const std::lock_guard lock(mutex_);
  cache_shard_stats s;
  s.memory = memory_.usage();
  s.memory_limit = memory_.max_bytes();
  s.flights = static_cast<std::int64_t>(flights_.size());
  s.unwritten = static_cast<std::int64_t>(unwritten_.size());
  s.unwritten_dropped = unwritten_dropped_;
  return s;
}

}  // namespace millrace::engine
