#include "index/internal/graph_query.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quiver::index {
namespace {

/// A search that was given neither ef nor recall aims at this.
constexpr double kUsualRecall = 0.95;
constexpr size_t kScoreAtOnce = 64;
/// By how many deviations of its keys each stage of a scan exceeds the worst key that is wanted.
constexpr float kScanDeviations = 3.0f;
/// By how much keys of codes usually err, in units of the scale of a code and of the query's length.
constexpr float kCoarseError = 4.6f;
constexpr float kWholeError = 0.45f;
/// By how many of them a candidate is given the chance to be better than its code says, and those before it worse.
constexpr float kRefineDeviations = 2.0f;
/// So many times the rows wanted are taken from one stage to the next at most.
constexpr size_t kMostFromSketches = 256;
constexpr size_t kMostFromCodes = 32;
/// A filter keeps away from the query when so many times fewer rows match around it than on the whole.
constexpr double kFarFewer = 4;

}  // namespace

GraphShape GraphContents::Shape() const {
  return {.rows = static_cast<double>(row_count),
          .vertices = static_cast<double>(view.vertices),
          .degree = static_cast<double>(view.degree),
          .row_bytes = row_bytes,
          .coarse_bytes = static_cast<double>(view.points.coarse_bytes()),
          .sketch_bytes = sketches == nullptr || sketches->empty() ? 0 : static_cast<double>(sketches->row_bytes()),
          .lookups = book == nullptr ? 0 : static_cast<double>(book->shape().centre_values()),
          .candidates = static_cast<double>(candidates),
          .curve = curve};
}

/// The room of the walk: as asked for, or the least that reaches the recall on the measured curve.
size_t GraphContents::EfFor(const IndexSearchOptions& options) const {
  const size_t least = std::max<size_t>(options.k, 1);
  if (options.ef != 0) return std::max<size_t>(options.ef, least);
  const double wanted = options.recall > 0 ? options.recall : kUsualRecall;
  double ef = curve.empty() ? 128 : 2.0 * curve.back().ef;
  const GraphCurvePoint* before = nullptr;
  for (const GraphCurvePoint& point : curve) {
    if (static_cast<double>(point.recall) >= wanted) {
      ef = point.ef;
      if (before != nullptr) {
        const double share = (wanted - static_cast<double>(before->recall)) /
                             std::max(1e-6, static_cast<double>(point.recall) - static_cast<double>(before->recall));
        ef = before->ef + share * (point.ef - before->ef);
      }
      break;
    }
    before = &point;
  }
  // The curve holds for 10 hits; more of them need room in proportion.
  if (options.k > 10) ef += static_cast<double>(options.k - 10) * 1.2;
  return std::max(least, static_cast<size_t>(std::ceil(ef)));
}

GraphSearch::GraphSearch(const GraphContents& graph, const GraphCall& call)
    : graph_(graph), call_(call), matches_(graph.rows.With(call.filter.bits)) {}

/// Its terms say whether codes hold for it.
GraphQuery GraphSearch::EncodeQuery() {
  if (graph_.space == nullptr) return GraphQuery(call_.queries.Bits(call_.query));
  if (graph_.book != nullptr) {
    GraphQuery query;
    query.terms = query.lookup_terms = graph_.space->PointOfQuery(call_.queries, call_.query, call_.scratch.work);
    if (!query.terms.usable) return query;
    call_.scratch.product_query.Prepare(*graph_.book, call_.scratch.work.rotated.data());
    query.lookup = call_.scratch.product_query.lookup();
    return query;
  }
  const size_t dim = graph_.view.points.dim;
  GraphScratch& scratch = call_.scratch;
  if (scratch.codes.size() < dim) scratch.codes.resize(dim);
  const QueryTerms terms = graph_.space->EncodeQuery(call_.queries, call_.query, scratch.codes.data(), scratch.work);
  return {scratch.codes.data(), dim, terms};
}

float GraphSearch::QueryLength() const {
  int64_t squares = 0;
  for (size_t d = 0; d < graph_.view.points.dim; ++d) squares += encoded_.codes[d] * encoded_.codes[d];
  return std::sqrt(static_cast<float>(squares));
}

/// Candidates that are scored exactly.
size_t GraphSearch::RefineFor() const {
  return RefineCount(call_.options.k) * std::max<size_t>(call_.options.refine, 1);
}

