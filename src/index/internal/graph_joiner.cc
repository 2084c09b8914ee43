#include "index/internal/graph_joiner.h"

#include <algorithm>

namespace quiver::index {
namespace {

/// Walks that begin near their goal have this part of the room of those that come from far away, and so much at least.
/// With a quarter, equal parts of M were joined for a third less, at 10 to 20 hits in 10,000 less at the same room.
constexpr size_t kNearPart = 2;
constexpr size_t kLeastNearEf = 48;
/// Where walks begin whose vertex has no neighbour that has found its place.
constexpr size_t kFarStarts = 32;
/// Old neighbours whose places are begun at.
constexpr size_t kNearStarts = 8;
/// Vertices left out that are looked through around one vertex.
constexpr size_t kMostLeftOut = 32;
/// Of what lies behind them, so many times the degree are chosen from.
constexpr size_t kBehindDegrees = 2;

}  // namespace

GraphJoiner::GraphJoiner(BuildLevel& base, BuildCrew& crew, float alpha, size_t ef, std::span<const uint32_t> order)
    : base_(base),
      crew_(crew),
      alpha_(alpha),
      ef_(ef),
      near_ef_(std::min(ef, std::max(kLeastNearEf, ef / kNearPart))),
      order_(order),
      owner_(base.size(), kNobody),
      repaired_(base.size(), 0) {}

Status GraphJoiner::Join(std::vector<GraphLinks>& sources, double progress_from, double progress_to) {
  std::vector<size_t> by_size(sources.size());
  std::vector<size_t> kept(sources.size());
  size_t all = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    by_size[i] = i;
    kept[i] = sources[i].target.size() -
              static_cast<size_t>(std::count(sources[i].target.begin(), sources[i].target.end(), kNoVertex));
    all += kept[i];
  }
  std::sort(by_size.begin(), by_size.end(),
            [&](size_t a, size_t b) { return kept[a] != kept[b] ? kept[a] > kept[b] : a < b; });
  double at = progress_from;
  for (size_t number = 0; number < by_size.size(); ++number) {
    const GraphLinks& source = sources[by_size[number]];
    const double end = at + (progress_to - progress_from) * static_cast<double>(kept[by_size[number]]) /
                                static_cast<double>(std::max<size_t>(all, 1));
    const double between = number == 0 ? end : at + 0.2 * (end - at);
    QUIVER_RETURN_IF_ERROR(TakeOver(source, static_cast<uint32_t>(number), at, between));
    if (number > 0) QUIVER_RETURN_IF_ERROR(Connect(source, static_cast<uint32_t>(number), between, end));
    at = end;
  }
  return Status::Ok();
}

/// Gives vertices that nobody has given links yet those that they had.
Status GraphJoiner::TakeOver(const GraphLinks& source, uint32_t number, double progress_from, double progress_to) {
  std::vector<uint32_t> mine;
  for (uint32_t v = 0; v < source.size(); ++v) {
    if (source.target[v] == kNoVertex || joined(source.target[v])) continue;
    owner_[source.target[v]] = number;
    mine.push_back(v);
  }
  const auto count = static_cast<uint32_t>(mine.size());
  const double between = 0.5 * (progress_from + progress_to);
  // Those that follow are pruned when they have found their places.
  const bool first = number == 0;
  QUIVER_RETURN_IF_ERROR(
      crew_.ForAll(count, progress_from, first ? between : progress_to, [&](LinkScratch& scratch, uint32_t i) {
        const bool repaired = TakeRow(scratch, source, mine[i], first);
        repaired_[source.target[mine[i]]] = repaired ? 1 : 0;
      }));
  if (!first) return Status::Ok();
  // Who was linked to by what is gone, and by nobody else, would not be found any more.
  return crew_.ForAll(count, between, progress_to, [&](LinkScratch& scratch, uint32_t i) {
    if (repaired_[source.target[mine[i]]] == 0) return;
    LinkAllBack(scratch, source.target[mine[i]], [](uint32_t) { return true; });
  });
}

/// Returns whether links had to be replaced.
bool GraphJoiner::TakeRow(LinkScratch& scratch, const GraphLinks& source, uint32_t vertex, bool prune) {
  const uint32_t target = source.target[vertex];
  scratch.visited.Begin(base_.size());
  scratch.visited.Mark(target);
  std::vector<uint32_t>& ids = scratch.ids;
  std::vector<uint32_t>& left_out = scratch.left_out;
  ids.clear();
  left_out.clear();
  const auto take = [&](uint32_t of) {
    for (const uint32_t link : source.row(of)) {
      if (link == kNoVertex) break;
      const uint32_t id = source.target[link];
      if (id != kNoVertex) {
        if (scratch.visited.Mark(id)) ids.push_back(id);
      } else if (left_out.size() < kMostLeftOut &&
                 std::find(left_out.begin(), left_out.end(), link) == left_out.end()) {
        left_out.push_back(link);
      }
    }
  };
  take(vertex);
  const size_t direct = ids.size();
  const size_t near = left_out.size();
  for (size_t i = 0; i < near; ++i) take(left_out[i]);
  // Where nearly all around is gone, what lies behind that is looked at, too.
  for (size_t i = near; i < left_out.size() && ids.size() < base_.degree(); ++i) take(left_out[i]);
  scratch.distances.resize(std::max(scratch.distances.size(), ids.size()));
  base_.Distances(target, ids.data(), ids.size(), scratch.distances.data());
  std::vector<Link>& links = scratch.alive;
  links.clear();
  for (size_t i = 0; i < ids.size(); ++i) links.push_back({scratch.distances[i], ids[i]});
  // Of what lies behind, the nearest.
  const size_t most = prune ? direct + kBehindDegrees * base_.degree() : std::max<size_t>(direct, base_.room());
  const auto behind = links.begin() + static_cast<std::ptrdiff_t>(direct);
  std::sort(behind, links.end(), NearerLink);
  if (links.size() > most) links.resize(most);
  std::sort(links.begin(), links.end(), NearerLink);
  if ((near > 0 && prune) || links.size() > base_.room()) {
    SelectLinks(scratch, base_, links, base_.degree(), alpha_);
    base_.Replace(target, scratch.kept);
  } else {
    base_.Replace(target, links);
  }
  return near > 0;
}

