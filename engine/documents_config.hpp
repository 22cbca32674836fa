#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/time.hpp"

namespace millrace::engine {

/// The labels among which the documents of one industry are sorted.
struct industry_config {
  std::string name;
  std::vector<std::string> labels;  ///< identifiers, at least two
};

/// What `POST /classify_file` does with a document: the section `documents`.
struct documents_config {
  /// The most labels that an industry may have: they are all in each prompt.
  static constexpr std::size_t most_labels = 100;
  static constexpr std::size_t most_industries = 100;

  std::string model;                               ///< a configured one; empty: the builtin classifier alone
  std::int64_t max_file_bytes = 20LL << 20;        ///< of one document
  int max_pages = 5;                               ///< that are looked at, of a PDF or TIFF
  std::int64_t max_pixels = 50'000'000;            ///< of one image, before it is made smaller
  duration time_limit = std::chrono::seconds(10);  ///< for making a document's pages, or reading their text
  std::int64_t memory_bytes = 1LL << 30;           ///< address space of the process that does it
  int edge = 1024;                                 ///< longest side of an image that is sent on, in pixels
  int quality = 80;                                ///< of its JPEG
  int max_tokens = 300;                            ///< of the model's answer
  double temperature = 0.05;
  duration ttl = std::chrono::hours(24);  ///< how long a classification is kept
  int workers = 2;                        ///< documents that are rendered at once
  int max_waiting = 64;                   ///< for one of these; beyond it 503
  std::vector<industry_config> industries;
};

/// The industry `name`, or null.
const industry_config* find_industry(const documents_config& d, const std::string& name);

/// What holds where nothing is configured: the industry `finance`.
documents_config default_documents();

}  // namespace millrace::engine
