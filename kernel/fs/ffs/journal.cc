// Writing NetBSD's log. Record formats: sys/wapbl_replay.h of NetBSD.
#include "kernel/fs/ffs/journal.h"

#include "kernel/kern/kernel.h"
#include "kernel/sys/rounding.h"

#include <algorithm>

namespace rump::ffs {

FailureOr<std::unique_ptr<WapblJournal>> WapblJournal::create(Volume& volume, const LogPlace& place,
                                                              std::span<const LogInode> unlinked) {
    LogHeader header;
    const auto old = read_log_header(volume.mount.device(), place, volume.geo.order);
    if (old && *old) header.generation = (*old)->generation;
    header.log_shift = static_cast<uint32_t>(std::countr_zero(place.block_size));
    // Addresses count device sectors: NetBSD steps through a block's pieces by this unit.
    header.fs_shift = header.log_shift;
    header.circ_off = 2 * uint64_t{place.block_size};
    header.circ_size = place.length - header.circ_off;
    header.circ_size -= header.circ_size % place.block_size;
    if (header.circ_size < 4 * uint64_t{place.block_size})
        return Failure(Errno::uclean, "the log is too small");
    std::unique_ptr<WapblJournal> journal(new WapblJournal(volume, place, header));
    InodeList inodes;
    for (const LogInode& i : unlinked) inodes.emplace_back(i.number, i.mode);
    Result<void> started;
    if (inodes.empty()) {
        started = journal->clear();
    } else {
        const auto records = journal->build({}, inodes);
        started = journal->write_ring(header.circ_off, records);
        if (started)
            started = journal->write_header(journal->advance(header.circ_off, records.size()),
                                            header.circ_off);
    }
    if (!started) return Failure(started.error(), "the log cannot be written");
    return journal;
}

uint64_t WapblJournal::advance(uint64_t at, uint64_t length) const {
    at += length;
    return at >= header_.circ_off + header_.circ_size ? at - header_.circ_size : at;
}

uint64_t WapblJournal::records_size(std::span<const StagedBlock> blocks,
                                    const InodeList& inodes) const {
    const uint64_t unit = log_block();
    const uint64_t per_list = (unit - sizeof(disk::WapblBlockList)) / sizeof(disk::WapblBlock);
    const uint64_t per_inodes = (unit - sizeof(disk::WapblInodeList)) / sizeof(disk::WapblInode);
    uint64_t total = 0;
    for (const StagedBlock& b : blocks) total += round_up(b.bytes.size(), unit);
    total += howmany(blocks.size(), per_list) * unit;
    return total + std::max<uint64_t>(1, howmany(inodes.size(), per_inodes)) * unit;
}

std::vector<std::byte> WapblJournal::build(std::span<const StagedBlock> blocks,
                                           const InodeList& inodes) const {
    const ByteOrder o = volume_.geo.order;
    const uint64_t unit = log_block();
    const uint64_t per_list = (unit - sizeof(disk::WapblBlockList)) / sizeof(disk::WapblBlock);
    const uint64_t per_inodes = (unit - sizeof(disk::WapblInodeList)) / sizeof(disk::WapblInode);
    std::vector<std::byte> out;
    out.reserve(records_size(blocks, inodes));
    for (size_t first = 0; first < blocks.size(); first += per_list) {
        const auto part = blocks.subspan(first, std::min<size_t>(per_list, blocks.size() - first));
        const size_t start = out.size();
        out.resize(start + unit);
        for (size_t i = 0; i < part.size(); ++i) {
            auto& entry = *reinterpret_cast<disk::WapblBlock*>(
                out.data() + start + sizeof(disk::WapblBlockList) + i * sizeof(disk::WapblBlock));
            o.set(entry.daddr, part[i].offset / 512);
            o.set(entry.dlen, static_cast<uint32_t>(part[i].bytes.size()));
        }
        for (const StagedBlock& b : part) out.insert(out.end(), b.bytes.begin(), b.bytes.end());
        out.resize(start + round_up(out.size() - start, unit));
        auto& head = *reinterpret_cast<disk::WapblBlockList*>(out.data() + start);
        o.set(head.type, disk::wapbl_blocks);
        o.set(head.len, static_cast<uint32_t>(out.size() - start));
        o.set(head.blkcount, static_cast<uint32_t>(part.size()));
    }
    size_t first = 0;
    do {
        const size_t n = std::min<size_t>(per_inodes, inodes.size() - first);
        const size_t start = out.size();
        out.resize(start + unit);
        auto& head = *reinterpret_cast<disk::WapblInodeList*>(out.data() + start);
        o.set(head.type, disk::wapbl_inodes);
        o.set(head.len, static_cast<uint32_t>(unit));
        o.set(head.inocnt, static_cast<uint32_t>(n));
        o.set(head.clear, first == 0 ? 1 : 0);
        for (size_t i = 0; i < n; ++i) {
            auto& entry = *reinterpret_cast<disk::WapblInode*>(out.data() + start + sizeof head +
                                                               i * sizeof(disk::WapblInode));
            o.set(entry.number, static_cast<uint32_t>(inodes[first + i].first));
            o.set(entry.mode, inodes[first + i].second);
        }
        first += n;
    } while (first < inodes.size());
    return out;
}

Result<void> WapblJournal::write_ring(uint64_t at, std::span<const std::byte> bytes) {
    auto& device = volume_.mount.device();
    const uint64_t to_end = header_.circ_off + header_.circ_size - at;
    const uint64_t n = std::min<uint64_t>(to_end, bytes.size());
    TRY(device.write(place_.offset + at, bytes.first(n)));
    if (n < bytes.size()) TRY(device.write(place_.offset + header_.circ_off, bytes.subspan(n)));
    return {};
}

/// The point of no return. The two copies take turns, so that a torn one leaves
/// the other.
Result<void> WapblJournal::write_header(uint64_t head, uint64_t tail) {
    auto& device = volume_.mount.device();
    const ByteOrder o = volume_.geo.order;
    TRY(device.flush());
    const Timespec now = volume_.now();
    header_.head = head;
    header_.tail = tail;
    ++header_.generation;
    std::vector<std::byte> block(log_block());
    auto& h = *reinterpret_cast<disk::WapblHeader*>(block.data());
    o.set(h.type, disk::wapbl_header);
    o.set(h.len, static_cast<uint32_t>(block.size()));
    o.set(h.generation, header_.generation);
    o.set(h.time, static_cast<uint64_t>(now.sec));
    o.set(h.timensec, now.nsec);
    o.set(h.version, 1);
    o.set(h.log_dev_bshift, header_.log_shift);
    o.set(h.fs_dev_bshift, header_.fs_shift);
    o.set(h.head, head);
    o.set(h.tail, tail);
    o.set(h.circ_off, header_.circ_off);
    o.set(h.circ_size, header_.circ_size);
    TRY(device.write(place_.offset + header_.generation % 2 * log_block(), block));
    return device.flush();
}

/// An empty log, in both copies: the reader wants the first to be a header.
Result<void> WapblJournal::clear() {
    TRY(write_header(0, 0));
    return write_header(0, 0);
}

/// The parts of `blocks` that are not at home as they are, in whole blocks of the log. What is at
/// home is the state of the commit before, or was written past the buffers since; either is durable
/// before a header names this commit.
Result<std::vector<StagedBlock>>
WapblJournal::changed_parts(std::span<const StagedBlock> blocks) const {
    const size_t unit = log_block();
    std::vector<StagedBlock> parts;
    std::vector<std::byte> home;
    for (const StagedBlock& block : blocks) {
        home.resize(block.bytes.size());
        TRY(volume_.mount.device().read(block.offset, home));
        size_t open = 0; // bytes of the part that ends at `at`
        const auto close = [&](size_t at) {
            if (open != 0)
                parts.push_back({block.offset + at - open,
                                 block.bytes.subspan(at - open, open),
                                 block.phase,
                                 {}});
            open = 0;
        };
        for (size_t at = 0; at < home.size();) {
            const size_t n = std::min(unit, home.size() - at);
            if (std::memcmp(home.data() + at, block.bytes.data() + at, n) == 0)
                close(at);
            else
                open += n;
            at += n;
        }
        close(home.size());
    }
    return parts;
}

/// Larger than the log: in the order that is safe without one. The log is empty meanwhile, or a
/// replay would put older blocks over these, and the superblock says that a check is needed if
/// this does not come to its end.
Result<void> WapblJournal::commit_without_log(std::span<const StagedBlock> blocks,
                                              bool data_pending) {
    const Geometry& geo = volume_.geo;
    auto& device = volume_.mount.device();
    volume_.mount.kernel().log().warning(
        "ffs: a commit is larger than the log of {} bytes, and goes past it", header_.circ_size);
    std::vector<std::byte> before(geo.frag_round(geo.superblock_bytes));
    TRY(device.read(geo.superblock_offset, before));
    std::span<const std::byte> after = before;
    std::vector<StagedBlock> others;
    for (const StagedBlock& b : blocks)
        if (b.offset == geo.superblock_offset)
            after = b.bytes;
        else
            others.push_back(b);
    std::vector<std::byte> unsafe = before;
    auto& sb = *reinterpret_cast<disk::Superblock*>(unsafe.data());
    sb.clean = 0;
    geo.order.set(sb.flags, geo.order.get(sb.flags) & ~disk::flag_netbsd_wapbl);
    TRY(device.flush());
    TRY(device.write(geo.superblock_offset, unsafe));
    TRY(clear());
    TRY(fallback_->commit(others, data_pending));
    TRY(device.write(geo.superblock_offset, after));
    return device.flush();
}

Result<void> WapblJournal::write_home(std::span<const StagedBlock> blocks) {
    std::vector<const StagedBlock*> order;
    order.reserve(blocks.size());
    for (const StagedBlock& b : blocks) order.push_back(&b);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return a->offset < b->offset; });
    for (const StagedBlock* b : order) TRY(volume_.mount.device().write(b->offset, b->bytes));
    return {};
}

Result<void> WapblJournal::commit(std::span<const StagedBlock> blocks, bool data_pending) {
    const InodeList inodes = volume_.unlinked();
    const auto parts = TRY(changed_parts(blocks));
    const uint64_t size = records_size(parts, inodes);
    if (size >= header_.circ_size) return commit_without_log(blocks, data_pending);
    uint64_t used = 0;
    if (header_.head != 0 || header_.tail != 0)
        used = header_.head > header_.tail ? header_.head - header_.tail
                                           : header_.circ_size - (header_.tail - header_.head);
    if (used + size >= header_.circ_size) {
        TRY(clear()); // flushes what is at home first
        used = 0;
    }
    const uint64_t start = used == 0 ? header_.circ_off : header_.head;
    const auto records = build(parts, inodes);
    ASSERT(records.size() == size);
    TRY(write_ring(start, records));
    TRY(write_header(advance(start, size), start));
    return write_home(parts);
}

bool WapblJournal::has_room(uint64_t dirty_bytes) const {
    return (dirty_bytes + volume_.collect_bytes()) * 2 <= header_.circ_size;
}

Result<void> WapblJournal::checkpoint() {
    if (header_.head == 0 && header_.tail == 0) return {};
    return clear();
}

} // namespace rump::ffs
