#include "tests/support/faulty_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>

namespace pawl {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kShmLocks = SQLITE_SHM_NLOCK;

}  // namespace

struct FaultyDiskVfs {
  sqlite3_vfs vfs{};
};

// An open file. SQLite owns the memory, and knows its beginning as sqlite3_file.
struct FaultyDisk::Handle {
  sqlite3_file base{};
  FaultyDisk* disk = nullptr;
  std::shared_ptr<File> file;
  std::string name;
  std::uint64_t life = 0;
  bool syncs_names = false;  // a log or a journal: SQLite syncs the folder when it creates one
  bool deleted_on_close = false;
  bool mapped = false;
  int lock = SQLITE_LOCK_NONE;
  enum class Shm : std::uint8_t { none, shared, exclusive };
  std::array<Shm, kShmLocks> shm_locks{};
};

struct FaultyDiskCalls {
  using Handle = FaultyDisk::Handle;
  using File = FaultyDisk::File;
  using Fault = FaultyDisk::Fault;
  using Guard = std::lock_guard<std::mutex>;

  static Handle& of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }
  static FaultyDisk& of(sqlite3_vfs* vfs) { return *static_cast<FaultyDisk*>(vfs->pAppData); }
  static bool dead(const Handle& handle) {
    return handle.disk->off_ || handle.life != handle.disk->life_;
  }

  // --- files ---------------------------------------------------------------------------------

  static int close(sqlite3_file* base) {
    auto& handle = of(base);
    auto& disk = *handle.disk;
    {
      const Guard guard{disk.mutex_};
      forget(handle);
      if (handle.deleted_on_close && !dead(handle)) {
        disk.seen_.erase(handle.name);
      }
    }
    handle.~Handle();
    return SQLITE_OK;
  }

  static void forget(Handle& handle) {
    std::erase(handle.file->handles, &handle);
    unmap(handle);
  }

  static void unmap(Handle& handle) {
    handle.mapped = false;
    handle.shm_locks.fill(Handle::Shm::none);
    const auto& handles = handle.file->handles;
    if (std::none_of(handles.begin(), handles.end(), [](auto* other) { return other->mapped; })) {
      handle.file->shared_memory.clear();
    }
  }

  static int read(sqlite3_file* base, void* to, int count, sqlite3_int64 offset) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_READ;
    }
    const auto& bytes = handle.file->seen;
    const auto from = std::min(static_cast<std::size_t>(offset), bytes.size());
    const auto there = std::min(static_cast<std::size_t>(count), bytes.size() - from);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), there, static_cast<char*>(to));
    if (there < static_cast<std::size_t>(count)) {
      std::memset(static_cast<char*>(to) + there, 0, static_cast<std::size_t>(count) - there);
      return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
  }

  static void change(File& file, FaultyDisk::Change change) {
    FaultyDisk::apply(file.seen, change);
    file.unsynced.push_back(std::move(change));
  }

  static int write(sqlite3_file* base, const void* from, int count, sqlite3_int64 offset) {
    auto& handle = of(base);
    auto& disk = *handle.disk;
    const Guard guard{disk.mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_WRITE;
    }
    const auto* bytes = static_cast<const unsigned char*>(from);
    FaultyDisk::Change written{false, static_cast<std::uint64_t>(offset), {bytes, bytes + count}};
    const bool longer = written.offset + written.bytes.size() >
                        static_cast<std::uint64_t>(handle.file->seen.size());
    const auto fault = disk.next_operation();
    if (!fault || fault == Fault::sync_error || (fault == Fault::full && !longer)) {
      change(*handle.file, std::move(written));
      return SQLITE_OK;
    }
    disk.struck_ = true;
    // Some first part of it may be there nevertheless.
    written.bytes.resize(disk.random_() % (written.bytes.size() + 1));
    if (fault == Fault::full && written.bytes.size() == static_cast<std::size_t>(count)) {
      written.bytes.pop_back();  // what is done as a whole is never reported as "no space"
    }
    if (!written.bytes.empty() && !disk.chance(3)) {
      change(*handle.file, std::move(written));
    }
    return fault == Fault::full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  }

  static int truncate(sqlite3_file* base, sqlite3_int64 size) {
    auto& handle = of(base);
    auto& disk = *handle.disk;
    const Guard guard{disk.mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_TRUNCATE;
    }
    const auto fault = disk.next_operation();
    if (fault == Fault::power_loss || fault == Fault::io_error) {
      disk.struck_ = true;
      return SQLITE_IOERR_TRUNCATE;
    }
    change(*handle.file, {true, static_cast<std::uint64_t>(size), {}});
    return SQLITE_OK;
  }

  static int sync(sqlite3_file* base, int) {
    auto& handle = of(base);
    auto& disk = *handle.disk;
    const Guard guard{disk.mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_FSYNC;
    }
    auto& file = *handle.file;
    const auto fault = disk.next_operation();
    if (fault && fault != Fault::full) {
      disk.struck_ = true;
      if (fault != Fault::power_loss && disk.chance(2)) {
        // As operating systems do: the pages are marked as clean, and a later sync is content.
        file.unsynced.clear();
      }
      return SQLITE_IOERR_FSYNC;
    }
    if (disk.lies_) {
      return SQLITE_OK;
    }
    for (const auto& unsynced : file.unsynced) {
      FaultyDisk::apply(file.synced, unsynced);
    }
    file.unsynced.clear();
    if (handle.syncs_names) {
      disk.sync_names();
    }
    return SQLITE_OK;
  }

  static int size(sqlite3_file* base, sqlite3_int64* size) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_FSTAT;
    }
    *size = static_cast<sqlite3_int64>(handle.file->seen.size());
    return SQLITE_OK;
  }

  // --- locks ---------------------------------------------------------------------------------

  static int highest_of_others(const Handle& handle) {
    int highest = SQLITE_LOCK_NONE;
    for (const auto* other : handle.file->handles) {
      if (other != &handle) {
        highest = std::max(highest, other->lock);
      }
    }
    return highest;
  }

  static int lock(sqlite3_file* base, int wanted) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    if (dead(handle)) {
      return SQLITE_IOERR_LOCK;
    }
    if (handle.lock >= wanted) {
      return SQLITE_OK;
    }
    const int others = highest_of_others(handle);
    if (wanted == SQLITE_LOCK_SHARED) {
      if (others >= SQLITE_LOCK_PENDING) {
        return SQLITE_BUSY;
      }
    } else if (others >= SQLITE_LOCK_RESERVED) {
      return SQLITE_BUSY;
    } else if (wanted == SQLITE_LOCK_EXCLUSIVE && others >= SQLITE_LOCK_SHARED) {
      handle.lock = SQLITE_LOCK_PENDING;
      return SQLITE_BUSY;
    }
    handle.lock = wanted;
    return SQLITE_OK;
  }

  static int unlock(sqlite3_file* base, int wanted) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    handle.lock = std::min(handle.lock, wanted);
    return SQLITE_OK;
  }

  static int check_reserved(sqlite3_file* base, int* reserved) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    *reserved = std::max(handle.lock, highest_of_others(handle)) >= SQLITE_LOCK_RESERVED ? 1 : 0;
    return SQLITE_OK;
  }

  static int control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  // As SQLite says of the platform's own files.
  static int sector_size(sqlite3_file*) { return 4096; }
  static int characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  // --- shared memory ---------------------------------------------------------------------------

  static int shm_map(sqlite3_file* base, int region, int size, int extend, void volatile** memory) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    *memory = nullptr;
    if (dead(handle)) {
      return SQLITE_IOERR_SHMMAP;
    }
    handle.mapped = true;
    auto& regions = handle.file->shared_memory;
    if (regions.size() <= static_cast<std::size_t>(region)) {
      if (extend == 0) {
        return SQLITE_OK;
      }
      while (regions.size() <= static_cast<std::size_t>(region)) {
        regions.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
      }
    }
    *memory = regions[static_cast<std::size_t>(region)].get();
    return SQLITE_OK;
  }

  static int shm_lock(sqlite3_file* base, int offset, int count, int flags) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    const auto first = static_cast<std::size_t>(offset);
    const auto last = first + static_cast<std::size_t>(count);
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
      std::fill(handle.shm_locks.begin() + offset, handle.shm_locks.begin() + offset + count,
                Handle::Shm::none);
      return SQLITE_OK;
    }
    if (dead(handle)) {
      return SQLITE_IOERR_SHMLOCK;
    }
    const auto wanted =
        (flags & SQLITE_SHM_SHARED) != 0 ? Handle::Shm::shared : Handle::Shm::exclusive;
    for (const auto* other : handle.file->handles) {
      for (auto slot = first; other != &handle && slot < last; ++slot) {
        if (other->shm_locks[slot] == Handle::Shm::exclusive ||
            (other->shm_locks[slot] == Handle::Shm::shared && wanted == Handle::Shm::exclusive)) {
          return SQLITE_BUSY;
        }
      }
    }
    std::fill(handle.shm_locks.begin() + offset, handle.shm_locks.begin() + offset + count, wanted);
    return SQLITE_OK;
  }

  // Of two that pass here, the later one sees what the earlier one wrote before: a barrier, and one
  // that thread sanitizers understand, as they do not a fence.
  static void shm_barrier(sqlite3_file* base) { const Guard guard{of(base).disk->mutex_}; }

  static int shm_unmap(sqlite3_file* base, int) {
    auto& handle = of(base);
    const Guard guard{handle.disk->mutex_};
    unmap(handle);
    return SQLITE_OK;
  }

  // --- names -----------------------------------------------------------------------------------

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* base, int flags,
                  int* flags_out) {
    static const sqlite3_io_methods methods = {2,
                                               close,
                                               read,
                                               write,
                                               truncate,
                                               sync,
                                               size,
                                               lock,
                                               unlock,
                                               check_reserved,
                                               control,
                                               sector_size,
                                               characteristics,
                                               shm_map,
                                               shm_lock,
                                               shm_barrier,
                                               shm_unmap,
                                               nullptr,
                                               nullptr};
    auto& disk = of(vfs);
    base->pMethods = nullptr;
    const Guard guard{disk.mutex_};
    if (disk.off_) {
      return SQLITE_CANTOPEN;
    }
    std::shared_ptr<File> file;
    if (name == nullptr) {
      file = std::make_shared<File>();
    } else if (const auto found = disk.seen_.find(name); found != disk.seen_.end()) {
      file = found->second;
    } else if ((flags & SQLITE_OPEN_CREATE) == 0) {
      return SQLITE_CANTOPEN;
    } else {
      if (const auto fault = disk.next_operation(); fault && fault != Fault::sync_error) {
        disk.struck_ = true;
        return SQLITE_CANTOPEN;
      }
      file = std::make_shared<File>();
      disk.seen_[name] = file;
      disk.unsynced_names_.push_back({name, file});
    }
    auto* handle = new (base) Handle;
    handle->disk = &disk;
    handle->file = file;
    handle->name = name == nullptr ? "" : name;
    handle->life = disk.life_;
    handle->syncs_names =
        (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
    handle->deleted_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    handle->base.pMethods = &methods;
    file->handles.push_back(handle);
    if (flags_out != nullptr) {
      *flags_out = flags;
    }
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* vfs, const char* name, int sync_folder) {
    auto& disk = of(vfs);
    const Guard guard{disk.mutex_};
    if (disk.off_) {
      return SQLITE_IOERR_DELETE;
    }
    if (!disk.seen_.contains(name)) {
      return SQLITE_IOERR_DELETE_NOENT;
    }
    const auto fault = disk.next_operation();
    if (fault == Fault::power_loss || fault == Fault::io_error) {
      disk.struck_ = true;
      return SQLITE_IOERR_DELETE;
    }
    disk.seen_.erase(name);
    disk.unsynced_names_.push_back({name, nullptr});
    if (sync_folder != 0 && !disk.lies_) {
      disk.sync_names();
    }
    return SQLITE_OK;
  }

  static int access(sqlite3_vfs* vfs, const char* name, int, int* result) {
    auto& disk = of(vfs);
    const Guard guard{disk.mutex_};
    if (disk.off_) {
      return SQLITE_IOERR_ACCESS;
    }
    const auto found = disk.seen_.find(name);
    // As SQLite's own: an empty file counts as none where a journal or log is asked for.
    *result = found != disk.seen_.end() && !found->second->seen.empty() ? 1 : 0;
    return SQLITE_OK;
  }

  static int full_path(sqlite3_vfs*, const char* name, int size, char* path) {
    sqlite3_snprintf(size, path, "%s", name);
    return SQLITE_OK;
  }

  static int randomness(sqlite3_vfs* vfs, int size, char* bytes) {
    auto& disk = of(vfs);
    const Guard guard{disk.mutex_};
    for (int index = 0; index < size; ++index) {
      bytes[index] = static_cast<char>(disk.random_());
    }
    return size;
  }

  static int sleep(sqlite3_vfs*, int microseconds) {
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    return microseconds;
  }

  static int now(sqlite3_vfs*, sqlite3_int64* milliseconds) {
    constexpr sqlite3_int64 kUnixEpoch = 24405875LL * 8640000;  // in SQLite's Julian milliseconds
    *milliseconds = kUnixEpoch + std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count();
    return SQLITE_OK;
  }

  static int last_error(sqlite3_vfs*, int, char*) { return 0; }
};

