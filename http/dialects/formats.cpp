#include "http/dialects/formats.hpp"

#include "http/openai.hpp"

namespace millrace::http {
namespace {

class formats final : public engine::wire_formats {
 public:
  const engine::client_dialect& of(engine::route_kind /*route*/) const override { return openai(); }

  const engine::provider_dialect* between(engine::route_kind /*route*/,
                                          const engine::provider_config& /*provider*/) const override {
    return &openai();
  }
};

}  // namespace

const engine::wire_formats& all_formats() {
  static const formats all;
  return all;
}

}  // namespace millrace::http
