// Mounting FFS: which superblocks are taken, what may be written and what not,
// the clean flag.
//
// fs_clean of NetBSD: bit 0 clean; a mount shifts it to the left, and back if it was clean: 2 says
// in use, was clean before; more, or 0, that it was not. FreeBSD: 1 or 0. Sun: 1 clean, 2 as good
// as that, 0 in use; from 0xfc on in need of a check, with a log of its own, not to be written,
// bad.
#include "kernel/fs/ffs/vfsops.h"

#include "kernel/fs/ffs/backup.h"
#include "kernel/fs/ffs/check.h"
#include "kernel/fs/ffs/journal.h"
#include "kernel/fs/ffs/logfile.h"
#include "kernel/fs/ffs/newfs.h"
#include "kernel/fs/ffs/vnops.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vnode_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

Mount::Traits ffs_traits(const Geometry& geo) {
    Mount::Traits traits;
    traits.posix_acl = geo.attributes;
    traits.max_file_size = geo.max_file_size;
    traits.link_max = 32767;
    return traits;
}

std::string volume_name(const disk::Superblock& sb) {
    const auto* end = std::find(std::begin(sb.volname), std::end(sb.volname), '\0');
    return {std::begin(sb.volname), end};
}

} // namespace

FfsMount::FfsMount(Kernel& kernel, const FileSystemType& type, MountArgs args, const Geometry& geo,
                   std::vector<std::byte> superblock, LogOverlay* log)
    : Mount(kernel, type, std::move(args), ffs_traits(geo)), superblock_(std::move(superblock)),
      volume_(*this, geo), log_(log), log_place_(geo.log),
      keeps_state_(geo.order.get(sb().state) + geo.order.get(sb().old_time) == disk::state_okay),
      was_clean_(says_clean()) {}

bool FfsMount::says_clean() const {
    const uint8_t clean = sb().clean;
    if (clean >= disk::sun_states) return false;
    return (clean & disk::is_clean) != 0 || (keeps_state_ && clean == disk::sun_stable);
}

FfsMount::~FfsMount() { vnodes().drop_inactive(true); }

Result<void> FfsMount::prepare() { return volume_.alloc.load_summary(); }

Result<StatVfs> FfsMount::statvfs() {
    const Geometry& geo = volume_.geo;
    const Totals t = volume_.alloc.totals();
    const auto pending = static_cast<int64_t>(volume_.pending_frags());
    StatVfs s;
    s.block_size = geo.bsize;
    s.fragment_size = geo.fsize;
    s.blocks = geo.dsize;
    const int64_t free = std::max<int64_t>(0, (t.nbfree << geo.fragshift) + t.nffree + pending);
    s.blocks_free = static_cast<uint64_t>(free);
    const auto reserve = static_cast<int64_t>(geo.dsize * geo.minfree / 100);
    s.blocks_available = static_cast<uint64_t>(std::max<int64_t>(0, free - reserve));
    s.files = geo.inode_count() - disk::root_inode;
    s.files_free = static_cast<uint64_t>(std::max<int64_t>(0, t.nifree)) + volume_.pending_inodes();
    s.fsid = uint64_t{geo.order.get(sb().id[0])} << 32 | geo.order.get(sb().id[1]);
    return s;
}

std::vector<std::pair<std::string, std::string>> FfsMount::describe() {
    const Geometry& geo = volume_.geo;
    std::vector<std::pair<std::string, std::string>> out;
    out.emplace_back("label", geo.updated ? volume_name(sb()) : "");
    out.emplace_back("version",
                     geo.ufs2 ? (geo.ea_magic ? "UFS2 with attributes" : "UFS2") : "UFS1");
    out.emplace_back("byte order", geo.order.order() == std::endian::big ? "big" : "little");
    out.emplace_back("block size", fmt::format("{}", geo.bsize));
    out.emplace_back("fragment size", fmt::format("{}", geo.fsize));
    out.emplace_back("cylinder groups", fmt::format("{}", geo.ncg));
    out.emplace_back("inodes per group", fmt::format("{}", geo.ipg));
    out.emplace_back("superblock", fmt::format("{}", geo.superblock_offset));
    std::string features;
    const auto feature = [&](bool on, std::string_view name) {
        if (!on) return;
        if (!features.empty()) features += ' ';
        features += name;
    };
    feature(geo.old_inodes, "old-inodes");
    feature(geo.old_dirs, "old-directories");
    feature(log_place_.has_value(), log_place_ && log_place_->inode != 0 ? "log" : "log-at-end");
    feature((geo.flags & disk::flag_softdep) != 0, "soft-updates");
    feature((geo.flags & disk::flag_suj) != 0, "soft-updates-journal");
    feature((geo.flags & disk::flag_gjournal) != 0, "gjournal");
    feature((geo.flags & disk::flag_acls) != 0, "acls");
    feature(geo.metackhash != 0, "check-hashes");
    feature(geo.quota2, "quota2");
    feature(geo.snapshots, "snapshots");
    out.emplace_back("features", features);
    out.emplace_back("state", sb().clean == disk::is_clean ? "clean" : "not clean");
    return out;
}

