#include "engine/usage_ledger.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {
namespace {

/// Joins names, each behind its length, so that only equal names give equal texts.
void append_name(std::string& to, std::string_view name) {
  const auto size = static_cast<std::uint32_t>(name.size());
  to.append(reinterpret_cast<const char*>(&size), sizeof size).append(name);
}

bool from_cache(std::string_view word) {
  return word == "hit" || word == "coalesced" || word == "semantic" || word == "template" || word == "stale";
}

}  // namespace

usage_counts& usage_counts::operator+=(const usage_counts& o) {
  requests += o.requests;
  cached_requests += o.cached_requests;
  attempts += o.attempts;
  input_tokens += o.input_tokens;
  output_tokens += o.output_tokens;
  cached_tokens += o.cached_tokens;
  cache_write_tokens += o.cache_write_tokens;
  reasoning_tokens += o.reasoning_tokens;
  estimated_tokens += o.estimated_tokens;
  images += o.images;
  cost += o.cost;
  return *this;
}

void usage_ledger::request_done(const request_record& r) {
  const bool cached = r.attempts == 0 && from_cache(r.cache) && r.status < 400;
  if (r.asked_model.empty() || (r.attempts == 0 && !cached)) return;
  const std::lock_guard lock(mutex_);
  usage_counts& c = mark(at(day_of(r.at), r.tenant, r.client, r.asked_model)).counts;
  ++c.requests;
  c.cached_requests += cached ? 1 : 0;
}

void usage_ledger::attempt_done(const attempt_record& r) {
  const std::lock_guard lock(mutex_);
  usage_counts& c = mark(at(day_of(r.at), r.tenant, r.client, r.asked_model)).counts;
  ++c.attempts;
  c.input_tokens += r.used.input_tokens;
  c.output_tokens += r.used.output_tokens;
  c.cached_tokens += r.used.cached_tokens;
  c.cache_write_tokens += r.used.cache_write_tokens;
  c.reasoning_tokens += r.used.reasoning_tokens;
  c.estimated_tokens += r.estimated_tokens;
  c.images += r.images;
  c.cost += r.cost;
}

usage_ledger::row& usage_ledger::mark(row& r) {
  if (!std::exchange(r.changed, true)) changed_.push_back(&r);
  return r;
}

usage_ledger::row& usage_ledger::at(day_number day, std::string_view tenant, std::string_view client,
                                    std::string_view model) {
  thread_local std::string name;
  name.clear();
  append_name(name, tenant);
  append_name(name, client);
  append_name(name, model);
  day_rows& rows = days_[day];
  const auto found = rows.find(name);
  if (found != rows.end()) return found->second;
  // One row more for each tenant and day is always left: tenants are configured.
  if (size_ >= most_ && model != other) return at(day, tenant, other, other);
  ++size_;
  row& fresh = rows[name];
  fresh.key = {day, std::string(tenant), std::string(client), std::string(model)};
  return fresh;
}

void usage_ledger::restore(std::vector<usage_row> rows) {
  const std::lock_guard lock(mutex_);
  for (auto& [key, counts] : rows) at(key.day, key.tenant, key.client, key.model).counts += counts;
}

std::vector<usage_row> usage_ledger::take_changed() {
  const std::lock_guard lock(mutex_);
  std::vector<usage_row> out;
  out.reserve(changed_.size());
  for (row* r : changed_) {
    r->changed = false;
    out.emplace_back(r->key, r->counts);
  }
  changed_.clear();
  return out;
}

void usage_ledger::put_back(const std::vector<usage_row>& rows) {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, counts] : rows) mark(at(key.day, key.tenant, key.client, key.model));
}

std::vector<usage_key> usage_ledger::forget_before(day_number first) {
  const std::lock_guard lock(mutex_);
  std::vector<usage_key> gone;
  const auto end = days_.lower_bound(first);
  for (auto day = days_.begin(); day != end; ++day) {
    for (auto& [name, r] : day->second) gone.push_back(r.key);
  }
  if (gone.empty()) return gone;
  std::erase_if(changed_, [first](const row* r) { return r->key.day < first; });
  days_.erase(days_.begin(), end);
  size_ -= gone.size();
  return gone;
}

std::vector<usage_row> usage_ledger::rows(day_number from, day_number to) const {
  std::vector<usage_row> out;
  {
    const std::lock_guard lock(mutex_);
    for (auto day = days_.lower_bound(from); day != days_.end() && day->first <= to; ++day) {
      for (const auto& [name, r] : day->second) out.emplace_back(r.key, r.counts);
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

std::map<std::string, spent_money> usage_ledger::spent(wall_time now) const {
  std::map<std::string, spent_money> out;
  const day_number today = day_of(now);
  for (const auto& [key, counts] : rows(first_of_month(today), today)) {
    for (const std::string& account : {"client/" + key.client, "tenant/" + key.tenant}) {
      spent_money& s = out[account];
      s.month += counts.cost;
      if (key.day == today) s.day += counts.cost;
    }
  }
  return out;
}

std::size_t usage_ledger::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

}  // namespace millrace::engine
