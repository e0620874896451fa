// Operations on files: attributes, data, extended attributes, the end of a file.
#include "kernel/fs/ext2fs/vnops.h"

#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/generic_io.h"

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr uint64_t allocate_piece_bytes = 4u << 20;
constexpr uint64_t large_file_bytes = uint64_t{1} << 31;

} // namespace

// --- attributes
// -------------------------------------------------------------------------------------

Result<Attr> Node::getattr() {
    ASSERT(lock.held());
    Attr a;
    a.number = number();
    a.generation = generation();
    a.type = type();
    a.mode = inode_.mode & mode_permissions;
    a.nlink = inode_.links;
    a.uid = inode_.uid;
    a.gid = inode_.gid;
    if (type() == FileType::chr || type() == FileType::blk) a.rdev = inode_.device();
    a.size = inode_.size;
    a.blocks = inode_.sectors;
    a.block_size = geometry().block_size;
    a.atime = inode_.atime.get();
    a.mtime = inode_.mtime.get();
    a.ctime = inode_.ctime.get();
    if (inode_.has_crtime()) a.btime = inode_.crtime.get();
    a.flags = inode_.flags;
    return a;
}

void Node::touch(bool mtime) {
    const PackedTime now = inode_.pack(fs().volume().now());
    inode_.ctime = now;
    if (mtime) inode_.mtime = now;
}

Result<void> Node::setattr(const AttrChange& change) {
    ASSERT(lock.held_exclusive());
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    FreeList freed;
    if (change.size && *change.size != inode_.size) {
        if (*change.size > geometry().max_file_size) return Errno::fbig;
        if (*change.size < inode_.size) TRY(shrink(tx, *change.size, freed));
        inode_.size = *change.size;
        if (inode_.size >= large_file_bytes) fs().use_ro_feature(disk::ro_compat::large_file);
    }
    if (change.mode)
        inode_.mode =
            static_cast<uint16_t>(type_to_mode(type()) | (*change.mode & mode_permissions));
    if (change.uid) inode_.uid = *change.uid;
    if (change.gid) inode_.gid = *change.gid;
    if (change.flags)
        inode_.flags = (inode_.flags & ~disk::inode_flag::settable) |
                       (static_cast<uint32_t>(*change.flags) & disk::inode_flag::settable);
    if (change.atime) inode_.atime = inode_.pack(*change.atime);
    if (change.mtime) inode_.mtime = inode_.pack(*change.mtime);
    if (change.btime && inode_.has_crtime()) inode_.crtime = inode_.pack(*change.btime);
    inode_.ctime = inode_.pack(change.ctime ? *change.ctime : fs().volume().now());
    edit.keep();
    fs().allocator().release(std::move(freed));
    tx.done();
    return {};
}

Result<void> Node::shrink(Transaction& tx, uint64_t size, FreeList& freed) {
    return free_blocks(fs().volume(), tx, inode_, blocks_of(size), UINT64_MAX, freed);
}

Result<std::string> Node::readlink() {
    ASSERT(lock.held());
    const auto size = static_cast<size_t>(inode_.size);
    if (inode_.is_fast_symlink(geometry()))
        return std::string(reinterpret_cast<const char*>(inode_.block), size);
    const auto block = TRY(map_block(fs().volume(), inode_, 0));
    if (!block) return fs().volume().corrupt("symlink inode {}: no block", inode_.number);
    const Buf buf = TRY(fs().volume().read(*block));
    std::string target(reinterpret_cast<const char*>(buf.bytes().data()), size);
    if (target.find('\0') != std::string::npos)
        return fs().volume().corrupt("symlink inode {}: shorter than its size", inode_.number);
    return target;
}

Result<void> Node::fsync(bool data_only) {
    (void)data_only; // sizes and block pointers are needed to read the data back
    return mount().epoch().commit();
}

// --- data
// ---------------------------------------------------------------------------------------------

