#pragma once

#include <map>
#include <string>
#include <vector>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Puts the steps of a streamed answer together. One per stream; not thread-safe.
class chat_collector {
 public:
  /// Most parts of an answer.
  static constexpr std::size_t max_parts = 4096;

  void put(const chat_delta& d);
  /// The whole answer; its views live as long as the collector. Null when the stream did not come to its
  /// proper end, told of an error, or cannot be put together.
  const chat_answer* answer();

 private:
  struct piece {
    part_kind kind = part_kind::text;
    std::string text;  ///< of a literal, without its quotes
    std::string signature;
    std::string id;
    std::string name;
    std::int64_t index = 0;
  };
  piece* open(part_kind kind);
  piece* call(std::int64_t index);
  void write(const piece& p);

  std::vector<piece> pieces_;
  chat_answer answer_;
  bool done_ = false;
  bool failed_ = false;
};

}  // namespace millrace::http
