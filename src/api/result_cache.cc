#include "api/result_cache.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>

#include "search.pb.h"

namespace quiver::api {
namespace {

/// An answer that would push so much else out is not kept.
constexpr uint64_t kLargestShare = 8;

/// Takes out what does not decide the answer.
template <typename Request>
void Strip(Request* request) {
  request->clear_base();
  request->clear_guarantee_timestamp();
  request->clear_consistency_level();
  request->clear_use_default_consistency();
}

template <typename Request>
std::string Serialize(char kind, const Request& request) {
  std::string name(1, kind);
  google::protobuf::io::StringOutputStream stream(&name);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);  // template values are a map
  request.SerializeToCodedStream(&coded);
  coded.Trim();
  return name;
}

}  // namespace

ResultCache::ResultCache(std::shared_ptr<MemoryBudget> budget, uint64_t max_bytes)
    : budget_(std::move(budget)),
      max_bytes_(max_bytes),
      hits_(metrics::Registry::Global().GetCounter("quiver_result_cache_hits_total",
                                                   "Searches answered by an answer that was kept.")),
      misses_(metrics::Registry::Global().GetCounter("quiver_result_cache_misses_total",
                                                     "Searches that asked for a kept answer and found none.")) {}

std::string ResultCache::NameOf(const wire::SearchRequest& request) {
  wire::SearchRequest plain = request;
  Strip(&plain);
  return Serialize('s', plain);
}

std::string ResultCache::NameOf(const wire::HybridSearchRequest& request) {
  wire::HybridSearchRequest plain = request;
  Strip(&plain);
  for (wire::SearchRequest& search : *plain.mutable_requests()) Strip(&search);
  return Serialize('h', plain);
}

bool ResultCache::Answered(const std::string& name, const engine::ReadView& view, wire::SearchResults* answer) {
  if (name.empty()) return false;
  std::shared_ptr<const wire::SearchResults> kept;
  Entries dropped;  // freed without the lock
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_name_.find(name); found != by_name_.end()) {
      const Entries::iterator entry = found->second;
      if (view.data_version != 0 && entry->version == view.data_version && entry->info == view.info) {
        entries_.splice(entries_.begin(), entries_, entry);
        kept = entry->answer;
      } else {
        Remove(entry, &dropped);
      }
    }
  }
  (kept != nullptr ? hits_ : misses_).Add();
  if (kept == nullptr) return false;
  *answer = *kept;
  return true;
}

void ResultCache::Keep(const std::string& name, const engine::ReadView& view, const wire::SearchResults& answer) {
  if (name.empty() || view.data_version == 0) return;
  const uint64_t bytes = sizeof(Entry) + 2 * name.size() + answer.SpaceUsedLong();
  if (bytes > max_bytes_ / kLargestShare || !budget_->Admit(bytes).ok()) return;
  auto kept = std::make_shared<const wire::SearchResults>(answer);
  Entries dropped;
  const std::lock_guard lock(mutex_);
  if (const auto found = by_name_.find(name); found != by_name_.end()) Remove(found->second, &dropped);
  while (bytes_ + bytes > max_bytes_) Remove(std::prev(entries_.end()), &dropped);
  entries_.push_front({.name = name,
                       .info = view.info,
                       .version = view.data_version,
                       .answer = std::move(kept),
                       .charge = MemoryCharge(budget_, MemoryConsumer::kResultCache, bytes),
                       .bytes = bytes});
  by_name_.emplace(entries_.front().name, entries_.begin());
  bytes_ += bytes;
}

void ResultCache::Remove(Entries::iterator entry, Entries* dropped) {
  bytes_ -= entry->bytes;
  by_name_.erase(entry->name);
  dropped->splice(dropped->begin(), entries_, entry);
}

}  // namespace quiver::api
