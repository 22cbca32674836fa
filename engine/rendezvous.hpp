#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

/// Weighted choice by hashing. Pure functions.
///
/// Everybody who chooses (`who`: a tenant, a session, or the random number of one request) gives each place a
/// waiting time, exponentially distributed with the place's weight as its rate, and takes the shortest. So
/// places are chosen in proportion to their weights, and in order of waiting time without replacement; and
/// the same `who` chooses the same places for as long as the weights stay. When a weight grows, only those
/// move who move to it: the logarithmic method of C. Schindelhauer and G. Schomaker, "Weighted Distributed
/// Hash Tables", SPAA 2005; with a random `who` it is P. Efraimidis and P. Spirakis, "Weighted random
/// sampling with a reservoir", 2006.
namespace millrace::engine {

/// Spreads the bits of `x` (SplitMix64; G. Steele et al., "Fast splittable pseudorandom number generators",
/// 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

/// The same on every node and in every release, since it says who goes where (FNV-1a; G. Fowler, L. C. Noll
/// and K.-P. Vo). `from` chains texts.
constexpr std::uint64_t hash_text(std::string_view text, std::uint64_t from = 0xcbf29ce484222325ULL) {
  for (const char c : text) from = (from ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return from;
}

/// Behind everything that has a weight.
inline constexpr double never = std::numeric_limits<double>::infinity();

/// How long `who` waits for `place`; `never` for a place without weight.
inline double waiting_time(std::uint64_t who, std::uint64_t place, double weight) {
  if (weight <= 0) return never;
  const double uniform = (static_cast<double>(mix64(who ^ mix64(place)) >> 11U) + 0.5) * 0x1p-53;
  return -std::log(uniform) / weight;
}

}  // namespace millrace::engine