Result<std::unique_ptr<Vnode>> FfsMount::load(InodeNumber number) {
    const InodeState state = TRY(volume_.load(number.value()));
    return std::unique_ptr<Vnode>(std::make_unique<FfsVnode>(*this, number.value(), state));
}

// --- writing
// ----------------------------------------------------------------------------------------

FailureOr<void> FfsMount::refuse_writing() const {
    const Geometry& geo = volume_.geo;
    const auto no = [](std::string text) { return Failure(Errno::rofs, std::move(text)); };
    if (geo.old_groups)
        return no("has cylinder groups in the format of 4.2BSD, which are only "
                  "read; mount it with "
                  "-o ro");
    if (!geo.updated && sb().clean >= disk::sun_states)
        return no(sb().clean == disk::sun_log
                      ? "has a log of Sun's, which is not known here; mount it with -o ro"
                      : "is marked by Sun's system as in need of a check; mount it with -o ro");
    if (geo.snapshots) return no("has snapshots, which writing would damage; mount it with -o ro");
    if (geo.quota2)
        return no("has quotas of NetBSD inside (quota2), which are not kept; mount "
                  "it with -o ro");
    if ((geo.flags & disk::flag_suj) != 0 && !geo.netbsd && sb().clean == 0)
        return no("has a soft updates journal that was not replayed; run FreeBSD's "
                  "fsck_ffs on it, or "
                  "mount it with -o ro");
    if ((geo.flags & disk::flag_needs_fsck) != 0 && !geo.netbsd)
        return no("is marked as needing a check; check it first, or mount it with -o ro");
    if ((geo.metackhash & ~(disk::ck_superblock | disk::ck_cylgrp | disk::ck_inode)) != 0)
        return no("keeps check hashes of a kind that is not known here; mount it "
                  "with -o ro");
    return {};
}

/// The log's blocks go home. What mounting has read until now was read through
/// the log.
FailureOr<void> FfsMount::recover() {
    if (volume_.geo.log_flag && log_ == nullptr)
        return Failure(Errno::rofs, "the log was not replayed (norecovery)");
    if (log_ == nullptr) return {};
    if (auto home = log_->materialize(); !home)
        return Failure(home.error(), "the log could not be replayed");
    kernel().log().info("ffs: replayed {} blocks of the log", log_->contents().blocks.size());
    was_clean_ = (sb().clean & (disk::is_clean | disk::was_clean)) != 0;
    return {};
}

FailureOr<void> FfsMount::begin_writing() {
    TRY(refuse_writing());
    TRY(recover());
    const Geometry& geo = volume_.geo;
    const ByteOrder o = geo.order;
    if (!was_clean_) {
        kernel().log().warning("ffs: was not unmounted cleanly; check it");
        if (auto counted = volume_.alloc.recount(); !counted)
            return Failure(counted.error(), "a cylinder group is damaged; check it");
    }
    if (!log_place_ && options().fs.has("log") && !options().fs.has("nolog")) {
        sb().clean = 0;
        if (auto marked = write_superblock(); !marked)
            return Failure(marked.error(), "the superblock cannot be written");
        log_place_ = TRY(create_log(volume_, sb()));
    }
    std::unique_ptr<WapblJournal> journal;
    if (log_place_ && !options().fs.has("nolog"))
        journal = TRY(WapblJournal::create(volume_, *log_place_,
                                           log_ != nullptr ? std::span(log_->contents().inodes)
                                                           : std::span<const LogInode>()));
    // FreeBSD takes every value but 0 for clean; NetBSD wants to know with a log
    // that it was.
    sb().clean = was_clean_ && journal ? disk::was_clean : 0;
    sb().fmod = 0;
    sb().ronly = 0;
    // What FreeBSD was freeing; it forgets this at a mount, too.
    if (geo.updated) o.set(sb().pendingblocks, 0);
    if (geo.updated) o.set(sb().pendinginodes, 0);
    // A soft updates journal whose time is not this one is not replayed.
    if (geo.freebsd) o.set(sb().mtime, static_cast<uint64_t>(kernel().now().sec));
    if (log_place_) {
        const uint32_t flags = o.get(sb().flags);
        o.set(sb().flags,
              journal ? flags | disk::flag_netbsd_wapbl : flags & ~disk::flag_netbsd_wapbl);
    }
    // With a log, its empty header goes first: the flag says that the log counts.
    if (auto marked = write_superblock(); !marked)
        return Failure(marked.error(), "the superblock cannot be written");
    if (journal) volume_.set_logged(log_place_->length);
    if (log_ != nullptr)
        for (const LogInode& i : log_->contents().inodes) volume_.note_unlinked(i.number, i.mode);
    if (journal) set_journal(std::move(journal));
    reap_unlinked();
    return {};
}

