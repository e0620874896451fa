// Space: a mounted volume as the shared code sees it: its clusters, who waits to have them freed,
// the numbers of its files, and the mount options that both formats know.
#pragma once

#include "kernel/fs/clusters/alloc.h"
#include "kernel/fs/clusters/frees.h"
#include "kernel/fs/clusters/twins.h"
#include "kernel/sys/mount.h"
#include "kernel/sys/options.h"
#include "kernel/vfs/dirent_numbers.h"
#include "kernel/vfs/epoch.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

namespace rump::clusters {

class ClusterFile;

struct Options {
    int utc_offset_minutes = 0; // of stamps that say none, and of those that are written
    uint32_t file_mask = 022;
    uint32_t directory_mask = 022;
    bool quiet = false;
    bool discard = false;
    bool list_attributes = false;
    bool system_immutable = false;
    bool show_executables = false;
};
/// All but the time's offset, of which each format can store others.
Options parse_options(const MountOptions& mount);
/// `iocharset=` and `utf8` may say that names are UTF-8, which they are.
FailureOr<void> check_charset(const OptionSet& set);
/// `time_offset=`: minutes within [from, to], a multiple of `step`; 0 when it is not given.
FailureOr<int> parse_time_offset(const OptionSet& set, int from, int to, int step);
/// Tells the log what was found at mounting: why the boot sector's backup is used, an unclean
/// unmount, errors of the device.
void report_found(const Kernel& kernel, std::string_view type, const host::BlockDevice& device,
                  const std::string& damage, bool dirty, bool errors);

/// What formats without inodes and owners promise.
Mount::Traits traits(uint64_t max_file_size, uint32_t time_granularity_ns);

/// Files whose directory entries a commit has yet to bring up to date. They live until it has.
class DirtyFiles {
public:
    using Files = std::vector<std::shared_ptr<ClusterFile>>;
    void add(std::shared_ptr<ClusterFile> file);
    Files take();
    /// They are dirty still.
    void put_back(Files files);

private:
    host::Mutex mutex_{host::Rank::fs_mount};
    Files files_ GUARDED_BY(mutex_);
};

/// What parse_options() reads, and a format's own. For mount_options().
template<size_t N>
constexpr std::array<OptionSpec, N + 8> with_options(const std::array<OptionSpec, N>& own) {
    using Kind = OptionSpec::Kind;
    std::array<OptionSpec, N + 8> all{{
        {"fmask", Kind::octal, "MASK", "permissions that files lack (022)"},
        {"dmask", Kind::octal, "MASK", "permissions that directories lack (022)"},
        {"quiet", Kind::flag, "", "owners and set-id bits are ignored, not refused"},
        {"discard", Kind::flag, "", "tell the device which clusters become free"},
        {"utf8", Kind::flag, "1", "names are UTF-8 (they always are)"},
        {"iocharset", Kind::text, "NAME", "utf8; others are taken only beside utf8"},
        {"showattr", Kind::flag, "", "list the attribute user.dos.attrib"},
        {"sys_immutable", Kind::flag, "", "files with the system attribute are immutable"},
    }};
    std::copy(own.begin(), own.end(), all.begin() + 8);
    return all;
}

/// Runs `operation` again after a commit when the epoch wanted the opposite order of two sectors:
/// then it wants none. No transaction is open.
template<class F>
auto in_order(Mount& mount, F&& operation) -> decltype(operation()) {
    constexpr unsigned many = 100; // others may ask for an order meanwhile, not for long
    for (unsigned commits = 0;; commits++) {
        auto result = operation();
        if (result.ok() || result.error() != Errno::again || commits == many) return result;
        TRY(mount.epoch().commit());
    }
}

struct Space {
    /// All but the options must outlive it.
    Space(Mount& mount, const Heap& heap, ChainTable& table, UsageMap& map, const Options& options,
          std::optional<uint32_t> free_hint, std::optional<uint32_t> next_hint)
        : mount(mount), heap(heap), table(table), options(options),
          clusters(map, heap, free_hint, next_hint),
          frees(mount, heap, table, clusters, options.discard) {}

    Mount& mount;
    const Heap& heap;
    ChainTable& table;
    const Options options;
    Allocator clusters;
    PendingFrees frees;
    vfs::DirentNumbers numbers;
    DirtyFiles dirty;
    Twins twins;
    /// It was not unmounted cleanly: chains are believed as far as their files' sizes go. Set
    /// before anything is loaded.
    bool was_cut = false;
    /// Held while a commit brings entries up to date, which takes no vnode's lock; shared while an
    /// entry is copied out.
    host::RwLock entries{host::Rank::fs_group};

    using Files = std::vector<std::shared_ptr<ClusterFile>>;
    /// The number of the directory that has `unit` (of DirentNumbers). Where no path has led there
    /// yet, all are looked through from `root()` on, breadth first: `list` gives the directories in
    /// one. ESTALE: none.
    Result<InodeNumber> directory_of(uint64_t unit,
                                     FunctionRef<std::shared_ptr<ClusterFile>()> root,
                                     FunctionRef<void(ClusterFile& directory, Files& below)> list);
    /// Looks for names that a cut rename left twice, and says so in the log.
    void find_twins(const Twins::Root& root, NameReader& reader);
    /// Mount::epoch_collect: entries of changed files, then what the volume says of itself, if
    /// there is anything to be written. What fails is undone, and done again by the next commit.
    Result<void> epoch_collect(Transaction& tx, FunctionRef<Result<void>()> mark_volume);
    /// The sector that holds a byte of the device. EIO.
    Result<Buf> sector_at(uint64_t position);
    /// Sizes and free clusters. EIO.
    Result<StatVfs> statvfs();
    /// As Mount::trim.
    Result<uint64_t> trim(uint64_t offset, uint64_t length, uint64_t minimum);
};

} // namespace rump::clusters
