#include "engine/pipeline.hpp"

#include "engine/flight.hpp"

namespace millrace::engine {

namespace {

/// Keeps the flight alive while the edge pulls its stream.
class flight_stream final : public answer_stream {
 public:
  explicit flight_stream(std::unique_ptr<flight> f) : flight_(std::move(f)) {}
  bool read(std::string& out, yield y) override { return flight_->read(out, y); }
  bool broken() const override { return flight_->broken(); }

 private:
  std::unique_ptr<flight> flight_;
};

}  // namespace

answer pipeline::run(call c, yield y) {
  auto f = std::make_unique<flight>(ports_, std::move(c));
  answer a = f->run(y);
  if (f->streaming()) a.stream = std::make_unique<flight_stream>(std::move(f));
  return a;
}

}  // namespace millrace::engine
