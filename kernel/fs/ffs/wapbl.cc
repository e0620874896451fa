// Replay of NetBSD's log: wapbl(4); the records as sys/wapbl_replay.h of NetBSD
// lays them out. The log is a ring of bytes behind two headers; records are
// padded to the log's blocks.
#include "kernel/fs/ffs/wapbl.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

Failure bad_log(std::string text) { return Failure(Errno::uclean, "log: " + std::move(text)); }

std::optional<LogHeader> parse_header(ByteOrder o, std::span<const std::byte> block) {
    const auto& h = *reinterpret_cast<const disk::WapblHeader*>(block.data());
    if (o.get(h.type) != disk::wapbl_header) return std::nullopt;
    LogHeader r;
    r.generation = o.get(h.generation);
    r.log_shift = o.get(h.log_dev_bshift);
    r.fs_shift = o.get(h.fs_dev_bshift);
    r.head = o.get(h.head);
    r.tail = o.get(h.tail);
    r.circ_off = o.get(h.circ_off);
    r.circ_size = o.get(h.circ_size);
    return r;
}

/// The ring of one log.
class Ring {
public:
    Ring(host::BlockDevice& device, const LogPlace& place, const LogHeader& h)
        : device_(device), start_(place.offset), h_(h), at_(h.tail), left_(used(h)) {}

    static uint64_t used(const LogHeader& h) {
        if (h.head == 0 && h.tail == 0) return 0;
        if (h.head > h.tail) return h.head - h.tail;
        return h.circ_size - (h.tail - h.head);
    }
    uint64_t left() const { return left_; }
    uint64_t at() const { return at_; }
    /// Device offset of the next byte; the piece up to the ring's end or
    /// `length`.
    std::pair<uint64_t, uint64_t> piece(uint64_t length) const {
        return {start_ + at_, std::min(length, h_.circ_off + h_.circ_size - at_)};
    }
    bool advance(uint64_t length) {
        if (length > left_) return false;
        left_ -= length;
        at_ += length;
        if (at_ >= h_.circ_off + h_.circ_size) at_ -= h_.circ_size;
        return true;
    }
    Result<void> read(std::span<std::byte> out) {
        while (!out.empty()) {
            const auto [offset, n] = piece(out.size());
            TRY(device_.read(offset, out.first(n)));
            if (!advance(n)) return Errno::uclean;
            out = out.subspan(n);
        }
        return {};
    }

private:
    host::BlockDevice& device_;
    const uint64_t start_;
    const LogHeader h_;
    uint64_t at_;
    uint64_t left_;
};

class Replay {
public:
    Replay(host::BlockDevice& device, const Geometry& geo, const LogHeader& header)
        : geo_(geo), ring_(device, *geo.log, header), log_block_(1u << header.log_shift),
          fs_block_(1u << header.fs_shift), unit_(std::min(log_block_, fs_block_)) {
        out_.header = header;
        out_.block_size = unit_;
    }

    FailureOr<LogContents> run();

private:
    FailureOr<void> record(std::span<const std::byte> block);
    FailureOr<void> blocks(std::span<const std::byte> block, bool revoke);
    FailureOr<void> inodes(std::span<const std::byte> block);

    const Geometry& geo_;
    Ring ring_;
    const uint32_t log_block_, fs_block_;
    const uint32_t unit_; // of both, so that none crosses the end of the ring
    LogContents out_;
};

FailureOr<LogContents> Replay::run() {
    std::vector<std::byte> block(log_block_);
    while (ring_.left() != 0) {
        const uint64_t at = ring_.at();
        const uint64_t before = ring_.left();
        if (auto read = ring_.read(block); !read) return bad_log(fmt::format("record at {}", at));
        const auto& head = *reinterpret_cast<const disk::WapblBlockList*>(block.data());
        const uint32_t length = geo_.order.get(head.len);
        TRY(record(block));
        // What was consumed must be what the record says.
        if (before - ring_.left() != length)
            return bad_log(fmt::format("record at {}: its length is {}, its contents take {}", at,
                                       length, before - ring_.left()));
    }
    return std::move(out_);
}

