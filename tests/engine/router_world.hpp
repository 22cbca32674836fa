#pragma once

#include <unordered_map>
#include <vector>

#include "engine/rendezvous.hpp"
#include "engine/router.hpp"

namespace millrace::engine {

/// A configuration made by hand, and what the node knows about its targets.
struct world : target_lookup {
  engine::config c;
  std::unordered_map<name_id, target_view> views;
  std::unordered_map<name_id, target_stats> stats;
  router r;
  route_request request;
  route_plan out;
  time_point now{1000s};

  world() {
    c.providers.resize(2);
    c.providers[1].private_data = true;
    request.input_tokens = 1000;
    request.output_tokens = 500;
    request.now = now;
  }

  size_t model(engine::strategy s = strategy::cost) {
    c.models.emplace_back();
    c.models.back().strategy = s;
    return c.models.size() - 1;
  }
  /// Names count up, so in a world of one model a target's name is its index.
  target_config& target(double price = 0, double quality = 0.5, double weight = 1) {
    auto& targets = c.models.back().targets;
    targets.emplace_back();
    targets.back().name = next_name++;
    targets.back().place = hash_text("target/" + std::to_string(targets.back().name));
    if (!c.models.back().groups.empty()) targets.back().group = c.models.back().groups.size() - 1;
    targets.back().input_usd = price;
    targets.back().quality = quality;
    targets.back().weight = weight;
    return targets.back();
  }
  /// Adds a group to the last model; targets that are added from now on belong to it.
  group_config& group(double weight = 1, engine::strategy s = strategy::cost) {
    auto& groups = c.models.back().groups;
    groups.emplace_back();
    groups.back().name = "g" + std::to_string(groups.size());
    groups.back().weight = weight;
    groups.back().strategy = s;
    groups.back().place = hash_text("group/" + groups.back().name);
    return groups.back();
  }
  void measure(name_id name, duration total) {
    stats[name].record({duration::zero(), total, 500}, now);
    views[name].stats = &stats[name];
  }
  void busy(name_id name, int calls) {
    for (int i = 0; i < calls; ++i) stats[name].call_started();
    views[name].stats = &stats[name];
  }

  target_view view(const target_config& t) const override {
    const auto it = views.find(t.name);
    return it == views.end() ? target_view{} : it->second;
  }

  /// Names of the planned targets, in order.
  std::vector<int> plan() {
    r.plan(c, request, *this, out);
    return names(out.candidates);
  }
  std::vector<int> names(const std::vector<candidate>& of) const {
    std::vector<int> result;
    for (const candidate& k : of) result.push_back(static_cast<int>(config_of(k).name));
    return result;
  }
  const target_config& config_of(const candidate& k) const { return c.models[k.model].targets[k.target]; }

  const traffic_weights* weights(size_t model) const override {
    const auto it = changed.find(model);
    return it == changed.end() ? nullptr : &it->second;
  }

  name_id next_name = 0;
  std::unordered_map<size_t, traffic_weights> changed;
};

}  // namespace millrace::engine