/// Scores rows exactly and offers them.
void GraphSearch::ScoreAndOffer(std::span<const uint32_t> rows) {
  float scores[kScoreAtOnce];
  for (size_t first = 0; first < rows.size(); first += kScoreAtOnce) {
    const std::span<const uint32_t> some = rows.subspan(first, std::min(kScoreAtOnce, rows.size() - first));
    call_.rows.Score(some, scores);
    for (size_t i = 0; i < some.size(); ++i) call_.result.Offer(scores[i], call_.first_row + some[i]);
  }
  call_.counters.exact_distances += rows.size();
}

/// Compares all matching rows exactly.
Status GraphSearch::ScanExactly() {
  const auto take = [&](const uint32_t* some, size_t count) {
    ScoreAndOffer({some, count});
    return !call_.options.cancelled || !call_.options.cancelled();
  };
  const uint64_t* bits = call_.filter.bits;
  const bool sparse = bits != nullptr && call_.filter.count < graph_.row_count / 50;
  const bool all =
      sparse ? VisitSetBits<2>(bits, graph_.row_count, take) : VisitSetBits<4>(bits, graph_.row_count, take);
  return all ? Status::Ok() : Error(StatusCode::kCancelled, "the search was cancelled");
}

/// Compares the codes of all matching vertices, in stages of rising precision: each takes on what its errors leave a
/// chance to be among the k best. The last scores exactly and offers. Product codes are the only stage before it.
Status GraphSearch::ScanCodes(size_t ef) {
  GraphScratch& scratch = call_.scratch;
  float keys[kMostSetBits];
  uint32_t ids[kMostSetBits];
  // The last of k estimates is most likely too good.
  const size_t wanted = call_.options.k + call_.options.k / 8 + 2;
  const bool by_products = graph_.view.points.by_products();
  const float unit =
      by_products ? 0 : kScanDeviations * encoded_.terms.product_weight * graph_.usual_scale * QueryLength();
  Shortlist& sketched = scratch.shortlist;
  Shortlist& coarse = scratch.coarse_list;
  Shortlist& whole = scratch.whole_list;
  coarse.Begin(wanted, kCoarseError * unit, kMostFromCodes * wanted);
  if (by_products) {
    // What a walk would score at most, a scan may score too.
    whole.Begin(wanted, graph_.view.points.products.margin, std::max(ef, kMostFromCodes * wanted));
  } else {
    whole.Begin(wanted, kWholeError * unit, kMostFromCodes * wanted);
  }
  const auto take_whole = [&](const uint32_t* some, size_t count) {
    graph_.view.points.WholeKeys(encoded_, some, count, keys);
    for (size_t i = 0; i < count; ++i) whole.Offer(keys[i], some[i]);
  };
  const auto take_coarse = [&](const uint32_t* some, size_t count) {
    graph_.view.points.CoarseKeys(encoded_, some, count, keys);
    for (size_t i = 0; i < count; ++i) coarse.Offer(keys[i], some[i]);
  };
  const auto pass_on = [&](Shortlist& from, const auto& take) {
    from.Cut();
    call_.counters.code_distances += from.size();
    for (size_t first = 0; first < from.size(); first += kMostSetBits) {
      const size_t some = std::min(kMostSetBits, from.size() - first);
      for (size_t i = 0; i < some; ++i) ids[i] = from[first + i].id;
      take(static_cast<const uint32_t*>(ids), some);
    }
  };
  const bool sketches = graph_.sketches != nullptr && !graph_.sketches->empty();
  if (sketches) {
    graph_.sketches->Encode(encoded_, scratch.sketch);
    sketched.Begin(wanted, kScanDeviations * scratch.sketch.deviation, kMostFromSketches * wanted);
  }
  size_t blocks = 0;
  const bool all = VisitMatchingVertices(
      graph_.view.vertices, matches_, call_.filter.count, [&](const uint32_t* some, size_t count) {
        call_.counters.code_distances += count;
        if (sketches) {
          graph_.sketches->Keys(scratch.sketch, some, count, keys);
          for (size_t i = 0; i < count; ++i) sketched.Offer(keys[i], some[i]);
        } else if (by_products) {
          take_whole(some, count);
        } else {
          take_coarse(some, count);
        }
        return ++blocks % 16 != 0 || !call_.options.cancelled || !call_.options.cancelled();
      });
  if (!all) return Error(StatusCode::kCancelled, "the search was cancelled");
  if (sketches) pass_on(sketched, take_coarse);
  if (!by_products) pass_on(coarse, take_whole);
  whole.Cut();
  // The pool moves all that lies behind what is inserted.
  whole.Sort();
  scratch.pool.Begin(std::max<size_t>(whole.size(), 1));
  for (size_t i = 0; i < whole.size(); ++i) scratch.pool.Insert(whole[i].key, whole[i].id);
  Refine(whole.size());
  return Status::Ok();
}

