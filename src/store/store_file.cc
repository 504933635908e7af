#include "store/store_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace pawl {
namespace {

namespace fs = std::filesystem;

std::string describe(const int system_error) {
  return std::generic_category().message(system_error);
}

// What the holder wrote; 0 if that cannot be read.
long holder_of(const int descriptor) {
  std::array<char, 24> text{};
  const auto length = ::pread(descriptor, text.data(), text.size() - 1, 0);
  return length > 0 ? std::strtol(text.data(), nullptr, 10) : 0;
}

}  // namespace

Result<std::string> resolve_store_path(const std::string_view path) {
  if (path.empty()) {
    return Error{ErrorCode::invalid_argument, "the store's path is empty: name a file"};
  }
  if (path.find('\0') != std::string_view::npos) {
    return Error{ErrorCode::invalid_argument, "the store's path has a zero byte in it"};
  }
  if (path == ":memory:") {
    return Error{ErrorCode::invalid_argument,
                 "a store in memory would lose everything: name a file instead of :memory:"};
  }

  std::error_code error;
  fs::path file = fs::absolute(fs::path{path}, error);
  // A link may point to a file that is yet to be created, which canonical() would not follow.
  constexpr int kLinksMax = 40;
  for (int links = 0; fs::is_symlink(fs::symlink_status(file, error)); ++links) {
    if (links == kLinksMax) {
      return Error{ErrorCode::store_unavailable,
                   fmt::format("{}: the links of this path lead in a circle", path)};
    }
    file = file.parent_path() / fs::read_symlink(file, error);
  }
  if (!file.has_filename()) {
    return Error{ErrorCode::store_invalid, fmt::format("{} is a folder: name a file in it", path)};
  }
  const fs::path folder = fs::canonical(file.parent_path(), error);
  if (error) {
    return Error{
        ErrorCode::store_unavailable,
        fmt::format("the folder of the store {} cannot be used: {}", path, error.message())};
  }
  file = folder / file.filename();

  const auto status = fs::status(file, error);
  if (status.type() == fs::file_type::directory) {
    return Error{ErrorCode::store_invalid, fmt::format("{} is a folder: name a file in it", path)};
  }
  if (fs::exists(status)) {
    if (status.type() != fs::file_type::regular) {
      return Error{ErrorCode::store_invalid,
                   fmt::format("{} is not a regular file; a store cannot live there", path)};
    }
    if (fs::hard_link_count(file, error) > 1 && !error) {
      return Error{ErrorCode::store_invalid,
                   fmt::format("{} has several hard links; opened under different names, its log "
                               "would be torn in two: remove the other names, or copy it",
                               path)};
    }
  }
  return file.string();
}

Result<void> sync_store_folder(const std::string& path) {
  const auto folder = fs::path{path}.parent_path();
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int why = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!synced) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("the folder {} cannot be synced: {}", folder.string(), describe(why))};
  }
  return {};
}

Result<StoreLock> StoreLock::acquire(const std::string& path) {
  const std::string lock_path = path + "-lock";
  const int descriptor = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("the lock file {} cannot be opened: {}; this process must be able to "
                             "write to the store's folder",
                             lock_path, describe(errno))};
  }
  StoreLock lock{descriptor};
  int locked = 0;
  do {
    locked = ::flock(descriptor, LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0) {
    const int why = errno;
    const long holder = holder_of(descriptor);
    // Without the lock, the file is not ours to empty.
    ::close(std::exchange(lock.descriptor_, -1));
    if (why != EWOULDBLOCK) {
      return Error{ErrorCode::store_unavailable,
                   fmt::format("{} cannot be locked: {}", lock_path, describe(why))};
    }
    return Error{
        ErrorCode::store_in_use,
        fmt::format("the store {} is in use by {}: one engine at a time can have it open; close "
                    "that one, or use another file",
                    path,
                    holder == 0          ? std::string{"another process"}
                    : holder == getpid() ? fmt::format("this very process ({})", holder)
                                         : fmt::format("process {}", holder))};
  }
  const std::string holder = fmt::format("{}\n", getpid());
  if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, holder.data(), holder.size(), 0) !=
                                             static_cast<ssize_t>(holder.size())) {
    return Error{ErrorCode::store_unavailable,
                 fmt::format("{} cannot be written: {}", lock_path, describe(errno))};
  }
  return lock;
}

StoreLock::~StoreLock() {
  if (descriptor_ >= 0) {
    // Best effort: who finds a number in it without a lock on it knows that a process was killed.
    [[maybe_unused]] const int ignored = ::ftruncate(descriptor_, 0);
    ::close(descriptor_);
  }
}

}  // namespace pawl
