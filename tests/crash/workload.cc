// The mixed workload: few names, so that they are reused; small and large files; syncs now and
// then.
#include "tests/crash/session.h"

namespace rump::crash {

namespace {

class Mixture {
public:
    Mixture(Session& session, uint64_t seed, const WorkloadOptions& options)
        : session_(session), random_(seed), options_(options) {}

    void run() {
        for (unsigned step = 0; step < options_.steps && session_.error().empty(); ++step) once();
        session_.sync();
    }

private:
    std::string pick_dir() {
        std::string dir;
        if (random_.below(2)) dir = "/" + name("d", random_.below(4));
        if (!dir.empty() && random_.below(3) == 0) dir += "/" + name("d", random_.below(3));
        return session_.is_dir(dir) ? dir : "";
    }
    std::string pick(const char* kind, uint64_t names) {
        return pick_dir() + "/" + name(kind, random_.below(names));
    }
    std::string name(const char* kind, uint64_t number) const {
        std::string short_name = kind + std::to_string(number);
        if (!options_.long_names || number % 2 == 0) return short_name;
        return short_name + std::string(number * 17 % 90, 'x');
    }
    std::string pick_file() {
        for (int i = 0; i < 8; ++i)
            if (std::string path = pick("file", 8); session_.is_file(path)) return path;
        return {};
    }
    /// Mostly small, now and then beyond what direct blocks reach.
    uint64_t some_offset() {
        const uint64_t spread[] = {1, 64, 512, 4096, 40000};
        return random_.below(spread[random_.below(5)]) * 8;
    }
    uint64_t some_length() {
        const uint64_t spread[] = {4, 128, 600, 4000};
        return (random_.below(spread[random_.below(4)]) + 1) * 8;
    }

    void once() {
        switch (random_.below(16)) {
        case 0:
        case 1:
        case 2:
            return create();
        case 3:
        case 4:
        case 5:
            return write();
        case 6:
            return truncate();
        case 7:
        case 8:
            return rename();
        case 9:
            return unlink();
        case 10:
            return directory();
        case 11:
            return replace_by_rename();
        case 12:
            return link();
        case 13:
            return symlink();
        case 14:
            if (std::string path = pick_file(); !path.empty()) session_.fsync(path);
            return;
        default:
            if (random_.below(2)) session_.sync();
        }
    }
    void create() {
        std::string path = pick("file", 8);
        if (session_.exists(path)) return write();
        session_.create(path);
        session_.write(path, 0, some_length());
    }
    void write() {
        std::string path = pick_file();
        if (path.empty()) return;
        uint64_t offset = random_.below(3) ? session_.size(path) : some_offset();
        session_.write(path, offset, some_length());
    }
    void truncate() {
        std::string path = pick_file();
        if (path.empty()) return;
        uint64_t size = session_.size(path);
        session_.truncate(path, random_.below(3) ? random_.below(size / 8 + 1) * 8
                                                 : size + some_offset());
    }
    void rename() {
        std::string from = pick_file(), to = pick("file", 8);
        if (random_.below(4) == 0) { // an empty directory to a new place
            from = pick("d", 4), to = pick("d", 4);
            if (!session_.is_dir(from) || session_.has_entries(from) || session_.exists(to) ||
                to.starts_with(from + "/"))
                return;
        }
        if (!from.empty() && !session_.is_symlink(to)) session_.rename(from, to);
    }
    /// How programs save: write another file, sync it, rename it over the old one.
    void replace_by_rename() {
        std::string to = pick_file();
        if (to.empty()) return;
        std::string fresh = to + ".new";
        if (!session_.exists(fresh)) session_.create(fresh);
        session_.write(fresh, 0, some_length());
        if (random_.below(2)) session_.fsync(fresh);
        session_.rename(fresh, to);
    }
    void unlink() {
        std::string path = random_.below(3) ? pick_file() : pick("link", 4);
        if (session_.is_file(path) || session_.is_symlink(path)) session_.unlink(path);
    }
    void directory() {
        std::string path = pick("d", 4);
        if (!session_.exists(path))
            session_.mkdir(path);
        else if (!session_.has_entries(path))
            session_.rmdir(path);
    }
    void link() {
        std::string from = pick_file(), to = pick("file", 8);
        if (options_.hard_links && !from.empty() && !session_.exists(to)) session_.link(from, to);
    }
    void symlink() {
        std::string path = pick("link", 4);
        if (!options_.symlinks || session_.exists(path)) return;
        session_.symlink(path, std::string(random_.below(2) ? 20 : 200, 't'));
    }

    Session& session_;
    host::SeededRandom random_;
    const WorkloadOptions& options_;
};

} // namespace

void mixed_workload(Session& session, uint64_t seed, const WorkloadOptions& options) {
    Mixture(session, seed, options).run();
}

} // namespace rump::crash
