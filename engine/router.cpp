#include "engine/router.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "engine/model_choice.hpp"
#include "engine/rendezvous.hpp"

namespace millrace::engine {

namespace {

/// Sizes of the fallback plan's parts.
constexpr size_t plan_cheapest = 3;
constexpr size_t plan_best = 2;
constexpr size_t plan_fastest = 1;

double price(const target_config& t, std::int64_t input_tokens, std::int64_t output_tokens) {
  return t.input_usd * static_cast<double>(input_tokens) + t.output_usd * static_cast<double>(output_tokens);
}

std::int64_t expected_output(const route_request& r) {
  return r.output_tokens >= 0 ? r.output_tokens : target_stats::default_output_tokens;
}

}  // namespace

void route_plan::clear() {
  candidates.clear();
  open.clear();
  first_choice.reset();
  unusable = 0;
  too_small = 0;
}

void router::plan(const config& c, const route_request& request, const target_lookup& lookup,
                  route_plan& out) {
  out.clear();
  entries_.clear();
  models_.clear();
  const model_config& own = c.models[request.model];
  if (request.refused == refusal_reason::none) {
    add_model(c, request.model, request.strategy.value_or(own.strategy), request, lookup);
    const bool fit = std::all_of(entries_.begin(), entries_.end(), [](const entry& e) { return e.fits; });
    if (!fit) add_models(c, own.context_fallbacks, request, lookup);
    add_models(c, own.fallback_models, request, lookup);
    out.too_small = leave_out_too_small();
    if (models_.front().begin != models_.front().end) out.first_choice = first_of(models_.front());
  } else {
    const bool context = request.refused == refusal_reason::context;
    add_models(c, context ? own.context_fallbacks : own.content_policy_fallbacks, request, lookup);
    out.too_small = leave_out_too_small();
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

void router::add_models(const config& c, const std::vector<size_t>& models, const route_request& request,
                        const target_lookup& lookup) {
  for (const size_t model : models) add_model(c, model, c.models[model].strategy, request, lookup);
}

/// Where the request fits nowhere, the estimate may be wrong: then the providers shall say. Returns how many
/// were left out.
std::uint32_t router::leave_out_too_small() {
  const auto fit = std::count_if(entries_.begin(), entries_.end(), [](const entry& e) { return e.fits; });
  const auto left = static_cast<std::uint32_t>(entries_.size() - static_cast<size_t>(fit));
  if (fit == 0 || left == 0) return 0;
  size_t kept = 0;
  for (stretch& m : models_) {
    const size_t begin = kept;
    for (size_t i = m.begin; i < m.end; ++i) {
      if (entries_[i].fits) entries_[kept++] = entries_[i];
    }
    m.begin = begin;
    m.end = kept;
  }
  entries_.resize(kept);
  return left;
}

void router::add_model(const config& c, size_t model, engine::strategy s, const route_request& request,
                       const target_lookup& lookup) {
  const size_t begin = entries_.size();
  const model_config& m = c.models[model];
  const auto& targets = m.targets;
  const traffic_weights* weights = lookup.weights(model);
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
    e.group = static_cast<std::uint32_t>(target.group);
    e.open = view.breaker != breaker_state::closed && !view.probe;
    e.usable = view.usable;
    e.room = view.used_fraction <= c.limits.headroom;
    e.tried = std::find(request.tried.begin(), request.tried.end(), target.name) != request.tried.end();
    e.quality = target.quality;
    e.fits = fits_context(target.context_tokens, request.input_tokens, request.output_tokens);
    e.cost = price(target, request.input_tokens, expected_output(request));
    e.speed_class = 0;
    if (view.stats != nullptr) {
      e.in_flight = view.stats->in_flight();
      e.seconds = view.stats->expected_seconds(expected_output(request));
      if (view.stats->measured(request.now)) {
        e.speed_class = 1;
      } else if (e.in_flight > 0) {
        e.speed_class = 2;
      }
    }
    if (!m.groups.empty() || s == strategy::weighted || s == strategy::least_busy) {
      const double weight = weights != nullptr ? weights->targets[i] : target.weight;
      e.draw = waiting_time(request.random, target.place, weight);
      e.busy = weight > 0 ? static_cast<double>(e.in_flight) / weight : never;
    }
    entries_.push_back(e);
  }
  stretch added{begin, entries_.size(), s, m.groups.empty() ? nullptr : &m.groups, false};
  added.overruled = model == request.model && request.strategy.has_value();
  if (added.groups != nullptr) weigh_groups(added, request, weights);
  models_.push_back(added);
}

/// Tells each entry how its group stands among the model's groups.
void router::weigh_groups(const stretch& m, const route_request& request, const traffic_weights* weights) {
  const auto in_group = [&](size_t group, auto&& what) {
    for (size_t i = m.begin; i < m.end; ++i) {
      if (entries_[i].group == group) what(entries_[i]);
    }
  };
  for (size_t g = 0; g < m.groups->size(); ++g) {
    const group_config& group = (*m.groups)[g];
    const double weight = weights != nullptr ? weights->groups[g] : group.weight;
    std::int64_t in_flight = 0;
    in_group(g, [&](const entry& e) { in_flight += e.in_flight; });
    const double draw = waiting_time(request.random, group.place, weight);
    const double busy = weight > 0 ? static_cast<double>(in_flight) / weight : never;
    in_group(g, [&](entry& e) {
      e.group_draw = draw;
      e.group_busy = busy;
    });
  }
}

/// What the strategy would take of all entries of `m`, of which there are some.
candidate router::first_of(const stretch& m) {
  const iterator begin = entries_.begin() + static_cast<std::ptrdiff_t>(m.begin);
  const iterator end = entries_.begin() + static_cast<std::ptrdiff_t>(m.end);
  const auto by = [](engine::strategy s) {
    return [s](const entry& a, const entry& b) { return before(a, b, s); };
  };
  if (m.groups == nullptr) return std::min_element(begin, end, by(m.strategy))->where;
  const auto by_group = [&](const entry& a, const entry& b) { return group_before(a, b, m.strategy); };
  iterator first = std::min_element(begin, end, by_group);
  const std::uint32_t group = first->group;
  const engine::strategy inside = m.inside(group);
  for (iterator e = begin; e != end; ++e) {
    if (e->group == group && before(*e, *first, inside)) first = e;
  }
  return first->where;
}

bool router::known(name_id target) const {
  return target != no_name &&
         std::any_of(entries_.begin(), entries_.end(), [target](const entry& e) { return e.name == target; });
}

void router::plan_pass(bool tried, route_plan& out) {
  for (const stretch& m : models_) {
    const iterator begin = entries_.begin() + static_cast<std::ptrdiff_t>(m.begin);
    const iterator end = entries_.begin() + static_cast<std::ptrdiff_t>(m.end);
    // Those tried before keep their places, so that the plan goes on after a failure where it was.
    const iterator eligible = std::partition(
        begin, end, [tried](const entry& e) { return (e.usable && !e.open) || (e.tried && !tried); });
    const iterator full = std::partition(begin, eligible, [](const entry& e) { return e.room; });
    for (iterator e = begin; e != eligible; ++e) e->planned = e->tried != tried;
    plan_part(begin, full, m, out);
    plan_part(full, eligible, m, out);
  }
}

/// One group after the other, or all targets where there are no groups.
void router::plan_part(iterator begin, iterator end, const stretch& m, route_plan& out) {
  if (m.groups == nullptr) {
    plan_group(begin, end, m.strategy, out);
    return;
  }
  const auto by_group = [&](const entry& a, const entry& b) { return group_before(a, b, m.strategy); };
  while (begin != end) {
    const std::uint32_t group = std::min_element(begin, end, by_group)->group;
    const iterator stop = std::partition(begin, end, [group](const entry& e) { return e.group == group; });
    plan_group(begin, stop, m.inside(group), out);
    begin = stop;
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

/// Whether the group of `a` comes before the group of `b`. Groups are as good as their best target.
bool router::group_before(const entry& a, const entry& b, engine::strategy s) {
  const auto by = [](const auto&... values) { return std::tuple(values...); };
  if (s == strategy::weighted) return by(a.group_draw, a.group) < by(b.group_draw, b.group);
  if (s == strategy::least_busy)
    return by(a.group_busy, a.group_draw, a.group) < by(b.group_busy, b.group_draw, b.group);
  return before(a, b, s);
}

}  // namespace millrace::engine
