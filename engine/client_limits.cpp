#include "engine/client_limits.hpp"

#include <algorithm>

namespace millrace::engine {

namespace {

/// Half a second of resolution keeps a limited client below 3 KiB.
constexpr window_shape minute{.span = 60s, .slot = 500ms, .margin = 0s, .ahead = 0s};

}  // namespace

void client_limits::limit::add(std::int64_t amount, time_point now) {
  if (amount <= 0) return;
  used.add(amount, now, now);
  last = now;
}

void client_limits::limit::forget(time_point now) {
  if (last + minute.span <= now && used.total(now) > 0) used = rate_window(minute);
}

time_point client_limits::limit::when_at_most(std::int64_t bound, time_point now) {
  forget(now);
  const time_point when = used.when_at_most(bound, now);
  return when <= now || when == time_point::max() ? when : std::min(when, last + minute.span);
}

void client_limits::reconfigure(const std::vector<client_config>& clients) {
  std::unordered_map<name_id, client_state> kept;
  for (const client_config& c : clients) {
    if (c.rpm == unlimited && c.tpm == unlimited) continue;
    client_state& state = kept[c.id];
    if (const auto old = clients_.find(c.id); old != clients_.end()) state = std::move(old->second);
    configure(state.requests, c.rpm);
    configure(state.tokens, c.tpm);
  }
  clients_ = std::move(kept);
}

client_charge client_limits::charge(name_id client, std::int64_t tokens, time_point now) {
  client_charge result;
  const auto found = clients_.find(client);
  if (found == clients_.end()) return result;
  auto& [requests, token_limit] = found->second;
  tokens = std::max<std::int64_t>(tokens, 0);

  time_point when = now;
  if (requests) when = std::max(when, requests->when_at_most(requests->per_minute - 1, now));
  if (token_limit) {
    // A bound that is negative can never be met; otherwise the time is that of the expiry that makes room.
    result.too_large = tokens > token_limit->per_minute;
    when = std::max(when, token_limit->when_at_most(token_limit->per_minute - tokens, now));
  }
  result.allowed = when <= now;
  if (result.allowed) {
    if (requests) requests->add(1, now);
    if (token_limit) token_limit->add(tokens, now);
  } else if (!result.too_large) {
    result.retry_after = when == time_point::max() ? duration(minute.span) : when - now;
  }
  result.windows = {describe(requests, now), describe(token_limit, now)};
  return result;
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
  return {describe(found->second.requests, now), describe(found->second.tokens, now)};
}

void client_limits::configure(std::optional<limit>& l, std::int64_t per_minute) {
  if (per_minute == unlimited) {
    l.reset();
  } else if (l) {
    l->per_minute = per_minute;
  } else {
    l.emplace(limit{per_minute, rate_window(minute)});
  }
}

client_window client_limits::describe(std::optional<limit>& l, time_point now) {
  if (!l) return {};
  l->forget(now);
  return {.limit = l->per_minute,
          .remaining = std::max<std::int64_t>(l->per_minute - l->used.total(now), 0),
          .reset = l->when_at_most(0, now) - now};
}

}  // namespace millrace::engine
