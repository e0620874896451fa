// Reading UFS1's attribute files. See attrfile.h.
#include "kernel/fs/ffs/attrfile.h"

#include "kernel/fs/ffs/dir.h"

#include <algorithm>

namespace rump::ffs {

namespace {

/// The inode that `name` of `dir` is. ENOENT.
Result<std::unique_ptr<Inode>> open_name(Inode& dir, std::string_view name) {
    const auto found = TRY(find_entry(dir, name));
    if (!found || !dir.volume().geo.is_inode(found->ino)) return Errno::noent;
    auto inode = std::make_unique<Inode>(dir.volume(), found->ino);
    inode->state = TRY(dir.volume().load(found->ino));
    return inode;
}

Result<std::unique_ptr<Inode>> open_space(Volume& volume, std::string_view space) {
    Inode root(volume, disk::root_inode);
    root.state = TRY(volume.load(disk::root_inode));
    auto top = TRY(open_name(root, ".attribute"));
    if (!top->state.is_dir()) return Errno::noent;
    auto dir = TRY(open_name(*top, space));
    if (!dir->state.is_dir()) return Errno::noent;
    return dir;
}

Result<bool> read_at(Inode& file, uint64_t offset, std::span<std::byte> out) {
    if (offset > file.state.size || out.size() > file.state.size - offset) return false;
    std::fill(out.begin(), out.end(), std::byte{0});
    Result<void> failed;
    TRY(map_file(file, offset, out.size(), [&](const Piece& p) {
        if (!p.device_offset || !failed.ok()) return;
        failed = file.volume().mount.device().read(*p.device_offset,
                                                   out.subspan(p.file_offset - offset, p.length));
    }));
    TRY(std::move(failed));
    return true;
}

Result<std::vector<std::byte>> read_record(Inode& file, const Inode& of) {
    const ByteOrder o = file.volume().geo.order;
    disk::ExtattrFileHeader head;
    if (!file.state.is_reg() || !TRY(read_at(file, 0, std::as_writable_bytes(std::span(&head, 1)))))
        return Errno::nodata;
    const uint32_t size = o.get(head.size);
    if (o.get(head.magic) != disk::extattr_file_magic ||
        o.get(head.version) != disk::extattr_file_version || size > xattr_value_max)
        return Errno::nodata;
    disk::ExtattrRecordHeader record;
    const uint64_t at = sizeof head + of.number() * (sizeof record + uint64_t{size});
    if (!TRY(read_at(file, at, std::as_writable_bytes(std::span(&record, 1)))))
        return Errno::nodata;
    const uint32_t length = o.get(record.length);
    if ((o.get(record.flags) & disk::extattr_in_use) == 0 || length > size ||
        o.get(record.generation) != of.state.gen)
        return Errno::nodata;
    std::vector<std::byte> value(length);
    if (!TRY(read_at(file, at + sizeof record, value))) return Errno::nodata;
    return value;
}

} // namespace

Result<std::vector<std::byte>> get_file_attribute(Inode& inode, std::string_view name) {
    if (!inode.volume().mount.read_only()) return Errno::opnotsupp;
    std::string_view space;
    if (name.starts_with("user."))
        space = "user";
    else if (name.starts_with("trusted."))
        space = "system";
    else
        return Errno::opnotsupp;
    auto dir = open_space(inode.volume(), space);
    if (!dir) return dir.error() == Errno::noent ? Errno::opnotsupp : dir.error();
    auto file = open_name(**dir, name.substr(name.find('.') + 1));
    if (!file) return file.error() == Errno::noent ? Errno::nodata : file.error();
    return read_record(**file, inode);
}

Result<void> list_file_attributes(Inode& inode, XattrSink sink) {
    if (!inode.volume().mount.read_only()) return Errno::opnotsupp;
    for (const std::string_view space : {"user", "system"}) {
        auto dir = open_space(inode.volume(), space);
        if (!dir && dir.error() == Errno::noent) continue;
        if (!dir) return dir.error();
        std::vector<std::string> names;
        TRY(each_entry(**dir, 0, [&](const DirRecord& r, uint64_t) {
            if (r.name != "." && r.name != "..") names.emplace_back(r.name);
            return true;
        }));
        for (const std::string& name : names) {
            auto file = open_name(**dir, name);
            if (!file || !read_record(**file, inode).ok()) continue;
            sink((space == "user" ? "user." : "trusted.") + name);
        }
    }
    return {};
}

} // namespace rump::ffs
