// File: io/read_only_file_system.cc
#include "io/read_only_file_system.h"

namespace quiver::io {
namespace {

/// Takes what is written and forgets it.
class ForgottenFile final : public AppendFile {
 public:
  ForgottenFile(std::string path, uint64_t size) : path_(std::move(path)), size_(size) {}
  Status Append(std::span<const std::string_view> parts) override {
    for (const std::string_view part : parts) size_ += part.size();
    return Status::Ok();
  }
  Status Sync() override { return Status::Ok(); }
  Status Preallocate(uint64_t /*size*/) override { return Status::Ok(); }
  [[nodiscard]] uint64_t size() const override { return size_; }
  [[nodiscard]] const std::string& path() const override { return path_; }

 private:
  const std::string path_;
  uint64_t size_;
};

}  // namespace

Result<std::unique_ptr<AppendFile>> ReadOnlyFileSystem::Create(const std::string& path) {
  return std::unique_ptr<AppendFile>(std::make_unique<ForgottenFile>(path, 0));
}

Result<std::unique_ptr<AppendFile>> ReadOnlyFileSystem::OpenAppend(const std::string& path, uint64_t position) {
  return std::unique_ptr<AppendFile>(std::make_unique<ForgottenFile>(path, position));
}

Result<std::vector<DirectoryEntry>> ReadOnlyFileSystem::List(const std::string& directory) {
  QUIVER_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> entries, beneath_.List(directory));
  if (!only_.empty()) std::erase_if(entries, [&](const DirectoryEntry& entry) { return entry.name != only_; });
  return entries;
}

}  // namespace quiver::io
