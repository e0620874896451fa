// The run of a check: superblock, log, five phases, superblock.
#include "kernel/fs/ffs/check.h"

#include "kernel/fs/ffs/backup.h"
#include "kernel/fs/ffs/wapbl.h"

#include "hostshim/overlay_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::ffs {

Checker::Checker(host::BlockDevice& device, const Geometry& geo,
                 const CheckedSuperblock& superblock, const CheckOptions& options,
                 CheckReport& report)
    : device_(device), geo_(geo), superblock_(superblock), sb_(superblock.found.raw),
      options_(options), report_(report), used_((geo.size + 7) / 8), inodes_(geo) {}

bool Checker::found(std::string code, std::string place, std::string message, bool fixable,
                    Severity severity) {
    const bool fix = fixable && options_.repair;
    if (!fix && severity != Severity::note) unrepaired_ = true;
    if (fix) changed_ = true;
    // A ruined image must not fill the memory with findings.
    constexpr size_t most = 10000;
    if (report_.findings.size() < most)
        report_.findings.push_back(
            {severity, std::move(code), std::move(place), std::move(message), fix});
    return fix;
}

Result<void> Checker::read(uint64_t fragment, std::span<std::byte> out) {
    return device_.read(fragment << geo_.fshift, out);
}

Result<void> Checker::write(uint64_t fragment, std::span<const std::byte> bytes) {
    return device_.write(fragment << geo_.fshift, bytes);
}

void Checker::compare_totals() {
    const ByteOrder o = geo_.order;
    const auto compare = [&](auto& field, uint64_t value, std::string_view name) {
        if (o.get(field) == static_cast<std::remove_cvref_t<decltype(o.get(field))>>(value)) return;
        if (found("superblock-totals", "superblock",
                  fmt::format("{} is {}, should be {}", name, o.get(field), value), true))
            o.set(field, static_cast<std::remove_cvref_t<decltype(o.get(field))>>(value));
    };
    if (geo_.updated) {
        compare(sb_.cstotal.ndir, totals_[0], "cs_ndir");
        compare(sb_.cstotal.nbfree, totals_[1], "cs_nbfree");
        compare(sb_.cstotal.nifree, totals_[2], "cs_nifree");
        compare(sb_.cstotal.nffree, totals_[3], "cs_nffree");
    } else {
        compare(sb_.old_cstotal.ndir, totals_[0], "cs_ndir");
        compare(sb_.old_cstotal.nbfree, totals_[1], "cs_nbfree");
        compare(sb_.old_cstotal.nifree, totals_[2], "cs_nifree");
        compare(sb_.old_cstotal.nffree, totals_[3], "cs_nffree");
    }
    if (!geo_.ufs2 && geo_.updated && options_.repair) {
        o.set(sb_.old_cstotal.ndir, static_cast<uint32_t>(totals_[0]));
        o.set(sb_.old_cstotal.nbfree, static_cast<uint32_t>(totals_[1]));
        o.set(sb_.old_cstotal.nifree, static_cast<uint32_t>(totals_[2]));
        o.set(sb_.old_cstotal.nffree, static_cast<uint32_t>(totals_[3]));
    }
}

Result<void> Checker::superblocks() {
    const std::vector<std::byte>& bytes = superblock_.found.bytes;
    if (!superblock_.replaced.empty())
        found("superblock-backup", "superblock", superblock_.replaced, true);
    for (const std::string& wrong : superblock_.wrong_fields)
        found("superblock-field", "superblock", wrong, true);
    if ((geo_.metackhash & disk::ck_superblock) != 0 &&
        superblock_hash(std::span(bytes).first(geo_.superblock_bytes)) !=
            geo_.order.get(sb_.ckhash))
        found("superblock-check-hash", "superblock", "check hash is wrong", true);
    for (uint32_t cg = 0; cg < geo_.ncg; ++cg) TRY(superblock_copy(cg));
    return {};
}

/// The superblock as it is known now, to its own place or a copy's.
Result<void> Checker::write_superblock(uint64_t place) {
    std::vector<std::byte> bytes(superblock_.found.bytes);
    bytes.resize(geo_.superblock_bytes);
    std::memcpy(bytes.data(), &sb_, sizeof sb_);
    auto& out = *reinterpret_cast<disk::Superblock*>(bytes.data());
    if (geo_.freebsd) geo_.order.set(out.sblockactualloc, place);
    if ((geo_.metackhash & disk::ck_superblock) != 0)
        geo_.order.set(out.ckhash, superblock_hash(bytes));
    return device_.write(place, bytes);
}

