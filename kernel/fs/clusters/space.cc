// Space: options, commits, statvfs, trim.
#include "kernel/fs/clusters/space.h"

#include "kernel/fs/clusters/file.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

namespace rump::clusters {

using host::MutexGuard;

Options parse_options(const MountOptions& mount) {
    const OptionSet& set = mount.fs;
    Options options;
    // umask= is taken away from what is shown, by the generic layer.
    uint32_t mask = mount.umask ? 0 : 022;
    options.file_mask = static_cast<uint32_t>(set.number("fmask", mask) & 0777);
    options.directory_mask = static_cast<uint32_t>(set.number("dmask", mask) & 0777);
    options.quiet = set.has("quiet");
    options.discard = set.has("discard");
    options.list_attributes = set.has("showattr");
    options.system_immutable = set.has("sys_immutable");
    options.show_executables = set.has("showexec");
    return options;
}

FailureOr<void> check_charset(const OptionSet& set) {
    const std::string charset = set.text("iocharset", "utf8");
    if (charset == "utf8" || set.has("utf8")) return {};
    return Failure(Errno::inval,
                   fmt::format("iocharset={}: names are always UTF-8; add utf8", charset));
}

FailureOr<int> parse_time_offset(const OptionSet& set, int from, int to, int step) {
    if (!set.has("time_offset")) return 0;
    const std::string text = set.text("time_offset");
    int minutes = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), minutes);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || minutes < from ||
        minutes > to || minutes % step != 0)
        return Failure(Errno::inval,
                       fmt::format("time_offset={}: not minutes from {} to {} in steps of {}", text,
                                   from, to, step));
    return minutes;
}

void report_found(const Kernel& kernel, std::string_view type, const host::BlockDevice& device,
                  const std::string& damage, bool dirty, bool errors) {
    host::Log& log = kernel.log();
    if (!damage.empty())
        log.warning("{}: {}: {}; the backup of the boot sector is used", type, device.name(),
                    damage);
    if (dirty)
        log.warning("{}: {}: was not unmounted cleanly; a check is due", type, device.name());
    if (errors)
        log.warning("{}: {}: is marked as having met errors of the device; a check is due", type,
                    device.name());
}

Mount::Traits traits(uint64_t max_file_size, uint32_t time_granularity_ns) {
    Mount::Traits traits;
    traits.hard_links = false;
    traits.symlinks = false;
    traits.special_files = false;
    traits.owners = false;
    traits.case_sensitive = false;
    traits.negative_names = false;
    traits.name_max = utf16_name_max;
    traits.max_file_size = max_file_size;
    traits.link_max = 1;
    traits.time_granularity_ns = time_granularity_ns;
    return traits;
}

void DirtyFiles::add(std::shared_ptr<ClusterFile> file) {
    MutexGuard guard(mutex_);
    files_.push_back(std::move(file));
}

DirtyFiles::Files DirtyFiles::take() {
    MutexGuard guard(mutex_);
    return std::exchange(files_, {});
}

void DirtyFiles::put_back(Files files) {
    MutexGuard guard(mutex_);
    files_.insert(files_.end(), std::make_move_iterator(files.begin()),
                  std::make_move_iterator(files.end()));
}

Result<InodeNumber>
Space::directory_of(uint64_t unit, FunctionRef<std::shared_ptr<ClusterFile>()> root,
                    FunctionRef<void(ClusterFile& directory, Files& below)> list) {
    InodeNumber found = numbers.directory_of(unit);
    if (found != InodeNumber(0)) return found;
    // No cluster is in two directories, so a tree that goes round in circles ends as well.
    for (Files level{root()}; !level.empty();) {
        Files below;
        for (const auto& directory : level) {
            list(*directory, below); // registers its clusters
            found = numbers.directory_of(unit);
            if (found != InodeNumber(0)) return found;
        }
        level = std::move(below);
    }
    return Errno::stale;
}

void Space::find_twins(const Twins::Root& root, NameReader& reader) {
    was_cut = true;
    twins.search(mount.device(), heap, table, root, reader);
    if (std::string found = twins.found(); !found.empty())
        mount.kernel().log().warning("{}: {} had two names, as a rename was cut short",
                                     mount.type().name(), found);
}

Result<void> Space::epoch_collect(Transaction& tx, FunctionRef<Result<void>()> mark_volume) {
    DirtyFiles::Files files = dirty.take();
    Result<void> collected;
    for (const auto& file : files)
        if (collected) collected = file->collect(tx);
    if (collected && mount.buffers().dirty_bytes() > 0) collected = mark_volume();
    if (!collected) {
        dirty.put_back(std::move(files));
        return collected;
    }
    for (const auto& file : files) file->set_collected();
    frees.epoch_collected();
    return {};
}

Result<Buf> Space::sector_at(uint64_t position) {
    return mount.buffers().read(position - position % heap.sector_size, heap.sector_size);
}

Result<StatVfs> Space::statvfs() {
    StatVfs s;
    s.block_size = std::min(heap.cluster_size, 1u << 20);
    s.fragment_size = heap.cluster_size;
    s.blocks = heap.cluster_count;
    s.blocks_free =
        std::min<uint64_t>(uint64_t{TRY(clusters.free_count())} + frees.waiting(), s.blocks);
    s.blocks_available = s.blocks_free;
    s.name_max = mount.traits().name_max;
    return s;
}

Result<uint64_t> Space::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    if (mount.read_only()) return Errno::rofs;
    TRY(mount.epoch().commit(true));
    uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
    auto cluster_from = [&](uint64_t byte) {
        if (byte <= heap.heap_offset) return first_cluster;
        uint64_t index = (byte - heap.heap_offset + heap.cluster_size - 1) >> heap.cluster_shift;
        return static_cast<uint32_t>(std::min<uint64_t>(index, heap.cluster_count)) + first_cluster;
    };
    uint64_t total = 0;
    TRY(clusters.each_free(cluster_from(offset), cluster_from(end),
                           [&](ClusterRun run) -> Result<void> {
                               uint64_t bytes = heap.bytes_of(run.count);
                               if (bytes < minimum) return {};
                               TRY(mount.device().discard(heap.offset_of(run.first), bytes));
                               total += bytes;
                               return {};
                           }));
    return total;
}

} // namespace rump::clusters
