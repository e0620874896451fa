// Where NetBSD puts a log at the first mount with -o log, and the file that it is when it lies in
// the file system: mode 0, one link and no name, the flag SF_LOG, all in one run of blocks, since
// replay reads it by its place alone.
#include "kernel/fs/ffs/logfile.h"

#include "kernel/fs/ffs/bmap.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/epoch.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace rump::ffs {

namespace {

constexpr uint64_t log_scale = 1024; // a byte of log for so many of the file system …
constexpr uint64_t log_least = 1u << 20, log_most = 64u << 20; // … within these
constexpr uint32_t log_unit = 512;

class LogFile {
public:
    explicit LogFile(Volume& volume) : volume_(volume), geo_(volume.geo) {}

    /// ENOSPC: no run of `blocks` or half as many.
    Result<LogPlace> make(uint32_t blocks);

private:
    struct Indirect {
        FragNumber at;
        std::vector<std::byte> bytes;
    };
    /// Which indirect block: its level, then the index in each block above.
    using Way = std::vector<uint32_t>;

    Result<FragRun> find_run(uint32_t blocks);
    Result<Indirect*> indirect(Transaction& tx, Inode& inode, const Way& way);
    Result<void> put(Transaction& tx, Inode& inode, uint64_t lbn, uint64_t address);

    Volume& volume_;
    const Geometry& geo_;
    std::map<Way, Indirect> indirects_;
};

/// The longest run of a group, from the middle of the device on, where ways to it are short.
Result<FragRun> LogFile::find_run(uint32_t blocks) {
    FragRun best;
    for (uint32_t i = 0; i < geo_.ncg && best.frags < blocks * geo_.frag; ++i) {
        const uint32_t cg = (geo_.ncg / 2 + i) % geo_.ncg;
        Transaction tx = TRY(volume_.mount.begin()); // only a look: it is undone
        auto run = volume_.alloc.alloc_blocks(tx, 0, cg, blocks, true);
        if (!run && run.error() != Errno::nospc) return run.error();
        if (run && run->frags > best.frags) best = *run;
    }
    if (best.frags < blocks / 2 * geo_.frag || best.frags == 0) return Errno::nospc;
    return best;
}

Result<LogFile::Indirect*> LogFile::indirect(Transaction& tx, Inode& inode, const Way& way) {
    if (const auto it = indirects_.find(way); it != indirects_.end()) return &it->second;
    const uint32_t cg = geo_.cg_of_inode(inode.number());
    const FragRun run = TRY(volume_.alloc.alloc_blocks(tx, 0, cg, 1, true));
    if (way.size() == 1) {
        inode.set_pointer(disk::direct_count - 1 + way[0], run.start.value());
    } else {
        Indirect* above = TRY(indirect(tx, inode, Way(way.begin(), way.end() - 1)));
        put_address(geo_, above->bytes, way.back(), run.start.value());
    }
    Indirect& made = indirects_[way];
    made = {run.start, std::vector<std::byte>(geo_.bsize)};
    return &made;
}

Result<void> LogFile::put(Transaction& tx, Inode& inode, uint64_t lbn, uint64_t address) {
    const MapPath path = TRY(path_to(geo_, lbn));
    if (path.levels == 0) {
        inode.set_pointer(path.index[0], address);
        return {};
    }
    Way way{path.levels};
    way.insert(way.end(), path.index.begin(), path.index.begin() + (path.levels - 1));
    Indirect* block = TRY(indirect(tx, inode, way));
    put_address(geo_, block->bytes, path.index[path.levels - 1], address);
    return {};
}

Result<LogPlace> LogFile::make(uint32_t blocks) {
    const FragRun found = TRY(find_run(blocks));
    std::optional<Inode> file; // outlives the transaction, which may undo it, and the commit
    Transaction tx = TRY(volume_.mount.begin());
    const FragRun run = TRY(volume_.alloc.alloc_blocks(
        tx, found.start.value(), geo_.cg_of(found.start), found.frags >> geo_.fragshift, true));
    const uint64_t number = TRY(volume_.alloc.alloc_inode(tx, disk::root_inode, false));
    Inode& inode = file.emplace(volume_, number);
    inode.begin_change(tx);
    const uint32_t count = run.frags >> geo_.fragshift;
    for (uint32_t lbn = 0; lbn < count; ++lbn)
        TRY(put(tx, inode, lbn, run.start.value() + uint64_t{lbn} * geo_.frag));
    for (const auto& [way, block] : indirects_) TRY(volume_.write_early(block.at, block.bytes));
    InodeState& s = inode.state;
    s.mode = type_to_mode(FileType::reg);
    s.nlink = 1;
    s.size = uint64_t{count} << geo_.bshift;
    s.blocks = (run.frags + indirects_.size() * geo_.frag) << (geo_.fshift - 9);
    s.atime = s.mtime = s.ctime = s.btime = volume_.now();
    s.gen = volume_.mount.kernel().random().next32() / 2 + 1;
    s.flags = disk::sf_log;
    tx.done();
    TRY(volume_.mount.epoch().commit(true));
    return LogPlace{geo_.bytes(run.start), s.size, log_unit, number};
}

} // namespace

uint64_t usual_log_bytes(uint64_t file_system_bytes) {
    return std::clamp(file_system_bytes / log_scale, log_least, log_most);
}

FailureOr<LogPlace> create_log(Volume& volume, disk::Superblock& sb) {
    const Geometry& geo = volume.geo;
    if (!geo.updated)
        return Failure(Errno::inval, "the superblock is of an old format, which has no log");
    if (geo.freebsd)
        return Failure(Errno::inval, "FreeBSD made this file system, and it knows no log of this "
                                     "kind; mount it without -o log");
    const uint64_t end = geo.size << geo.fshift;
    const uint64_t wanted = usual_log_bytes(end);
    const uint64_t behind = (volume.mount.device().size() - end) / log_unit * log_unit;
    LogPlace place{end, behind, log_unit, 0};
    if (behind < wanted) {
        LogFile file(volume);
        auto made = file.make(static_cast<uint32_t>((wanted + geo.bsize - 1) >> geo.bshift));
        if (!made)
            return Failure(made.error(),
                           fmt::format("a log of {} bytes has no room, in one run, in the file "
                                       "system or behind it",
                                       wanted));
        place = *made;
    }
    const ByteOrder o = geo.order;
    sb.journal_version = disk::journal_version_wapbl;
    sb.journal_location =
        place.inode != 0 ? disk::journal_in_filesystem : disk::journal_end_of_partition;
    o.set(sb.journal_flags, 0);
    o.set(sb.journal_locs[disk::journal_loc_address], place.offset / log_unit);
    o.set(sb.journal_locs[disk::journal_loc_count], place.length / log_unit);
    o.set(sb.journal_locs[disk::journal_loc_blksz], log_unit);
    o.set(sb.journal_locs[disk::journal_loc_inode], place.inode);
    return place;
}

} // namespace rump::ffs
