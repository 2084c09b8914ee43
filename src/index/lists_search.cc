#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "index/internal/index_scratch.h"
#include "index/internal/lists.h"
#include "index/internal/lists_index.h"
#include "index/internal/lists_plan.h"
#include "io/row_pages.h"
#include "simd/kernels.h"

namespace quiver::index {
namespace {

using simd::ListKernels;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Deviations that bounds allow for. A row beyond them is lost only if it also is among the last of the hits.
constexpr float kSignDeviations = 1.9f;
constexpr float kCodeDeviations = 2.5f;
/// Of product codes, whose errors are known on average only and, where rows lie near few axes, do not spread evenly.
constexpr float kProductDeviations = 8.0f;
/// Of what rounding the query adds, which is not normal but has no tails.
constexpr float kQueryDeviations = 2.0f;
/// Blocks between two looks at the limit.
constexpr size_t kBlocksAtOnce = 8;
constexpr uint32_t kAllRows = ~uint32_t{0};
/// Bytes of a row's code that are fetched ahead of the second look; the rest follows in sequence.
constexpr size_t kPrefetchBytes = 256;
/// Rows scored exactly at once.
constexpr size_t kRowsAtOnce = 64;
/// Batches of at least this many queries go list by list.
constexpr size_t kLeastBatch = 8;
/// Queries whose state is kept at once.
constexpr size_t kMostBatch = 1024;

}  // namespace

/// Finds the sections and compares their sizes. The header is not covered by the file's own header checksum, so nothing
/// is believed beyond what sizes confirm until EnsureSound.
Status Lists::Bind() {
  QUIVER_ASSIGN_OR_RETURN(const auto header, file_.Values<ListsHeader>(kListsHeader, 1));
  std::memcpy(&header_, header.data(), sizeof(header_));
  if (file_.recipe().dim < 1 || header_.nlist == 0 || header_.bits > ListKernels::kMaxBits ||
      header_.blocks > file_.row_count()) {
    return file_.Damaged("its header does not fit");
  }
  QUIVER_RETURN_IF_ERROR(BindCentres());
  const size_t nlist = header_.nlist;
  shape_ = {header_.dim, header_.bits};
  QUIVER_ASSIGN_OR_RETURN(begin_, file_.Values<uint32_t>(kListsBegin, nlist + 1));
  QUIVER_ASSIGN_OR_RETURN(sizes_, file_.Values<uint32_t>(kListsSizes, nlist));
  QUIVER_ASSIGN_OR_RETURN(ids_, file_.Values<uint32_t>(kListsIds, size_t{header_.blocks} * kListBlock));
  QUIVER_ASSIGN_OR_RETURN(loose_, file_.Values<uint32_t>(kListsLoose, header_.loose));
  QUIVER_ASSIGN_OR_RETURN(curve_, file_.Values<CurvePoint>(kListsCurve, header_.curve_points));
  if (raw()) return Status::Ok();
  if (pq() && !pq_shape().sound()) return file_.Damaged("its header does not fit");
  QUIVER_ASSIGN_OR_RETURN(blocks_, file_.Values<std::byte>(kListsBlocks, header_.blocks * block_bytes()));
  if (pq()) {
    QUIVER_ASSIGN_OR_RETURN(book_, file_.Values<float>(kListsBook, size_t{header_.dim} * pq_shape().centres()));
    return Status::Ok();
  }
  QUIVER_ASSIGN_OR_RETURN(rows_, file_.Values<std::byte>(kListsRows, header_.blocks * kListBlock * shape_.row_bytes()));
  return Status::Ok();
}

Status Lists::BindCentres() {
  const size_t nlist = header_.nlist;
  const auto field_dim = static_cast<size_t>(file_.recipe().dim);
  if (binary()) {
    if (header_.bits != 0 || header_.dim != 0) return file_.Damaged("its header does not fit");
    QUIVER_ASSIGN_OR_RETURN(centre_bits_, file_.Values<std::byte>(kListsCentres, nlist * (field_dim / 8)));
    return Status::Ok();
  }
  if (field_dim > kMostListDim || header_.dim != rotation_.padded_dim())
    return file_.Damaged("its header does not fit");
  const size_t dim = header_.dim;
  QUIVER_ASSIGN_OR_RETURN(mean_, file_.Values<float>(kListsMean, field_dim));
  QUIVER_ASSIGN_OR_RETURN(centres_, file_.Values<float>(kListsCentres, nlist * dim));
  QUIVER_ASSIGN_OR_RETURN(centre_codes_, file_.Values<uint8_t>(kListsCentreCodes, padded_lists() * dim));
  QUIVER_ASSIGN_OR_RETURN(centre_adds_, file_.Values<float>(kListsCentreAdds, padded_lists()));
  QUIVER_ASSIGN_OR_RETURN(centre_norms_, file_.Values<float>(kListsCentreNorms, nlist));
  return Status::Ok();
}

Status Lists::EnsureSound() const {
  std::call_once(verdict_->once, [this] {
    verdict_->status = file_.EnsureSound();
    if (verdict_->status.ok()) verdict_->status = CheckPlaces();
    if (!verdict_->status.ok() || !pq()) return;
    const bool ip = file_.recipe().metric == MetricType::kIp;
    verdict_->book.emplace(pq_shape(), ip ? codec::KeyForm::kIp : codec::KeyForm::kL2, book_);
  });
  return verdict_->status;
}

/// Nothing may point outside, whoever wrote the file.
Status Lists::CheckPlaces() const {
  size_t listed = 0;
  bool fits = begin_.front() == 0 && begin_.back() == header_.blocks;
  for (size_t l = 0; l < header_.nlist && fits; ++l) {
    fits = begin_[l] <= begin_[l + 1] && (sizes_[l] + kListBlock - 1) / kListBlock == begin_[l + 1] - begin_[l];
    listed += sizes_[l];
  }
  const auto known = [this](uint32_t row) { return row < file_.row_count(); };
  fits = fits && listed == header_.listed && std::all_of(ids_.begin(), ids_.end(), known) &&
         std::all_of(loose_.begin(), loose_.end(), known);
  for (size_t place = 0; fits && place < rows_.size() / shape_.row_bytes(); ++place) {
    codec::RowFactors factors;
    std::memcpy(&factors, rows_.data() + place * shape_.row_bytes(), sizeof(factors));
    fits = known(factors.id);
  }
  return fits ? Status::Ok() : file_.Damaged("its lists do not fit together");
}

Result<std::unique_ptr<VectorIndex>> Lists::Open(IndexFile file) {
  auto lists = std::make_unique<Lists>(std::move(file));
  QUIVER_RETURN_IF_ERROR(lists->Bind());
  return std::unique_ptr<VectorIndex>(std::move(lists));
}

/// Turns a score as the client sees it into a key.
float Lists::KeyOf(float score) const {
  switch (file_.recipe().metric) {
    case MetricType::kIp: return -score;
    case MetricType::kCosine: return 2 - 2 * score;
    default: return score;
  }
}

/// Says what a plan is chosen by, where it is asked for.
void Lists::Tell(const ListsCosts& costs, uint32_t nprobe, IndexCounters& counters) const {
  if (counters.reasons == nullptr) return;
  counters.reasons->cost[static_cast<size_t>(SearchPlan::kScoreMatches)] = costs.score_matches;
  counters.reasons->cost[static_cast<size_t>(SearchPlan::kProbe)] = costs.probe;
  counters.reasons->nprobe = nprobe;
  counters.reasons->nlist = header_.nlist;
}

/// By the prices and by what searches have taken. `most` and `full`: of ListsPlan::Expected.
ListsCosts Lists::CostsOf(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most, bool full) const {
  const auto matches = static_cast<double>(filter.bits == nullptr ? file_.row_count() : filter.count);
  const double lists = plan().Expected(filter, options, most, full);
  const PlanTimings& timings = TimingsFor(filter);
  return {.score_matches = matches * RowCost() * timings.Factor(SearchPlan::kScoreMatches),
          .probe = ProbeCost(filter, options.k, lists) * timings.Factor(SearchPlan::kProbe)};
}

bool Lists::Full(const TopK& result) const { return KeyOf(result.threshold()) <= kLargest; }

/// Nanoseconds, roughly, of fetching and scoring one row.
double Lists::RowCost() const {
  return 30 + static_cast<double>(FixedWidth(file_.recipe().type, file_.recipe().dim)) / 10;
}

/// Measured on data M, 128 dimensions; how they grow with the dimension is taken from unfiltered searches of data E.
ListsPrices Lists::PricesFor(const RowFilter& filter, size_t k) const {
  const auto dim = static_cast<double>(header_.dim);
  ListsPrices prices{.ranking = static_cast<double>(header_.nlist) * (5 + dim / 30), .list = 400};
  if (filter.bits != nullptr) prices.block = 50;
  if (raw()) {
    const auto matches = static_cast<double>(filter.bits == nullptr ? file_.row_count() : filter.count);
    const double share = std::min(1.0, matches / std::max(1.0, static_cast<double>(header_.listed)));
    prices.alive = std::max(1.0, kListBlock * share) * RowCost();
  } else if (pq()) {
    prices.alive = static_cast<double>(file_.recipe().quantizers) * (header_.bits == 4 ? 2 : 20);
    prices.list += dim * static_cast<double>(pq_shape().centres()) / 16;
  } else {
    // The more hits are wanted, the more rows get a second look.
    prices.alive = (40 + 0.8 * dim) * (1 + 0.8 * std::log10(std::max(1.0, static_cast<double>(k) / 10)));
  }
  return prices;
}

/// Of ranking all lists and looking through so many.
double Lists::ProbeCost(const RowFilter& filter, size_t k, double lists) const {
  const ListsPrices prices = PricesFor(filter, k);
  const auto matches = static_cast<double>(filter.bits == nullptr ? file_.row_count() : filter.count);
  const double alive = std::min(1.0, matches / std::max(1.0, static_cast<double>(header_.listed)) * kListBlock);
  const double blocks = static_cast<double>(header_.blocks) / static_cast<double>(header_.nlist);
  return prices.ranking + lists * (prices.list + blocks * (prices.block + alive * prices.alive));
}

/// Whether a search that has looked at `done` lists had better score what is left than look at more, `wanted` in all.
/// Where matches lie far away or apart, rounds go on and on; so none goes on that costs more than the other way, by
/// which no search takes more than about twice as long as the better plan.
bool Lists::ScoringTheRestIsCheaper(const Task& task, const ListsQuery& state, size_t done, size_t wanted) const {
  if (task.filter.bits == nullptr || done == 0) return false;
  const auto rows = static_cast<double>(task.filter.count - std::min(task.filter.count, state.examined));
  const double left = rows * RowCost() * filtered_timings_->Factor(SearchPlan::kScoreMatches);
  const double factor = filtered_timings_->Factor(SearchPlan::kProbe);
  const double list = (state.spent - state.prices.ranking) / static_cast<double>(done) * factor;
  return left < state.spent * factor + static_cast<double>(wanted - done) * list &&
         left < static_cast<double>(header_.nlist - done) * list;
}

/// Brings the query into the space of the lists. Returns false where keys do not hold for it.
bool Lists::Prepare(const FlatQueries& queries, size_t query, const RowFilter& filter, const TopK& result,
                    size_t wanted, ListsQuery& state) const {
  const MetricType metric = file_.recipe().metric;
  state.limit = KeyOf(result.threshold());
  const float least = result.least_key();
  state.floor = metric == MetricType::kCosine ? 2 + 2 * least : least;
  state.wanted = std::max<size_t>(wanted, 1);
  state.best.clear();
  state.candidates.clear();
  state.examined = 0;
  state.prices = PricesFor(filter, wanted);
  state.spent = state.prices.ranking;
  state.code_deviations = kCodeDeviations;
  state.rounding_deviations = kQueryDeviations;
  state.slack = 0;
  if (binary()) return true;
  const size_t field_dim = mean_.size();
  float* plain = Sized(state.plain, field_dim);
  queries.CopyValues(query, plain);
  if (!ShiftQuery(metric, mean_, plain, &state.mean_product)) return false;
  rotation_.Apply(plain, Sized(state.rotated, header_.dim));
  state.coded.Prepare({header_.dim, std::max<size_t>(header_.bits, 1)}, state.rotated.data());
  // Products with a list's rows are those with its centre and those with what they differ by.
  if (pq() && metric == MetricType::kIp) state.product.Prepare(*verdict_->book, state.rotated.data());
  return true;
}

void Lists::RankCentres(const Task& task, const ListsQuery& state) const {
  ListsScratch& scratch = task.scratch;
  const size_t padded = padded_lists();
  float* keys = Sized(scratch.centre_keys, padded);
  float* block_keys = Sized(scratch.block_keys, padded / kListBlock);
  if (binary()) {
    const size_t width = centre_bits_.size() / header_.nlist;
    const simd::BinaryKernels& kernels = simd::Kernels().binary;
    const auto kernel = file_.recipe().metric == MetricType::kJaccard ? kernels.jaccard : kernels.hamming;
    kernel({centre_bits_.data(), width, header_.nlist, nullptr}, task.queries.Bits(task.query), width, keys);
    std::fill(keys + header_.nlist, keys + padded, kInfinity);
    for (size_t b = 0; b < padded / kListBlock; ++b) {
      block_keys[b] = *std::min_element(keys + b * kListBlock, keys + (b + 1) * kListBlock);
    }
    return;
  }
  const float weight = -RankWeight(file_.recipe().metric == MetricType::kIp, header_.row_norm, state.coded.norm);
  const float step = state.coded.largest > 1e-30f ? state.coded.largest / ListKernels::kByteQueryMax : 1.0f;
  int8_t* query = Sized(scratch.centre_query, header_.dim);
  simd::Kernels().lists->quantise(state.rotated.data(), header_.dim, 1 / step, query);
  simd::Kernels().lists->scan_bytes(centre_codes_.data(), padded / kListBlock, query, header_.dim, centre_adds_.data(),
                                    weight * step * header_.centre_step, keys, block_keys);
}

/// Measures chosen lists from .. to in full precision, nearest first.
void Lists::MeasureProbes(const ListsQuery& state, size_t from, size_t to, ListsScratch& scratch) const {
  const size_t count = to - from;
  const uint32_t* lists = scratch.chosen.data() + from;
  scratch.probes.resize(count);
  if (binary()) {
    for (size_t i = 0; i < count; ++i) scratch.probes[i] = {lists[i], scratch.centre_keys[lists[i]], 0};
    return;
  }
  float* keys = Sized(scratch.chosen_keys, count);
  const simd::Rows rows{reinterpret_cast<const std::byte*>(centres_.data()), header_.dim * sizeof(float), count, lists};
  const bool ip = file_.recipe().metric == MetricType::kIp;
  const auto kernel = ip ? simd::Kernels().f32.ip : simd::Kernels().f32.l2;
  kernel(rows, state.rotated.data(), header_.dim, keys, nullptr);
  for (size_t i = 0; i < count; ++i) {
    ListsProbe& probe = scratch.probes[i];
    probe.list = lists[i];
    if (ip) {
      probe.base = -keys[i] - state.mean_product;
      const float norm2 = state.coded.norm * state.coded.norm;
      probe.reach = std::sqrt(std::max(0.0f, norm2 + centre_norms_[lists[i]] - 2 * keys[i]));
    } else {
      probe.base = keys[i];
      probe.reach = std::sqrt(keys[i]);
    }
    // What float arithmetic loses where query and centre lie close together far from the origin.
    probe.reach += 1e-5f * (state.coded.norm + std::sqrt(centre_norms_[lists[i]]));
  }
  std::sort(scratch.probes.begin(), scratch.probes.end(), [](const ListsProbe& a, const ListsProbe& b) {
    return a.base != b.base ? a.base < b.base : a.list < b.list;
  });
}

/// Rows of the list's blocks that may be returned, or nullptr for all (places without a row are kept by no limit).
const uint32_t* Lists::Alive(const Task& task, uint32_t list, ListsQuery& state) const {
  const size_t count = begin_[list + 1] - begin_[list];
  if (task.filter.bits == nullptr) {
    state.examined += sizes_[list];
    state.spent += state.prices.list + static_cast<double>(count) * state.prices.alive;
    return nullptr;
  }
  uint32_t* alive = Sized(task.scratch.alive, count);
  const auto test = simd::Kernels().lists->test_ids;
  size_t with_matches = 0;
  for (size_t b = 0; b < count; ++b) {
    alive[b] = test(ids_.data() + (begin_[list] + b) * kListBlock, task.filter.bits);
    const size_t rows = sizes_[list] - b * kListBlock;
    if (rows < kListBlock) alive[b] &= (1u << rows) - 1;
    state.examined += static_cast<uint64_t>(std::popcount(alive[b]));
    with_matches += alive[b] != 0 ? 1 : 0;
  }
  state.spent += state.prices.list + static_cast<double>(count) * state.prices.block +
                 static_cast<double>(with_matches) * state.prices.alive;
  return alive;
}

void Lists::ScoreRowsOf(const Task& task, const uint32_t* rows, size_t count) const {
  float scores[kRowsAtOnce];
  for (size_t i = 0; i < count; i += kRowsAtOnce) {
    const size_t some = std::min(kRowsAtOnce, count - i);
    ScoreRows(task.queries, task.query, task.vectors, {rows + i, some}, scores);
    for (size_t j = 0; j < some; ++j) {
      if (task.result.Offer(scores[j], task.first_row + rows[i + j])) ++task.scratch.taken;
    }
  }
  task.counters.exact_distances += count;
}

void Lists::ScanRawList(const Task& task, uint32_t list, const uint32_t* alive) const {
  const uint32_t* ids = ids_.data() + size_t{begin_[list]} * kListBlock;
  if (alive == nullptr) return ScoreRowsOf(task, ids, sizes_[list]);
  uint32_t* rows = Sized(task.scratch.rows, sizes_[list]);
  size_t count = 0;
  for (size_t b = 0; b < begin_[list + 1] - begin_[list]; ++b) {
    for (uint32_t mask = alive[b]; mask != 0; mask &= mask - 1) {
      rows[count++] = ids[b * kListBlock + static_cast<size_t>(std::countr_zero(mask))];
    }
  }
  ScoreRowsOf(task, rows, count);
}

/// Asks for the blocks of the list that comes next: lists lie apart, and the processor does not know the next.
void Lists::PrefetchList(uint32_t list) const {
  if (raw()) return;
  constexpr size_t kMostBytes = 12 * 1024;
  const std::byte* at = blocks_.data() + begin_[list] * block_bytes();
  const size_t bytes = std::min((begin_[list + 1] - begin_[list]) * block_bytes(), kMostBytes);
  for (size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(at + byte);
}

void Lists::ScanList(const Task& task, const ListsProbe& probe, ListsQuery& state) const {
  ++task.counters.expansions;
  const uint32_t* alive = Alive(task, probe.list, state);
  if (raw()) return ScanRawList(task, probe.list, alive);
  if (pq()) return ScanPqList(task, probe, alive, state);
  const size_t first = begin_[probe.list];
  const size_t count = begin_[probe.list + 1] - first;
  const float deviation = kSignDeviations * header_.sign_error * probe.reach;
  const float rounding = kQueryDeviations * state.coded.lookup_error;
  simd::BitQuery query{state.coded.lookup.data(), header_.dim / 4, state.coded.scale, 0, 0};
  // Factors are negative: the bound's slack counts as a larger product.
  query.offset = state.coded.offset + std::sqrt(deviation * deviation + rounding * rounding);
  uint32_t* masks = Sized(task.scratch.masks, kBlocksAtOnce);
  ListsPending& pending = task.scratch.pending;
  const size_t stride = shape_.row_bytes();
  for (size_t b = 0; b < count;) {
    // Without a limit every row is kept; one block is enough to get one.
    const bool open = state.limit > kLargest;
    if (open) LookCloser(task, state);
    const size_t some = std::min(count - b, open ? 1 : kBlocksAtOnce);
    query.limit = std::min(state.limit - probe.base, kLargest);
    simd::Kernels().lists->scan_bits(query, blocks_.data() + (first + b) * shape_.block_bytes(), shape_.block_bytes(),
                                     some, alive == nullptr ? nullptr : alive + b, masks);
    task.counters.code_distances += some * kListBlock;
    const size_t first_place = (first + b) * kListBlock;
    const size_t buffer = 1 - pending.buffer;
    uint32_t* places = Sized(task.scratch.places[buffer], kBlocksAtOnce * kListBlock);
    size_t kept = 0;
    for (size_t i = 0; i < some; ++i) {
      for (uint32_t mask = masks[i]; mask != 0; mask &= mask - 1) {
        const size_t place = i * kListBlock + static_cast<size_t>(std::countr_zero(mask));
        const std::byte* row = rows_.data() + (first_place + place) * stride;
        for (size_t byte = 0; byte < std::min<size_t>(stride, kPrefetchBytes); byte += 64)
          __builtin_prefetch(row + byte);
        places[kept++] = static_cast<uint32_t>(place);
      }
    }
    b += some;
    if (kept == 0) continue;
    LookCloser(task, state);
    pending = {probe, first_place, kept, buffer};
  }
}

/// Estimates the pending rows by their full codes and keeps those that may be hits.
void Lists::LookCloser(const Task& task, ListsQuery& state) const {
  ListsPending& pending = task.scratch.pending;
  const size_t count = std::exchange(pending.count, 0);
  if (count == 0) return;
  const ListsProbe& probe = pending.probe;
  const size_t stride = shape_.row_bytes();
  const std::byte* rows = rows_.data() + pending.first_place * stride;
  const uint32_t* places = task.scratch.places[pending.buffer].data();
  int32_t* dots = Sized(task.scratch.dots, kBlocksAtOnce * kListBlock);
  simd::Kernels().lists->dot_codes[header_.bits](rows + codec::RabitqShape::kRowFactorBytes, stride, places, count,
                                                 state.coded.codes.data(), header_.dim, dots);
  task.counters.code_distances += count;
  const float reach = state.code_deviations * probe.reach;
  const float rounding = state.rounding_deviations * state.coded.code_error * header_.code_norm;
  for (size_t i = 0; i < count; ++i) {
    codec::RowFactors factors;
    std::memcpy(&factors, rows + places[i] * stride, sizeof(factors));
    const float product = state.coded.step * static_cast<float>(dots[i]) + state.coded.shift;
    const float key = probe.base + factors.add + factors.mul * product;
    const float error =
        factors.error * reach - factors.mul * rounding + state.slack * (std::abs(probe.base) + std::abs(factors.add));
    Keep(state, key, error, factors.id);
  }
}

/// Keeps a row whose key is known within `error`, if it may be a hit.
void Lists::Keep(ListsQuery& state, float key, float error, uint32_t row) {
  const float least = key - error;
  if (!(least <= state.limit)) return;
  state.candidates.push_back({key, least, row});
  // What may be too near for the range filter must not stand for a hit.
  if (least < state.floor) return;
  const float most = key + error;
  if (state.best.size() < state.wanted) {
    state.best.push_back(most);
    std::push_heap(state.best.begin(), state.best.end());
  } else if (most < state.best.front()) {
    std::pop_heap(state.best.begin(), state.best.end());
    state.best.back() = most;
    std::push_heap(state.best.begin(), state.best.end());
  } else {
    return;
  }
  if (state.best.size() == state.wanted) state.limit = std::min(state.limit, state.best.front());
}

/// Estimates all rows of a list by their product codes. With e what a code misses of a row, at right angles to nearly
/// everything, |q - y - e|^2 is about |q - y|^2 + |e|^2, give or take 2 |q - y| |e| / sqrt(dim); products likewise.
void Lists::ScanPqList(const Task& task, const ListsProbe& probe, const uint32_t* alive, ListsQuery& state) const {
  const size_t first = begin_[probe.list];
  const size_t count = begin_[probe.list + 1] - first;
  const bool ip = file_.recipe().metric == MetricType::kIp;
  // Rotation spreads what is missed over `dim` dimensions, but not beyond those that vectors have.
  const float missed = header_.sign_error / std::sqrt(static_cast<float>(file_.recipe().dim));
  if (!ip) {
    const float* centre = centres_.data() + size_t{probe.list} * header_.dim;
    float* apart = Sized(state.plain, header_.dim);
    for (size_t d = 0; d < header_.dim; ++d) apart[d] = state.rotated[d] - centre[d];
    state.product.Prepare(*verdict_->book, apart);
  }
  const float rounding = kQueryDeviations * state.product.rounding();
  const float add = ip ? probe.base : header_.sign_error * header_.sign_error;
  const float spread = kProductDeviations * missed;
  // Keys beyond it are no hits, whatever their error.
  const auto farthest = [&] {
    if (ip) return state.limit + spread * state.coded.norm + rounding;
    const float root = spread + std::sqrt(spread * spread + std::max(state.limit, 0.0f) + rounding);
    return root * root;
  };
  float keys[kBlocksAtOnce * kListBlock] = {};
  for (size_t b = 0; b < count; b += kBlocksAtOnce) {
    const size_t some = std::min(kBlocksAtOnce, count - b);
    state.product.Keys(blocks_.data() + (first + b) * block_bytes(), some, alive == nullptr ? nullptr : alive + b,
                       keys);
    task.counters.code_distances += some * kListBlock;
    for (size_t i = 0; i < some; ++i) {
      const size_t rows = sizes_[probe.list] - (b + i) * kListBlock;
      const uint32_t there = rows < kListBlock ? (1u << rows) - 1 : kAllRows;
      const float most = farthest();
      uint32_t near = 0;
      for (size_t r = 0; r < kListBlock; ++r) {
        near |= static_cast<uint32_t>(keys[i * kListBlock + r] + add <= most) << r;
      }
      near &= alive == nullptr ? there : alive[b + i];
      const uint32_t* ids = ids_.data() + (first + b + i) * kListBlock;
      for (; near != 0; near &= near - 1) {
        const auto r = static_cast<size_t>(std::countr_zero(near));
        const float key = keys[i * kListBlock + r] + add;
        const float reach = ip ? state.coded.norm : 2 * std::sqrt(std::max(key, 0.0f));
        Keep(state, key, std::sqrt(spread * spread * reach * reach + rounding * rounding), ids[r]);
      }
    }
  }
}

/// Scores what is left exactly, most promising first, as long as it may be a hit.
void Lists::ScoreCandidates(const Task& task, ListsQuery& state) const {
  auto& candidates = state.candidates;
  const auto beyond = [&state](const ListsCandidate& candidate) { return !(candidate.least <= state.limit); };
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(), beyond), candidates.end());
  std::sort(candidates.begin(), candidates.end(), [](const ListsCandidate& a, const ListsCandidate& b) {
    return a.key != b.key ? a.key < b.key : a.row < b.row;
  });
  uint32_t* rows = Sized(task.scratch.rows, kRowsAtOnce);
  // Where vectors lie on disk one wait for all candidates is shorter than one for every few.
  const size_t asked = std::min(candidates.size(), kRowsAtOnce);
  for (size_t i = 0; i < asked; ++i) rows[i] = candidates[i].row;
  io::AskForRows(task.vectors.fixed, task.vectors.width, {rows, asked});
  size_t at = 0;
  while (at < candidates.size()) {
    // The best of estimates are scored in any case; then the kept scores decide.
    const size_t some = at == 0 ? std::min<size_t>(state.wanted, kRowsAtOnce) : 16;
    const float limit = KeyOf(task.result.threshold());
    size_t count = 0;
    for (; at < candidates.size() && count < some; ++at) {
      if (candidates[at].least <= limit) rows[count++] = candidates[at].row;
    }
    ScoreRowsOf(task, rows, count);
  }
  candidates.clear();
}

