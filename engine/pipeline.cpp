#include "engine/pipeline.hpp"

#include <functional>

#include "engine/known_answer.hpp"
#include "engine/led_call.hpp"

namespace millrace::engine {

namespace {

api_error not_cached() {
  return {504,
          "invalid_request_error",
          "not_cached",
          "There is no cached answer, and Cache-Control: only-if-cached forbids to ask a provider. Send the "
          "request without it.",
          "",
          {},
          true};
}

}  // namespace

/// Known already, under way already, or to be asked for, in this order.
answer pipeline::run(call c, yield y) {
  const model_config& model = c.config->models.at(c.model.model);
  const cache_plan plan = plan_cache(c.cache, model, c.route, c.facts.zero_temperature);
  c.plan = plan;
  c.cache_word = word_for_call(plan);
  known_answer known(ports_, c);
  answer out;
  cache_shard& shard = ports_.answers.of(c.key);
  for (int tries = 0; tries < max_joins; ++tries) {
    std::shared_ptr<led_call> led;
    const auto lead = [&]() -> shared_answer_ptr {
      return led = std::make_shared<led_call>(ports_, c.key, plan, true);
    };
    auto found = shard.enter(c.key, plan, ports_.time.wall(), std::ref(lead));
    if (found.stale) c.stale = std::move(found.stale);
    if (found.flight && !led) {
      if (known.from_flight(found.flight, out, y)) return out;
      c.cache_word = word_for_call(plan);  // it may come to make the call itself
      continue;
    }
    // What memory has, of use or not, is never older than what the disk has.
    const bool unknown = !found.entry && !c.stale && !found.too_old;
    try {
      if (unknown && (led || plan.only_if_cached)) found.entry = find_on_disk(c, y);
    } catch (...) {
      if (led) led->never_made();
      throw;
    }
    if (found.entry) {
      if (led) led->found(found.entry);
      if (!known.admit(out, y) || known.from_entry(*found.entry, out)) return out;
      break;
    }
    if (plan.only_if_cached) return known.refuse(not_cached());
    if (!led) break;
    return led->lead(std::move(c), y);
  }
  c.cache_word = word_for_call(plan);
  const auto alone = std::make_shared<led_call>(ports_, c.key, plan, false);
  return alone->lead(std::move(c), y);
}

/// Null as well when what is there is older than this client takes, or expired: then it is kept for an
/// outage.
cached_answer_ptr pipeline::find_on_disk(call& c, yield y) {
  if (!ports_.disk || !c.plan.look || !c.plan.store) return nullptr;
  auto entry = ports_.disk->find(c.key, c.plan.max_age, *c.gone, y);
  const wall_time now = ports_.time.wall();
  const bool expired = entry && entry->expires_at <= now;
  if (!entry || (expired ? entry->useless_at() <= now : now - entry->stored_at > c.plan.max_age))
    return nullptr;
  ports_.answers.of(c.key).put(c.key, entry, now, false);
  if (!expired) return entry;
  c.stale = std::move(entry);
  return nullptr;
}

}  // namespace millrace::engine