FailureOr<void> Replay::record(std::span<const std::byte> block) {
    const auto& head = *reinterpret_cast<const disk::WapblBlockList*>(block.data());
    switch (geo_.order.get(head.type)) {
    case disk::wapbl_blocks:
        return blocks(block, false);
    case disk::wapbl_revocations:
        return blocks(block, true);
    case disk::wapbl_inodes:
        return inodes(block);
    default:
        return bad_log(fmt::format("record of unknown type {:#x} before {}",
                                   geo_.order.get(head.type), ring_.at()));
    }
}

FailureOr<void> Replay::blocks(std::span<const std::byte> block, bool revoke) {
    const ByteOrder o = geo_.order;
    const auto& head = *reinterpret_cast<const disk::WapblBlockList*>(block.data());
    const uint32_t count = o.get(head.blkcount);
    if (count > (block.size() - sizeof head) / sizeof(disk::WapblBlock))
        return bad_log(fmt::format("record before {}: {} blocks", ring_.at(), count));
    const auto* list = reinterpret_cast<const disk::WapblBlock*>(block.data() + sizeof head);
    const uint64_t fs_end = geo_.size << geo_.fshift;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t daddr = o.get(list[i].daddr);
        const uint32_t length = o.get(list[i].dlen);
        if (length == 0 || length % fs_block_ != 0 || length > disk::max_bsize ||
            daddr > fs_end / 512 || daddr * 512 + length > fs_end)
            return bad_log(
                fmt::format("record before {}: block {} of {} bytes", ring_.at(), daddr, length));
        total += length;
        for (uint32_t done = 0; done < length; done += unit_) {
            const uint64_t home = daddr * 512 + done;
            if (revoke) {
                out_.blocks.erase(home);
                continue;
            }
            const auto [offset, n] = ring_.piece(unit_);
            if (n != unit_) return bad_log("a block crosses the end of the ring");
            if (!ring_.advance(n)) return bad_log("a block lies behind the head");
            out_.blocks[home] = offset;
        }
    }
    // Blocks are padded to the log's own.
    if (const uint64_t pad = (log_block_ - total % log_block_) % log_block_;
        !revoke && pad != 0 && !ring_.advance(pad))
        return bad_log("a block lies behind the head");
    return {};
}

FailureOr<void> Replay::inodes(std::span<const std::byte> block) {
    const ByteOrder o = geo_.order;
    const auto& head = *reinterpret_cast<const disk::WapblInodeList*>(block.data());
    const uint32_t count = o.get(head.inocnt);
    if (count > (block.size() - sizeof head) / sizeof(disk::WapblInode))
        return bad_log(fmt::format("record before {}: {} inodes", ring_.at(), count));
    if (o.get(head.clear) != 0) out_.inodes.clear();
    const auto* list = reinterpret_cast<const disk::WapblInode*>(block.data() + sizeof head);
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t number = o.get(list[i].number);
        if (!geo_.is_inode(number)) return bad_log(fmt::format("inode {}", number));
        out_.inodes.push_back({number, static_cast<uint16_t>(o.get(list[i].mode))});
    }
    return {};
}

} // namespace