/// Inodes that were in use without a name when the system went down.
void FfsMount::reap_unlinked() {
    if (log_ == nullptr) return;
    for (const LogInode& entry : log_->contents().inodes) {
        Inode inode(volume_, entry.number);
        if (auto loaded = volume_.load_unlinked(inode); !loaded) continue;
        if (auto gone = volume_.reap(inode); !gone)
            kernel().log().warning("ffs: inode {} without a name is not freed", entry.number);
    }
}

Result<void> FfsMount::end_writing() {
    // A commit can leave frees for the next one (volume.h).
    for (int round = 0; round < 4 && volume_.has_pending(); ++round) TRY(epoch().commit(true));
    TRY(epoch().commit(true));
    if (auto* journal = epoch().journal()) TRY(journal->checkpoint());
    const Geometry& geo = volume_.geo;
    if (was_clean_) sb().clean = disk::is_clean;
    if (log_place_) {
        const uint32_t flags = geo.order.get(sb().flags);
        geo.order.set(sb().flags, flags & ~disk::flag_netbsd_wapbl);
    }
    return write_superblock();
}

void FfsMount::refresh_superblock() {
    const Geometry& geo = volume_.geo;
    const ByteOrder o = geo.order;
    const Totals t = volume_.alloc.totals();
    const auto now = static_cast<uint64_t>(kernel().now().sec);
    disk::Superblock& s = sb();
    o.set(s.optim, volume_.alloc.optimisation());
    // Some systems (4.4BSD's relatives) let state and time add up to a constant
    // when clean.
    if (keeps_state_)
        o.set(s.state,
              s.clean == disk::is_clean ? disk::state_okay - static_cast<uint32_t>(now) : 0);
    if (geo.updated) {
        o.set(s.time, now);
        o.set(s.cstotal.ndir, static_cast<uint64_t>(t.ndir));
        o.set(s.cstotal.nbfree, static_cast<uint64_t>(t.nbfree));
        o.set(s.cstotal.nifree, static_cast<uint64_t>(t.nifree));
        o.set(s.cstotal.nffree, static_cast<uint64_t>(t.nffree));
    }
    if (!geo.ufs2) {
        o.set(s.old_time, static_cast<uint32_t>(now));
        o.set(s.old_cstotal.ndir, static_cast<uint32_t>(t.ndir));
        o.set(s.old_cstotal.nbfree, static_cast<uint32_t>(t.nbfree));
        o.set(s.old_cstotal.nifree, static_cast<uint32_t>(t.nifree));
        o.set(s.old_cstotal.nffree, static_cast<uint32_t>(t.nffree));
    }
    if ((geo.metackhash & disk::ck_superblock) != 0)
        o.set(s.ckhash, superblock_hash(std::span(superblock_).first(geo.superblock_bytes)));
}

Result<void> FfsMount::write_superblock() {
    const Geometry& geo = volume_.geo;
    refresh_superblock();
    buffers().forget(geo.superblock_offset, geo.frag_round(geo.superblock_bytes));
    TRY(device().write(geo.superblock_offset, std::span(superblock_).first(geo.superblock_bytes)));
    return device().flush();
}

Result<void> FfsMount::epoch_collect(Transaction& tx) {
    TRY(volume_.collect(tx));
    if (!volume_.alloc.take_counts_changed()) return {};
    const Geometry& geo = volume_.geo;
    refresh_superblock();
    Buf buf = TRY(buffers().read(geo.superblock_offset, geo.frag_round(geo.superblock_bytes)));
    auto bytes = tx.modify(buf, 0, geo.superblock_bytes, WritePhase::allocation);
    std::copy_n(superblock_.begin(), geo.superblock_bytes, bytes.begin());
    return {};
}

void FfsMount::epoch_committed(Transaction& tx) { volume_.committed(tx); }

