#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace millrace::engine {

/// An amount in USD, exact to 10^-9 of one: sums of any number of amounts have no rounding in them. Sums that
/// would leave the range (about 9.2 thousand million USD either way) stay at its end.
class money {
 public:
  constexpr money() = default;
  static constexpr money of_nano(std::int64_t n) {
    money m;
    m.nano_ = n;
    return m;
  }
  /// The nearest amount.
  static money of_usd(double usd);

  constexpr std::int64_t nano() const { return nano_; }
  /// For gauges and for people; not for sums.
  double usd() const { return static_cast<double>(nano_) / 1e9; }
  /// A decimal with up to nine places, without trailing zeros: "0.00003", "12", "-1.5".
  std::string text() const;

  money& operator+=(money other);
  money& operator-=(money other);
  friend money operator+(money a, money b) { return a += b; }
  friend money operator-(money a, money b) { return a -= b; }
  constexpr auto operator<=>(const money&) const = default;

 private:
  std::int64_t nano_ = 0;
};

struct target_config;
struct model_facts;
struct usage;

/// What a target asks, exact to 10^-9 USD for a million tokens, and for one image.
struct token_prices {
  money input;  ///< fresh
  money output;
  money cached;       ///< input from the provider's cache
  money cache_write;  ///< input to it
  money image;        ///< each
  bool operator==(const token_prices&) const = default;
};

token_prices prices_of(const target_config& t);
token_prices prices_of(const model_facts& f);

/// Rounded to the nearest 10^-9 USD once, at the end. Of the input, `cached_tokens` and `cache_write_tokens`
/// have prices of their own; where writing costs more than fresh input, what is written for an hour costs
/// twice the fresh input (Anthropic, "Prompt caching", Pricing). Negative counts cost nothing.
money cost_of(const usage& used, std::int64_t images, const token_prices& prices);
/// The most that so many tokens can cost, wherever the input comes from.
money most_for(std::int64_t input_tokens, std::int64_t output_tokens, std::int64_t images,
               const token_prices& prices);

}  // namespace millrace::engine
