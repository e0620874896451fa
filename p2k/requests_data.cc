// Requests that move a regular file's bytes.
#include "p2k/adapter.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace rump::p2k {

namespace {

/// One request is answered in bounded time; the host asks for the rest.
constexpr uint64_t copy_most = 64u << 20;

/// Smaller reads are as fast through our memory; these are a sixth faster past it, those of
/// 128 KiB by a third.
constexpr size_t splice_least = 16u << 10;
/// More extents are more system calls than the copy is worth.
constexpr size_t splice_extents = 4;

/// What fuse_reply_data() takes, with room for so many pieces.
struct FileRanges {
    fuse_bufvec head;
    fuse_buf more[splice_extents - 1];
};

/// Of a write request as it stands in the message: may the set-id bits stay?
bool keeps_setid(std::span<const std::byte> message, bool killpriv_v2) {
    if (!killpriv_v2) return false;
    fuse_write_in in;
    if (message.size() < sizeof(fuse_in_header) + sizeof in) return false;
    std::memcpy(&in, message.data() + sizeof(fuse_in_header), sizeof in);
    return (in.write_flags & FUSE_WRITE_KILL_SUIDGID) == 0;
}

} // namespace

/// The vnode stays locked until the host has the bytes: a pipe holds the pages of the device's file
/// themselves, and the blocks must not become another file's meanwhile. Once it has them, it may
/// forget the file.
Result<bool> Adapter::reply_spliced(fuse_req_t req, Vnode& vnode, uint64_t offset, size_t size) {
    bool answered = false;
    const VnodeRef held = VnodeRef::to(vnode);
    TRY(vfs::with_extents(vnode, offset, size, [&](const ExtentList& extents) -> Result<void> {
        if (extents.empty() || extents.size() > splice_extents) return {};
        FileRanges ranges = {};
        ranges.head.count = extents.size();
        fuse_buf* buffer = ranges.head.buf;
        for (const Extent& extent : extents) {
            const uint64_t begin = std::max(offset, extent.file_offset);
            const uint64_t end = std::min(offset + size, extent.file_offset + extent.length);
            if (extent.kind != Extent::Kind::data || begin >= end) return {};
            const uint64_t at = extent.device_offset + (begin - extent.file_offset);
            const auto range = mount_.device().direct(at, end - begin, false);
            if (!range) return {};
            buffer->size = end - begin;
            buffer->flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
            buffer->fd = range->fd;
            buffer->pos = static_cast<off_t>(range->offset);
            ++buffer;
        }
        answered = true;
        fuse_reply_data(req, &ranges.head, static_cast<fuse_buf_copy_flags>(0));
        return {};
    }));
    return answered;
}

void Adapter::Requests::read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                             fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (offset < 0) return Errno::inval;
        Vnode& vnode = *TRY(self.node(id));
        RequestThread& thread = self.host_.this_thread();
        if (size >= splice_least && thread.may_splice() && self.mount_.has_device() &&
            TRY(self.reply_spliced(req, vnode, static_cast<uint64_t>(offset), size)))
            return {};
        const auto buffer = TRY(thread.reply_buffer(size)).first(size);
        const size_t got = TRY(vfs::read(vnode, static_cast<uint64_t>(offset), buffer));
        fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), got);
        return {};
    });
}

/// The owner pays for the space.
Result<size_t> Adapter::write_back(Vnode& vnode, uint64_t offset, std::span<const std::byte> data) {
    return vfs::write_back(vnode, offset, data,
                           [this](const Attr& attr) { return cred_of(attr.uid, attr.gid); });
}

/// The host writes back whole pages, so the last page of an append-only file comes with bytes that
/// are there already. They may come again as they are; what is behind them is appended.
Result<size_t> Adapter::write_back_append(Vnode& vnode, uint64_t offset,
                                          std::span<const std::byte> data) {
    const Attr attr = TRY(vfs::getattr(vnode));
    const bool append_only = attr.flags & (file_flag::append | file_flag::user_append);
    const bool immutable = attr.flags & (file_flag::immutable | file_flag::user_immutable);
    if (!append_only || immutable || offset > attr.size) return Errno::perm;
    const uint64_t known = std::min<uint64_t>(attr.size - offset, data.size());
    std::vector<std::byte> there(known);
    if (TRY(vfs::read(vnode, offset, there)) != known) return Errno::perm;
    if (!std::equal(there.begin(), there.end(), data.begin())) return Errno::perm;
    if (known == data.size()) return data.size();
    return known + TRY(write_back(vnode, attr.size, data.subspan(known)));
}

