// A FUSE server that answers everything from nothing: the protocol's limit on this machine. It
// keeps one byte a name (is it there?), so that the bench's plain workloads run on it; data read is
// zeros, data written vanishes. Every cache of the host's that a server can ask for is on.
//
// Names are those of workloads.cc: d00 … directories, a letter and a number for files, "big".
//
//     null_server [--big MIB] [--parallel MIB] [--per-directory N] [--counters FILE] [--uring] DIR
//     (foreground)
//
// It is served by the transports of this suite, over /dev/fuse or io_uring.
//
// FILE gets the number of requests so far as a 64-bit integer, mapped: reading it costs nobody
// anything.
#include "tests/bench/own_transport.h"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr fuse_ino_t big_inode = 2;
constexpr fuse_ino_t first_directory = 0x1000;
constexpr uint32_t most_numbers = 1u << 17;
constexpr double forever = std::numeric_limits<int>::max();
constexpr size_t largest_request = 1u << 20;

struct Server {
    uint64_t big_bytes = 512u << 20;
    uint64_t parallel_bytes = 32u << 20;
    uint32_t per_directory = 100;
    std::atomic<bool> big{false};
    std::unique_ptr<std::atomic<bool>[]> there { new std::atomic<bool>[ 26 * most_numbers ]() };
    std::atomic<uint64_t> own_counter{0};
    std::atomic<uint64_t>* requests = &own_counter;
    std::optional<bench::OwnTransport> transport;
    std::vector<char> zeros = std::vector<char>(largest_request);
};

Server& server_of(fuse_req_t request) {
    auto& server = *static_cast<Server*>(fuse_req_userdata(request));
    server.requests->fetch_add(1, std::memory_order_relaxed);
    return server;
}

/// The inode that a name has; 0: no name of ours.
fuse_ino_t inode_of(std::string_view name) {
    if (name == "big") return big_inode;
    if (name.size() < 2 || name[0] < 'a' || name[0] > 'z') return 0;
    uint64_t number = 0;
    for (char c : name.substr(1)) {
        if (c < '0' || c > '9') return 0;
        number = number * 10 + static_cast<uint64_t>(c - '0');
        if (number >= most_numbers) return 0;
    }
    if (name[0] == 'd') return number < 1000 ? first_directory + number : 0;
    return (static_cast<fuse_ino_t>(name[0] - 'a' + 1) << 32) | number;
}

bool is_directory(fuse_ino_t inode) {
    return inode == FUSE_ROOT_ID || (inode >= first_directory && inode < first_directory + 1000);
}
std::atomic<bool>& presence(Server& server, fuse_ino_t inode) {
    if (inode == big_inode) return server.big;
    if (is_directory(inode)) return server.there['d' - 'a' + 26 * (inode - first_directory)];
    const auto letter = static_cast<size_t>(inode >> 32) - 1;
    return server.there[letter + 26 * (inode & (most_numbers - 1))];
}

struct stat attributes(const Server& server, fuse_ino_t inode) {
    struct stat st {};
    st.st_ino = inode;
    st.st_uid = getuid();
    st.st_gid = getgid();
    st.st_nlink = 1;
    if (is_directory(inode)) {
        st.st_mode = S_IFDIR | 0755;
        return st;
    }
    st.st_mode = S_IFREG | 0644;
    const char letter = static_cast<char>('a' + (inode >> 32) - 1);
    st.st_size = inode == big_inode ? static_cast<off_t>(server.big_bytes)
                 : letter == 'p'    ? static_cast<off_t>(server.parallel_bytes)
                                    : 4096;
    return st;
}
fuse_entry_param entry_of(const Server& server, fuse_ino_t inode) {
    fuse_entry_param entry{};
    entry.ino = inode;
    entry.attr_timeout = entry.entry_timeout = forever;
    if (inode) entry.attr = attributes(server, inode);
    return entry;
}

