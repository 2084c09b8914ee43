#include "engine/restore_record.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <array>

namespace quiver::engine {

namespace {

constexpr int kRecordVersion = 1;
struct StateName {
  RestoreState state;
  const char* name;
};
constexpr std::array<StateName, 3> kStates{
    {{RestoreState::kPending, "pending"}, {RestoreState::kCompleted, "completed"}, {RestoreState::kFailed, "failed"}}};

}  // namespace

std::string RestoreKey(int64_t job_id) { return fmt::format("{}{}", kRestorePrefix, job_id); }

std::string RestoreRecordToJson(const RestoreRecord& record) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto number = [&](const char* key, int64_t value) {
    writer.Key(key);
    writer.Int64(value);
  };
  const auto text = [&](const char* key, std::string_view value) {
    writer.Key(key);
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  const RestoreJob& job = record.job;
  const char* state = kStates[0].name;
  for (const StateName& entry : kStates) {
    if (entry.state == job.state) state = entry.name;
  }
  writer.StartObject();
  number("version", kRecordVersion);
  number("id", job.id);
  text("state", state);
  number("source", record.source_id);
  number("snapshot_id", record.snapshot_id);
  text("snapshot", job.snapshot);
  text("database", job.db_name);
  text("collection", job.collection);
  writer.Key("in_place");
  writer.Bool(record.in_place);
  writer.Key("started");
  writer.Uint64(job.started);
  number("milliseconds", job.milliseconds);
  text("reason", job.reason);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Result<RestoreRecord> RestoreRecordFromJson(std::string_view json) {
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  bool sound = !document.HasParseError() && document.IsObject();
  RestoreRecord record;
  const auto member = [&](const char* key) -> const rapidjson::Value* {
    if (!sound) return nullptr;
    const auto found = document.FindMember(key);
    return found == document.MemberEnd() ? nullptr : &found->value;
  };
  const auto number = [&](const char* key, int64_t& value) {
    const rapidjson::Value* const found = member(key);
    sound = found != nullptr && found->IsInt64();
    if (sound) value = found->GetInt64();
  };
  const auto text = [&](const char* key, std::string& value) {
    const rapidjson::Value* const found = member(key);
    sound = found != nullptr && found->IsString();
    if (sound) value.assign(found->GetString(), found->GetStringLength());
  };
  RestoreJob& job = record.job;
  int64_t version = 0;
  std::string state;
  number("version", version);
  sound = sound && version == kRecordVersion;
  number("id", job.id);
  text("state", state);
  number("source", record.source_id);
  number("snapshot_id", record.snapshot_id);
  text("snapshot", job.snapshot);
  text("database", job.db_name);
  text("collection", job.collection);
  const rapidjson::Value* const in_place = member("in_place");
  sound = in_place != nullptr && in_place->IsBool();
  if (sound) record.in_place = in_place->GetBool();
  const rapidjson::Value* const started = member("started");
  sound = started != nullptr && started->IsUint64();
  if (sound) job.started = started->GetUint64();
  number("milliseconds", job.milliseconds);
  text("reason", job.reason);
  bool known = false;
  for (const StateName& entry : kStates) {
    if (state != entry.name) continue;
    known = true;
    job.state = entry.state;
  }
  if (!sound || !known) return Error(StatusCode::kCorruption, "a record of a restoring is damaged: {}", json);
  if (job.state == RestoreState::kCompleted) job.progress = 100;
  return record;
}

}  // namespace quiver::engine