Result<void> Node::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held());
    if (offset >= inode_.size) return {};
    const uint32_t shift = geometry().block_shift;
    const uint64_t end = offset + std::min(length, inode_.size - offset);
    const uint64_t first = offset >> shift;
    return map_blocks(
        fs().volume(), inode_, first, blocks_of(end) - first, [&](const FileRun& run) {
            const uint64_t begin = std::max(run.first << shift, offset);
            const uint64_t stop = std::min((run.first + run.count) << shift, end);
            Extent e;
            e.file_offset = begin;
            e.length = stop - begin;
            if (run.start) {
                e.kind = Extent::Kind::data;
                e.device_offset = (run.start->value() << shift) + (begin - (run.first << shift));
            }
            out.push_back(e);
        });
}

Result<void> Node::prepare_write(Transaction& tx, uint64_t offset, uint64_t length, bool privileged,
                                 ExtentList& out) {
    ASSERT(lock.held_exclusive());
    if (length == 0) return {};
    if (length > geometry().max_file_size || offset > geometry().max_file_size - length)
        return Errno::fbig;
    const uint32_t shift = geometry().block_shift;
    const uint64_t first = offset >> shift;
    const uint64_t count = blocks_of(offset + length) - first;
    bool holes = false;
    const size_t before = out.size();
    TRY(map_blocks(fs().volume(), inode_, first, count, [&](const FileRun& run) {
        holes |= !run.start;
        Extent e;
        e.file_offset = run.first << shift;
        e.length = run.count << shift;
        if (run.start) {
            e.kind = Extent::Kind::data;
            e.device_offset = run.start->value() << shift;
        }
        out.push_back(e);
    }));
    if (!holes) return {};
    tx.on_abort([this, saved = inode_] { inode_ = saved; });
    ExtentList found(out.begin() + static_cast<ptrdiff_t>(before), out.end());
    out.resize(before);
    for (const Extent& e : found) {
        if (e.kind == Extent::Kind::data) {
            out.push_back(e);
            continue;
        }
        const uint64_t wanted = e.length >> shift;
        const size_t had = out.size();
        auto filled = fill_holes(tx, e.file_offset >> shift, wanted, privileged, out);
        if (!filled && (filled.error() != Errno::nospc || out.size() == before))
            return filled.error();
        uint64_t got = 0;
        for (size_t i = had; i < out.size(); ++i) got += out[i].length >> shift;
        if (got < wanted) break; // space ran out: the list is shorter
    }
    fs().mark_dirty(*this);
    return {};
}

/// Gives blocks to the hole [first, first + count) of the file, or to as much of its beginning as
/// there is space for.
Result<void> Node::fill_holes(Transaction& tx, uint64_t first, uint64_t count, bool privileged,
                              ExtentList& out) {
    Volume& v = fs().volume();
    Allocator& a = fs().allocator();
    const uint32_t shift = geometry().block_shift;
    const auto needed = [&](uint64_t data) -> Result<uint64_t> {
        return data + TRY(missing_indirect(v, inode_, first, data));
    };
    const uint64_t want = TRY(needed(count));
    Claim claim =
        TRY(a.claim(static_cast<uint32_t>(std::min<uint64_t>(want, UINT32_MAX)), 1, privileged));
    if (claim.left() < want) {
        uint64_t low = 0, high = count; // the longest beginning that the claim is enough for
        while (low < high) {
            const uint64_t middle = low + (high - low + 1) / 2;
            if (TRY(needed(middle)) <= claim.left())
                low = middle;
            else
                high = middle - 1;
        }
        count = low;
    }
    if (count == 0) return Errno::nospc;
    BlockNumber goal = geometry().first_block(geometry().group_of(number()));
    bool sequential = false;
    if (first > 0)
        if (auto previous = TRY(map_block(v, inode_, first - 1))) {
            goal = *previous + 1;
            sequential = true;
        }
    // Data first and in one piece; indirect blocks go behind it.
    std::vector<std::pair<uint64_t, BlockRun>> runs;
    for (uint64_t done = 0; done < count;) {
        const BlockRun run = TRY(a.allocate(
            tx, claim, {inode_.number, goal, static_cast<uint32_t>(count - done), sequential}));
        runs.emplace_back(first + done, run);
        done += run.count;
        goal = run.end();
    }
    for (const auto& [at, run] : runs) {
        TRY(install_run(v, a, tx, inode_, at, run, claim, goal));
        Extent e;
        e.file_offset = at << shift;
        e.length = uint64_t{run.count} << shift;
        e.device_offset = run.start.value() << shift;
        e.kind = Extent::Kind::data;
        e.fresh = true;
        if (!out.empty() && out.back().fresh &&
            out.back().device_offset + out.back().length == e.device_offset &&
            out.back().file_offset + out.back().length == e.file_offset)
            out.back().length += e.length;
        else
            out.push_back(e);
    }
    return {};
}