void on_init(void*, fuse_conn_info* connection) {
    for (unsigned capability :
         {FUSE_CAP_ASYNC_READ, FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_PARALLEL_DIROPS,
          FUSE_CAP_NO_OPEN_SUPPORT, FUSE_CAP_NO_OPENDIR_SUPPORT, FUSE_CAP_READDIRPLUS,
          FUSE_CAP_HANDLE_KILLPRIV, FUSE_CAP_CACHE_SYMLINKS})
        connection->want |= connection->capable & capability;
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
    connection->max_write = largest_request;
    connection->max_read = 0;
    connection->max_readahead = largest_request;
    connection->time_gran = 1;
}
void on_lookup(fuse_req_t request, fuse_ino_t, const char* name) {
    auto& server = server_of(request);
    fuse_ino_t inode = inode_of(name);
    if (inode && !presence(server, inode)) inode = 0;
    const auto entry = entry_of(server, inode); // inode 0: a negative entry, cached
    fuse_reply_entry(request, &entry);
}
void on_forget(fuse_req_t request, fuse_ino_t, uint64_t) {
    server_of(request);
    fuse_reply_none(request);
}
void on_forget_multi(fuse_req_t request, size_t, fuse_forget_data*) {
    server_of(request);
    fuse_reply_none(request);
}
void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const auto st = attributes(server_of(request), inode);
    fuse_reply_attr(request, &st, forever);
}
void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what,
                fuse_file_info*) {
    auto st = attributes(server_of(request), inode);
    if (what & FUSE_SET_ATTR_SIZE) st.st_size = wanted->st_size;
    fuse_reply_attr(request, &st, forever);
}
void make(fuse_req_t request, const char* name) {
    auto& server = server_of(request);
    const fuse_ino_t inode = inode_of(name);
    if (!inode) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    presence(server, inode) = true;
    auto entry = entry_of(server, inode);
    if (!is_directory(inode)) entry.attr.st_size = 0;
    fuse_reply_entry(request, &entry);
}
void on_mknod(fuse_req_t request, fuse_ino_t, const char* name, mode_t, dev_t) {
    make(request, name);
}
void on_mkdir(fuse_req_t request, fuse_ino_t, const char* name, mode_t) { make(request, name); }
void on_unlink(fuse_req_t request, fuse_ino_t, const char* name) {
    auto& server = server_of(request);
    const fuse_ino_t inode = inode_of(name);
    if (inode) presence(server, inode) = false;
    fuse_reply_err(request, inode ? 0 : ENOENT);
}
void on_rename(fuse_req_t request, fuse_ino_t, const char* from, fuse_ino_t, const char* to,
               unsigned) {
    auto& server = server_of(request);
    const fuse_ino_t source = inode_of(from), target = inode_of(to);
    if (!source || !target) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    presence(server, source) = false;
    presence(server, target) = true;
    fuse_reply_err(request, 0);
}
void on_read(fuse_req_t request, fuse_ino_t, size_t size, off_t, fuse_file_info*) {
    auto& server = server_of(request);
    fuse_reply_buf(request, server.zeros.data(), std::min(size, server.zeros.size()));
}
void on_write_buf(fuse_req_t request, fuse_ino_t, fuse_bufvec* data, off_t, fuse_file_info*) {
    server_of(request);
    fuse_reply_write(request, fuse_buf_size(data));
}
void on_ok(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    server_of(request);
    fuse_reply_err(request, 0);
}
void on_open(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    server_of(request);
    fuse_reply_err(request, ENOSYS); // once: the host opens without asking from then on
}
void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    server_of(request);
    fuse_reply_err(request, ENOSYS);
}

