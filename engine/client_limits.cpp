#include "engine/client_limits.hpp"

#include <algorithm>

namespace millrace::engine {

namespace {

/// Half a second of resolution keeps a limited client below 3 KiB.
constexpr window_shape client_minute{.span = 60s, .slot = 500ms, .margin = 0s, .ahead = 0s};
constexpr window_shape one_hour{.span = 3600s, .slot = 30s, .margin = 0s, .ahead = 0s};

}  // namespace

void client_limits::limit::add(std::int64_t amount, time_point now) {
  if (amount <= 0) return;
  used.add(amount, now, now);
  last = now;
}

void client_limits::limit::forget(time_point now) {
  if (last + shape.span <= now && used.total(now) > 0) used = rate_window(shape);
}

time_point client_limits::limit::when_at_most(std::int64_t bound, time_point now) {
  forget(now);
  const time_point when = used.when_at_most(bound, now);
  return when <= now || when == time_point::max() ? when : std::min(when, last + shape.span);
}

void client_limits::reconfigure(const std::vector<client_config>& clients) {
  std::unordered_map<name_id, client_state> kept;
  for (const client_config& c : clients) {
    if (std::min({c.rpm, c.tpm, c.rph, c.route_rpm}) == unlimited) continue;
    client_state& state = kept[c.id];
    if (const auto old = clients_.find(c.id); old != clients_.end()) state = std::move(old->second);
    configure(state.requests, c.rpm, client_minute);
    configure(state.hour, c.rph, one_hour);
    configure(state.tokens, c.tpm, client_minute);
    state.route_rpm = c.route_rpm;
    for (auto& [route, l] : state.routes) configure(l, c.route_rpm, client_minute);
    if (c.route_rpm == unlimited) state.routes.clear();
  }
  clients_ = std::move(kept);
}

client_charge client_limits::charge(name_id client, std::uint8_t route, std::int64_t tokens, time_point now) {
  client_charge result;
  const auto found = clients_.find(client);
  if (found == clients_.end()) return result;
  client_state& state = found->second;
  tokens = std::max<std::int64_t>(tokens, 0);
  std::optional<limit>* on_route = nullptr;
  if (state.route_rpm != unlimited && route < max_routes) {
    on_route = &state.routes[route];
    configure(*on_route, state.route_rpm, client_minute);
  }

  time_point when = now;
  const auto requests = {&state.requests, &state.hour, on_route};
  for (std::optional<limit>* l : requests) {
    if (l != nullptr && *l) when = std::max(when, (*l)->when_at_most((*l)->most - 1, now));
  }
  if (auto& token_limit = state.tokens) {
    // A bound that is negative can never be met; otherwise the time is that of the expiry that makes room.
    result.too_large = tokens > token_limit->most;
    when = std::max(when, token_limit->when_at_most(token_limit->most - tokens, now));
  }
  result.allowed = when <= now;
  if (result.allowed) {
    for (std::optional<limit>* l : requests) {
      if (l != nullptr && *l) (*l)->add(1, now);
    }
    if (state.tokens) state.tokens->add(tokens, now);
  } else if (!result.too_large) {
    result.retry_after = when == time_point::max() ? duration(client_minute.span) : when - now;
  }
  result.windows = {tightest(state, on_route, now), describe(state.tokens, now)};
  return result;
}

/// The limit of requests with least left; of equal ones the one that takes longest to be free again.
client_window client_limits::tightest(client_state& state, std::optional<limit>* route, time_point now) {
  client_window least = describe(state.requests, now);
  for (std::optional<limit>* l : {&state.hour, route}) {
    if (l == nullptr || !*l) continue;
    const client_window w = describe(*l, now);
    const bool tighter =
        w.remaining < least.remaining || (w.remaining == least.remaining && w.reset > least.reset);
    if (least.limit < 0 || tighter) least = w;
  }
  return least;
}

void client_limits::settle(name_id client, std::int64_t reserved, std::int64_t real, time_point charged_at,
                           time_point now) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || !found->second.tokens) return;
  limit& tokens = *found->second.tokens;
  tokens.forget(now);
  if (real > reserved) {
    tokens.add(real - reserved, now);
  } else {
    tokens.used.remove(reserved - real, charged_at, now);
  }
}

client_windows client_limits::windows(name_id client, time_point now) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return {};
  return {tightest(found->second, nullptr, now), describe(found->second.tokens, now)};
}

void client_limits::configure(std::optional<limit>& l, std::int64_t most, const window_shape& shape) {
  if (most == unlimited) {
    l.reset();
  } else if (l) {
    l->most = most;
  } else {
    l.emplace(limit{most, shape, rate_window(shape)});
  }
}

client_window client_limits::describe(std::optional<limit>& l, time_point now) {
  if (!l) return {};
  l->forget(now);
  return {.limit = l->most,
          .remaining = std::max<std::int64_t>(l->most - l->used.total(now), 0),
          .reset = l->when_at_most(0, now) - now};
}

}  // namespace millrace::engine