namespace {

/// Of a superblock that was never updated fsck_ffs compares each byte, but for those that follow
/// what is done with the file system.
bool same_but_for_state(disk::Superblock a, disk::Superblock b) {
    for (disk::Superblock* sb : {&a, &b}) {
        const auto forget = [](auto&... fields) {
            (std::ranges::fill(std::as_writable_bytes(std::span(&fields, 1)), std::byte{0}), ...);
        };
        forget(sb->firstfield, sb->unused1, sb->old_time, sb->old_cstotal, sb->cgrotor, sb->fmod,
               sb->clean, sb->ronly, sb->old_flags, sb->maxcontig, sb->minfree, sb->optim,
               sb->old_rotdelay, sb->maxbpg, sb->ocsp, sb->fsmnt, sb->volname, sb->swuid, sb->pad,
               sb->snapinum, sb->avgfilesize, sb->avgfpdir, sb->save_cgsize, sb->mtime, sb->sujfree,
               sb->spare32, sb->ckhash, sb->metackhash, sb->flags, sb->fsbtodb, sb->old_interleave,
               sb->old_npsect, sb->old_nrpos, sb->state, sb->qbmask, sb->qfmask, sb->maxfilesize);
    }
    return std::memcmp(&a, &b, sizeof a) == 0;
}

} // namespace

Result<void> Checker::superblock_copy(uint32_t cg) {
    const ByteOrder o = geo_.order;
    const uint64_t place = geo_.bytes(geo_.cg_super(cg));
    disk::Superblock copy;
    TRY(device_.read(place, std::as_writable_bytes(std::span(&copy, 1))));
    using S = disk::Superblock;
    // What never changes: the others may be as they were when the file system was made.
    constexpr std::pair<raw32 S::*, std::string_view> fields[] = {
        {&S::sblkno, "sblkno"},
        {&S::cblkno, "cblkno"},
        {&S::iblkno, "iblkno"},
        {&S::dblkno, "dblkno"},
        {&S::ncg, "ncg"},
        {&S::bsize, "bsize"},
        {&S::fsize, "fsize"},
        {&S::frag, "frag"},
        {&S::bmask, "bmask"},
        {&S::fmask, "fmask"},
        {&S::bshift, "bshift"},
        {&S::fshift, "fshift"},
        {&S::fragshift, "fragshift"},
        {&S::fsbtodb, "fsbtodb"},
        {&S::sbsize, "sbsize"},
        {&S::nindir, "nindir"},
        {&S::inopb, "inopb"},
        {&S::cssize, "cssize"},
        {&S::ipg, "ipg"},
        {&S::fpg, "fpg"},
        {&S::magic, "magic"},
    };
    std::string_view wrong;
    for (const auto& [field, name] : fields)
        if (wrong.empty() && o.get(copy.*field) != o.get(sb_.*field)) wrong = name;
    if (wrong.empty() && geo_.old_tables() && !same_but_for_state(sb_, copy)) wrong = "a field";
    if (!wrong.empty() && found("superblock-copy", fmt::format("superblock copy of group {}", cg),
                                fmt::format("{} disagrees with the superblock", wrong), true))
        return write_superblock(place);
    return {};
}

Result<void> Checker::finish() {
    const ByteOrder o = geo_.order;
    compare_totals();
    const bool clean = sb_.clean == disk::is_clean;
    if (!clean && options_.repair && !unrepaired_) {
        sb_.clean = disk::is_clean;
        if (geo_.log) o.set(sb_.flags, o.get(sb_.flags) & ~disk::flag_netbsd_wapbl);
        changed_ = true;
    }
    if (!changed_) return {};
    TRY(device_.flush()); // everything before the flag that vouches for it
    TRY(write_superblock(geo_.superblock_offset));
    return device_.flush();
}

