#include "http/builtin/builtin_upstream.hpp"

#include <utility>

#include "http/builtin/builtin_provider.hpp"

namespace millrace::http {

namespace {

class builtin_exchange final : public engine::upstream_exchange {
 public:
  explicit builtin_exchange(std::int64_t now) : now_(now) {}

  engine::upstream_failure send(const engine::upstream_request& request, engine::time_point,
                                engine::upstream_head& head, engine::yield) override {
    builtin::reply reply = builtin::answer(request.target, request.body, now_);
    head.status = reply.status;
    head.headers = {{"content-type", reply.content_type}};
    body_ = std::move(reply.body);
    return engine::upstream_failure::none;
  }
  engine::upstream_failure read(std::string& out, engine::time_point, engine::yield) override {
    out = std::exchange(body_, {});
    return engine::upstream_failure::none;
  }
  bool stale() const override { return false; }

 private:
  const std::int64_t now_;
  std::string body_;
};

}  // namespace

engine::upstream_failure provider_upstream::connect(const engine::provider_config& provider,
                                                    engine::time_point until, bool fresh,
                                                    engine::cancellation& gone,
                                                    std::unique_ptr<engine::upstream_exchange>& out,
                                                    engine::yield y, std::string* why) {
  if (provider.kind != engine::provider_kind::builtin)
    return network_.connect(provider, until, fresh, gone, out, y, why);
  const auto since_epoch = time_.wall().time_since_epoch();
  out = std::make_unique<builtin_exchange>(
      std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count());
  return engine::upstream_failure::none;
}

}  // namespace millrace::http
