#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/config.hpp"
#include "engine/dispatcher_machine.hpp"
#include "engine/rendezvous.hpp"

namespace millrace::engine {

/// Builds configurations without YAML. Names keep their numbers from one `build` to the next.
class config_builder {
 public:
  config c;

  config_builder() { c.version = 0; }

  /// Keys get the ids k1, k2, ...
  config_builder& provider(const std::string& name, const std::vector<key_limits>& keys,
                           bool private_data = false) {
    provider_config p;
    p.name = name;
    p.private_data = private_data;
    for (size_t i = 0; i < keys.size(); ++i) {
      key_config k;
      k.id = "k" + std::to_string(i + 1);
      k.limits = keys[i];
      k.name = names_.intern("key/" + name + "/" + k.id);
      p.keys.push_back(k);
    }
    c.providers.push_back(std::move(p));
    return *this;
  }
  /// One target "<provider>/<model>" for each provider named, cheapest first.
  config_builder& model(const std::string& name, const std::vector<size_t>& providers,
                        const std::vector<size_t>& fallbacks = {}) {
    model_config m;
    m.name = name;
    m.id = names_.intern("model/" + name);
    double price = 1;
    for (const size_t p : providers) {
      target_config t;
      t.provider = p;
      t.model = name;
      t.input_usd = t.output_usd = price++;
      const std::string full = "breaker/" + c.providers[p].name + "/" + name;
      t.name = names_.intern(full);
      t.place = hash_text(full);
      m.targets.push_back(t);
    }
    m.fallback_models = fallbacks;
    c.model_index[name] = c.models.size();
    c.models.push_back(std::move(m));
    return *this;
  }
  /// Groups of the last model, by their weights, and the group of each of its targets.
  config_builder& groups(const std::vector<double>& weights, const std::vector<size_t>& of_targets) {
    model_config& m = c.models.back();
    for (const double w : weights) {
      group_config g;
      g.name = "g" + std::to_string(m.groups.size());
      g.weight = w;
      g.place = hash_text("group/" + g.name);
      m.groups.push_back(g);
    }
    for (size_t i = 0; i < m.targets.size(); ++i) m.targets[i].group = of_targets.at(i);
    return *this;
  }
  config_builder& client(const std::string& name, std::int64_t rpm, std::int64_t tpm) {
    client_config x;
    x.name = x.tenant = name;
    x.rpm = rpm;
    x.tpm = tpm;
    x.id = names_.intern("client/" + name);
    x.tenant_id = names_.intern("tenant/" + name);
    c.clients.push_back(std::move(x));
    return *this;
  }
  config_ptr build() {
    ++c.version;
    auto copy = std::make_shared<config>(c);
    copy->names = std::make_shared<name_table>(names_);
    return copy;
  }

 private:
  name_table names_;
};

inline key_limits rpm(std::int64_t n) {
  key_limits l;
  l.rpm = n;
  return l;
}
inline key_limits tpm(std::int64_t n) {
  key_limits l;
  l.tpm = n;
  return l;
}

inline config_ptr one_key(key_limits limits = rpm(60)) {
  return config_builder().provider("a", {limits}).model("m", {0}).build();
}
/// Model m with a cheap target a and a dear one b.
inline config_ptr two_providers() {
  return config_builder().provider("a", {rpm(20)}).provider("b", {rpm(20)}).model("m", {0, 1}).build();
}

/// A dispatcher whose keys and breakers are played by the test.
class dispatch_world {
 public:
  dispatcher_machine machine{7};
  effects out;  ///< of the last step
  time_point now{std::chrono::hours(1)};
  config_ptr config;

  explicit dispatch_world(config_ptr c) { apply(std::move(c)); }

  void apply(config_ptr c) {
    out.clear();
    config = std::move(c);
    machine.apply(config, now, out);
  }
  name_id id(const std::string& name) const {
    const name_id found = config->names->find(name);
    EXPECT_NE(found, no_name) << name;
    return found;
  }
  acquire_request request(ticket t, const std::string& model = "m") const {
    acquire_request r;
    r.id = t;
    r.config_version = config->version;
    r.model = id("model/" + model);
    r.input_tokens = 100;
    r.max_output_tokens = 50;
    r.patience = 30s;
    return r;
  }
  void acquire(const acquire_request& r) {
    out.clear();
    machine.acquire(r, now, out);
  }
  void acquire(ticket t) { acquire(request(t)); }
  void sent(ticket t) {
    out.clear();
    machine.sent({t, {}}, now, out);
  }
  void settle(ticket t, attempt_outcome o = attempt_outcome::ok, duration retry_after = {}) {
    settlement s;
    s.id = t;
    s.outcome = o;
    s.retry_after = retry_after;
    settle(s);
  }
  void settle(const settlement& s) {
    out.clear();
    machine.settle(s, now, out);
  }
  void cancel(ticket t) {
    out.clear();
    machine.cancel(t, now, out);
  }
  void grant(const std::string& key, std::int64_t permits, token_count tokens = {1'000'000, 1'000'000},
             bool probe = false) {
    out.clear();
    machine.on_grant(id(key), {++leases_, permits, tokens, 2s, probe}, now, out);
  }
  /// The key has nothing before `next`.
  void no_room(const std::string& key, duration next, double used_fraction = 0.5) {
    key_notice n;
    n.key = key;
    n.next_permit = next;
    n.used_fraction = used_fraction;
    notice(n);
  }
  /// The key answers that it cannot give anything now, but soon.
  void answer(const std::string& key) { no_room(key, {}); }
  void notice(const key_notice& n) {
    out.clear();
    machine.on_key_notice(n, now, out);
  }
  void breaker(const std::string& target, breaker_state state, duration retry_in = {}) {
    out.clear();
    machine.on_breaker_notice({"breaker/" + target, state, retry_in, 5}, now, out);
  }
  void lose_home(const std::string& name) {
    out.clear();
    machine.on_home_lost(id(name), now, out);
  }
  /// Lets time pass, ticking when the machine wants to.
  void pass(duration d) {
    out.clear();
    const time_point end = now + d;
    while (machine.next_wakeup() <= end) {
      now = std::max(now, machine.next_wakeup());
      machine.tick(now, out);
      ASSERT_GT(machine.next_wakeup(), now) << "a tick left something undone";
    }
    now = end;
  }

  std::uint64_t last_lease() const { return leases_; }
  const acquire_reply* reply(ticket t) const {
    for (const auto& r : out.replies) {
      if (r.id == t) return &r;
    }
    return nullptr;
  }
  /// Whether `t` was granted in the last step, with this key.
  bool granted(ticket t, const std::string& key) const {
    const auto* r = reply(t);
    return r != nullptr && r->verdict == verdict::granted && r->key == id(key);
  }
  bool refused(ticket t, verdict v) const {
    const auto* r = reply(t);
    return r != nullptr && r->verdict == v;
  }
  /// The newest of a step.
  const lease_request* asked(const std::string& key) const {
    const lease_request* found = nullptr;
    for (const auto& [name, r] : out.lease_requests) {
      if (name == id(key)) found = &r;
    }
    return found;
  }
  const lease_report* told(const std::string& key) const {
    const lease_report* found = nullptr;
    for (const auto& [name, r] : out.lease_reports) {
      if (name == id(key)) found = &r;
    }
    return found;
  }
  const breaker_report* outcomes(const std::string& target) const {
    const breaker_report* found = nullptr;
    for (const auto& [name, r] : out.breaker_reports) {
      if (name == id("breaker/" + target)) found = &r;
    }
    return found;
  }

 private:
  std::uint64_t leases_ = 0;
};

}  // namespace millrace::engine
