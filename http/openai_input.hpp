#pragma once

#include "http/json_scan.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {

/// Reads the parts of a request that a model works on and estimates their tokens. Nothing is refused here:
/// shapes it does not know are for the provider to judge. Errors of the text are the scanner's, which must
/// outlive it.
class openai_input_reader {
 public:
  explicit openai_input_reader(json_scanner& scanner) : scanner_(scanner) {}

  /// Consumes an array of chat messages and returns how many there are.
  size_t read_messages();
  /// Consumes `input` of /v1/responses, a text or an array of items, and returns how many there are.
  size_t read_items();
  /// Consumes a prompt or an embedding's input: a text, or an array of texts, of tokens, or of arrays of
  /// tokens.
  void read_texts_or_tokens(int depth = 0);
  /// Consumes any value and counts its keys and strings.
  void read_text();

  const token_estimate& estimate() const { return estimate_; }

 private:
  void read_message();
  void read_item();
  void read_part();
  void read_image();
  void read_bounded();
  void count_image(bool low_detail);

  json_scanner& scanner_;
  token_estimate estimate_;
};

}  // namespace millrace::http
