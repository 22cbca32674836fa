#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {

/// The mark that ends a part of a prompt which Anthropic shall keep in its cache.
inline constexpr std::string_view anthropic_cache_mark = R"({"type":"ephemeral"})";
/// No shorter prompt is worth a mark: for most models nothing shorter is kept, and writing costs more than
/// reading. https://docs.claude.com/en/docs/build-with-claude/prompt-caching
inline constexpr std::int64_t least_marked_tokens = 1024;

/// A part of a body to be replaced; length 0 inserts.
struct body_edit {
  std::size_t offset = 0;
  std::size_t length = 0;
  std::string text;
};

/// What marks the last tool and the end of `system` in the body of a Messages request, by offset: the tools
/// from `least_marked_tokens` on, `system` when it has as many together with the tools, which stand before
/// it. Nothing where the client marked anything itself, where a block cannot bear a mark (an empty text, a
/// tool whose loading is deferred), or where the body is not what it should be: the provider judges it. Pure.
std::vector<body_edit> mark_anthropic_prompt(std::string_view body);

}  // namespace millrace::http
