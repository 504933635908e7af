// How fast the disk under a folder keeps what it is given:  disk FOLDER SECONDS
//
// A line of JSON for each way of writing.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

void must(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::exit(1);
}

struct Way {
  const char* name;
  size_t bytes;
  bool appends;  // or else it writes again what the file has
  int (*sync)(int file);
};

void measure(const std::string& path, const Way& way, double seconds) {
  constexpr off_t kFileBytes = 16 << 20;
  const int file = open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
  must(file >= 0, path.c_str());
  const std::vector<char> block(way.bytes, 'x');
  const auto write_at = [&](off_t offset) {
    must(pwrite(file, block.data(), block.size(), offset) == static_cast<ssize_t>(block.size()),
         "pwrite");
  };
  if (!way.appends) {
    for (off_t offset = 0; offset < kFileBytes; offset += static_cast<off_t>(way.bytes))
      write_at(offset);
    must(fsync(file) == 0, "fsync");
  }

  std::vector<double> milliseconds;
  off_t offset = 0;
  const Clock::time_point start = Clock::now();
  while (seconds_since(start) < seconds) {
    const Clock::time_point before = Clock::now();
    write_at(offset);
    must(way.sync(file) == 0, "sync");
    milliseconds.push_back(seconds_since(before) * 1'000);
    offset += static_cast<off_t>(way.bytes);
    if (!way.appends && offset >= kFileBytes) offset = 0;
  }
  const double passed = seconds_since(start);
  close(file);
  unlink(path.c_str());

  const size_t n = milliseconds.size();
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("{\"limit\":\"disk, %s\",\"per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", way.name,
              static_cast<double>(n) / passed, milliseconds[n / 2], milliseconds[n * 99 / 100]);
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fputs("usage: disk FOLDER SECONDS\n", stderr);
    return 2;
  }
  const std::string path = std::string(arguments[1]) + "/disk.probe";
  for (const Way& way : {
           Way{"4 KiB overwritten, fdatasync", 4'096, false, fdatasync},
           Way{"4 KiB appended, fdatasync", 4'096, true, fdatasync},
           Way{"4 KiB appended, fsync", 4'096, true, fsync},
           Way{"64 KiB overwritten, fdatasync", 65'536, false, fdatasync},
       }) {
    measure(path, way, std::atof(arguments[2]));
  }
}
