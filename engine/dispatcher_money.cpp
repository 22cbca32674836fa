// What calls may cost and did cost: budgets of client keys and tenants.
#include <algorithm>

#include "engine/dispatcher_impl.hpp"

namespace millrace::engine {

/// Reserves the most that the request may cost at any target that it may get: which one it will be is known
/// only when a permit is granted, and a request that waits must not find its money gone. False when it is too
/// much; the refusal is sent then, and nothing was charged.
bool dispatcher_machine::impl::within_budget(open_call& c, time_point now, effects& out) {
  if (!budgets_.limited(c.ask.client, c.ask.tenant)) return true;
  const money most = most_cost(c);
  const auto refusal = budgets_.refuses(c.ask.client, c.ask.tenant, most, wall_);
  if (refusal) {
    refuse(c, verdict::over_budget, std::max<duration>(refusal->resets_in, duration(1)), now, out);
    out.replies.back().budget = refusal->kind;
    return false;
  }
  budgets_.reserve(c.ask.client, c.ask.tenant, most);
  c.reserved_money = most;
  return true;
}

money dispatcher_machine::impl::most_cost(const open_call& c) const {
  const snapshot& s = snapshot_of(c.ask.config_version);
  if (c.ask.model >= s.model_of.size() || s.model_of[c.ask.model] == npos) return {};
  const config& all = *s.config;
  money most;
  const auto look = [&](const model_config& m) {
    for (const target_config& t : m.targets) {
      const bool barred = std::find(c.ask.barred.begin(), c.ask.barred.end(), t.name) != c.ask.barred.end();
      const bool hidden = c.ask.private_only && !all.providers[t.provider].private_data;
      if (!barred && !hidden) most = std::max(most, most_cost(c, t));
    }
  };
  const model_config& own = all.models[s.model_of[c.ask.model]];
  look(own);
  for (const size_t fallback : own.fallback_models) look(all.models[fallback]);
  return most;
}

/// An output that the client does not bound is the learned p95 of the target's; no answer is longer than the
/// model's longest.
money dispatcher_machine::impl::most_cost(const open_call& c, const target_config& t) const {
  std::int64_t output = c.ask.max_output_tokens;
  if (output < 0) output = targets_[target_of_[t.name]].stats.p95_output_tokens();
  if (t.max_output_tokens > 0) output = std::min(output, t.max_output_tokens);
  const token_prices prices = t.model.empty() ? c.ask.wildcard : prices_of(t);
  return most_for(c.ask.input_tokens, output, c.ask.images, prices);
}

/// Now that the target is known, what it asks is enough.
void dispatcher_machine::impl::lower_reservation(open_call& c, const target_config& t) {
  if (c.reserved_money == money()) return;
  const money enough = std::min(c.reserved_money, most_cost(c, t));
  budgets_.settle(c.ask.client, c.ask.tenant, c.reserved_money - enough, {}, wall_);
  c.reserved_money = enough;
}

/// What a call cost takes the place of what it reserved; later calls of this change nothing.
void dispatcher_machine::impl::settle_money(open_call& c, money cost) {
  budgets_.settle(c.ask.client, c.ask.tenant, c.reserved_money, cost, wall_);
  c.reserved_money = {};
}

}  // namespace millrace::engine
