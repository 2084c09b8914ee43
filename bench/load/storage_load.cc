#include "load/storage_load.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#include "api/net/grpc_client.h"
#include "load/milvus_messages.h"

namespace quiver::bench {

namespace {

using Client = std::unique_ptr<api::GrpcClient>;

LoadOptions CountedOptions(const Settings& settings, int64_t calls) {
  LoadOptions options = OptionsOf(settings);
  options.connections = options.depth = settings.clients;
  options.max_calls = static_cast<uint64_t>(std::max<int64_t>(calls, 1));
  return options;
}

int64_t Calls(const Settings& settings) { return settings.rows / settings.batch; }

// The number of a key in a scattered order of 0 .. range - 1 in which every key comes once.
class Scatter {
 public:
  explicit Scatter(int64_t range) : range_(range) {
    while (std::gcd(step_, range_) != 1) ++step_;
  }
  [[nodiscard]] int64_t operator()(int64_t index) const {
    // The product fits: a range is far below 2^32.
    return static_cast<int64_t>(static_cast<uint64_t>(index) * static_cast<uint64_t>(step_) %
                                static_cast<uint64_t>(range_));
  }

 private:
  int64_t range_;
  int64_t step_ = 1610612741;
};

void PrintRows(const std::string& title, const LoadResult& result, int64_t rows) {
  const double rate = static_cast<double>(rows) / result.seconds;
  PrintResult(title, result, fmt::format("  {:.0f} rows/s  longest call {:.1f} ms", rate, result.max_us / 1e3),
              fmt::format(",\"rows\":{},\"rows_per_second\":{:.1f}", rows, rate));
}

// Runs calls of `batch` keys each, the keys of which `key_of` gives by their number.
template <typename KeyOf, typename Check>
Result<LoadResult> WriteRows(const Settings& settings, std::string_view method, const KeyOf& key_of,
                             const Check& check) {
  KeyedRows rows(settings.dim);
  std::vector<int64_t> keys(static_cast<size_t>(settings.batch));
  QUIVER_ASSIGN_OR_RETURN(LoadResult result, RunLoad(
                                                 CountedOptions(settings, Calls(settings)), method,
                                                 [&](uint64_t index) {
                                                   const int64_t first = static_cast<int64_t>(index) * settings.batch;
                                                   for (int i = 0; i < settings.batch; ++i) {
                                                     keys[static_cast<size_t>(i)] = key_of(first + i);
                                                   }
                                                   return rows.Write(settings.collection, "", keys);
                                                 },
                                                 check));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  return result;
}

Status ExpectRows(const Settings& settings, api::GrpcClient& client, int64_t expected) {
  QUIVER_ASSIGN_OR_RETURN(const int64_t rows, CountRows(client, settings.collection));
  if (rows == expected) return Status::Ok();
  return Error(StatusCode::kInternal, "there are {} rows instead of {}", rows, expected);
}

}  // namespace

Status RunKeyedInsert(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  int64_t before = 0;
  if (settings.existing) {
    QUIVER_ASSIGN_OR_RETURN(before, CountRows(*client, settings.collection));
  } else {
    QUIVER_RETURN_IF_ERROR(MakeCollection(*client, settings.collection, settings.dim, Keys::kClient));
  }
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      WriteRows(
          settings, kInsertMethod, [&](int64_t number) { return settings.first_key + number; },
          [&](uint64_t, const api::GrpcReply& reply) { return CheckInsert(reply, settings.batch); }));
  const int64_t rows = Calls(settings) * settings.batch;
  PrintRows(fmt::format("insert batch={} dim={} clients={}", settings.batch, settings.dim, settings.clients), result,
            rows);
  QUIVER_RETURN_IF_ERROR(ExpectRows(settings, *client, before + rows));
  return settings.keep ? Status::Ok() : DropCollection(*client, settings.collection);
}

Status RunUpsert(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_ASSIGN_OR_RETURN(const int64_t before, CountRows(*client, settings.collection));
  const Scatter scatter(settings.key_range);
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      WriteRows(
          settings, kUpsertMethod, [&](int64_t number) { return settings.first_key + scatter(number); },
          [&](uint64_t, const api::GrpcReply& reply) { return CheckUpsert(reply, settings.batch); }));
  PrintRows(fmt::format("upsert batch={} dim={} clients={}", settings.batch, settings.dim, settings.clients), result,
            Calls(settings) * settings.batch);
  return ExpectRows(settings, *client, before);
}