namespace {

/// The device with the log's blocks in place: for good when repairing, else for
/// this run only.
FailureOr<std::unique_ptr<host::BlockDevice>>
replayed(host::BlockDevice& device, const LogContents& contents, bool repair, CheckReport& report) {
    std::unique_ptr<host::BlockDevice> overlay;
    if (!repair) overlay = host::make_memory_overlay(device);
    host::BlockDevice& to = repair ? device : *overlay;
    std::vector<std::byte> block(contents.block_size);
    for (const auto& [home, from] : contents.blocks) {
        if (auto moved = device.read(from, block); !moved) return Failure(moved.error());
        if (auto moved = to.write(home, block); !moved) return Failure(moved.error());
    }
    if (auto flushed = to.flush(); !flushed) return Failure(flushed.error());
    report.findings.push_back({Finding::Severity::note, "log-replayed", "log",
                               fmt::format("{} blocks of the log were replayed{}",
                                           contents.blocks.size(), repair ? "" : " in memory"),
                               repair});
    return overlay;
}

/// Fields that follow from others are set to what they must be: what is checked with a wrong limit
/// would be cleared. Returns their names.
std::vector<std::string> derive_fields(disk::Superblock& sb, ByteOrder o) {
    std::vector<std::string> wrong;
    const auto must_be = [&](auto& field, auto value, std::string_view name) {
        if (o.get(field) == value) return;
        wrong.push_back(fmt::format("{} is {}, should be {}", name, o.get(field), value));
        o.set(field, value);
    };
    const bool ufs2 = o.get(sb.magic) != disk::magic_ufs1;
    const uint32_t bsize = o.get(sb.bsize);
    const bool sizes = std::has_single_bit(bsize) && bsize <= disk::max_bsize;
    if (!sizes || (!ufs2 && static_cast<int32_t>(o.get(sb.old_inodefmt)) < disk::inodefmt_44))
        return wrong;
    uint64_t reach = bsize, most = uint64_t{bsize} * disk::direct_count - 1;
    for (unsigned i = 0; i < disk::indirect_count; ++i) most += reach *= bsize / (ufs2 ? 8 : 4);
    must_be(sb.maxfilesize, most, "maxfilesize");
    must_be(sb.maxsymlinklen, ufs2 ? 120u : 60u, "maxsymlinklen");
    must_be(sb.qbmask, uint64_t{bsize} - 1, "qbmask");
    must_be(sb.qfmask, uint64_t{o.get(sb.fsize)} - 1, "qfmask");
    return wrong;
}

FailureOr<Geometry> geometry_of(host::BlockDevice& device, CheckedSuperblock& sb) {
    sb.wrong_fields = derive_fields(sb.found.raw, sb.found.order);
    return Geometry::validate(sb.found.raw, sb.found.order, sb.found.offset, device.size());
}

FailureOr<Geometry> first_superblock(host::BlockDevice& device, CheckedSuperblock& sb) {
    auto found = find_superblock(device);
    if (!found) return Failure(found.error(), "the superblock cannot be read");
    if (!*found) return Failure(Errno::inval, "no FFS superblock at 0, 8, 64 or 256 KiB");
    sb.found = std::move(**found);
    return geometry_of(device, sb);
}

/// By the first superblock, or where that cannot be used by a copy. What a copy says of the state
/// is as old as it is: it is looked at as one that was not unmounted.
FailureOr<Geometry> open_geometry(host::BlockDevice& device, CheckedSuperblock& sb) {
    auto geo = first_superblock(device, sb);
    if (!geo) {
        auto backup = search_backup(device);
        if (!backup) return Failure(backup.error(), "the superblock cannot be read");
        if (!*backup)
            return Failure(geo.error().code, geo.error().text + ", nor a copy of it elsewhere");
        sb.found = std::move((*backup)->found);
        sb.found.raw.clean = 0;
        sb.replaced = fmt::format("{}; the copy of group {} is used, at byte {}", geo.error().text,
                                  (*backup)->group, (*backup)->place);
        geo = geometry_of(device, sb);
        if (!geo) return geo;
        // The copy does not know whether the log was in use; the log does.
        if (geo->log)
            if (const auto header = TRY(read_log_header(device, *geo->log, geo->order)))
                geo->log_flag = header->head != 0 || header->tail != 0;
    }
    if (auto read = read_apple_label(device, *geo); !read)
        return Failure(read.error(), "the label cannot be read");
    return geo;
}

} // namespace

FailureOr<CheckReport> check_volume(host::BlockDevice& device, const CheckOptions& options,
                                    host::Log& log) {
    (void)log;
    CheckReport report;
    CheckedSuperblock sb;
    Geometry geo = TRY(open_geometry(device, sb));
    const disk::Superblock& raw = sb.found.raw;
    if (raw.clean == disk::is_clean && !options.force) {
        report.skipped_clean = true;
        return report;
    }
    if (geo.old_groups)
        return Failure(Errno::opnotsupp, "cylinder groups in the format of 4.2BSD are not checked");
    if ((geo.flags & disk::flag_suj) != 0 && !geo.netbsd && raw.clean == 0 && options.repair)
        return Failure(Errno::opnotsupp,
                       "has a soft updates journal; run FreeBSD's fsck_ffs, which knows it");
    std::unique_ptr<host::BlockDevice> overlay;
    host::BlockDevice* use = &device;
    std::unordered_set<uint64_t> unlinked;
    if (geo.log_flag) {
        const LogContents contents = TRY(read_log(device, geo));
        for (const LogInode& i : contents.inodes) unlinked.insert(i.number);
        overlay = TRY(replayed(device, contents, options.repair, report));
        if (overlay) use = overlay.get();
        geo = TRY(open_geometry(*use, sb));
    }
    Checker checker(*use, geo, sb, options, report);
    checker.set_unlinked(std::move(unlinked));
    const auto run = [&]() -> Result<void> {
        TRY(checker.superblocks());
        TRY(checker.blocks_and_sizes());
        TRY(checker.pathnames());
        TRY(checker.connectivity());
        TRY(checker.reference_counts());
        TRY(checker.cylinder_groups());
        return checker.finish();
    };
    if (auto done = run(); !done) return Failure(done.error(), "the image cannot be read");
    report.blocks_total = geo.size;
    return report;
}

} // namespace rump::ffs
