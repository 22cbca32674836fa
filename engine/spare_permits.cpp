#include "engine/spare_permits.hpp"

#include <algorithm>
#include <utility>

#include "engine/model_choice.hpp"

namespace millrace::engine {

namespace {

/// A spare that reserves up to this many tokens more than needed, or a quarter more, is still taken.
constexpr std::int64_t small_waste_tokens = 64;

spare_class class_of(const acquire_request& r) {
  return {r.config_version, r.model, r.client, r.strategy, r.private_only};
}

bool covers(const acquire_reply& grant, const acquire_request& r) {
  if (!fits_context(grant.context_tokens, r.input_tokens, r.max_output_tokens)) return false;
  if (!grant.tokens_limited) return true;
  // What an answer without max_tokens will need is the dispatcher's to guess.
  if (r.max_output_tokens < 0) return false;
  const std::int64_t need = r.input_tokens + r.max_output_tokens;
  return r.input_tokens <= grant.reserved.input && r.max_output_tokens <= grant.reserved.output &&
         grant.reserved.total() <= need + need / 4 + small_waste_tokens;
}

}  // namespace

bool spare_permits::suits(const acquire_request& r) {
  return !r.only_count && r.first && r.tried.empty() && r.tried_keys.empty() && r.barred.empty() &&
         !r.retry_tried;
}

std::uint8_t spare_permits::wish() {
  return static_cast<std::uint8_t>(std::exchange(wish_, std::min(2 * wish_, most_wished)));
}

void spare_permits::add(const acquire_reply& grant, time_point now, std::vector<ticket>& back) {
  if (held_.size() >= max_held) {
    back.push_back(grant.id);
    return;
  }
  const time_point valid_until = now + grant.valid_for;
  held_.push_back({grant, valid_until, std::min(valid_until, now + life)});
}

std::optional<acquire_reply> spare_permits::take(const acquire_request& r, time_point now) {
  if (held_.empty() || !suits(r)) return std::nullopt;
  const spare_class wanted = class_of(r);
  // The newest lasts longest; the oldest are on their way back.
  for (size_t i = held_.size(); i-- > 0;) {
    spare& s = held_[i];
    if (s.until <= now || !(s.grant.spare_class == wanted) || !covers(s.grant, r)) continue;
    acquire_reply grant = s.grant;
    grant.valid_for = s.valid_until - now;
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    return grant;
  }
  return std::nullopt;
}

void spare_permits::drop_ended(time_point now, std::vector<ticket>& back) {
  const auto unused = std::erase_if(held_, [&](const spare& s) {
    if (s.until > now) return false;
    back.push_back(s.grant.id);
    return true;
  });
  if (unused > 0) wish_ = std::max(1, wish_ / 2);
}

void spare_permits::drop_all(std::vector<ticket>& back) {
  for (const spare& s : held_) back.push_back(s.grant.id);
  held_.clear();
}

}  // namespace millrace::engine