Status RunDeleteKeys(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_ASSIGN_OR_RETURN(const int64_t before, CountRows(*client, settings.collection));
  const Scatter scatter(settings.key_range);
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              CountedOptions(settings, Calls(settings)), kDeleteMethod,
                              [&](uint64_t index) {
                                std::string filter = "id in [";
                                for (int i = 0; i < settings.batch; ++i) {
                                  const int64_t number = static_cast<int64_t>(index) * settings.batch + i;
                                  if (i > 0) filter += ',';
                                  filter += std::to_string(settings.first_key + scatter(number));
                                }
                                message = DeleteMessage(settings.collection, filter + "]");
                                return std::string_view(message);
                              },
                              [](uint64_t, const api::GrpcReply& reply) { return CheckDelete(reply); }));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  const int64_t rows = Calls(settings) * settings.batch;
  PrintRows(fmt::format("delete keys batch={} clients={}", settings.batch, settings.clients), result, rows);
  return ExpectRows(settings, *client, before - rows);
}

Status RunDeleteFilter(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_ASSIGN_OR_RETURN(const int64_t before, CountRows(*client, settings.collection));
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              CountedOptions(settings, settings.count), kDeleteMethod,
                              [&](uint64_t index) {
                                const int64_t bucket = settings.first_key + static_cast<int64_t>(index);
                                message = DeleteMessage(settings.collection, fmt::format("bucket == {}", bucket));
                                return std::string_view(message);
                              },
                              [](uint64_t, const api::GrpcReply& reply) { return CheckDelete(reply); }));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  QUIVER_ASSIGN_OR_RETURN(const int64_t after, CountRows(*client, settings.collection));
  PrintRows(fmt::format("delete filter clients={}", settings.clients), result, before - after);
  // The rows of the buckets, of which other deletes may have taken some.
  if (after < before) return Status::Ok();
  return Error(StatusCode::kInternal, "the filters deleted nothing of {} rows", before);
}

Status RunQuery(const Settings& settings) {
  const Scatter scatter(settings.key_range);
  const auto key_of = [&](uint64_t index) { return settings.first_key + scatter(static_cast<int64_t>(index)); };
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result, RunLoad(
                                                       OptionsOf(settings), kQueryMethod,
                                                       [&](uint64_t index) {
                                                         message = QueryMessage(settings.collection, "", key_of(index));
                                                         return std::string_view(message);
                                                       },
                                                       [&](uint64_t index, const api::GrpcReply& reply) {
                                                         return CheckQuery(reply, key_of(index));
                                                       }));
  PrintResult(fmt::format("query by key depth={}", settings.depth), result, "", "");
  return CheckErrors(result);
}

Status RunFind(const Settings& settings) {
  const KeyedRows rows(settings.dim);
  const Scatter scatter(settings.key_range);
  const auto key_of = [&](uint64_t index) { return settings.first_key + scatter(static_cast<int64_t>(index)); };
  LoadOptions options = OptionsOf(settings);
  options.max_calls = static_cast<uint64_t>(settings.count);
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      RunLoad(
          options, kSearchMethod,
          [&](uint64_t index) {
            message = rows.Search(settings.collection, "", key_of(index), settings.limit);
            return std::string_view(message);
          },
          [&](uint64_t index, const api::GrpcReply& reply) { return CheckFound(reply, key_of(index)); }));
  PrintResult(fmt::format("find rows depth={}", settings.depth), result, "", "");
  return CheckErrors(result);
}

Status RunSnapshots(const Settings& settings) {
  std::string message;
  const auto run = [&](std::string_view method, auto make) {
    return RunLoad(
        CountedOptions(settings, settings.count), method,
        [&, make](uint64_t index) {
          message = make(settings.collection, fmt::format("snapshot_{}", index));
          return std::string_view(message);
        },
        [](uint64_t, const api::GrpcReply& reply) { return CheckStatus(reply); });
  };
  QUIVER_ASSIGN_OR_RETURN(const LoadResult created, run(kCreateSnapshotMethod, CreateSnapshotMessage));
  PrintResult("create snapshot", created, "", "");
  QUIVER_RETURN_IF_ERROR(CheckErrors(created));
  QUIVER_ASSIGN_OR_RETURN(const LoadResult dropped, run(kDropSnapshotMethod, DropSnapshotMessage));
  return CheckErrors(dropped);
}

