#include "base/logging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <utility>

namespace quiver::log {

namespace internal {
std::atomic<Level> threshold{Level::kInfo};
}

namespace {

constexpr std::array<std::string_view, 6> kLevelNames{"trace", "debug", "info", "warn", "error", "off"};

std::string ErrnoText() { return std::strerror(errno); }

/// Where lines go: standard error, or a file that is rotated by size.
class Sink {
 public:
  static Sink& Get() {
    // Never destroyed: threads may log while the process ends.
    static auto* sink = new Sink;  // NOLINT
    return *sink;
  }

  Status Configure(const Options& options) {
    const std::lock_guard lock(mutex_);
    if (!options.file.empty()) {
      const int fd = OpenFile(options.file);
      if (fd < 0) return Error(StatusCode::kIo, "cannot open log file {}: {}", options.file, ErrnoText());
      Use(fd);
    } else {
      Use(STDERR_FILENO);
    }
    options_ = options;
    internal::threshold.store(options.level, std::memory_order_relaxed);
    return Status::Ok();
  }

  Status Reopen() {
    const std::lock_guard lock(mutex_);
    if (options_.file.empty()) return Status::Ok();
    const int fd = OpenFile(options_.file);
    if (fd < 0) return Error(StatusCode::kIo, "cannot reopen log file {}: {}", options_.file, ErrnoText());
    Use(fd);
    return Status::Ok();
  }

  void Write(Level level, std::string_view message, std::initializer_list<Field> fields) {
    const std::lock_guard lock(mutex_);
    line_.clear();
    if (options_.json) {
      FormatJson(level, message, fields);
    } else {
      FormatText(level, message, fields);
    }
    line_.push_back('\n');
    if (!options_.file.empty() && options_.max_file_bytes != 0 && size_ != 0 &&
        size_ + line_.size() > options_.max_file_bytes) {
      Rotate();
    }
    WriteAll();
  }

 private:
  static int OpenFile(const std::string& path) {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  }

  void Use(int fd) {
    if (fd_ != STDERR_FILENO) ::close(fd_);
    fd_ = fd;
    struct stat status{};
    size_ = fd != STDERR_FILENO && ::fstat(fd, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }

  // file -> file.1 -> file.2 ...; the oldest falls off. Where a rename fails the log goes on in the file it has.
  void Rotate() {
    const std::string& file = options_.file;
    if (options_.max_files <= 0) {
      if (::ftruncate(fd_, 0) == 0) size_ = 0;
      return;
    }
    for (int i = options_.max_files - 1; i >= 1; --i) {
      static_cast<void>(std::rename(fmt::format("{}.{}", file, i).c_str(), fmt::format("{}.{}", file, i + 1).c_str()));
    }
    if (std::rename(file.c_str(), (file + ".1").c_str()) != 0) return;
    const int fd = OpenFile(file);
    if (fd >= 0) Use(fd);
  }

  void WriteAll() {
    const char* data = line_.data();
    size_t left = line_.size();
    while (left > 0) {
      const ssize_t written = ::write(fd_, data, left);
      if (written < 0) {
        if (errno == EINTR) continue;
        return;  // nowhere to report it
      }
      data += written;
      left -= static_cast<size_t>(written);
      size_ += static_cast<uint64_t>(written);
    }
  }

  /// Appends the time as 2026-11-21T02:03:04.567Z.
  void AppendTime() {
    using std::chrono::milliseconds;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto ms = std::chrono::duration_cast<milliseconds>(now).count();
    const auto seconds = static_cast<time_t>(ms / 1000);
    if (seconds != formatted_second_) {
      std::tm utc{};
      ::gmtime_r(&seconds, &utc);
      std::array<char, 32> text{};
      const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
      formatted_.assign(text.data(), length);
      formatted_second_ = seconds;
    }
    fmt::format_to(std::back_inserter(line_), "{}.{:03}Z", formatted_, ms % 1000);
  }

  void FormatText(Level level, std::string_view message, std::initializer_list<Field> fields) {
    AppendTime();
    fmt::format_to(std::back_inserter(line_), " {:<5} [{}] ", kLevelNames[static_cast<size_t>(level)], gettid());
    AppendPrintable(message);
    for (const Field& field : fields) {
      line_.push_back(' ');
      line_.append(field.key);
      line_.push_back('=');
      const std::string_view value = Shown(field);
      const bool quote = value.empty() || value.find_first_of(" \"=") != std::string_view::npos;
      if (quote) line_.push_back('"');
      AppendPrintable(value);
      if (quote) line_.push_back('"');
    }
  }

  void FormatJson(Level level, std::string_view message, std::initializer_list<Field> fields) {
    line_.append(R"({"time":")");
    AppendTime();
    fmt::format_to(std::back_inserter(line_), R"(","level":"{}","thread":{},"message":)",
                   kLevelNames[static_cast<size_t>(level)], gettid());
    AppendJsonString(message);
    for (const Field& field : fields) {
      line_.push_back(',');
      AppendJsonString(field.key);
      line_.push_back(':');
      AppendJsonString(Shown(field));
    }
    line_.push_back('}');
  }

  /// One event is one line: control characters (a forged line break in a client's name, say) are escaped.
  void AppendPrintable(std::string_view text) {
    for (const char c : text) {
      if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) {
        line_.push_back(c);
      } else {
        fmt::format_to(std::back_inserter(line_), "\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
  }

  void AppendJsonString(std::string_view text) {
    line_.push_back('"');
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        line_.push_back('\\');
        line_.push_back(c);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        fmt::format_to(std::back_inserter(line_), "\\u{:04x}", static_cast<unsigned char>(c));
      } else {
        line_.push_back(c);
      }
    }
    line_.push_back('"');
  }

  static std::string_view Shown(const Field& field) {
    for (const std::string_view secret : {"password", "token", "authorization", "secret", "credential", "api_key"}) {
      if (field.key.find(secret) != std::string_view::npos) return "***";
    }
    return field.value;
  }

  std::mutex mutex_;
  Options options_;
  int fd_ = STDERR_FILENO;
  uint64_t size_ = 0;
  std::string line_;
  time_t formatted_second_ = -1;
  std::string formatted_;
};

}  // namespace

std::optional<Level> ParseLevel(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<Level>(i);
  }
  return std::nullopt;
}

Status Configure(const Options& options) { return Sink::Get().Configure(options); }

Status Reopen() { return Sink::Get().Reopen(); }

void Write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!Enabled(level) || level == Level::kOff) return;
  Sink::Get().Write(level, message, fields);
}

}  // namespace quiver::log
