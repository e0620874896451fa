// Requests that list directories: plain, and with each entry's attributes and a lookup of it.
#include "p2k/adapter.h"

#include <cstring>
#include <vector>

namespace rump::p2k {

/// One answer being filled.
struct Adapter::Requests::DirFill {
    Adapter& self;
    fuse_req_t req;
    std::span<char> buffer;
    size_t used = 0;
    std::vector<NodeId> entered; // lookups that the answer carries

    /// False: the entry does not fit any more.
    bool add(const DirEntry& entry) {
        char name[utf16_name_max + 1];
        if (!terminate(entry, name)) return true;
        const struct stat st = brief(entry);
        const size_t size = fuse_add_direntry(req, buffer.data() + used, buffer.size() - used, name,
                                              &st, static_cast<off_t>(entry.next_cookie));
        if (size > buffer.size() - used) return false;
        used += size;
        return true;
    }

    bool add_plus(const DirEntry& entry) {
        char name[utf16_name_max + 1];
        if (!terminate(entry, name)) return true;
        // Whether it fits is known before the lookup is counted.
        if (fuse_add_direntry_plus(req, nullptr, 0, name, nullptr, 0) > buffer.size() - used)
            return false;
        const fuse_entry_param param = look_up(entry);
        used += fuse_add_direntry_plus(req, buffer.data() + used, buffer.size() - used, name,
                                       &param, static_cast<off_t>(entry.next_cookie));
        return true;
    }

private:
    /// False for a name that FUSE cannot carry; it is left out.
    static bool terminate(const DirEntry& entry, char (&name)[utf16_name_max + 1]) {
        if (entry.name.size() > utf16_name_max) return false;
        std::memcpy(name, entry.name.data(), entry.name.size());
        name[entry.name.size()] = '\0';
        return true;
    }

    static struct stat brief(const DirEntry& entry) {
        struct stat st = {};
        st.st_ino = entry.number.value();
        st.st_mode = type_to_mode(entry.type);
        return st;
    }

    /// Without a lookup (node id 0) for "." and "..", which the host does not want, and for entries
    /// whose inode cannot be read: the name is listed all the same.
    fuse_entry_param look_up(const DirEntry& entry) {
        if (entry.name != "." && entry.name != "..") {
            auto vnode = self.mount_.vget(entry.number);
            if (vnode.ok()) {
                entered.reserve(entered.size() + 1);
                auto param = self.make_entry(std::move(*vnode));
                if (param.ok()) {
                    entered.push_back(param->ino);
                    return *param;
                }
            }
        }
        fuse_entry_param param = {};
        param.attr = brief(entry);
        return param;
    }
};

void Adapter::Requests::readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                                fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& dir = *TRY(self.node(id));
        const auto bytes = TRY(self.host_.this_thread().reply_buffer(size)).first(size);
        DirFill fill{self, req, {reinterpret_cast<char*>(bytes.data()), bytes.size()}, 0, {}};
        auto read = vfs::readdir(dir, static_cast<uint64_t>(offset),
                                 [&](const DirEntry& entry) { return fill.add(entry); });
        // What was read before the damage is handed out; the error comes with the next call.
        if (!read.ok() && fill.used == 0) return read.error();
        fuse_reply_buf(req, fill.buffer.data(), fill.used);
        return {};
    });
}

void Adapter::Requests::readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                                    fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& dir = *TRY(self.node(id));
        const auto bytes = TRY(self.host_.this_thread().reply_buffer(size)).first(size);
        DirFill fill{self, req, {reinterpret_cast<char*>(bytes.data()), bytes.size()}, 0, {}};
        fill.entered.reserve(size / 160); // a plus entry with a name of one byte is 160
        auto read = vfs::readdir(dir, static_cast<uint64_t>(offset),
                                 [&](const DirEntry& entry) { return fill.add_plus(entry); });
        if (!read.ok() && fill.used == 0) return read.error();
        if (fuse_reply_buf(req, fill.buffer.data(), fill.used) != 0)
            for (NodeId entered : fill.entered) self.nodes_.forget(entered, 1);
        return {};
    });
}

} // namespace rump::p2k
