#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace millrace::http::documents {

/// What an image of so many pixels costs at OpenAI's tile-counting models at high detail: it is made to fit
/// 2048 x 2048, then its shorter side to 768, and each 512-pixel tile begun counts.
/// https://platform.openai.com/docs/guides/images-vision
constexpr std::int64_t image_base_tokens = 85;
constexpr std::int64_t image_tile_tokens = 170;

/// Pure. Sides of at least one pixel.
inline std::int64_t tokens_of_image(double width, double height) {
  constexpr double most_long = 2048;
  constexpr double most_short = 768;
  constexpr double tile = 512;
  const double fit = std::min(1.0, most_long / std::max(width, height));
  const double narrow = std::min(1.0, most_short / (std::min(width, height) * fit));
  const auto tiles = [&](double side) {
    return std::max<std::int64_t>(
        1, static_cast<std::int64_t>(std::ceil(std::round(side * fit * narrow) / tile)));
  };
  return image_base_tokens + image_tile_tokens * tiles(width) * tiles(height);
}

}  // namespace millrace::http::documents
