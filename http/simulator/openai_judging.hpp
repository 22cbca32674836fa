#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"

/// What the judges of OpenAI's routes say in the same words. Everything throws `rejected`. `path` is where an
/// object stands, and empty for the body.
namespace millrace::http::simulation {

[[noreturn]] void refuse_missing(const std::string& param);
[[noreturn]] void refuse_type(const std::string& param, std::string_view expected);
[[noreturn]] void refuse_value(const std::string& param, std::string_view value, std::string_view supported);
[[noreturn]] void refuse_unknown(const std::string& param);
[[noreturn]] void refuse_empty_array(const std::string& param);

/// Where `name` stands in the object at `path`.
std::string inside_of(const std::string& path, std::string_view name);

std::string_view want_text(dom::object object, std::string_view name, const std::string& path);
dom::object want_object(dom::object object, std::string_view name, const std::string& path);
/// An array of at least one element.
dom::array want_array(dom::element value, const std::string& param);
void want_known(dom::object object, std::initializer_list<std::string_view> names, const std::string& path);
void want_no_longer(std::string_view text, std::size_t most, const std::string& param);
void want_name(std::string_view name, std::string_view more, const std::string& param);

// Members that may be absent.
void judge_decimal(dom::object object, std::string_view name, double least, double most);
void judge_integer(dom::object object, std::string_view name, std::int64_t least);
void judge_one_of(dom::object object, std::string_view name, std::initializer_list<std::string_view> values,
                  const std::string& path = {});

/// A function's schema of parameters; `strict` wants it closed.
void judge_parameters(dom::element parameters, bool strict, std::string_view function,
                      const std::string& param);
/// `what` it is the schema of, `param` where that is.
void judge_closed(dom::element schema, const std::string& what, const std::string& param);

/// A data URL in base64 whose type begins with `type`.
bool is_data_url(std::string_view url, std::string_view type);
/// An image's place: on the web, or a data URL of a type that is supported.
void judge_image_url(std::string_view url, const std::string& param);

std::string joined(const std::vector<std::string_view>& ids);

/// Looks for a word in texts, in any case.
class word_finder {
 public:
  /// `word`: in small letters.
  explicit word_finder(std::string_view word) : word_(word) {}
  void read(std::string_view text);
  bool found() const { return found_; }

 private:
  std::string_view word_;
  bool found_ = false;
};

}  // namespace millrace::http::simulation