/// Scores every row of the filter (or every row).
void Lists::ScoreMatches(const Task& task) const {
  uint32_t* rows = Sized(task.scratch.rows, kRowsAtOnce);
  size_t count = 0;
  const auto take = [&](uint32_t row) {
    rows[count++] = row;
    if (count < kRowsAtOnce) return;
    ScoreRowsOf(task, rows, count);
    count = 0;
  };
  if (task.filter.bits == nullptr) {
    for (uint32_t row = 0; row < file_.row_count(); ++row) take(row);
  } else {
    for (uint32_t word = 0; word < (file_.row_count() + 63) / 64; ++word) {
      for (uint64_t bits = task.filter.bits[word]; bits != 0; bits &= bits - 1) {
        take(word * 64 + static_cast<uint32_t>(std::countr_zero(bits)));
      }
    }
  }
  ScoreRowsOf(task, rows, count);
}

/// Scores the rows of the filter that are not in the nearest `done` lists, scratch.chosen.
void Lists::ScoreRest(const Task& task, size_t done) const {
  std::vector<uint64_t>& left = task.scratch.left;
  left.assign(task.filter.bits, task.filter.bits + (size_t{file_.row_count()} + 63) / 64);
  const auto leave_out = [&left](uint32_t row) { left[row / 64] &= ~(uint64_t{1} << (row % 64)); };
  for (const uint32_t row : loose_) leave_out(row);
  for (const uint32_t list : std::span(task.scratch.chosen).first(done)) {
    const uint32_t* ids = ids_.data() + size_t{begin_[list]} * kListBlock;
    std::for_each(ids, ids + sizes_[list], leave_out);
  }
  const RowFilter rest{.bits = left.data(), .count = task.filter.count};
  ScoreMatches(
      {task.queries, task.query, task.vectors, rest, task.first_row, task.result, task.scratch, task.counters});
}