/// Scores the best of the pool exactly and offers them.
Status GraphSearch::Rank(size_t wanted) {
  const GraphProducts& products = graph_.view.points.products;
  if (products.codes != nullptr) {
    wanted = CandidatesWithin(call_.scratch.pool, products.margin, std::max(call_.result.k(), call_.options.k), wanted);
  } else if (call_.scratch.pool.size() > wanted && !graph_.view.points.exact()) {
    // Where all candidates are scored exactly, their order does not matter.
    RankByWholeCodes(graph_.view, encoded_, call_.scratch, call_.counters);
    wanted = WorthScoring(wanted);
  }
  Refine(wanted);
  return Status::Ok();
}

/// Of candidates in the order of their whole codes, how many may be among the k best, at most `wanted`: beyond, even
/// the usual errors of the codes of both would not bring one before the k-th. A raw vector costs as much as several
/// codes.
size_t GraphSearch::WorthScoring(size_t wanted) const {
  const WalkPool& pool = call_.scratch.pool;
  const size_t k = std::max(call_.result.k(), call_.options.k);
  if (call_.options.refine > 1 || pool.size() <= k || wanted <= k) return wanted;
  const float unit = kRefineDeviations * kWholeError * encoded_.terms.product_weight * QueryLength();
  const auto error = [&](size_t i) { return unit * graph_.view.points.factors[pool.id(i)].scale; };
  float worst = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < k; ++i) worst = std::max(worst, pool.key(i) + error(i));
  const size_t most = std::min(wanted, pool.size());
  size_t last = most;
  while (last > k && pool.key(last - 1) - error(last - 1) > worst) --last;
  return last;
}

/// Walks under a filter. Where the rows around the query match far less than the filter as a whole, a scan is cheaper
/// than what the walk would become, and the only plan whose answers are sure.
Status GraphSearch::WalkFiltered(const GraphPlanner& planner, const GraphFilter& filter, size_t ef, SearchPlan plan) {
  GraphScratch& scratch = call_.scratch;
  const bool through = plan == SearchPlan::kWalkThrough;
  CheckedWalk walk{.room = std::max(ef, RefineFor()),
                   .wanted = through ? GraphPlanner::kThroughSeeds : planner.WalkWanted(filter.share),
                   .budget = through ? planner.SeedBudget(filter) : planner.WalkBudget(filter),
                   .wanted_at = {},
                   .hopeless = {}};
  if (!through) walk.wanted_at = [&](double share) { return planner.WalkWanted(share); };
  walk.hopeless = [&](double share) {
    GraphFilter here = filter;
    here.share = share;
    return share < filter.share / kFarFewer &&
           planner.Cost(SearchPlan::kWalk, here) > planner.Cost(SearchPlan::kScanCodes, here);
  };
  WalkEnd end =
      WalkGraphChecked(graph_.view, encoded_, matches_, walk, scratch, call_.counters, call_.options.cancelled);
  if (through && end == WalkEnd::kFound) {
    end = WalkGraphThrough(graph_.view, encoded_, std::max(planner.ThroughRoom(), RefineFor()), matches_, scratch,
                           call_.counters, call_.options.cancelled)
              ? WalkEnd::kFound
              : WalkEnd::kCancelled;
  }
  if (end == WalkEnd::kCancelled) return Error(StatusCode::kCancelled, "the search was cancelled");
  if (end == WalkEnd::kFound && FoundEnough()) return Rank(RefineFor());
  ++call_.counters.changed_plans;
  return ScanCodes(ef);
}

/// Whether the pool holds the rows that are wanted.
bool GraphSearch::FoundEnough() const {
  size_t found = 0;
  for (size_t i = 0; i < call_.scratch.pool.size() && found < call_.options.k; ++i) {
    const uint32_t vertex = call_.scratch.pool.id(i);
    matches_.VisitRows(vertex, [&](uint32_t) { return ++found < call_.options.k; });
  }
  return found >= call_.options.k;
}

