#include "http/dialects/gemini_media.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace millrace::http {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 17> endings = {{
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"webp", "image/webp"},
    {"gif", "image/gif"},
    {"heic", "image/heic"},
    {"heif", "image/heif"},
    {"bmp", "image/bmp"},
    {"tiff", "image/tiff"},
    {"pdf", "application/pdf"},
    {"txt", "text/plain"},
    {"md", "text/markdown"},
    {"html", "text/html"},
    {"json", "application/json"},
    {"csv", "text/csv"},
    {"mp3", "audio/mp3"},
    {"wav", "audio/wav"},
}};

}  // namespace

bool gemini_media_kind(std::string_view media_type, part_kind& kind) {
  if (media_type.starts_with("video/")) return false;
  kind = media_type.starts_with("image/")   ? part_kind::image
         : media_type.starts_with("audio/") ? part_kind::audio
                                            : part_kind::document;
  return true;
}

std::string_view media_type_of_url(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const size_t dot = url.find_last_of("./");
  if (dot == std::string_view::npos || url[dot] == '/') return {};
  std::string ending(url.substr(dot + 1));
  for (char& c : ending) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const auto& [name, type] : endings) {
    if (ending == name) return type;
  }
  return {};
}

bool is_gemini_3(std::string_view model) {
  constexpr std::string_view models = "models/";
  constexpr std::string_view prefix = "gemini-";
  if (model.starts_with(models)) model.remove_prefix(models.size());
  if (!model.starts_with(prefix)) return false;
  model.remove_prefix(prefix.size());
  const size_t digits = std::min(model.find_first_not_of("0123456789"), model.size());
  return digits > 1 || (digits == 1 && model.front() >= '3');
}

}  // namespace millrace::http