/// Starts a search by lists: prepares the query, scores loose rows and chooses the first lists (scratch.probes).
/// Returns false where another way served the query already; `scored`: that way is known to be cheaper.
bool Lists::Begin(const Task& task, const IndexSearchOptions& options, const ListsGoal& goal, bool scored,
                  ListsQuery& state) const {
  if (scored || !Prepare(task.queries, task.query, task.filter, task.result, options.k, state)) {
    ++task.counters.plans[static_cast<size_t>(SearchPlan::kScoreMatches)];
    ScoreMatches(task);
    return false;
  }
  ++task.counters.plans[static_cast<size_t>(SearchPlan::kProbe)];
  for (uint32_t row : loose_) {
    if (task.filter.bits == nullptr || ((task.filter.bits[row / 64] >> (row % 64)) & 1) != 0)
      ScoreRowsOf(task, &row, 1);
  }
  task.scratch.pending.count = 0;
  RankCentres(task, state);
  task.scratch.chosen.clear();
  ChooseFurther(header_.nlist, goal.first, task.scratch);
  MeasureProbes(state, 0, goal.first, task.scratch);
  return true;
}

/// Looks at ever more lists, goal.first of which were looked at before, until the goal is reached or scoring what is
/// left is cheaper. `ranked`: the scratch still holds the lists of this query, as far as they were chosen. `timer`:
/// ended when no more lists are looked at; nullptr: none.
Status Lists::ProbeFrom(const Task& task, const IndexSearchOptions& options, const ListsGoal& goal, bool ranked,
                        const PlanTimer* timer, ListsQuery& state) const {
  ListsScratch& scratch = task.scratch;
  size_t done = goal.first;
  bool brings = goal.yield >= 0;
  while ((state.examined < goal.needed || brings) && done < header_.nlist) {
    if (options.cancelled && options.cancelled()) return Error(StatusCode::kCancelled, "the search was cancelled");
    const auto further = static_cast<size_t>(goal.growth * static_cast<double>(done));
    const size_t wanted = std::min<size_t>(done + std::max<size_t>(further, 1), header_.nlist);
    if (!ranked) {
      RankCentres(task, state);
      scratch.chosen.clear();
    }
    ranked = true;
    ChooseFurther(header_.nlist, wanted, scratch);
    if (ScoringTheRestIsCheaper(task, state, done, wanted)) {
      if (timer != nullptr) timer->End(SearchPlan::kProbe, state.spent);
      ScoreRest(task, done);
      return Status::Ok();
    }
    MeasureProbes(state, done, wanted, scratch);
    scratch.taken = 0;
    for (const ListsProbe& probe : scratch.probes) ScanList(task, probe, state);
    LookCloser(task, state);
    ScoreCandidates(task, state);
    brings = goal.yield >= 0 && static_cast<double>(scratch.taken) > goal.yield;
    done = wanted;
  }
  if (timer != nullptr) timer->End(SearchPlan::kProbe, state.spent);
  return Status::Ok();
}

