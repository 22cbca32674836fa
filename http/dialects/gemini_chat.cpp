#include "http/dialects/gemini_chat.hpp"

#include "http/dialects/gemini_formats.hpp"

namespace millrace::http {
namespace {

class gemini_format final : public chat_format {
 public:
  bool decode_request(std::string_view body, chat_request& out, engine::api_error& error) const override {
    return decode_gemini_request(body, out, error);
  }

  void encode_answer(const chat_answer& answer, const encode_options& options,
                     std::string& out) const override {
    encode_gemini_answer(answer, options, out);
  }

  /// Gemini's clients are told usage in any case.
  std::unique_ptr<delta_sink> encode_stream(const encode_options& options,
                                            bool /*include_usage*/) const override {
    return encode_gemini_stream(options);
  }

  bool encode_request(const chat_request& request, const encode_options& options, std::string& out,
                      std::vector<std::string>& dropped, engine::api_error& error) const override {
    return encode_gemini_request(request, options, out, dropped, error);
  }

  bool decode_answer(std::string_view body, chat_answer& out) const override {
    return decode_gemini_answer(body, out);
  }

  std::unique_ptr<delta_source> decode_stream() const override { return decode_gemini_stream(); }

  std::string decode_error(std::string_view body) const override {
    gemini_error e;
    return read_gemini_error_body(body, e) ? e.message : std::string();
  }
};

}  // namespace

const chat_format& gemini_chat() {
  static const gemini_format format;
  return format;
}

}  // namespace millrace::http