Result<void> Node::finish_write(Transaction& tx, uint64_t end) {
    ASSERT(lock.held_exclusive());
    (void)tx;
    if (end > inode_.size) {
        inode_.size = end;
        if (end >= large_file_bytes) fs().use_ro_feature(disk::ro_compat::large_file);
    }
    touch(true);
    fs().mark_dirty(*this);
    return {};
}

Result<void> Node::allocate_piece(uint64_t offset, uint64_t length, bool zero, bool privileged) {
    auto tx = TRY(mount().begin());
    ExtentList extents;
    TRY(prepare_write(tx, offset, length, privileged, extents));
    uint64_t reached = offset;
    for (const Extent& e : extents) {
        const uint64_t begin = e.fresh ? e.file_offset : std::max(e.file_offset, offset);
        const uint64_t end = e.fresh ? e.file_offset + e.length
                                     : std::min(e.file_offset + e.length, offset + length);
        reached = e.file_offset + e.length;
        if (!e.fresh && !zero) continue;
        mount().epoch().note_data_written();
        TRY(mount().device().write_zeros(e.device_offset + (begin - e.file_offset), end - begin));
    }
    if (reached < offset + length) return Errno::nospc;
    touch(true);
    fs().mark_dirty(*this);
    tx.done();
    return {};
}

Result<void> Node::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                            bool privileged) {
    ASSERT(lock.held_exclusive());
    const uint64_t end = offset + length;
    if (end > geometry().max_file_size) return Errno::fbig;
    // The format has no blocks behind the end of a file, and none without content.
    if (keep_size && blocks_of(end) > blocks_of(inode_.size)) return Errno::opnotsupp;
    Result<void> result;
    for (uint64_t at = offset; at < end && result.ok();) {
        const uint64_t piece = std::min(end - at, allocate_piece_bytes);
        result = allocate_piece(at, piece, zero, privileged);
        at += piece;
    }
    if (keep_size && result.ok()) return {};
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    FreeList freed;
    if (!result)
        TRY(shrink(tx, inode_.size, freed));
    else if (end > inode_.size)
        inode_.size = end;
    if (inode_.size >= large_file_bytes) fs().use_ro_feature(disk::ro_compat::large_file);
    touch(true);
    edit.keep();
    fs().allocator().release(std::move(freed));
    tx.done();
    return result;
}

Result<void> Node::deallocate(uint64_t offset, uint64_t length) {
    ASSERT(lock.held_exclusive());
    // Behind the end there is nothing to free, but the times move there, too.
    const uint64_t start = std::min(offset, inode_.size);
    const uint64_t end = start + std::min(length, inode_.size - start);
    const uint32_t shift = geometry().block_shift;
    const uint64_t first = blocks_of(start);
    // The last block may go as a whole when the file ends within it.
    const uint64_t last = end == inode_.size ? blocks_of(end) : end >> shift;
    {
        auto tx = TRY(mount().begin());
        InodeChange edit(*this);
        FreeList freed;
        if (first < last) TRY(free_blocks(fs().volume(), tx, inode_, first, last, freed));
        touch(true);
        edit.keep();
        fs().allocator().release(std::move(freed));
        tx.done();
    }
    const uint64_t head_end = std::min(end, first << shift);
    if (start < head_end) TRY(vfs::zero_allocated(*this, start, head_end - start));
    const uint64_t tail = std::max(last << shift, head_end);
    if (first <= last && tail < end) TRY(vfs::zero_allocated(*this, tail, end - tail));
    return {};
}