Status Lists::Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                     const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                     IndexCounters& counters) const {
  QUIVER_RETURN_IF_ERROR(EnsureSound());
  if (options.cancelled && options.cancelled()) return Error(StatusCode::kCancelled, "the search was cancelled");
  if (filter.bits != nullptr && filter.count == 0) return Status::Ok();
  ListsScratch& buffers = scratch.impl().lists;
  if (buffers.queries.empty()) buffers.queries.resize(1);
  ListsQuery& state = buffers.queries[0];
  const Task task{queries, query, vectors, filter, first_row, result, buffers, counters};
  const uint32_t most = plan().ListsFor(options, filter);
  const ListsGoal goal = plan().GoalOf(filter, options, most);
  const ListsCosts costs = CostsOf(filter, options, most, Full(result));
  Tell(costs, most, counters);
  const PlanTimer timer(&TimingsFor(filter));
  const bool scored = filter.bits != nullptr && costs.score_matches <= costs.probe;
  if (!Begin(task, options, goal, scored, state)) {
    if (scored) timer.End(SearchPlan::kScoreMatches, static_cast<double>(filter.count) * RowCost());
    return Status::Ok();
  }
  for (size_t i = 0; i < buffers.probes.size(); ++i) {
    if (i + 1 < buffers.probes.size()) PrefetchList(buffers.probes[i + 1].list);
    ScanList(task, buffers.probes[i], state);
  }
  LookCloser(task, state);
  ScoreCandidates(task, state);
  return ProbeFrom(task, options, goal, true, &timer, state);
}

