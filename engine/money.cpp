#include "engine/money.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/config.hpp"
#include "engine/ports.hpp"

namespace millrace::engine {
namespace {

constexpr std::int64_t nano_per_usd = 1'000'000'000;
constexpr std::int64_t tokens_per_price = 1'000'000;
constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

/// A product of a price and a count does not fit 64 bits; sums of a few of them fit these.
__extension__ using wide = __int128;

wide times(std::int64_t count, money price) {
  return static_cast<wide>(std::max<std::int64_t>(count, 0)) * price.nano();
}

/// `micro`: 10^-15 USD, what one token costs at a price of 10^-9 USD for a million.
money rounded(wide micro) {
  const wide whole = (micro + tokens_per_price / 2) / tokens_per_price;
  return money::of_nano(whole > most ? most : static_cast<std::int64_t>(whole));
}

/// Of what the cache keeps for an hour. Where writing costs no more than reading anew, no price of it is
/// known.
money long_write(const token_prices& p) {
  return p.cache_write > p.input ? p.input + p.input : p.cache_write;
}

template <class Priced>
token_prices prices_from(const Priced& p) {
  return {money::of_usd(p.input_usd), money::of_usd(p.output_usd), money::of_usd(p.cached_usd),
          money::of_usd(p.cache_write_usd), money::of_usd(p.image_usd)};
}

}  // namespace

money money::of_usd(double usd) {
  const double nano = std::round(usd * static_cast<double>(nano_per_usd));
  if (nano >= static_cast<double>(most)) return of_nano(most);
  if (nano <= -static_cast<double>(most)) return of_nano(-most);
  return of_nano(static_cast<std::int64_t>(nano));
}

std::string money::text() const {
  const std::uint64_t all =
      nano_ < 0 ? -static_cast<std::uint64_t>(nano_) : static_cast<std::uint64_t>(nano_);
  std::string places = std::to_string(all % nano_per_usd);
  places.insert(0, 9 - places.size(), '0');
  places.erase(places.find_last_not_of('0') + 1);
  std::string out = (nano_ < 0 ? "-" : "") + std::to_string(all / nano_per_usd);
  if (!places.empty()) out.append(".").append(places);
  return out;
}

money& money::operator+=(money other) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(nano_, other.nano_, &sum)) sum = other.nano_ > 0 ? most : -most;
  nano_ = sum;
  return *this;
}

money& money::operator-=(money other) {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(nano_, other.nano_, &difference)) difference = other.nano_ > 0 ? -most : most;
  nano_ = difference;
  return *this;
}

token_prices prices_of(const target_config& t) {
  return prices_from(t);
}

token_prices prices_of(const model_facts& f) {
  return prices_from(f);
}

money cost_of(const usage& used, std::int64_t images, const token_prices& prices) {
  const std::int64_t fresh = used.input_tokens - used.cached_tokens - used.cache_write_tokens;
  return rounded(times(fresh, prices.input) + times(used.cached_tokens, prices.cached) +
                 times(used.cache_write_tokens - used.long_write_tokens, prices.cache_write) +
                 times(used.long_write_tokens, long_write(prices)) +
                 times(used.output_tokens, prices.output) + times(images, prices.image) * tokens_per_price);
}

money most_for(std::int64_t input_tokens, std::int64_t output_tokens, std::int64_t images,
               const token_prices& prices) {
  const money dearest = std::max({prices.input, prices.cached, prices.cache_write, long_write(prices)});
  return rounded(times(input_tokens, dearest) + times(output_tokens, prices.output) +
                 times(images, prices.image) * tokens_per_price);
}

}  // namespace millrace::engine