/// The files that stand in directory `inode`, from position `offset` on.
void list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus) {
    auto& server = server_of(request);
    std::vector<char> buffer(size);
    size_t used = 0;
    const auto first = (inode - first_directory) * server.per_directory;
    constexpr std::string_view letters = "frnmp";
    const off_t end =
        inode == FUSE_ROOT_ID ? 0 : static_cast<off_t>(letters.size() * server.per_directory);
    for (off_t at = offset; at < end; ++at) {
        const char letter = letters[static_cast<size_t>(at) / server.per_directory];
        const auto number = first + static_cast<size_t>(at) % server.per_directory;
        std::array<char, 32> name;
        std::snprintf(name.data(), name.size(), "%c%05lu", letter,
                      static_cast<unsigned long>(number));
        const fuse_ino_t child = inode_of(name.data());
        if (!child || !presence(server, child)) continue;
        const auto entry = entry_of(server, child);
        const size_t needed = plus
                                  ? fuse_add_direntry_plus(request, buffer.data() + used,
                                                           size - used, name.data(), &entry, at + 1)
                                  : fuse_add_direntry(request, buffer.data() + used, size - used,
                                                      name.data(), &entry.attr, at + 1);
        if (needed > size - used) break;
        used += needed;
    }
    fuse_reply_buf(request, buffer.data(), used);
}
void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
    list(request, inode, size, offset, false);
}
void on_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    fuse_file_info*) {
    list(request, inode, size, offset, true);
}
void on_statfs(fuse_req_t request, fuse_ino_t) {
    server_of(request);
    struct statvfs st {};
    st.f_bsize = st.f_frsize = 4096;
    st.f_blocks = st.f_bfree = st.f_bavail = 1u << 30;
    st.f_namemax = 255;
    fuse_reply_statfs(request, &st);
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops
        ops{}; // create is missing on purpose: ENOSYS makes it mknod, without a release
    ops.init = on_init;
    ops.lookup = on_lookup;
    ops.forget = on_forget;
    ops.forget_multi = on_forget_multi;
    ops.getattr = on_getattr;
    ops.setattr = on_setattr;
    ops.mknod = on_mknod;
    ops.mkdir = on_mkdir;
    ops.unlink = on_unlink;
    ops.rename = on_rename;
    ops.open = on_open;
    ops.opendir = on_open;
    ops.read = on_read;
    ops.write_buf = on_write_buf;
    ops.flush = on_flush;
    ops.fsync = on_ok;
    ops.fsyncdir = on_ok;
    ops.readdir = on_readdir;
    ops.readdirplus = on_readdirplus;
    ops.statfs = on_statfs;
    return ops;
}

ssize_t send(int fd, iovec* parts, int count, void* user) {
    return static_cast<Server*>(user)->transport->send(fd, {parts, static_cast<size_t>(count)});
}
ssize_t receive(int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); }

/// The counter's file, mapped. Null: cannot.
std::atomic<uint64_t>* map_counter(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ::ftruncate(fd, sizeof(uint64_t)) != 0) return nullptr;
    void* memory = ::mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    return memory == MAP_FAILED ? nullptr : new (memory) std::atomic<uint64_t>(0);
}

} // namespace

int main(int argc, char** argv) {
    Server server;
    uint64_t big_mib = 512, parallel_mib = 32;
    std::string directory, counters;
    bool uring = false;
    CLI::App app("A FUSE server that answers from nothing");
    app.add_option("--big", big_mib);
    app.add_option("--parallel", parallel_mib);
    app.add_option("--per-directory", server.per_directory);
    app.add_option("--counters", counters);
    app.add_flag("--uring", uring);
    app.add_option("directory", directory)->required();
    CLI11_PARSE(app, argc, argv);
    server.big_bytes = big_mib << 20;
    server.parallel_bytes = parallel_mib << 20;
    if (!counters.empty() && !(server.requests = map_counter(counters))) {
        std::fprintf(stderr, "null_server: %s: %s\n", counters.c_str(), std::strerror(errno));
        return 1;
    }

    std::array<char*, 3> words{argv[0], const_cast<char*>("-o"),
                               const_cast<char*>("fsname=null,subtype=null")};
    fuse_args args = FUSE_ARGS_INIT(static_cast<int>(words.size()), words.data());
    const auto ops = operations();
    fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, &server);
    if (!session) return 1;
    const fuse_custom_io io = {
        .writev = send, .read = receive, .splice_receive = nullptr, .splice_send = nullptr};
    int status = 1;
    if (fuse_session_mount(session, directory.c_str()) == 0) {
        server.transport.emplace(session, uring);
        if (fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0)
            status = server.transport->serve(directory) ? 0 : 1;
        server.transport.reset();
        fuse_session_unmount(session);
    }
    fuse_session_destroy(session);
    fuse_opt_free_args(&args);
    return status;
}
