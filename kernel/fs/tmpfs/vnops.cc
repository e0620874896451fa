// Operations of tmpfs on a file itself: attributes, data, extended attributes, life cycle.
#include "kernel/fs/tmpfs/vnops.h"

#include "kernel/kern/kernel.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace rump::tmpfs {

namespace {

/// What is kept, and means something to the generic layer.
constexpr FileFlags known_flags =
    file_flag::sync | file_flag::immutable | file_flag::append | file_flag::nodump |
    file_flag::noatime | file_flag::dirsync | file_flag::opaque | file_flag::user_immutable |
    file_flag::user_append | file_flag::archived | file_flag::nounlink;

constexpr uint64_t page_of(uint64_t offset) { return offset / page_size; }
constexpr uint64_t pages_for(uint64_t bytes) {
    return bytes / page_size + (bytes % page_size != 0);
}

/// EFBIG: the end is beyond what an offset can say.
Result<uint64_t> end_of(uint64_t offset, uint64_t length) {
    if (offset > INT64_MAX || length > INT64_MAX - offset) return Errno::fbig;
    return offset + length;
}

/// Calls `part(page index, offset in the page, length)` for each page that [offset, end) touches;
/// stops when it returns an error.
template<class Part>
Result<void> each_page(uint64_t offset, uint64_t end, Part part) {
    while (offset < end) {
        const uint64_t within = offset % page_size;
        const uint64_t length = std::min(page_size - within, end - offset);
        TRY(part(page_of(offset), within, length));
        offset += length;
    }
    return {};
}

} // namespace

Timespec TmpVnode::now() const { return mount().kernel().now(); }

Result<Attr> TmpVnode::getattr() {
    ASSERT(lock.held());
    Attr attr;
    attr.number = number();
    attr.generation = generation();
    attr.type = type();
    attr.mode = node_->mode;
    attr.nlink = node_->links.load(std::memory_order_relaxed);
    attr.uid = node_->uid;
    attr.gid = node_->gid;
    attr.rdev = node_->rdev;
    attr.size = node_->size();
    attr.blocks = node_->blocks();
    attr.block_size = page_size;
    attr.atime = node_->atime;
    attr.mtime = node_->mtime;
    attr.ctime = node_->ctime;
    attr.btime = node_->btime;
    attr.flags = node_->flags;
    return attr;
}

Result<void> TmpVnode::setattr(const AttrChange& change) {
    ASSERT(lock.held_exclusive());
    if (change.flags && (*change.flags & ~known_flags) != 0) return Errno::perm;
    if (change.size && !is_reg()) return Errno::inval;
    if (change.size && *change.size > INT64_MAX) return Errno::fbig;

    const Timespec time = now();
    if (change.size) {
        resize(*change.size);
        node_->mtime = time;
    }
    if (change.mode) node_->mode = *change.mode & mode_permissions;
    if (change.uid) node_->uid = *change.uid;
    if (change.gid) node_->gid = *change.gid;
    if (change.flags) node_->flags = *change.flags;
    if (change.atime) node_->atime = *change.atime;
    if (change.mtime) node_->mtime = *change.mtime;
    if (change.btime) node_->btime = *change.btime;
    node_->ctime = change.ctime.value_or(time);
    return {};
}

Result<std::string> TmpVnode::readlink() {
    ASSERT(lock.held() && type() == FileType::lnk);
    return node_->target();
}

/// There is nothing that would last longer.
Result<void> TmpVnode::fsync(bool) { return {}; }

Result<size_t> TmpVnode::getxattr(std::string_view name, std::span<std::byte> out) {
    ASSERT(lock.held());
    return node_->xattrs.get(name, out);
}

Result<void> TmpVnode::setxattr(std::string_view name, std::span<const std::byte> value,
                                XattrSet how) {
    ASSERT(lock.held_exclusive());
    TRY(node_->xattrs.set(name, value, how));
    node_->ctime = now();
    return {};
}

Result<void> TmpVnode::removexattr(std::string_view name) {
    ASSERT(lock.held_exclusive());
    TRY(node_->xattrs.remove(name));
    node_->ctime = now();
    return {};
}

Result<void> TmpVnode::listxattr(XattrSink sink) {
    ASSERT(lock.held());
    node_->xattrs.list(sink);
    return {};
}

Result<size_t> TmpVnode::read(uint64_t offset, std::span<std::byte> out) {
    ASSERT(lock.held() && is_reg());
    const FileBody& file = node_->file();
    if (offset >= file.size) return size_t{0};
    const uint64_t end = offset + std::min<uint64_t>(out.size(), file.size - offset);
    std::byte* to = out.data();
    TRY(each_page(offset, end,
                  [&](uint64_t page, uint64_t within, uint64_t length) -> Result<void> {
                      if (const std::byte* from = file.pages.find(page))
                          std::memcpy(to, from + within, length);
                      else
                          std::memset(to, 0, length);
                      to += length;
                      return {};
                  }));
    return static_cast<size_t>(end - offset);
}

