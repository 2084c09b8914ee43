#include "api/compiled_filters.h"

#include <utility>

namespace quiver::api {

namespace {
/// Longer texts are long lists of values, which seldom come twice.
constexpr size_t kMostText = 1024;
}  // namespace

Result<std::shared_ptr<const expr::Filter>> CompiledFilters::Compile(
    std::string_view text, const std::shared_ptr<const CollectionSchema>& schema, const expr::TemplateValues& values,
    const TimeZone& zone, bool utc) {
  const bool may_be_kept = most_ > 0 && values.empty() && utc && text.size() <= kMostText;
  const Name name{schema.get(), text};
  bool again = false;
  if (may_be_kept) {
    if (auto known = Find(name); known != nullptr) return known;
    again = SeenBefore(HashName()(name));
  }
  QUIVER_ASSIGN_OR_RETURN(auto filter, expr::Filter::Compile(text, *schema, values, zone));
  // A sample has no key: it is drawn anew each time.
  if (again && !filter->canonical_key().empty()) Keep({std::string(text), schema, filter});
  return filter;
}

std::shared_ptr<const expr::Filter> CompiledFilters::Find(const Name& name) {
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->filter;
}

/// Whether the last name of this remainder had this hash; wrong answers do no harm.
bool CompiledFilters::SeenBefore(size_t hash) {
  return seen_[hash % seen_.size()].exchange(hash, std::memory_order_relaxed) == hash;
}

void CompiledFilters::Keep(Entry entry) {
  Entries dropped;  // goes without the lock
  const std::lock_guard lock(mutex_);
  entries_.push_front(std::move(entry));
  const Entry& first = entries_.front();
  if (!by_name_.try_emplace({first.schema.get(), first.text}, entries_.begin()).second) {
    dropped.splice(dropped.end(), entries_, entries_.begin());  // another thread was faster
    return;
  }
  if (entries_.size() <= most_) return;
  const Entry& last = entries_.back();
  by_name_.erase({last.schema.get(), last.text});
  dropped.splice(dropped.end(), entries_, std::prev(entries_.end()));
}

}  // namespace quiver::api