/// Works through scratch.batch, all queries of a list one after another, so that its codes are read once. The nearest
/// list of each query comes in a round before the others: its rows give the query a limit.
void Lists::ProbeByList(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter,
                        uint64_t first_row, std::span<TopK> results, ListsScratch& scratch,
                        IndexCounters& counters) const {
  std::sort(scratch.batch.begin(), scratch.batch.end(), [](const ListsBatchProbe& a, const ListsBatchProbe& b) {
    if (a.round != b.round) return a.round < b.round;
    return a.probe.list != b.probe.list ? a.probe.list < b.probe.list : a.query < b.query;
  });
  for (size_t i = 0; i < scratch.batch.size(); ++i) {
    const ListsBatchProbe& at = scratch.batch[i];
    if (i + 1 < scratch.batch.size() && scratch.batch[i + 1].probe.list != at.probe.list) {
      PrefetchList(scratch.batch[i + 1].probe.list);
    }
    ListsQuery& state = scratch.queries[at.state];
    const Task task{queries, at.query, vectors, filter, first_row, results[at.query], scratch, counters};
    ScanList(task, at.probe, state);
    LookCloser(task, state);
  }
}

Status Lists::SearchBatch(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter,
                          const IndexSearchOptions& options, uint64_t first_row, std::span<TopK> results,
                          IndexScratch& scratch, IndexCounters& counters) const {
  if (queries.nq() < kLeastBatch) {
    return VectorIndex::SearchBatch(queries, vectors, filter, options, first_row, results, scratch, counters);
  }
  QUIVER_RETURN_IF_ERROR(EnsureSound());
  if (filter.bits != nullptr && filter.count == 0) return Status::Ok();
  ListsScratch& buffers = scratch.impl().lists;
  const uint32_t most = plan().ListsFor(options, filter);
  const ListsGoal goal = plan().GoalOf(filter, options, most);
  // One plan for all queries, whose results differ little in what was found before.
  const ListsCosts costs =
      CostsOf(filter, options, most, std::ranges::all_of(results, [this](const TopK& result) { return Full(result); }));
  const bool scored = filter.bits != nullptr && costs.score_matches <= costs.probe;
  Tell(costs, most, counters);
  for (size_t first = 0; first < queries.nq(); first += kMostBatch) {
    const size_t count = std::min(kMostBatch, queries.nq() - first);
    if (buffers.queries.size() < count) buffers.queries.resize(count);
    buffers.batch.clear();
    buffers.begun.assign(count, 0);
    const auto task_of = [&](size_t i) {
      return Task{queries, first + i, vectors, filter, first_row, results[first + i], buffers, counters};
    };
    for (size_t i = 0; i < count; ++i) {
      if (options.cancelled && options.cancelled()) return Error(StatusCode::kCancelled, "the search was cancelled");
      if (!Begin(task_of(i), options, goal, scored, buffers.queries[i])) continue;
      buffers.begun[i] = 1;
      for (size_t rank = 0; rank < buffers.probes.size(); ++rank) {
        buffers.batch.push_back(
            {buffers.probes[rank], static_cast<uint32_t>(first + i), static_cast<uint32_t>(i), rank == 0 ? 0u : 1u});
      }
    }
    ProbeByList(queries, vectors, filter, first_row, results, buffers, counters);
    for (size_t i = 0; i < count; ++i) {
      if (buffers.begun[i] == 0) continue;
      ScoreCandidates(task_of(i), buffers.queries[i]);
      QUIVER_RETURN_IF_ERROR(ProbeFrom(task_of(i), options, goal, false, nullptr, buffers.queries[i]));
    }
  }
  return Status::Ok();
}

Result<std::unique_ptr<VectorIndex>> OpenLists(IndexFile file) { return Lists::Open(std::move(file)); }

}  // namespace quiver::index
