#include "engine/budget_book.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace millrace::engine {

/// Nothing is dropped: a client that comes again finds what it had spent, and calls under way what they
/// reserved. So there are as many accounts as there were names of clients and tenants, which configurations
/// bound.
void budget_book::reconfigure(const config& c) {
  for (auto& [name, a] : accounts_) a.budget = {};
  order_.clear();
  std::unordered_set<name_id> seen;
  const auto keep = [&](name_id name) -> account& {
    if (seen.insert(name).second) order_.push_back(name);
    return accounts_[name];
  };
  std::unordered_map<std::string_view, budget_config> tenants;
  for (const tenant_config& t : c.tenants) tenants[t.name] = t.budget;
  for (const client_config& client : c.clients) {
    keep(client.id).budget = client.budget;
    account& tenant = keep(client.tenant_id);
    tenant.tenant = true;
    if (const auto own = tenants.find(client.tenant); own != tenants.end()) tenant.budget = own->second;
  }
}

void budget_book::restore(const std::vector<earlier_spend>& spends, wall_time now) {
  turn(now);
  for (const earlier_spend& s : spends) {
    account* a = find(s.account);
    if (a == nullptr) continue;
    a->spent_day += s.day;
    a->spent_month += s.month;
  }
}

bool budget_book::limited(name_id client, name_id tenant) const {
  const account* c = find(client);
  const account* t = find(tenant);
  return (c != nullptr && c->budget.any()) || (t != nullptr && t->budget.any());
}

std::optional<budget_book::refusal> budget_book::refuses(name_id client, name_id tenant, money amount,
                                                         wall_time now) {
  if (amount <= money()) return std::nullopt;
  turn(now);
  std::optional<refusal> worst;
  for (const name_id name : {client, tenant}) {
    const account* a = find(name);
    if (a == nullptr) continue;
    const auto r = refuses(*a, amount, now);
    if (r && (!worst || r->resets_in > worst->resets_in)) worst = r;
  }
  return worst;
}

/// Of the two periods the longer one is told: before it is over, nothing helps.
std::optional<budget_book::refusal> budget_book::refuses(const account& a, money amount,
                                                         wall_time now) const {
  const auto over = [&](const std::optional<money>& limit, money spent) {
    return limit && spent + a.reserved + amount > *limit;
  };
  if (over(a.budget.month, a.spent_month)) {
    return refusal{a.tenant ? budget_kind::tenant_month : budget_kind::key_month,
                   start_of(first_of_next_month(day_)) - now};
  }
  if (over(a.budget.day, a.spent_day)) {
    return refusal{a.tenant ? budget_kind::tenant_day : budget_kind::key_day, start_of(day_ + 1) - now};
  }
  return std::nullopt;
}

void budget_book::reserve(name_id client, name_id tenant, money amount) {
  for (const name_id name : {client, tenant}) {
    if (account* a = find(name)) a->reserved += amount;
  }
}

void budget_book::settle(name_id client, name_id tenant, money reserved, money cost, wall_time now) {
  turn(now);
  for (const name_id name : {client, tenant}) {
    account* a = find(name);
    if (a == nullptr) continue;
    a->reserved -= reserved;
    a->spent_day += cost;
    a->spent_month += cost;
  }
}

std::vector<budget_view> budget_book::view(wall_time now) const {
  const day_number day = std::max(day_, day_of(now));
  const bool same_month = first_of_month(day) == first_of_month(day_);
  std::vector<budget_view> out;
  for (const name_id name : order_) {
    const account& a = accounts_.at(name);
    if (a.budget.day)
      out.push_back({name, false, *a.budget.day, day == day_ ? a.spent_day : money(), a.reserved, day + 1});
    if (a.budget.month) {
      out.push_back({name, true, *a.budget.month, same_month ? a.spent_month : money(), a.reserved,
                     first_of_next_month(day)});
    }
  }
  return out;
}

/// Begins a new day, and with it perhaps a new month.
void budget_book::turn(wall_time now) {
  const day_number day = day_of(now);
  if (day <= day_) return;
  const bool same_month = first_of_month(day) == first_of_month(day_);
  for (auto& [name, a] : accounts_) {
    a.spent_day = {};
    if (!same_month) a.spent_month = {};
  }
  day_ = day;
}

budget_book::account* budget_book::find(name_id name) {
  const auto found = accounts_.find(name);
  return found == accounts_.end() ? nullptr : &found->second;
}

const budget_book::account* budget_book::find(name_id name) const {
  const auto found = accounts_.find(name);
  return found == accounts_.end() ? nullptr : &found->second;
}

}  // namespace millrace::engine