// --- extended attributes
// ---------------------------------------------------------------------------------

XattrTarget Node::xattr_target(bool privileged) { return {inode_, Buf(), 0, privileged}; }

Result<size_t> Node::getxattr(std::string_view name, std::span<std::byte> out) {
    ASSERT(lock.held());
    XattrTarget target = xattr_target(false);
    if (inode_.extra_size) target.table = TRY(fs().inode_block(number(), target.offset));
    return fs().xattrs().get(target, name, out);
}

Result<void> Node::listxattr(XattrSink sink) {
    ASSERT(lock.held());
    XattrTarget target = xattr_target(false);
    if (inode_.extra_size) target.table = TRY(fs().inode_block(number(), target.offset));
    return fs().xattrs().list(target, sink);
}

Result<void> Node::setxattr(std::string_view name, std::span<const std::byte> value, XattrSet how) {
    ASSERT(lock.held_exclusive());
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    FreeList freed;
    XattrTarget target = xattr_target(false);
    target.table = TRY(fs().inode_block(number(), target.offset));
    TRY(fs().xattrs().set(tx, target, name, value, how, freed));
    fs().use_compat_feature(disk::compat::ext_attr);
    touch(false);
    edit.keep();
    fs().allocator().release(std::move(freed));
    tx.done();
    return {};
}

Result<void> Node::removexattr(std::string_view name) {
    ASSERT(lock.held_exclusive());
    auto tx = TRY(mount().begin());
    InodeChange edit(*this);
    FreeList freed;
    XattrTarget target = xattr_target(false);
    target.table = TRY(fs().inode_block(number(), target.offset));
    TRY(fs().xattrs().set(tx, target, name, std::nullopt, XattrSet::any, freed));
    touch(false);
    edit.keep();
    fs().allocator().release(std::move(freed));
    tx.done();
    return {};
}

// --- the end
// ------------------------------------------------------------------------------------------------

Result<void> Node::inactive() {
    ASSERT(lock.held_exclusive() && unlinked());
    auto tx = TRY(mount().begin());
    Volume& v = fs().volume();
    FreeList freed;
    // As it is now: blocks that it gave up in this epoch may belong to others in the next one,
    // while the inode still waits for its deletion.
    TRY(fs().store_node(tx, *this));
    const bool name_pending = fs().take_removed(*this);
    if (inode_.has_blocks(geometry())) TRY(free_blocks(v, tx, inode_, 0, UINT64_MAX, freed));
    TRY(fs().xattrs().drop_block(tx, inode_, freed));
    const uint32_t dtime = std::max<uint32_t>(1, inode_.pack(v.now()).seconds);
    if (name_pending) {
        fs().mark_clean(*this);
        fs().delete_later(*this, dtime, std::move(freed));
        tx.done();
        return {};
    }
    inode_.size = 0;
    inode_.sectors = 0;
    inode_.flags &= ~disk::inode_flag::index;
    std::fill(std::begin(inode_.block), std::end(inode_.block), le32{});
    inode_.dtime = dtime;
    uint32_t offset = 0;
    Buf table = TRY(fs().inode_block(number(), offset));
    store_inode(geometry(), inode_,
                tx.modify(table, offset, geometry().inode_size, WritePhase::inode));
    fs().mark_clean(*this);
    fs().allocator().release(std::move(freed));
    fs().allocator().release_inode(number(), is_dir());
    tx.done();
    return {};
}

} // namespace rump::ext2