/// Lets those whom a vertex links to, and whom `whom` takes, link to it.
template <typename Whom>
void GraphJoiner::LinkAllBack(LinkScratch& scratch, uint32_t vertex, const Whom& whom) {
  base_.Lock(vertex);
  base_.CopyLinks(vertex, scratch.mine);
  base_.Unlock(vertex);
  for (const Link& link : scratch.mine) {
    if (whom(link.id)) (void)LinkBack(scratch, base_, link.id, {link.distance, vertex}, alpha_);
  }
}

/// The vertices that came with a source, neighbours near one another, so that each finds neighbours that have found
/// their places, and these in the cache.
std::vector<uint32_t> GraphJoiner::InOrder(const GraphLinks& source, uint32_t number) {
  std::vector<uint32_t> order, stack;
  std::vector<bool> taken(base_.size(), false);
  for (const uint32_t root : source.target) {
    if (root == kNoVertex || owner_[root] != number || taken[root]) continue;
    stack.push_back(root);
    while (!stack.empty()) {
      const uint32_t vertex = stack.back();
      stack.pop_back();
      if (taken[vertex]) continue;
      taken[vertex] = true;
      order.push_back(vertex);
      // The nearest is to come next.
      for (uint32_t i = base_.count(vertex); i > 0; --i) {
        const uint32_t next = base_.row(vertex)[i - 1].id;
        if (owner_[next] == number && !taken[next]) stack.push_back(next);
      }
    }
  }
  return order;
}

void GraphJoiner::FindAcross(LinkScratch& scratch, uint32_t vertex, uint32_t number, std::span<const uint32_t> far) {
  std::vector<uint32_t>& starts = scratch.starts;
  starts.clear();
  // Links within the source are left as they are until all have found their places: only this thread changes this row.
  const Link* links = base_.row(vertex);
  const uint32_t count = base_.count(vertex);
  for (uint32_t i = 0; i < count && starts.size() < kNearStarts; ++i) {
    const uint32_t other = links[i].id;
    if (owner_[other] != number) {
      starts.push_back(other);
      continue;
    }
    base_.Lock(other);
    for (uint32_t j = 0; j < base_.count(other); ++j) {
      const uint32_t place = base_.row(other)[j].id;
      if (owner_[place] == number) continue;
      starts.push_back(place);
      break;
    }
    base_.Unlock(other);
  }
  const bool near = !starts.empty();
  WalkLevel(scratch, base_, vertex, near ? std::span<const uint32_t>(starts) : far, near ? near_ef_ : ef_);
  std::vector<Link>& candidates = scratch.candidates;
  candidates.assign(links, links + count);
  for (size_t i = 0; i < scratch.pool.size(); ++i) candidates.push_back({scratch.pool.key(i), scratch.pool.id(i)});
  std::sort(candidates.begin(), candidates.end(), NearerLink);
  const auto end =
      std::unique(candidates.begin(), candidates.end(), [](const Link& a, const Link& b) { return a.id == b.id; });
  candidates.erase(end, candidates.end());
  SelectLinks(scratch, base_, candidates, base_.degree(), alpha_);
  base_.Lock(vertex);
  base_.Replace(vertex, scratch.kept);
  base_.Unlock(vertex);
}

/// Links the vertices of a source to what was joined before, and that to them.
Status GraphJoiner::Connect(const GraphLinks& source, uint32_t number, double progress_from, double progress_to) {
  const std::vector<uint32_t> mine = InOrder(source, number);
  std::vector<uint32_t> far;
  for (size_t i = 0; i < order_.size() && far.size() < kFarStarts; ++i) {
    if (joined(order_[i]) && owner_[order_[i]] != number) far.push_back(order_[i]);
  }
  const auto count = static_cast<uint32_t>(mine.size());
  const double between = progress_from + 0.6 * (progress_to - progress_from);
  // Who links back waits until all have walked: walks lead over what was joined before alone.
  QUIVER_RETURN_IF_ERROR(crew_.ForAll(count, progress_from, between, [&](LinkScratch& scratch, uint32_t i) {
    FindAcross(scratch, mine[i], number, far);
  }));
  return crew_.ForAll(count, between, progress_to, [&](LinkScratch& scratch, uint32_t i) {
    const bool repaired = repaired_[mine[i]] != 0;
    LinkAllBack(scratch, mine[i], [&](uint32_t other) { return repaired || owner_[other] != number; });
  });
}

}  // namespace quiver::index
