#include "engine/dispatcher_machine.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/dispatcher_impl.hpp"

namespace millrace::engine {

namespace {

/// Targets are named "breaker/<provider>/<model>" on the node, and without the prefix in what keys are told.
constexpr std::string_view target_prefix = "breaker/";
/// A granted probe that no request takes goes back after this time.
constexpr duration probe_life = 2s;
/// After a refused probe the breaker is left alone for this long, unless it says when to come.
constexpr duration refused_pause = 1s;

}  // namespace

void dispatcher_machine::impl::apply(config_ptr c, time_point now, effects& out) {
  revoke_spares(out);
  learn_names(*c);
  queue_.reconfigure(c->queue);
  clients_.reconfigure(c->clients);
  budgets_.reconfigure(*c);
  for (size_t p = 0; p < c->providers.size(); ++p) {
    for (size_t i = 0; i < c->providers[p].keys.size(); ++i) {
      const key_config& configured = c->providers[p].keys[i];
      known_key& k = keys_[key_of_[configured.name]];
      k.provider = p;
      k.index = i;
      if (k.book.limits() != configured.limits) k.book.drop_all(now);  // leased under other limits
      k.book.set_limits(configured.limits);
    }
  }
  for (const model_config& m : c->models) {
    for (const target_config& t : m.targets) {
      known_target& known = targets_[target_of_[t.name]];
      const provider_config& p = c->providers[t.provider];
      known.opens_after = p.breaker.consecutive_failures;
      known.longest_silence = std::max(p.timeouts.first_byte, p.timeouts.first_token);
    }
  }
  add_snapshot(std::move(c));
  find_named();
  for (known_key& k : keys_) {
    if (!k.named) k.book.drop_all(now);
    touch(k);
  }
  pass_needed_ = true;
  finish(now, out);
}

/// Makes room for every key and target of `c`. What was known before stays.
void dispatcher_machine::impl::learn_names(const config& c) {
  key_of_.resize(c.names->size(), npos);
  target_of_.resize(c.names->size(), npos);
  for (const provider_config& p : c.providers) {
    for (const key_config& k : p.keys) {
      if (key_of_[k.name] != npos) continue;
      key_of_[k.name] = static_cast<std::uint32_t>(keys_.size());
      keys_.emplace_back().name = k.name;
    }
  }
  for (const model_config& m : c.models) {
    for (const target_config& t : m.targets) {
      if (target_of_[t.name] != npos) continue;
      target_of_[t.name] = static_cast<std::uint32_t>(targets_.size());
      targets_.emplace_back().name = t.name;
    }
  }
}

void dispatcher_machine::impl::add_snapshot(config_ptr c) {
  snapshot s;
  for (const provider_config& p : c->providers) {
    auto& keys = s.provider_keys.emplace_back();
    for (const key_config& k : p.keys) keys.push_back(key_of_[k.name]);
  }
  s.model_of.resize(c->names->size(), npos);
  for (size_t m = 0; m < c->models.size(); ++m) s.model_of[c->models[m].id] = static_cast<std::uint32_t>(m);
  s.config = std::move(c);
  keep_weights(s);
  snapshots_.push_back(std::move(s));
  if (snapshots_.size() > max_snapshots) snapshots_.pop_front();
}

/// A key that was removed still serves the requests that began under a configuration with it.
void dispatcher_machine::impl::find_named() {
  for (known_key& k : keys_) k.named = false;
  for (const snapshot& s : snapshots_) {
    for (const auto& keys : s.provider_keys) {
      for (const std::uint32_t index : keys) keys_[index].named = true;
    }
  }
}

/// Weights changed at run time outlive a reload that says nothing new of their model.
void dispatcher_machine::impl::keep_weights(snapshot& s) const {
  if (snapshots_.empty()) return;
  const snapshot& old = snapshots_.back();
  for (const auto& [model, weights] : old.weights) {
    const model_config& m = old.config->models[model];
    const auto found = s.config->model_index.find(m.name);
    if (found == s.config->model_index.end()) continue;
    if (same_traffic(*old.config, m, *s.config, s.config->models[found->second]))
      s.weights.emplace(static_cast<std::uint32_t>(found->second), weights);
  }
}

void dispatcher_machine::impl::set_weights(const weights_order& order, time_point now, effects& out) {
  if (snapshots_.empty()) return;
  snapshot& s = snapshots_.back();
  const auto found = s.config->model_index.find(order.model);
  if (s.config->version != order.config_version || found == s.config->model_index.end()) return;
  const model_config& m = s.config->models[found->second];
  if (order.groups.size() != m.groups.size() || order.targets.size() != m.targets.size()) return;
  const traffic_weights wanted{order.groups, order.targets};
  const auto model = static_cast<std::uint32_t>(found->second);
  if (wanted == configured_weights(m)) {
    s.weights.erase(model);
  } else {
    s.weights.insert_or_assign(model, wanted);
  }
  revoke_spares(out);
  pass_needed_ = true;
  finish(now, out);
}

const snapshot& dispatcher_machine::impl::snapshot_of(std::uint64_t version) const {
  for (auto s = snapshots_.rbegin(); s != snapshots_.rend(); ++s) {
    if (s->config->version == version) return *s;
  }
  return snapshots_.back();
}

known_key* dispatcher_machine::impl::find_key(name_id name) {
  return name < key_of_.size() && key_of_[name] != npos ? &keys_[key_of_[name]] : nullptr;
}

known_target* dispatcher_machine::impl::find_target(name_id name) {
  return name < target_of_.size() && target_of_[name] != npos ? &targets_[target_of_[name]] : nullptr;
}

std::string dispatcher_machine::impl::target_text(name_id target) const {
  const std::string& text = snapshots_.back().config->names->text(target);
  return text.starts_with(target_prefix) ? text.substr(target_prefix.size()) : text;
}

name_id dispatcher_machine::impl::target_name(const std::string& text) const {
  return snapshots_.back().config->names->find(std::string(target_prefix) + text);
}

void dispatcher_machine::impl::on_grant(name_id key, const lease_grant& g, time_point now, effects& out) {
  known_key* k = find_key(key);
  if (k == nullptr) return;
  const bool rest = k->asked_waiting > g.permits;
  k->asked_permits = rest ? k->asked_permits - g.permits : 0;
  k->asked_waiting = rest ? k->asked_waiting - g.permits : 0;
  k->asked_head = {-1, -1};  // of those that go on waiting the key knows only the sum
  k->asked_since = now;
  k->answered = true;
  k->notice_due = true;
  k->book.add(g, now);
  // Granted before its owner knew better.
  if (!k->named || (k->quarantine != quarantine_reason::none && !g.probe)) k->book.drop_all(now);
  touch(*k);
  pass_needed_ = true;
  finish(now, out);
}

void dispatcher_machine::impl::on_key_notice(const key_notice& n, time_point now, effects& out) {
  known_key* k = find_key(snapshots_.back().config->names->find(n.key));
  if (k == nullptr) return;
  if (!std::exchange(k->notice_due, false)) k->answered = true;
  const bool had_room = !k->no_room;
  const auto quarantine = std::exchange(k->quarantine, n.quarantine);
  if (std::exchange(k->told_quarantine, n.quarantine) != n.quarantine) {
    const bool lifted = n.quarantine == quarantine_reason::none;
    out.health_changes.push_back(
        {k->name, lifted ? health_change::kind::key_quarantine_lifted : health_change::kind::key_quarantined,
         n.quarantine});
  }
  k->no_room = n.next_permit > duration{};
  k->room_at = now + n.next_permit;
  k->apart = n.apart;
  const bool spent = k->spent_until > now;
  k->spent_until = now + n.spent_for;
  k->probe_at = now + n.probe_in;
  k->used_fraction = n.used_fraction;
  if (n.quarantine != quarantine_reason::none && !k->book.holds_probe()) k->book.drop_all(now);
  if (n.quarantine != quarantine_reason::none || !n.cooldowns.empty()) revoke_spares(out);
  for (const cooldown& c : n.cooldowns) {
    const name_id target = c.target.empty() ? no_name : target_name(c.target);
    // Those who wait for nothing but a cooldown's end may have to wait for longer than they can.
    if ((c.target.empty() || target != no_name) && k->cool(target, now + c.remaining)) pass_needed_ = true;
  }
  pass_needed_ =
      pass_needed_ || (k->interested > 0 && (had_room != !k->no_room || k->probe_at > now ||
                                             quarantine != n.quarantine || spent != (k->spent_until > now)));
  touch(*k);
  finish(now, out);
}

void dispatcher_machine::impl::on_breaker_notice(const breaker_notice& n, time_point now, effects& out) {
  known_target* t = find_target(snapshots_.back().config->names->find(n.target));
  if (t == nullptr) return;
  if (n.state != breaker_state::closed) revoke_spares(out);
  pass_needed_ = pass_needed_ || t->state != n.state;
  const bool closed = n.state == breaker_state::closed;
  if (closed != (t->state == breaker_state::closed)) {  // a probe that failed is no news
    out.health_changes.push_back(
        {t->name, closed ? health_change::kind::breaker_closed : health_change::kind::breaker_open});
  }
  t->state = n.state;
  // While a probe of this node is out, that says when another may be: not when this one may be used.
  const bool ours = n.state == breaker_state::half_open && (t->probe_in_hand || t->probe_out);
  if (!ours) t->retry_at = now + n.retry_in;
  t->consecutive_failures = n.consecutive_failures;
  if (closed) {
    t->probe_asked = false;
    t->probe_in_hand = false;
  }
  finish(now, out);
}

void dispatcher_machine::impl::on_home_lost(name_id name, time_point now, effects& out) {
  if (known_key* k = find_key(name)) {
    k->book.new_home(k->in_flight, now);
    // What it was asked for nobody knows any more; whoever waits asks again.
    k->asked_permits = 0;
    k->asked_waiting = 0;
    k->answered = true;
    k->notice_due = false;
    k->used_fraction = 0;  // whoever is not known to the new home hears nothing of it
    touch(*k);
  } else if (known_target* t = find_target(name)) {
    t->probe_asked = false;
    pass_needed_ = true;
    send_outcomes(*t, {}, out);
  }
  finish(now, out);
}

void dispatcher_machine::impl::on_probe_granted(name_id target, time_point now, effects& out) {
  known_target* t = find_target(target);
  if (t == nullptr) return;
  t->probe_asked = false;
  t->probe_in_hand = t->state != breaker_state::closed;
  t->probe_until = now + probe_life;
  schedule(t->probe_until);
  pass_needed_ = true;
  finish(now, out);
}

void dispatcher_machine::impl::on_probe_refused(name_id target, time_point now, effects& out) {
  known_target* t = find_target(target);
  if (t == nullptr) return;
  t->probe_asked = false;
  t->retry_at = std::max(t->retry_at, now + refused_pause);
  pass_needed_ = true;
  finish(now, out);
}

void dispatcher_machine::impl::tick(time_point now, effects& out) {
  if (now < wake_) return;
  wake_ = time_point::max();
  refuse_expired(now, out);
  for (known_target& t : targets_) {
    if (t.probe_in_hand && now >= t.probe_until) {
      t.probe_in_hand = false;
      t.retry_at = now;  // free again, for the next that wants it
      breaker_report unused;
      unused.probe = true;
      unused.probe_unused = true;
      send_outcomes(t, unused, out);
    }
    if (t.probe_asked && now - t.probe_asked_at >= ask_probe_again) {
      t.probe_asked = false;
      pass_needed_ = true;
    }
    if (now >= t.report_due) send_outcomes(t, {}, out);
    schedule(t.report_due);
    if (t.probe_in_hand) schedule(t.probe_until);
    if (t.probe_asked) schedule(t.probe_asked_at + ask_probe_again);
  }
  for (known_key& k : keys_) touch(k);
  if (now >= next_pass_) pass_needed_ = true;
  finish(now, out);
}

dispatcher_machine::dispatcher_machine(std::uint64_t seed) : impl_(std::make_unique<impl>(seed)) {}
dispatcher_machine::~dispatcher_machine() = default;

void dispatcher_machine::apply(config_ptr c, time_point now, effects& out) {
  impl_->apply(std::move(c), now, out);
}
void dispatcher_machine::set_weights(const weights_order& order, time_point now, effects& out) {
  impl_->set_weights(order, now, out);
}
void dispatcher_machine::set_wall(wall_time wall) {
  impl_->set_wall(wall);
}
void dispatcher_machine::restore_spend(const std::vector<earlier_spend>& spends) {
  impl_->restore_spend(spends);
}
void dispatcher_machine::acquire(const acquire_request& r, time_point now, effects& out) {
  impl_->acquire(r, now, out);
}
void dispatcher_machine::cancel(ticket id, time_point now, effects& out) {
  impl_->cancel(id, now, out);
}
void dispatcher_machine::sent(const sent_report& r, time_point now, effects& out) {
  impl_->sent(r, now, out);
}
void dispatcher_machine::settle(const settlement& s, time_point now, effects& out) {
  impl_->settle(s, now, out);
}
void dispatcher_machine::on_grant(name_id key, const lease_grant& g, time_point now, effects& out) {
  impl_->on_grant(key, g, now, out);
}
void dispatcher_machine::on_key_notice(const key_notice& n, time_point now, effects& out) {
  impl_->on_key_notice(n, now, out);
}
void dispatcher_machine::on_breaker_notice(const breaker_notice& n, time_point now, effects& out) {
  impl_->on_breaker_notice(n, now, out);
}
void dispatcher_machine::on_home_lost(name_id name, time_point now, effects& out) {
  impl_->on_home_lost(name, now, out);
}
void dispatcher_machine::on_probe_granted(name_id target, time_point now, effects& out) {
  impl_->on_probe_granted(target, now, out);
}
void dispatcher_machine::on_probe_refused(name_id target, time_point now, effects& out) {
  impl_->on_probe_refused(target, now, out);
}
void dispatcher_machine::tick(time_point now, effects& out) {
  impl_->tick(now, out);
}
time_point dispatcher_machine::next_wakeup() const {
  return impl_->next_wakeup();
}
dispatcher_status dispatcher_machine::status(time_point now) const {
  return impl_->status(now);
}

}  // namespace millrace::engine
