#include "http/openai_input.hpp"

#include <algorithm>
#include <string_view>

namespace millrace::http {

size_t openai_input_reader::read_messages() {
  size_t messages = 0;
  estimate_.fixed += reply_tokens;
  if (!scanner_.enter_array()) return messages;
  while (scanner_.next_element()) {
    ++messages;
    estimate_.fixed += message_tokens;
    read_message();
  }
  return messages;
}

void openai_input_reader::read_message() {
  if (!scanner_.enter_object()) return read_text();
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (key == "role") {
      scanner_.value();
    } else if (key == "content" && scanner_.enter_array()) {
      while (scanner_.next_element()) read_part();
    } else {
      read_text();
    }
  }
}

size_t openai_input_reader::read_items() {
  size_t items = 0;
  estimate_.fixed += reply_tokens;
  if (!scanner_.enter_array()) {
    estimate_.fixed += message_tokens;
    read_text();
    return 1;
  }
  while (scanner_.next_element()) {
    ++items;
    estimate_.fixed += message_tokens;
    read_item();
  }
  return items;
}

void openai_input_reader::read_item() {
  if (!scanner_.enter_object()) return read_text();
  std::string_view key;
  while (scanner_.next_member(key)) {
    const bool parts = key == "content" || key == "output" || key == "summary";
    if (key == "role" || key == "type" || key == "id" || key == "status") {
      scanner_.value();
    } else if (parts && scanner_.enter_array()) {
      while (scanner_.next_element()) read_part();
    } else if (key == "encrypted_content") {
      read_bounded();
    } else {
      read_text();
    }
  }
}

/// In chat an image is an object, with `detail` in it; in responses a text, with `detail` beside it.
void openai_input_reader::read_part() {
  if (!scanner_.enter_object()) return read_bounded();
  bool is_image = false;
  bool low = false;
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (key == "type") {
      scanner_.value();
    } else if (key == "text") {
      read_text();
    } else if (key == "image_url" && scanner_.peek() == '"') {
      scanner_.value();
      is_image = true;
    } else if (key == "image_url") {
      read_image();
    } else if (key == "detail") {
      low = json_text(scanner_.value()) == "low";
    } else {
      read_bounded();
    }
  }
  if (is_image) count_image(low);
}

void openai_input_reader::read_image() {
  bool low = false;
  if (scanner_.enter_object()) {
    std::string_view key;
    while (scanner_.next_member(key)) {
      const bool is_detail = key == "detail";
      const std::string_view value = scanner_.value();
      low = low || (is_detail && json_text(value) == "low");
    }
  } else {
    scanner_.value();
  }
  count_image(low);
}

void openai_input_reader::count_image(bool low_detail) {
  ++estimate_.images;
  estimate_.fixed += low_detail ? low_detail_image_tokens : image_tokens;
}

void openai_input_reader::read_texts_or_tokens(int depth) {
  const char first = scanner_.peek();
  if (first == '"') return read_text();
  if (first == '[' && depth < 2 && scanner_.enter_array()) {
    while (scanner_.next_element()) read_texts_or_tokens(depth + 1);
  } else if (first == '{') {
    read_part();
  } else {
    scanner_.value();
    estimate_.fixed += 1;
  }
}

void openai_input_reader::read_text() {
  const size_t before = scanner_.text_bytes();
  scanner_.value();
  estimate_.text_bytes += scanner_.text_bytes() - before;
}

void openai_input_reader::read_bounded() {
  const size_t before = scanner_.text_bytes();
  scanner_.value();
  estimate_.fixed += std::min(token_estimate::of_text(scanner_.text_bytes() - before), attachment_tokens);
}

}  // namespace millrace::http
