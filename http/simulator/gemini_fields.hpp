#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"

/// Gemini's requests as protobuf's JSON mapping has them: fields are known by their camelCase and their
/// snake_case names.
namespace millrace::http::simulation {

enum class gemini_message : std::uint8_t { generate, embed, batch_embed };

/// Throws `rejected` for the first field that the message or one inside it does not have.
void judge_gemini_fields(gemini_message kind, dom::object body);

/// The value of a field in either spelling; null is absent.
std::optional<dom::element> field(dom::object object, std::string_view camel);
std::optional<std::string_view> text_field(dom::object object, std::string_view camel);
/// An object; throws where it is something else.
std::optional<dom::object> object_field(dom::object object, std::string_view camel);
/// A list, or what stands alone instead; throws where an element is no object.
std::vector<dom::object> objects_field(dom::object object, std::string_view camel);
/// A whole number, in quotes or not; throws where it is something else.
std::optional<std::int64_t> integer_field(dom::object object, std::string_view camel);
std::optional<double> number_field(dom::object object, std::string_view camel);

/// The name as Google's messages write it.
std::string snake_case(std::string_view camel);

}  // namespace millrace::http::simulation