FaultyDisk::FaultyDisk(const std::uint64_t seed) : random_{seed} {
  static std::atomic<int> count{0};
  vfs_name_ = "faulty-" + std::to_string(++count);
  vfs_ = std::make_unique<FaultyDiskVfs>();
  auto& vfs = vfs_->vfs;
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = 1024;
  vfs.zName = vfs_name_.c_str();
  vfs.pAppData = this;
  vfs.xOpen = FaultyDiskCalls::open;
  vfs.xDelete = FaultyDiskCalls::remove;
  vfs.xAccess = FaultyDiskCalls::access;
  vfs.xFullPathname = FaultyDiskCalls::full_path;
  vfs.xRandomness = FaultyDiskCalls::randomness;
  vfs.xSleep = FaultyDiskCalls::sleep;
  vfs.xGetLastError = FaultyDiskCalls::last_error;
  vfs.xCurrentTimeInt64 = FaultyDiskCalls::now;
  sqlite3_vfs_register(&vfs, 0);
}

FaultyDisk::~FaultyDisk() { sqlite3_vfs_unregister(&vfs_->vfs); }

void FaultyDisk::apply(Bytes& bytes, const Change& change) {
  if (change.truncation) {
    bytes.resize(change.offset);
    return;
  }
  const auto end = change.offset + change.bytes.size();
  if (bytes.size() < end) {
    bytes.resize(end);
  }
  std::copy(change.bytes.begin(), change.bytes.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
}

std::optional<FaultyDisk::Fault> FaultyDisk::next_operation() {
  ++operations_;
  if (!plan_ || operations_ < plan_->operation ||
      (operations_ > plan_->operation && !plan_->lasting)) {
    return std::nullopt;
  }
  if (plan_->fault == Fault::power_loss) {
    off_ = true;
  }
  return plan_->fault;
}

void FaultyDisk::sync_names() {
  for (const auto& change : unsynced_names_) {
    if (change.file) {
      synced_[change.name] = change.file;
    } else {
      synced_.erase(change.name);
    }
  }
  unsynced_names_.clear();
}

std::uint64_t FaultyDisk::operations() const {
  const std::lock_guard guard{mutex_};
  return operations_;
}

void FaultyDisk::fail_at(const std::uint64_t operation, const Fault fault, const bool lasting) {
  const std::lock_guard guard{mutex_};
  plan_ = Plan{operation, fault, lasting};
  struck_ = false;
}

void FaultyDisk::heal() {
  const std::lock_guard guard{mutex_};
  plan_.reset();
}

bool FaultyDisk::struck() const {
  const std::lock_guard guard{mutex_};
  return struck_;
}

void FaultyDisk::lie_about_syncs() {
  const std::lock_guard guard{mutex_};
  lies_ = true;
}

// What the file is after a loss of power.
void FaultyDisk::survive(File& file, const int mood) {
  for (const auto& change : file.unsynced) {
    const auto fate = mood < 2 ? mood : static_cast<int>(random_() % 3);
    if (fate == 0) {
      continue;
    }
    if (fate == 1 || change.truncation) {
      apply(file.synced, change);
      continue;
    }
    for (std::uint64_t from = 0; from < change.bytes.size();) {
      const auto to = std::min<std::uint64_t>(
          change.bytes.size(), ((change.offset + from) / kSector + 1) * kSector - change.offset);
      if (chance(2)) {
        apply(file.synced, {false,
                            change.offset + from,
                            {change.bytes.begin() + static_cast<std::ptrdiff_t>(from),
                             change.bytes.begin() + static_cast<std::ptrdiff_t>(to)}});
      }
      from = to;
    }
  }
  file.unsynced.clear();
  file.seen = file.synced;
}

void FaultyDisk::restart() {
  const std::lock_guard guard{mutex_};
  // Names are kept in order by file systems that have a journal: some first part of the changes.
  const auto mood =
      static_cast<int>(random_() % 6);  // 0: all is dropped, 1: all is kept, else mixed
  const auto kept = mood == 0   ? std::size_t{0}
                    : mood == 1 ? unsynced_names_.size()
                                : random_() % (unsynced_names_.size() + 1);
  unsynced_names_.resize(kept);
  sync_names();
  seen_ = synced_;
  for (const auto& [name, file] : seen_) {
    survive(*file, mood);
    file->handles.clear();
    file->shared_memory.clear();
  }
  plan_.reset();
  off_ = false;
  ++life_;
}

void FaultyDisk::kill() {
  const std::lock_guard guard{mutex_};
  for (const auto& [name, file] : seen_) {
    file->handles.clear();
    file->shared_memory.clear();
  }
  ++life_;
}

std::optional<std::string> FaultyDisk::content(const std::string& path) const {
  const std::lock_guard guard{mutex_};
  const auto found = seen_.find(path);
  if (found == seen_.end()) {
    return std::nullopt;
  }
  const auto& bytes = found->second->seen;
  return std::string{bytes.begin(), bytes.end()};
}

void FaultyDisk::put(const std::string& path, std::string content) {
  const std::lock_guard guard{mutex_};
  auto file = std::make_shared<File>();
  file->seen.assign(content.begin(), content.end());
  file->synced = file->seen;
  seen_[path] = synced_[path] = std::move(file);
}

}  // namespace pawl
