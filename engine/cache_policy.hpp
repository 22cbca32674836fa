#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "engine/cached_answer.hpp"
#include "engine/config.hpp"
#include "engine/ports.hpp"

namespace millrace::engine {

/// What a client says in `Cache-Control`.
struct cache_wish {
  bool no_cache = false;
  bool no_store = false;
  bool only_if_cached = false;
  std::optional<duration> max_age{};
  std::optional<duration> stale_if_error{};  ///< RFC 5861: how long after its expiry an answer may serve
};

/// How one request uses the cache and the calls in flight.
struct cache_plan {
  bool look = false;   ///< an entry may answer it
  bool join = false;   ///< it may share the upstream call of an identical request, and lead such a call
  bool store = false;  ///< its answer becomes an entry
  bool keep = false;   ///< its answer is no entry, but serves identical requests for `keep_time`
  bool only_if_cached = false;
  duration max_age = duration::max();  ///< oldest entry that it takes
  duration ttl{};                      ///< of the entry that it makes
  duration keep_stale{};               ///< how long beyond `ttl` that entry is kept for outages
  /// In an outage: how long after its expiry an entry may serve, and how old it may be.
  duration stale{};
  duration oldest_stale = duration::max();
};

/// How long an answer that is no entry serves identical requests, where the model says `coalesce: true`.
inline constexpr duration keep_time = 5s;

/// Whether requests of a route are answered the same however often they are asked.
inline bool has_one_answer(route_kind route) {
  return route == route_kind::embeddings || route == route_kind::embed || route == route_kind::batch_embed ||
         route == route_kind::count_tokens;
}

/// The plan for a request; DESIGN's section on what is cached, as code.
inline cache_plan plan_cache(const cache_wish& wish, const model_config& model, route_kind route,
                             bool zero_temperature) {
  const bool same_again = has_one_answer(route) || zero_temperature || model.cache.any_temperature;
  const bool cacheable = model.cache.enabled && same_again;
  const bool bypassed = wish.no_cache || wish.no_store;
  cache_plan p;
  p.look = !bypassed && (cacheable || model.coalesce);
  p.join = !bypassed;
  p.store = cacheable && !wish.no_store;
  p.keep = !p.store && !wish.no_store && model.coalesce;
  p.only_if_cached = wish.only_if_cached;
  p.max_age = wish.max_age.value_or(duration::max());
  p.ttl = model.cache.ttl;
  p.keep_stale = model.degrade.stale;
  if (p.look) p.stale = std::min(model.degrade.stale, wish.stale_if_error.value_or(duration::max()));
  if (wish.max_age) p.oldest_stale = *wish.max_age + wish.stale_if_error.value_or(duration::zero());
  return p;
}

/// Whether an expired entry may serve when no provider answers (RFC 5861, section 4: stale-if-error).
inline bool may_serve_stale(const cached_answer& entry, const cache_plan& p, wall_time now) {
  return p.stale > duration::zero() && now < entry.stale_until && now - entry.expires_at < p.stale &&
         now - entry.stored_at <= p.oldest_stale;
}

/// What `x-millrace-cache` says when the request went to a provider.
inline std::string_view word_for_call(const cache_plan& p) {
  return p.look && p.store ? "miss" : "bypass";
}

}  // namespace millrace::engine