Status RunCollections(const Settings& settings) {
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      RunLoad(
          CountedOptions(settings, settings.count), kCreateCollectionMethod,
          [&](uint64_t index) {
            message = CreateCollectionMessage(
                fmt::format("{}_{}", settings.collection, settings.first_key + static_cast<int64_t>(index)),
                settings.dim, Keys::kClient);
            return std::string_view(message);
          },
          [](uint64_t, const api::GrpcReply& reply) { return CheckStatus(reply); }));
  PrintResult(fmt::format("create {} collections", settings.count), result, fmt::format("  {:.2f} s", result.seconds),
              "");
  return CheckErrors(result);
}

Status RunPartitions(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_RETURN_IF_ERROR(MakeCollection(*client, settings.collection, settings.dim, Keys::kClient));
  const auto name_of = [](uint64_t index) { return fmt::format("part_{}", index); };
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult created,
                          RunLoad(
                              CountedOptions(settings, settings.count), kCreatePartitionMethod,
                              [&](uint64_t index) {
                                message = CreatePartitionMessage(settings.collection, name_of(index));
                                return std::string_view(message);
                              },
                              [](uint64_t, const api::GrpcReply& reply) { return CheckStatus(reply); }));
  PrintResult(fmt::format("create {} partitions", settings.count), created, fmt::format("  {:.2f} s", created.seconds),
              ",\"step\":\"create\"");
  QUIVER_RETURN_IF_ERROR(CheckErrors(created));

  KeyedRows rows(settings.dim);
  std::vector<int64_t> keys(static_cast<size_t>(settings.batch));
  const auto first_key_of = [&](uint64_t index) { return static_cast<int64_t>(index) * settings.batch; };
  QUIVER_ASSIGN_OR_RETURN(const LoadResult inserted, RunLoad(
                                                         CountedOptions(settings, settings.count), kInsertMethod,
                                                         [&](uint64_t index) {
                                                           std::iota(keys.begin(), keys.end(), first_key_of(index));
                                                           return rows.Write(settings.collection, name_of(index), keys);
                                                         },
                                                         [&](uint64_t, const api::GrpcReply& reply) {
                                                           return CheckInsert(reply, settings.batch);
                                                         }));
  PrintResult(fmt::format("insert into {} partitions", settings.count), inserted, "", ",\"step\":\"insert\"");
  QUIVER_RETURN_IF_ERROR(CheckErrors(inserted));
  QUIVER_RETURN_IF_ERROR(ExpectRows(settings, *client, settings.count * settings.batch));

  for (const bool one : {true, false}) {
    QUIVER_ASSIGN_OR_RETURN(
        const LoadResult queried,
        RunLoad(
            CountedOptions(settings, settings.count), kQueryMethod,
            [&](uint64_t index) {
              message = QueryMessage(settings.collection, one ? name_of(index) : "", first_key_of(index));
              return std::string_view(message);
            },
            [&](uint64_t index, const api::GrpcReply& reply) { return CheckQuery(reply, first_key_of(index)); }));
    PrintResult(one ? "query in one partition" : "query in all partitions", queried, "",
                one ? ",\"step\":\"query_one\"" : ",\"step\":\"query_all\"");
    QUIVER_RETURN_IF_ERROR(CheckErrors(queried));
    QUIVER_ASSIGN_OR_RETURN(
        const LoadResult searched,
        RunLoad(
            CountedOptions(settings, settings.count), kSearchMethod,
            [&](uint64_t index) {
              message = rows.Search(settings.collection, one ? name_of(index) : "", first_key_of(index), 1);
              return std::string_view(message);
            },
            [&](uint64_t index, const api::GrpcReply& reply) { return CheckFound(reply, first_key_of(index)); }));
    PrintResult(one ? "search in one partition" : "search in all partitions", searched, "",
                one ? ",\"step\":\"search_one\"" : ",\"step\":\"search_all\"");
    QUIVER_RETURN_IF_ERROR(CheckErrors(searched));
  }
  return settings.keep ? Status::Ok() : DropCollection(*client, settings.collection);
}

Status RunCompact(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Client client, api::GrpcClient::Connect(settings.host, settings.port));
  const auto begin = std::chrono::steady_clock::now();
  QUIVER_RETURN_IF_ERROR(Compact(*client, settings.collection));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("compact %*s %9.3f s\n{\"name\":\"compact\",\"seconds\":%.3f}\n", 36, "", seconds.count(),
              seconds.count());
  return Status::Ok();
}

}  // namespace quiver::bench
