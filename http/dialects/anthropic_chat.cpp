#include "http/dialects/anthropic_chat.hpp"

#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

class anthropic_format final : public chat_format {
 public:
  bool decode_request(std::string_view body, chat_request& out, engine::api_error& error) const override {
    return decode_anthropic_request(body, out, error);
  }
  bool fit(chat_answer& answer) const override { return fit_anthropic_answer(answer); }
  void encode_answer(const chat_answer& answer, const encode_options& options,
                     std::string& out) const override {
    encode_anthropic_answer(answer, options, out);
  }
  std::unique_ptr<delta_sink> encode_stream(const encode_options& options,
                                            bool /*include_usage*/) const override {
    return encode_anthropic_stream(options);
  }
  bool encode_request(const chat_request& request, const encode_options& options, std::string& out,
                      std::vector<std::string>& dropped, engine::api_error& error) const override {
    return encode_anthropic_request(request, options, out, dropped, error);
  }
  bool decode_answer(std::string_view body, chat_answer& out) const override {
    return decode_anthropic_answer(body, out);
  }
  std::unique_ptr<delta_source> decode_stream() const override { return decode_anthropic_stream(); }
  std::string decode_error(std::string_view body) const override {
    return read_anthropic_error(body).message;
  }
};

}  // namespace

const chat_format& anthropic_chat() {
  static const anthropic_format format;
  return format;
}

}  // namespace millrace::http