void Adapter::Requests::write(fuse_req_t req, fuse_ino_t id, const char* bytes, size_t size,
                              off_t at, fuse_file_info* file) {
    bool again = false;
    answer(req, [&](Adapter& self) -> Result<void> {
        if (at < 0) return Errno::inval;
        const auto offset = static_cast<uint64_t>(at);
        Vnode& vnode = *TRY(self.node(id));
        const auto data = std::as_bytes(std::span(bytes, size));
        if (file->writepage) {
            // Sent by the host's writeback, on nobody's behalf.
            auto written = self.write_back(vnode, offset, data);
            if (!written.ok() && written.error() == Errno::perm)
                written = self.write_back_append(vnode, offset, data);
            const bool rerun = !std::exchange(again, true) && !written.ok() &&
                               written.error() == Errno::nospc; // by answer()
            if (!written.ok() && !rerun && LateErrors::concerns(written.error())) {
                self.late_errors_.note(vnode, written.error());
                self.host_.forget_attributes(id);
            }
            fuse_reply_write(req, TRY(std::move(written)));
            return {};
        }
        const bool keep_setid = keeps_setid(self.host_.this_thread().message(), self.killpriv_v2_);
        const size_t written = TRY(vfs::write(vnode, offset, data, self.cred(req), keep_setid));
        if (!keep_setid) self.host_.forget_attributes(id); // the mode may be another now
        fuse_reply_write(req, written);
        return {};
    });
}

/// A close. The host has written back what it kept; after ENOSYS it never asks again.
void Adapter::Requests::flush(fuse_req_t req, fuse_ino_t id, fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (!self.options_.flush_on_close) return Errno::nosys;
        TRY(vfs::fsync(*TRY(self.node(id)), false));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::fsync(fuse_req_t req, fuse_ino_t id, int data_only, fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        TRY(vfs::fsync(*TRY(self.node(id)), data_only != 0));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset,
                                  off_t length, fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (offset < 0 || length <= 0) return Errno::inval;
        vfs::Fallocate how;
        switch (mode) {
        case 0:
            how = vfs::Fallocate::allocate;
            break;
        case FALLOC_FL_KEEP_SIZE:
            how = vfs::Fallocate::keep_size;
            break;
        case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
            how = vfs::Fallocate::punch_hole;
            break;
        case FALLOC_FL_ZERO_RANGE:
            how = vfs::Fallocate::zero_range;
            break;
        case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
            how = vfs::Fallocate::zero_keep_size;
            break;
        default:
            return Errno::opnotsupp;
        }
        Vnode& vnode = *TRY(self.node(id));
        TRY(vfs::fallocate(vnode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length), how,
                           self.cred(req)));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::lseek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence,
                              fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (offset < 0) return Errno::nxio;
        if (whence != SEEK_DATA && whence != SEEK_HOLE) return Errno::inval;
        // What the host has yet to write back may lie in what is a hole here: told of a hole, a
        // copier would lose it. After ENOSYS the host takes all of every file for data.
        if (!self.mount_.read_only()) return Errno::nosys;
        const Seek what = whence == SEEK_DATA ? Seek::data : Seek::hole;
        Vnode& vnode = *TRY(self.node(id));
        const uint64_t found = TRY(vfs::seek(vnode, static_cast<uint64_t>(offset), what));
        fuse_reply_lseek(req, static_cast<off_t>(found));
        return {};
    });
}

void Adapter::Requests::copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                                        fuse_file_info*, fuse_ino_t to, off_t to_offset,
                                        fuse_file_info*, size_t length, int flags) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (from_offset < 0 || to_offset < 0 || flags != 0) return Errno::inval;
        Vnode& source = *TRY(self.node(from));
        Vnode& target = *TRY(self.node(to));
        const uint64_t copied = TRY(vfs::copy_range(
            source, static_cast<uint64_t>(from_offset), target, static_cast<uint64_t>(to_offset),
            std::min<uint64_t>(length, copy_most), self.cred(req)));
        fuse_reply_write(req, copied);
        return {};
    });
}

} // namespace rump::p2k
