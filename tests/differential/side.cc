// Performing operations, and describing whole trees. See side.h.
#include "tests/differential/side.h"

#include <algorithm>
#include <random>
#include <sstream>

namespace rump::differential {

using namespace conformance;

namespace {

const User& user_of(const Operation& op) {
    return op.user == 0 ? root_user : op.user == 1 ? alice : bob;
}

std::string bytes_of(const Operation& op) {
    std::mt19937 random(op.seed);
    std::string bytes(op.y, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    return bytes;
}

std::string say(const Result<void>& result) {
    return result.ok() ? "ok" : std::string(errno_name(result.error()));
}

/// Size and FNV-1a of the bytes.
std::string digest(std::string_view bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (unsigned char c : bytes) hash = (hash ^ c) * 0x100000001b3u;
    return std::to_string(bytes.size()) + "/" + std::to_string(hash);
}

/// Times that a program set are in the last century; what is later is the clock's.
std::string set_time(Timespec time) {
    return time.sec < 1'500'000'000 ? std::to_string(time.sec) : "now";
}

std::string folded(std::string name) {
    for (char& c : name)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    return name;
}

/// On files of bounded size: all of it.
Result<std::string> contents(OpenFile& file) {
    std::string all;
    while (true) {
        const std::string more = TRY(file.pread(all.size(), 1 << 20));
        if (more.empty()) return all;
        all += more;
    }
}

} // namespace

Side::Side(const SideMaker& maker, const Abilities& shown)
    : name_(maker.name), traits_(maker.target->traits()), shown_(shown), backend_(maker.make()) {
    // Formats make their roots with different modes.
    if (traits_.owners) (void)backend_->chmod(root_user, ".", 0777);
}

std::string Side::write(const Operation& op, int flags, uint64_t offset) {
    auto file = backend_->open(user_of(op), op.a, flags, 0644);
    if (!file.ok()) return std::string(errno_name(file.error()));
    const std::string bytes = bytes_of(op);
    auto done = flags & O_APPEND ? (*file)->append(bytes) : (*file)->pwrite(offset, bytes);
    if (!done.ok()) return std::string(errno_name(done.error()));
    if (auto flushed = (*file)->flush(); !flushed.ok()) return say(flushed);
    return std::to_string(*done);
}

/// What opening a fifo or a socket does is the host's affair.
bool Side::opens_special_file(const Operation& op) {
    switch (op.kind) {
    case Kind::create:
    case Kind::write:
    case Kind::append:
    case Kind::read:
    case Kind::punch:
    case Kind::allocate:
    case Kind::hold:
        break;
    default:
        return false;
    }
    auto attr = backend_->stat(root_user, op.a, true);
    return attr.ok() && (attr->type == FileType::fifo || attr->type == FileType::sock);
}

/// `path` as its parts are spelled where this side has them in other letters: so that a file system
/// that tells letters apart is a model of one that does not.
std::string Side::spelled(const std::string& path) {
    std::string known;
    std::istringstream parts(path);
    for (std::string part; std::getline(parts, part, '/');) {
        if (part != ".") part.resize(part.find_last_not_of('.') + 1);
        std::string found = part;
        if (auto dir = backend_->opendir(root_user, known.empty() ? "." : known); dir.ok())
            for (auto items = (*dir)->next(); items.ok() && !items->empty(); items = (*dir)->next())
                for (const DirItem& item : *items)
                    if (folded(item.name) == folded(part)) found = item.name;
        known += (known.empty() ? "" : "/") + found;
    }
    return known;
}

Operation Side::spelled(Operation op) {
    const std::string to = op.b;
    op.a = spelled(op.a);
    if (op.kind != Kind::rename) return op;
    op.b = spelled(to);
    // Another spelling for the same file.
    const bool replaces = op.x == static_cast<uint64_t>(vfs::RenameMode::replace);
    if (op.b != op.a || !replaces) return op;
    const std::string last = to.substr(to.rfind('/') + 1);
    op.b = op.a.substr(0, op.a.rfind('/') + 1) + last.substr(0, last.find_last_not_of('.') + 1);
    return op;
}

std::string Side::perform(const Operation& as_given) {
    const bool translated = traits_.case_sensitive && !shown_.case_sensitive;
    const Operation op = translated ? spelled(as_given) : as_given;
    const User& user = user_of(op);
    if (opens_special_file(op)) return "a special file";
    switch (op.kind) {
    case Kind::create: {
        auto file = backend_->open(user, op.a, O_RDWR | O_CREAT, static_cast<uint32_t>(op.x));
        return file.ok() ? "ok" : std::string(errno_name(file.error()));
    }
    case Kind::write:
        return write(op, O_WRONLY | O_CREAT, op.x);
    case Kind::append:
        return write(op, O_WRONLY | O_APPEND, 0);
    case Kind::read: {
        auto file = backend_->open(user, op.a, O_RDONLY, 0);
        if (!file.ok()) return std::string(errno_name(file.error()));
        auto bytes = (*file)->pread(op.x, op.y);
        return bytes.ok() ? digest(*bytes) : std::string(errno_name(bytes.error()));
    }
    case Kind::truncate: {
        // Whether that is a change: a host that keeps times itself (FUSE's writeback cache) says
        // no.
        auto before = backend_->stat(user, op.a, true);
        if (before.ok() && before->type == FileType::reg && before->size == op.x)
            return "has this size";
        return say(backend_->truncate(user, op.a, op.x));
    }
    case Kind::rename:
        return say(backend_->rename(user, op.a, op.b, static_cast<vfs::RenameMode>(op.x)));
    case Kind::link:
        return say(backend_->link(user, op.a, op.b));
    case Kind::unlink:
        return say(backend_->unlink(user, op.a));
    case Kind::mkdir:
        return say(backend_->mkdir(user, op.a, static_cast<uint32_t>(op.x)));
    case Kind::rmdir:
        return say(backend_->rmdir(user, op.a));
    case Kind::symlink:
        return say(backend_->symlink(user, op.a, op.b));
    case Kind::readlink: {
        auto target = backend_->readlink(user, op.a);
        return target.ok() ? *target : std::string(errno_name(target.error()));
    }
    case Kind::mknod:
        return say(backend_->mknod(user, op.a, static_cast<FileType>(op.x), 0640, {}));
    case Kind::chmod:
        return say(backend_->chmod(user, op.a, static_cast<uint32_t>(op.x)));
    case Kind::chown:
        return say(backend_->chown(user, op.a, static_cast<uint32_t>(op.x),
                                   static_cast<uint32_t>(op.y), false));
    case Kind::utimes:
        return say(backend_->utimes(user, op.a, at(static_cast<int64_t>(op.x)),
                                    at(static_cast<int64_t>(op.y)), false));
    case Kind::setxattr:
        return say(backend_->setxattr(user, op.a, op.b, bytes_of(op), static_cast<XattrSet>(op.x)));
    case Kind::getxattr: {
        auto value = backend_->getxattr(user, op.a, op.b, {});
        return value.ok() ? digest(*value) : std::string(errno_name(value.error()));
    }
    case Kind::removexattr:
        return say(backend_->removexattr(user, op.a, op.b));
    case Kind::punch:
    case Kind::allocate: {
        auto file = backend_->open(user, op.a, O_RDWR, 0);
        if (!file.ok()) return std::string(errno_name(file.error()));
        const auto mode =
            op.kind == Kind::punch ? vfs::Fallocate::punch_hole : vfs::Fallocate::allocate;
        return say((*file)->fallocate(mode, op.x, op.y));
    }
    case Kind::stat: {
        auto attr = backend_->stat(user, op.a, false);
        return attr.ok() ? describe(op.a, *attr) : std::string(errno_name(attr.error()));
    }
    case Kind::list: {
        Tree below;
        auto dir = backend_->opendir(user, op.a);
        if (!dir.ok()) return std::string(errno_name(dir.error()));
        std::vector<std::string> names;
        while (true) {
            auto items = (*dir)->next();
            if (!items.ok()) return std::string(errno_name(items.error()));
            if (items->empty()) break;
            for (const DirItem& item : *items)
                if (item.name != "lost+found") names.push_back(item.name);
        }
        std::sort(names.begin(), names.end());
        std::string all;
        for (const std::string& name : names) all += name + " ";
        return all;
    }
    case Kind::hold:
    case Kind::hold_write:
    case Kind::hold_read:
    case Kind::drop:
        return held(op);
    }
    return "";
}

std::string Side::held(const Operation& op) {
    auto& file = held_[op.slot];
    if (op.kind == Kind::hold) {
        file.reset();
        auto opened = backend_->open(user_of(op), op.a, O_RDWR, 0);
        if (!opened.ok()) return std::string(errno_name(opened.error()));
        file = opened.release_value();
        return "ok";
    }
    if (!file) return "nothing held";
    if (op.kind == Kind::drop) {
        file.reset();
        return "ok";
    }
    if (op.kind == Kind::hold_write) {
        auto done = file->pwrite(op.x, bytes_of(op));
        if (!done.ok()) return std::string(errno_name(done.error()));
        // So that what other names show of it does not depend on when the host writes back.
        if (auto flushed = file->flush(); !flushed.ok()) return say(flushed);
        return std::to_string(*done);
    }
    auto bytes = contents(*file);
    auto attr = file->stat();
    if (!bytes.ok() || !attr.ok()) return "error";
    return digest(*bytes) + " links " + std::to_string(attr->nlink);
}

std::string Side::describe(const std::string& path, const Attr& attr) {
    std::string text =
        "type " + std::to_string(static_cast<int>(attr.type)) + " mtime " + set_time(attr.mtime);
    if (shown_.directory_links || attr.type != FileType::dir)
        text += " links " + std::to_string(attr.nlink);
    if (shown_.owners && attr.type != FileType::lnk) text += " mode " + std::to_string(attr.mode);
    if (shown_.owners)
        text += " uid " + std::to_string(attr.uid) + " gid " + std::to_string(attr.gid);
    if (attr.type == FileType::reg || attr.type == FileType::lnk)
        text += " size " + std::to_string(attr.size);
    if (attr.type == FileType::lnk)
        if (auto target = backend_->readlink(root_user, path); target.ok())
            text += " -> " + *target;
    if (shown_.xattrs) {
        auto names = backend_->listxattr(root_user, path);
        if (names.ok()) {
            std::sort(names->begin(), names->end());
            for (const std::string& name : *names) {
                auto value = backend_->getxattr(root_user, path, name, {});
                text += " " + name + "=" + (value.ok() ? digest(*value) : "?");
            }
        }
    }
    return text;
}

void Side::walk(const std::string& path, Tree& into) {
    auto dir = backend_->opendir(root_user, path.empty() ? "." : path);
    if (!dir.ok()) {
        into[path] += " unreadable " + std::string(errno_name(dir.error()));
        return;
    }
    std::vector<std::string> names;
    while (true) {
        auto items = (*dir)->next();
        if (!items.ok()) {
            into[path] += " readdir " + std::string(errno_name(items.error()));
            break;
        }
        if (items->empty()) break;
        for (const DirItem& item : *items)
            if (item.name != "." && item.name != ".." && item.name != "lost+found")
                names.push_back(item.name);
    }
    for (const std::string& name : names) {
        const std::string below = path.empty() ? name : path + "/" + name;
        auto attr = backend_->stat(root_user, below, false);
        if (!attr.ok()) {
            into[below] = std::string(errno_name(attr.error()));
            continue;
        }
        std::string& text = into[below];
        if (!text.empty()) text += " listed twice ";
        text += describe(below, *attr);
        if (attr->type == FileType::reg) {
            auto file = backend_->open(root_user, below, O_RDONLY, 0);
            auto bytes = file.ok() ? contents(**file) : Result<std::string>(file.error());
            text +=
                " data " + (bytes.ok() ? digest(*bytes) : std::string(errno_name(bytes.error())));
        } else if (attr->type == FileType::dir) {
            walk(below, into);
        }
    }
}

Tree Side::tree() {
    Tree all;
    walk("", all);
    return all;
}

void Side::reopen() {
    for (auto& file : held_) file.reset();
    if (traits_.persistent) backend_->reopen();
}

void Side::finish() {
    for (auto& file : held_) file.reset();
    backend_->finish();
}

} // namespace rump::differential