// --- the type
// ---------------------------------------------------------------------------------------

namespace {

class FfsType final : public FileSystemType {
public:
    std::string_view name() const override { return "ffs"; }
    std::span<const std::string_view> aliases() const override {
        static constexpr std::string_view names[] = {"ufs", "ufs1", "ufs2"};
        return names;
    }
    std::string_view description() const override {
        return "the Fast File System of the BSDs (UFS1, UFS2)";
    }
    std::span<const OptionSpec> mount_options() const override {
        static constexpr OptionSpec specs[] = {
            {"log", OptionSpec::Kind::flag, "",
             "write through NetBSD's log, made if there is none; the default where there is one"},
            {"nolog", OptionSpec::Kind::flag, "", "do not use the log"},
        };
        return specs;
    }
    Result<std::optional<ProbeResult>> probe(host::BlockDevice& device) const override;
    Result<bool> recoverable(host::BlockDevice& device) const override {
        return TRY(first_backup(device)).has_value();
    }
    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override;
    bool can_check() const override { return true; }
    FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options,
                                 host::Log& log) const override {
        return check_volume(device, options, log);
    }
    bool can_newfs() const override { return true; }
    std::span<const OptionSpec> newfs_options() const override { return newfs_specs(); }
    FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device,
                          const OptionSet& options) const override {
        return make_volume(kernel, device, options);
    }
};

Result<std::optional<ProbeResult>> FfsType::probe(host::BlockDevice& device) const {
    const auto found = TRY(find_superblock(device));
    if (!found) return std::optional<ProbeResult>{};
    ProbeResult result;
    result.type = "ffs";
    const bool updated = found->order.get(found->raw.magic) != disk::magic_ufs1 ||
                         (found->raw.old_flags & disk::flag_updated) != 0;
    if (updated) result.label = volume_name(found->raw);
    result.uuid = fmt::format("{:08x}{:08x}", found->order.get(found->raw.id[0]),
                              found->order.get(found->raw.id[1]));
    return std::optional(result);
}

/// With a word about the copy, if there is one.
Failure unusable(host::BlockDevice& device, Errno code, std::string text) {
    if (auto backup = first_backup(device); backup && *backup)
        text += fmt::format("; there is a copy at byte {}, which a check that repairs puts back",
                            (*backup)->place);
    return {code, std::move(text)};
}

FailureOr<FoundSuperblock> require_superblock(host::BlockDevice& device) {
    auto found = find_superblock(device);
    if (!found) return Failure(found.error(), "the superblock cannot be read");
    if (!*found) return unusable(device, Errno::inval, "no FFS superblock at 0, 8, 64 or 256 KiB");
    return std::move(**found);
}

FailureOr<Geometry> require_geometry(const FoundSuperblock& found, host::BlockDevice& device) {
    auto valid = Geometry::validate(found.raw, found.order, found.offset, device.size());
    if (!valid) return unusable(device, valid.error().code, valid.error().text);
    const Geometry& geo = *valid;
    if ((geo.metackhash & disk::ck_superblock) != 0) {
        const auto bytes = std::span(found.bytes).first(geo.superblock_bytes);
        if (superblock_hash(bytes) != geo.order.get(found.raw.ckhash))
            return Failure(Errno::uclean, "superblock: check hash");
    }
    return geo;
}

FailureOr<std::unique_ptr<Mount>> FfsType::mount(Kernel& kernel, MountArgs args) const {
    auto found = TRY(require_superblock(*args.device));
    Geometry geo = TRY(require_geometry(found, *args.device));
    LogOverlay* log = nullptr;
    if (geo.log_flag && !args.options.no_recovery) {
        auto contents = TRY(read_log(*args.device, geo));
        auto overlay = std::make_unique<LogOverlay>(std::move(args.device), std::move(contents));
        log = overlay.get();
        args.device = std::move(overlay);
        found = TRY(require_superblock(*args.device));
        geo = TRY(require_geometry(found, *args.device));
    }
    if (auto read = read_apple_label(*args.device, geo); !read)
        return Failure(read.error(), "the label cannot be read");
    auto mount = std::make_unique<FfsMount>(kernel, *this, std::move(args), geo,
                                            std::move(found.bytes), log);
    if (auto ready = mount->prepare(); !ready)
        return Failure(ready.error(), "the summary area cannot be read");
    return std::unique_ptr<Mount>(std::move(mount));
}

} // namespace

const FileSystemType& type() {
    static const FfsType ffs;
    return ffs;
}

} // namespace rump::ffs