FailureOr<std::optional<LogHeader>> read_log_header(host::BlockDevice& device,
                                                    const LogPlace& place, ByteOrder order) {
    std::vector<std::byte> two(2 * place.block_size);
    if (auto read = device.read(place.offset, two); !read) return Failure(read.error());
    const auto first = parse_header(order, std::span(two).first(place.block_size));
    const auto second = parse_header(order, std::span(two).subspan(place.block_size));
    if (!first) return std::optional<LogHeader>{};
    LogHeader h = *first;
    if (second && second->generation > h.generation) h = *second;
    if (h.log_shift < 9 || h.log_shift > 16 || h.fs_shift < 9 || h.fs_shift > 16)
        return bad_log("block sizes in the header");
    const uint64_t log_block = uint64_t{1} << h.log_shift;
    if (h.circ_off < 2 * log_block || h.circ_off % log_block != 0 || h.circ_off > place.length ||
        h.circ_size == 0 || h.circ_size % log_block != 0 || h.circ_size > place.length - h.circ_off)
        return bad_log("the ring lies outside of the log");
    const auto inside = [&](uint64_t at) {
        return at >= h.circ_off && at < h.circ_off + h.circ_size && at % log_block == 0;
    };
    if ((h.head != 0 || h.tail != 0) && (!inside(h.head) || !inside(h.tail)))
        return bad_log("head or tail lies outside of the ring");
    return std::optional(h);
}

FailureOr<LogContents> read_log(host::BlockDevice& device, const Geometry& geo) {
    ASSERT(geo.log);
    const auto header = TRY(read_log_header(device, *geo.log, geo.order));
    if (!header) return bad_log("no header");
    Replay replay(device, geo, *header);
    return replay.run();
}

// --- the device as it will be
// ------------------------------------------------------------------------

bool LogOverlay::touches(uint64_t offset, uint64_t length) const {
    if (home_.load(std::memory_order_acquire)) return false;
    const uint64_t from = offset >= contents_.block_size ? offset - contents_.block_size + 1 : 0;
    const auto it = contents_.blocks.lower_bound(from);
    return it != contents_.blocks.end() && it->first < offset + length;
}

Result<void> LogOverlay::read(uint64_t offset, std::span<std::byte> out) {
    TRY(base_->read(offset, out));
    if (!touches(offset, out.size())) return {};
    const uint64_t size = contents_.block_size;
    const uint64_t from = offset >= size ? offset - size + 1 : 0;
    for (auto it = contents_.blocks.lower_bound(from);
         it != contents_.blocks.end() && it->first < offset + out.size(); ++it) {
        const uint64_t start = std::max(offset, it->first);
        const uint64_t end = std::min(offset + out.size(), it->first + size);
        TRY(base_->read(it->second + (start - it->first),
                        out.subspan(start - offset, end - start)));
    }
    return {};
}

Result<void> LogOverlay::materialize() {
    std::vector<std::byte> block(contents_.block_size);
    for (const auto& [home, from] : contents_.blocks) {
        TRY(base_->read(from, block));
        TRY(base_->write(home, block));
    }
    TRY(base_->flush());
    home_.store(true, std::memory_order_release);
    return {};
}

Result<void> LogOverlay::write(uint64_t offset, std::span<const std::byte> data) {
    if (!home_.load(std::memory_order_acquire)) return Errno::rofs;
    return base_->write(offset, data);
}

Result<void> LogOverlay::writev(uint64_t offset, std::span<const host::WritePiece> pieces) {
    if (!home_.load(std::memory_order_acquire)) return Errno::rofs;
    return base_->writev(offset, pieces);
}

Result<void> LogOverlay::discard(uint64_t offset, uint64_t length) {
    if (!home_.load(std::memory_order_acquire)) return Errno::rofs;
    return base_->discard(offset, length);
}

Result<void> LogOverlay::write_zeros(uint64_t offset, uint64_t length) {
    if (!home_.load(std::memory_order_acquire)) return Errno::rofs;
    return base_->write_zeros(offset, length);
}

std::optional<host::DirectRange> LogOverlay::direct(uint64_t offset, uint64_t length,
                                                    bool for_write) {
    if (touches(offset, length) || (for_write && !home_.load(std::memory_order_acquire)))
        return std::nullopt;
    return base_->direct(offset, length, for_write);
}

void LogOverlay::read_ahead(uint64_t offset, uint64_t length) { base_->read_ahead(offset, length); }

} // namespace rump::ffs