/// Scores the best candidates of the pool exactly. Rows of one vertex have one score: it is offered for each of them.
void GraphSearch::Refine(size_t wanted) {
  GraphScratch& scratch = call_.scratch;
  scratch.ids.clear();
  scratch.rows.clear();
  for (size_t i = 0; i < scratch.pool.size() && scratch.ids.size() < wanted; ++i) {
    const uint32_t vertex = scratch.pool.id(i);
    matches_.VisitRows(vertex, [&](uint32_t row) {
      scratch.ids.push_back(vertex);
      scratch.rows.push_back(row);
      return false;
    });
  }
  if (scratch.scores.size() < scratch.rows.size()) scratch.scores.resize(scratch.rows.size());
  call_.rows.Score(scratch.rows, scratch.scores.data());
  call_.counters.exact_distances += scratch.rows.size();
  for (size_t i = 0; i < scratch.rows.size(); ++i) {
    size_t left = std::max(call_.result.k(), call_.options.k);
    matches_.VisitRows(scratch.ids[i], [&](uint32_t row) {
      call_.result.Offer(scratch.scores[i], call_.first_row + row);
      return --left > 0;
    });
  }
}

/// Offers the rows that are no vertices.
void GraphSearch::OfferRest() {
  GraphScratch& scratch = call_.scratch;
  scratch.rows.clear();
  for (const uint32_t row : graph_.strays) {
    if (call_.Matches(row)) scratch.rows.push_back(row);
  }
  // All rows without a direction score 0.
  size_t zeros = 0;
  for (const uint32_t row : graph_.zeros) {
    if (zeros >= std::max(call_.result.k(), call_.options.k)) break;
    if (!call_.Matches(row)) continue;
    scratch.rows.push_back(row);
    ++zeros;
  }
  ScoreAndOffer(scratch.rows);
}

Status GraphSearch::Run() {
  const RowFilter& filter = call_.filter;
  const IndexSearchOptions& options = call_.options;
  IndexCounters& counters = call_.counters;
  const uint64_t matching = filter.bits != nullptr ? filter.count : graph_.row_count;
  if (matching == 0 || options.k == 0) return Status::Ok();
  const size_t ef = graph_.EfFor(options);
  const GraphPlanner planner(graph_.Shape(), options.k, ef, graph_.timings);
  const PlanTimer timer(graph_.timings);
  const uint64_t changes = counters.changed_plans;
  const auto matches = static_cast<double>(matching);
  const GraphFilter kept{filter.bits == nullptr, matches, std::min(1.0, matches / graph_.row_count)};
  // So few that codes would save nothing are scored whatever the plan.
  SearchPlan plan = planner.Choose(kept);
  if (options.walk_only && filter.bits == nullptr) plan = SearchPlan::kWalk;
  if (matching <= 2 * RefineCount(options.k)) plan = SearchPlan::kScoreMatches;
  if (plan != SearchPlan::kScoreMatches) {
    encoded_ = EncodeQuery();
    if (!encoded_.terms.usable) plan = SearchPlan::kScoreMatches;
  }
  ++counters.plans[static_cast<size_t>(plan)];
  if (counters.reasons != nullptr) {
    for (const SearchPlan one :
         {SearchPlan::kScoreMatches, SearchPlan::kScanCodes, SearchPlan::kWalk, SearchPlan::kWalkThrough}) {
      if (one == SearchPlan::kWalkThrough && kept.all) continue;
      counters.reasons->cost[static_cast<size_t>(one)] = planner.Cost(one, kept);
    }
    counters.reasons->ef = static_cast<uint32_t>(ef);
  }
  const auto end = [&] {
    // What a change of plan took is not the cost of either.
    if (counters.changed_plans == changes) timer.End(plan, planner.PlainCost(plan, kept));
    return Status::Ok();
  };
  if (plan == SearchPlan::kScoreMatches) {
    QUIVER_RETURN_IF_ERROR(ScanExactly());
    return end();
  }

  if (plan == SearchPlan::kScanCodes) {
    QUIVER_RETURN_IF_ERROR(ScanCodes(ef));
  } else if (filter.bits != nullptr) {
    QUIVER_RETURN_IF_ERROR(WalkFiltered(planner, kept, ef, plan));
  } else if (!WalkGraph(graph_.view, encoded_, ef, call_.scratch, counters, options.cancelled, call_.absent)) {
    return Error(StatusCode::kCancelled, "the search was cancelled");
  } else if (FoundEnough()) {
    QUIVER_RETURN_IF_ERROR(Rank(RefineFor()));
  } else {
    // A walk that ran dry goes on as a scan.
    ++counters.changed_plans;
    QUIVER_RETURN_IF_ERROR(ScanCodes(ef));
  }
  OfferRest();
  return end();
}

}  // namespace quiver::index
