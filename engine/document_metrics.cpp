#include "engine/document_metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace millrace::engine {

namespace {

const prometheus::Histogram::BucketBoundaries render_buckets = {0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 10, 30};

}  // namespace

struct document_metrics::impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  prometheus::Family<prometheus::Counter>& documents =
      counters("millrace_documents_total", "Documents by what they are and what became of them.");
  prometheus::Family<prometheus::Counter>& bytes = counters(
      "millrace_document_bytes_total", "Bytes of documents as they came, and of the images sent on.");
  prometheus::Family<prometheus::Counter>& tokens =
      counters("millrace_document_image_tokens_total",
               "What the pages sent on would cost as images as they came, and cost as sent, in tokens of "
               "512-pixel tiles.");
  prometheus::Counter& pages =
      counters("millrace_document_pages_total", "Pages that were made into images for a model.").Add({});
  prometheus::Family<prometheus::Histogram>& seconds =
      prometheus::BuildHistogram()
          .Name("millrace_document_render_seconds")
          .Help("Time of the process that opens one document, from its start to its end.")
          .Register(*registry);
  prometheus::Family<prometheus::Gauge>& workers =
      prometheus::BuildGauge()
          .Name("millrace_document_workers")
          .Help("Documents that are being opened, and that wait for a place.")
          .Register(*registry);
  prometheus::Counter& bytes_in = bytes.Add({{"direction", "in"}});
  prometheus::Counter& bytes_out = bytes.Add({{"direction", "out"}});
  prometheus::Counter& tokens_before = tokens.Add({{"when", "before"}});
  prometheus::Counter& tokens_after = tokens.Add({{"when", "after"}});
  prometheus::Gauge& running = workers.Add({{"state", "running"}});
  prometheus::Gauge& waiting = workers.Add({{"state", "waiting"}});

  prometheus::Family<prometheus::Counter>& counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
  }
};

document_metrics::document_metrics() : impl_(std::make_unique<impl>()) {}
document_metrics::~document_metrics() = default;

void document_metrics::done(std::string_view type, std::string_view outcome, std::int64_t bytes) {
  impl_->documents.Add({{"type", std::string(type)}, {"outcome", std::string(outcome)}}).Increment();
  impl_->bytes_in.Increment(static_cast<double>(bytes));
}

void document_metrics::rendered(std::string_view type, duration took) {
  impl_->seconds.Add({{"type", std::string(type)}}, render_buckets)
      .Observe(std::chrono::duration<double>(took).count());
}

void document_metrics::sent(std::int64_t pages, std::int64_t bytes, std::int64_t tokens_before,
                            std::int64_t tokens_after) {
  impl_->pages.Increment(static_cast<double>(pages));
  impl_->bytes_out.Increment(static_cast<double>(bytes));
  impl_->tokens_before.Increment(static_cast<double>(tokens_before));
  impl_->tokens_after.Increment(static_cast<double>(tokens_after));
}

void document_metrics::working(std::int64_t running, std::int64_t waiting) {
  impl_->running.Set(static_cast<double>(running));
  impl_->waiting.Set(static_cast<double>(waiting));
}

std::shared_ptr<prometheus::Collectable> document_metrics::collectable() const {
  return impl_->registry;
}

}  // namespace millrace::engine
