#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

/// The parts of gemini_chat's `encode_request`. They append members, each with a comma before it.
namespace millrace::http {

/// Adds `name` unless it is there.
void add_gemini_drop(std::string_view name, std::vector<std::string>& dropped);

/// `tools` and `toolConfig`; nothing without tools.
void write_gemini_tools(const chat_request& request, std::string& out, std::vector<std::string>& dropped);

/// `generationConfig`, where there is anything to say in it.
void write_gemini_config(const chat_request& request, std::string_view model, std::string& out,
                         std::vector<std::string>& dropped);

}  // namespace millrace::http