Result<size_t> TmpVnode::write(uint64_t offset, std::span<const std::byte> data, bool) {
    ASSERT(lock.held_exclusive() && is_reg());
    const uint64_t end = TRY(end_of(offset, data.size()));
    if (data.empty()) return size_t{0};
    FileBody& file = node_->file();
    const std::byte* from = data.data();
    auto moved = each_page(offset, end,
                           [&](uint64_t page, uint64_t within, uint64_t length) -> Result<void> {
                               std::byte* to = TRY(file.pages.make(page, length == page_size));
                               std::memcpy(to + within, from, length);
                               from += length;
                               return {};
                           });
    const auto written = static_cast<size_t>(from - data.data());
    if (written == 0) return moved.error();
    file.size = std::max(file.size, offset + written);
    node_->mtime = node_->ctime = now();
    return written;
}

Result<void> TmpVnode::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held() && is_reg());
    const FileBody& file = node_->file();
    if (offset >= file.size) return {};
    const uint64_t end = offset + std::min(length, file.size - offset);
    while (offset < end) {
        const auto page = file.pages.next_page(page_of(offset));
        const bool data = page && *page == page_of(offset);
        uint64_t stop = end;
        if (data)
            stop = std::min(end, file.pages.next_hole(*page) * page_size);
        else if (page && *page < pages_for(end))
            stop = std::min(end, *page * page_size);
        out.push_back({.file_offset = offset,
                       .length = stop - offset,
                       .kind = data ? Extent::Kind::opaque : Extent::Kind::hole});
        offset = stop;
    }
    return {};
}

/// Zeros what has pages in the range, without making any.
void TmpVnode::zero(uint64_t offset, uint64_t length) {
    PageTree& pages = node_->file().pages;
    const uint64_t end = offset + length;
    while (offset < end) {
        const auto page = pages.next_page(page_of(offset));
        if (!page || *page * page_size >= end) return;
        const uint64_t start = std::max(offset, *page * page_size);
        const uint64_t stop = std::min(end, (*page + 1) * page_size);
        std::memset(pages.find(*page) + start % page_size, 0, stop - start);
        offset = stop;
    }
}

void TmpVnode::resize(uint64_t size) {
    FileBody& file = node_->file();
    if (size < file.size) {
        const uint64_t keep = pages_for(size);
        file.pages.erase(keep, UINT64_MAX);
        zero(size, keep * page_size - size);
    }
    file.size = size;
}

Result<void> TmpVnode::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zeros,
                                bool) {
    ASSERT(lock.held_exclusive() && is_reg());
    const uint64_t end = TRY(end_of(offset, length));
    FileBody& file = node_->file();
    const uint64_t first = page_of(offset);
    const uint64_t last = pages_for(end);
    const uint64_t before = file.pages.count();
    // What can never fit is refused before a single page is made.
    const uint64_t budget = tmp().budget().bytes_left() / page_size;
    if (last - first > before && last - first - before > budget) return Errno::nospc;

    std::vector<uint64_t> made;
    try {
        for (uint64_t page = first; page < last; ++page) {
            if (file.pages.find(page) != nullptr) continue;
            made.push_back(page);
            auto fresh = file.pages.make(page, false);
            if (fresh.ok()) continue;
            made.pop_back();
            for (uint64_t undo : made) file.pages.erase(undo, undo + 1);
            return fresh.error();
        }
    } catch (const std::bad_alloc&) {
        for (uint64_t undo : made) file.pages.erase(undo, undo + 1);
        return Errno::nomem;
    }
    if (zeros) zero(offset, end - offset);
    if (!keep_size && end > file.size) file.size = end;
    node_->mtime = node_->ctime = now();
    return {};
}

Result<void> TmpVnode::deallocate(uint64_t offset, uint64_t length) {
    ASSERT(lock.held_exclusive() && is_reg());
    const uint64_t end =
        offset > INT64_MAX || length > INT64_MAX - offset ? INT64_MAX : offset + length;
    if (offset >= end) return {};
    const uint64_t first = pages_for(offset); // the first page that lies wholly in the range
    const uint64_t last = page_of(end);       // and the one behind the last
    if (first < last) node_->file().pages.erase(first, last);
    zero(offset, end - offset);
    node_->mtime = node_->ctime = now();
    return {};
}

Result<uint64_t> TmpVnode::seek(uint64_t offset, Seek what) {
    ASSERT(lock.held() && is_reg());
    const FileBody& file = node_->file();
    if (offset >= file.size) return Errno::nxio;
    if (what == Seek::hole) {
        const uint64_t page = file.pages.next_hole(page_of(offset));
        return std::min(file.size, std::max(offset, page * page_size));
    }
    const auto page = file.pages.next_page(page_of(offset));
    if (!page || *page >= pages_for(file.size)) return Errno::nxio;
    return std::max(offset, *page * page_size);
}

Result<void> TmpVnode::inactive() {
    ASSERT(lock.held_exclusive() && unlinked());
    tmp().nodes().free(*node_);
    return {};
}

} // namespace rump::tmpfs
