#pragma once

// A disk for SQLite that forgets. Files live in memory, in two states: what programs see, and what
// would be there after a loss of power. A write, a truncation, a new or deleted name crosses from the
// first to the second when it is synced. At a loss of power the disk keeps, drops or tears (by
// sectors of 512 bytes) each change that was not, as its seed says.
//
// SIGKILL cannot test this: what a killed process wrote is safe in the operating system's memory.
//
//   FaultyDisk disk{seed};
//   open a store with .vfs = disk.vfs()
//   disk.lose_power_at(17);   // in the midst of the 17th operation from now
//   … until something fails …
//   disk.restart();           // what has survived is there

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace pawl {

// Thread-safe. Nothing may have a file of it open when it is destroyed.
class FaultyDisk {
 public:
  enum class Fault {
    power_loss,  // from here on every operation fails, until restart()
    io_error,  // the operation fails; a write may be done in part, a sync may lose what it was for
    sync_error,  // as io_error, but of syncs only
    full,        // a write that would make a file longer, or a new file, fails
  };

  explicit FaultyDisk(std::uint64_t seed);
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  // The name under which SQLite knows it.
  const std::string& vfs() const { return vfs_name_; }

  // Operations are counted from 1, over the life of the disk: writes, syncs, truncations, files
  // created and deleted.
  std::uint64_t operations() const;
  // The fault strikes at that operation and, if it lasts, at all later ones.
  void fail_at(std::uint64_t operation, Fault fault, bool lasting);
  void lose_power_at(std::uint64_t operation) { fail_at(operation, Fault::power_loss, true); }
  void heal();
  // Whether the fault has struck.
  bool struck() const;

  // Syncs report success and do nothing.
  void lie_about_syncs();

  // Power goes off and on: open files are dead, and what was not synced is as chance will have it.
  void restart();
  // Only the process ends: open files are dead, and nothing is lost.
  void kill();

  // The file as programs see it; for tests that look beneath.
  std::optional<std::string> content(const std::string& path) const;
  void put(const std::string& path, std::string content);

 private:
  friend struct FaultyDiskCalls;

  using Bytes = std::vector<unsigned char>;
  struct Handle;
  struct Change {
    bool truncation = false;  // to `offset`
    std::uint64_t offset = 0;
    Bytes bytes;
  };
  struct File {
    Bytes seen;
    Bytes synced;
    std::vector<Change> unsynced;
    // Memory shared by the connections, and its locks.
    std::vector<std::unique_ptr<char[]>> shared_memory;
    std::vector<Handle*> handles;
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;
  struct NameChange {
    std::string name;
    std::shared_ptr<File> file;  // null: deleted
  };
  struct Plan {
    std::uint64_t operation;
    Fault fault;
    bool lasting;
  };

  static void apply(Bytes& bytes, const Change& change);
  // What is to happen to the operation that begins.
  std::optional<Fault> next_operation();
  void sync_names();
  bool chance(int one_in) { return random_() % static_cast<unsigned>(one_in) == 0; }
  void survive(File& file, int mood);

  std::string vfs_name_;
  std::unique_ptr<struct FaultyDiskVfs> vfs_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::mt19937_64 random_;
  Names seen_;
  Names synced_;
  std::vector<NameChange> unsynced_names_;
  std::uint64_t operations_ = 0;
  std::optional<Plan> plan_;
  bool struck_ = false;
  bool lies_ = false;
  bool off_ = false;
  std::uint64_t life_ = 0;  // handles of earlier lives are dead
};

}  // namespace pawl
