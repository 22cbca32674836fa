#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"
#include "http/json_scan.hpp"

/// Content blocks of Anthropic's requests. Internal to `anthropic_chat`.
namespace millrace::http {

/// Where in a request something stands: "messages.2.content.0.content.1". -1 where there is no such level.
struct block_place {
  std::string_view root;
  int first = -1;
  int second = -1;
  int third = -1;
  /// With `member` behind, unless it is empty.
  std::string path(std::string_view member = {}) const;
};

/// Who may say a block.
enum class block_home : std::uint8_t { user = 1, assistant = 2, system = 4, tool_result = 8 };
block_home place_of(chat_role role);

/// True for ["direct"].
bool is_direct_caller_list(json_literal callers);

class block_decoder {
 public:
  block_decoder(chat_request& out, engine::api_error& error) : out_(out), error_(error) {}

  /// Consumes a string or an array of blocks. False when `error` was set. Errors of the text itself are left
  /// for whoever reads the whole.
  bool read_content(json_scanner& scanner, block_place at, block_home home, std::vector<chat_part>& into);
  /// `value` may be empty.
  bool judge_cache_control(json_literal value, block_place at);

  bool fail(std::string code, std::string param, std::string_view why);
  bool fail_unsupported(std::string param);
  /// Notes a documented drop, once.
  void drop(std::string_view name);

 private:
  struct block;
  bool read_block(json_scanner& scanner, block_place at, block_home home, std::vector<chat_part>& into);
  bool fill(const block& b, block_place at, chat_part& part, std::vector<chat_part>& into);
  bool fill_source(const block& b, block_place at, chat_part& part);
  bool fill_document(const block& b, block_place at, chat_part& part, std::vector<chat_part>& into);
  bool fill_call(const block& b, block_place at, chat_part& part);
  bool fill_result(const block& b, block_place at, chat_part& part);
  bool want_string(json_literal value, block_place at, std::string_view name);

  chat_request& out_;
  engine::api_error& error_;
};

}  // namespace millrace::http
