#include "engine/router.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace millrace::engine {

namespace {

/// Sizes of the fallback plan's parts.
constexpr size_t plan_cheapest = 3;
constexpr size_t plan_best = 2;
constexpr size_t plan_fastest = 1;

/// Behind everything that has a weight.
constexpr double never = std::numeric_limits<double>::infinity();

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): one request's random number gives each of its
/// targets an independent one.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// An exponentially distributed time with rate `weight`: sorted by it, targets come in a weighted random
/// order.
double draw_order(std::uint64_t random, const candidate& where, double weight) {
  if (weight <= 0) return never;
  const std::uint64_t place = (std::uint64_t{where.model} << 32) | where.target;
  const double uniform = (static_cast<double>(mix(random ^ mix(place)) >> 11) + 0.5) * 0x1p-53;
  return -std::log(uniform) / weight;
}

double price(const target_config& t, std::int64_t input_tokens, std::int64_t output_tokens) {
  return t.input_usd * static_cast<double>(input_tokens) + t.output_usd * static_cast<double>(output_tokens);
}

std::int64_t output_estimate(const route_request& r) {
  return r.output_tokens >= 0 ? r.output_tokens : target_stats::default_output_tokens;
}

}  // namespace

void route_plan::clear() {
  candidates.clear();
  open.clear();
  first_choice.reset();
  unusable = 0;
}

void router::plan(const config& c, const route_request& request, const target_lookup& lookup,
                  route_plan& out) {
  out.clear();
  entries_.clear();
  models_.clear();
  const model_config& own = c.models[request.model];
  const engine::strategy s = request.strategy.value_or(own.strategy);
  add_model(c, request.model, s, request, lookup);
  if (!entries_.empty()) {
    const auto by_strategy = [s](const entry& a, const entry& b) { return before(a, b, s); };
    out.first_choice = std::min_element(entries_.begin(), entries_.end(), by_strategy)->where;
  }
  for (const size_t fallback : own.fallback_models) {
    add_model(c, fallback, c.models[fallback].strategy, request, lookup);
  }
  for (const entry& e : entries_) {
    if (e.tried && !request.retry_tried) continue;
    if (!e.usable) {
      ++out.unusable;
    } else if (e.open && out.open.size() < max_candidates) {
      out.open.push_back(e.where);
    }
  }
  plan_pass(false, out);
  if (request.retry_tried) plan_pass(true, out);
}

void router::add_model(const config& c, size_t model, engine::strategy s, const route_request& request,
                       const target_lookup& lookup) {
  const size_t begin = entries_.size();
  const auto& targets = c.models[model].targets;
  for (size_t i = 0; i < targets.size(); ++i) {
    const target_config& target = targets[i];
    if (request.private_only && !c.providers[target.provider].private_data) continue;
    if (known(target.name)) continue;
    if (std::find(request.barred.begin(), request.barred.end(), target.name) != request.barred.end())
      continue;
    const target_view view = lookup.view(target);
    entry e;
    e.where = {static_cast<std::uint32_t>(model), static_cast<std::uint32_t>(i)};
    e.name = target.name;
    e.open = view.breaker != breaker_state::closed && !view.probe;
    e.usable = view.usable;
    e.room = view.used_fraction <= c.limits.headroom;
    e.tried = std::find(request.tried.begin(), request.tried.end(), target.name) != request.tried.end();
    e.quality = target.quality;
    e.cost = price(target, request.input_tokens, output_estimate(request));
    e.speed_class = 0;
    if (view.stats != nullptr) {
      e.in_flight = view.stats->in_flight();
      e.seconds = view.stats->expected_seconds(output_estimate(request));
      if (view.stats->measured(request.now)) {
        e.speed_class = 1;
      } else if (e.in_flight > 0) {
        e.speed_class = 2;
      }
    }
    if (s == strategy::weighted || s == strategy::least_busy) {
      e.draw = draw_order(request.random, e.where, target.weight);
      e.busy = target.weight > 0 ? static_cast<double>(e.in_flight) / target.weight : never;
    }
    entries_.push_back(e);
  }
  models_.push_back({begin, entries_.size(), s});
}

bool router::known(name_id target) const {
  return target != no_name &&
         std::any_of(entries_.begin(), entries_.end(), [target](const entry& e) { return e.name == target; });
}

void router::plan_pass(bool tried, route_plan& out) {
  for (const stretch& m : models_) {
    const iterator begin = entries_.begin() + static_cast<std::ptrdiff_t>(m.begin);
    const iterator end = entries_.begin() + static_cast<std::ptrdiff_t>(m.end);
    const iterator eligible = std::partition(
        begin, end, [tried](const entry& e) { return e.tried == tried && e.usable && !e.open; });
    const iterator full = std::partition(begin, eligible, [](const entry& e) { return e.room; });
    plan_group(begin, full, m.strategy, out);
    plan_group(full, eligible, m.strategy, out);
  }
}

void router::plan_group(iterator begin, iterator end, engine::strategy s, route_plan& out) {
  const auto count = static_cast<size_t>(end - begin);
  if (s != strategy::weighted && s != strategy::least_busy && count > 1) {
    take(begin, end, 1, s, out);
    take(begin, end, plan_cheapest, strategy::cost, out);
    take(begin, end, plan_best, strategy::quality, out);
    take(begin, end, plan_fastest, strategy::speed, out);
  }
  take(begin, end, count, s, out);
}

void router::take(iterator begin, iterator end, size_t count, engine::strategy by, route_plan& out) {
  const iterator last = begin + std::min(static_cast<std::ptrdiff_t>(count), end - begin);
  std::partial_sort(begin, last, end, [by](const entry& a, const entry& b) { return before(a, b, by); });
  for (iterator e = begin; e != last; ++e) {
    if (e->planned || out.candidates.size() == max_candidates) continue;
    e->planned = true;
    out.candidates.push_back(e->where);
  }
}

bool router::before(const entry& a, const entry& b, engine::strategy s) {
  const auto by = [](const auto&... values) { return std::tuple(values...); };
  switch (s) {
    case strategy::cost:
      return by(a.cost, -a.quality, a.where.target) < by(b.cost, -b.quality, b.where.target);
    case strategy::quality:
      return by(-a.quality, a.cost, a.where.target) < by(-b.quality, b.cost, b.where.target);
    case strategy::speed:
      return by(a.speed_class, a.speed_class == 2 ? a.in_flight : 0, a.seconds, a.where.target) <
             by(b.speed_class, b.speed_class == 2 ? b.in_flight : 0, b.seconds, b.where.target);
    case strategy::weighted:
      return by(a.draw, a.where.target) < by(b.draw, b.where.target);
    case strategy::least_busy:
      return by(a.busy, a.draw, a.where.target) < by(b.busy, b.draw, b.where.target);
  }
  return a.where.target < b.where.target;
}

}  // namespace millrace::engine
