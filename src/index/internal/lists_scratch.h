// File: index/internal/lists_scratch.h
// Work buffers of searches on inverted lists. They grow with first use.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "codec/pq.h"
#include "codec/rabitq.h"

namespace quiver::index {

/// A row that the codes could not rule out.
struct ListsCandidate {
  float key = 0;    ///< estimate
  float least = 0;  ///< the key is not below it, as far as the bound holds
  uint32_t row = 0;
};

/// Nanoseconds, roughly, of the steps of a search.
struct ListsPrices {
  double ranking = 0;  ///< of all lists
  double list = 0;     ///< beside its blocks
  double block = 0;    ///< of looking for matches in it
  double alive = 0;    ///< more, of one that has a match
};

/// One query under way.
struct ListsQuery {
  std::vector<float> plain;  ///< in the space of the lists, shifted for L2, not rotated
  std::vector<float> rotated;
  codec::RabitqQuery coded;
  codec::PqQuery product;
  float mean_product = 0;         ///< <q, mean>, IP only
  float limit = 0;                ///< keys above it are no hits
  float floor = 0;                ///< keys below it are no hits (range filter)
  size_t wanted = 0;              ///< hits that set the limit
  float code_deviations = 0;      ///< that bounds allow for
  float rounding_deviations = 0;  ///< likewise, of what rounding the query adds
  float slack = 0;                ///< of float arithmetic, in units of the terms of a key
  std::vector<float> best;        ///< heap of the `wanted` smallest upper bounds, largest first
  std::vector<ListsCandidate> candidates;
  uint64_t examined = 0;  ///< rows of lists that may be returned and were looked at
  ListsPrices prices;
  double spent = 0;  ///< of what was done, at these prices
};

/// A list chosen for a query.
struct ListsProbe {
  uint32_t list = 0;
  float base = 0;   ///< the list's part of keys
  float reach = 0;  ///< distance from the query to the centre
};

/// Rows that passed the first look and wait for the second; their codes are on the way into the cache.
struct ListsPending {
  ListsProbe probe;
  size_t first_place = 0;
  size_t count = 0;   ///< 0: none
  size_t buffer = 0;  ///< which of the scratch's `places`
};

/// A list that a query of a batch looks at.
struct ListsBatchProbe {
  ListsProbe probe;
  uint32_t query = 0;
  uint32_t state = 0;  ///< of ListsScratch::queries
  uint32_t round = 0;
};

struct ListsScratch {
  std::vector<ListsBatchProbe> batch;
  std::vector<uint8_t> begun;  ///< queries of the batch that go by lists
  ListsPending pending;
  std::vector<ListsQuery> queries;
  std::vector<float> centre_keys, block_keys, block_order;
  std::vector<int8_t> centre_query;
  std::vector<std::pair<float, uint32_t>> nearest;
  std::vector<uint32_t> chosen;
  std::vector<float> chosen_keys;
  std::vector<ListsProbe> probes;
  std::vector<uint32_t> masks, alive, places[2];
  std::vector<int32_t> dots;
  std::vector<uint32_t> rows;
  std::vector<float> scores;
  std::vector<uint64_t> left;  ///< rows that match and were not looked at
  uint64_t taken = 0;          ///< offers that were taken since it was set to 0
};

}  // namespace quiver::index
