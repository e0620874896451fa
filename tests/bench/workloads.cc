// The workloads. Names of files are a letter and a number, so that the null server can answer for
// them from nothing (null_server.cc): d00 … d99 directories, f small files, r renamed ones, big the
// big file, p files of the parallel workloads, n and m the files that those make.
#include "tests/bench/workloads.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <random>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace bench {
namespace {

constexpr size_t small_size = 4096;
constexpr size_t large_request = 1u << 20;
constexpr unsigned many_threads = 8;

std::string directory_of(const Scale& scale, size_t index) {
    return fmt::format("d{:02}", index * scale.directories / scale.files);
}
std::string path_of(const Scale& scale, char letter, size_t index) {
    return fmt::format("{}/{}{:05}", directory_of(scale, index), letter, index);
}

/// Paths are made before the clock starts.
std::vector<std::string> paths(const Scale& scale, char letter) {
    std::vector<std::string> result;
    for (size_t i = 0; i < scale.files; ++i) result.push_back(path_of(scale, letter, i));
    return result;
}

std::vector<std::byte> pattern(size_t size, uint32_t seed) {
    std::vector<std::byte> data(size);
    std::minstd_rand random(seed + 1);
    for (auto& byte : data) byte = static_cast<std::byte>(random());
    return data;
}

// --- small files --------------------------------------------------------------------------------

void make_directories(Files& fs, const Scale& scale) {
    for (size_t d = 0; d < scale.directories; ++d) fs.mkdir(fmt::format("d{:02}", d));
}

Amount create(Files& fs, const Scale& scale) {
    for (size_t i = 0; i < scale.files; ++i) fs.create(path_of(scale, 'f', i));
    return {scale.files};
}

Amount write_small(Files& fs, const Scale& scale) {
    const auto data = pattern(small_size, 0);
    for (size_t i = 0; i < scale.files; ++i) fs.write_file(path_of(scale, 'f', i), data);
    fs.sync();
    return {scale.files};
}

Amount stat_once(Files& fs, const Scale& scale) {
    for (size_t i = 0; i < scale.files; ++i) fs.stat(path_of(scale, 'f', i));
    return {scale.files};
}
void stat_all(Files& fs, const Scale& scale) { stat_once(fs, scale); }

Amount stat_warm(Files& fs, const Scale& scale) {
    constexpr unsigned passes = 5;
    const auto names = paths(scale, 'f');
    for (unsigned pass = 0; pass < passes; ++pass)
        for (const auto& name : names) fs.stat(name);
    return {passes * scale.files};
}

Amount list_all(Files& fs, const Scale& scale) {
    size_t count = 0;
    for (size_t d = 0; d < scale.directories; ++d)
        count += fs.list_and_stat(fmt::format("d{:02}", d));
    if (count < scale.files) throw Failed("readdir: entries are missing", ENOENT);
    return {count};
}

Amount read_small(Files& fs, const Scale& scale) {
    std::vector<std::byte> buffer(small_size);
    for (size_t i = 0; i < scale.files; ++i) {
        auto path = path_of(scale, 'f', i);
        if (fs.read_file(path, buffer) != small_size) throw Failed("short read " + path, EIO);
    }
    return {scale.files};
}

Amount rename_all(Files& fs, const Scale& scale) {
    for (size_t i = 0; i < scale.files; ++i)
        fs.rename(path_of(scale, 'f', i), path_of(scale, 'r', i));
    return {scale.files};
}

Amount unlink_all(Files& fs, const Scale& scale) {
    for (size_t i = 0; i < scale.files; ++i) fs.unlink(path_of(scale, 'r', i));
    return {scale.files};
}

// --- one big file -------------------------------------------------------------------------------

void write_range(File& file, uint64_t bytes, std::span<const std::byte> data) {
    for (uint64_t at = 0; at < bytes; at += data.size()) file.write(at, data);
    file.fsync();
}

void read_range(File& file, uint64_t bytes, std::span<std::byte> buffer) {
    for (uint64_t at = 0; at < bytes; at += buffer.size())
        if (file.read(at, buffer) != buffer.size()) throw Failed("short read", EIO);
}

Amount write_big(Files& fs, const Scale& scale) {
    const auto data = pattern(large_request, 1);
    write_range(*fs.open("big", true), scale.big_bytes, data);
    return {scale.big_bytes / large_request, scale.big_bytes};
}

Amount read_big(Files& fs, const Scale& scale) {
    std::vector<std::byte> buffer(large_request);
    read_range(*fs.open("big", false), scale.big_bytes, buffer);
    return {scale.big_bytes / large_request, scale.big_bytes};
}
void warm_big(Files& fs, const Scale& scale) { read_big(fs, scale); }

std::vector<uint64_t> random_offsets(const Scale& scale) {
    std::mt19937_64 random(42);
    std::vector<uint64_t> offsets(scale.random_operations);
    for (auto& offset : offsets) offset = random() % (scale.big_bytes / small_size) * small_size;
    return offsets;
}

Amount random_read(Files& fs, const Scale& scale) {
    const auto offsets = random_offsets(scale);
    std::vector<std::byte> buffer(small_size);
    auto file = fs.open("big", false);
    for (uint64_t offset : offsets)
        if (file->read(offset, buffer) != small_size) throw Failed("short read", EIO);
    return {offsets.size()};
}

Amount random_write(Files& fs, const Scale& scale) {
    const auto offsets = random_offsets(scale);
    const auto data = pattern(small_size, 2);
    auto file = fs.open("big", false);
    for (uint64_t offset : offsets) file->write(offset, data);
    return {offsets.size()};
}

Amount random_write_fsync(Files& fs, const Scale& scale) {
    const auto offsets = random_offsets(scale);
    const auto data = pattern(small_size, 3);
    auto file = fs.open("big", false);
    for (uint64_t offset : offsets) file->write(offset, data);
    file->fsync();
    return {offsets.size()};
}

// --- in parallel --------------------------------------------------------------------------------

/// Runs body(0) … body(threads - 1) side by side; the first failure is thrown again.
template<class Body>
void in_parallel(unsigned threads, Body body) {
    std::vector<std::thread> running;
    std::exception_ptr failure;
    std::atomic_flag failed;
    for (unsigned t = 0; t < threads; ++t)
        running.emplace_back([&, t] {
            try {
                body(t);
            } catch (...) {
                if (!failed.test_and_set()) failure = std::current_exception();
            }
        });
    for (auto& thread : running) thread.join();
    if (failure) std::rethrow_exception(failure);
}

std::string parallel_path(unsigned thread) { return fmt::format("p{:05}", thread); }

template<unsigned Threads>
Amount parallel_write(Files& fs, const Scale& scale) {
    const auto data = pattern(large_request, 4);
    in_parallel(Threads, [&](unsigned t) {
        write_range(*fs.open(parallel_path(t), true), scale.parallel_bytes, data);
    });
    return {Threads * scale.parallel_bytes / large_request, Threads * scale.parallel_bytes};
}

template<unsigned Threads>
Amount parallel_read(Files& fs, const Scale& scale) {
    in_parallel(Threads, [&](unsigned t) {
        std::vector<std::byte> buffer(large_request);
        read_range(*fs.open(parallel_path(t), false), scale.parallel_bytes, buffer);
    });
    return {Threads * scale.parallel_bytes / large_request, Threads * scale.parallel_bytes};
}

/// Each thread makes files in directories of its own.
template<unsigned Threads, char Letter>
Amount parallel_create(Files& fs, const Scale& scale) {
    in_parallel(Threads, [&](unsigned t) {
        for (size_t i = t * scale.files / Threads; i < (t + 1) * scale.files / Threads; ++i)
            fs.create(path_of(scale, Letter, i));
    });
    return {scale.files};
}

template<char Letter>
void remove_all(Files& fs, const Scale& scale) {
    for (size_t i = 0; i < scale.files; ++i) fs.unlink(path_of(scale, Letter, i));
}

/// Each thread on files of its own, in directories that all share: 40 % stat, 25 % read, 15 %
/// write, 10 % create and unlink, 10 % rename and back.
Amount mixed(Files& fs, const Scale& scale) {
    in_parallel(many_threads, [&](unsigned t) {
        std::mt19937 random(t);
        const auto data = pattern(small_size, t);
        std::vector<std::byte> buffer(small_size);
        const size_t mine = scale.files / many_threads;
        for (size_t n = 0; n < mine; ++n) {
            const size_t index = random() % mine * many_threads + t;
            const auto path = path_of(scale, 'n', index);
            const auto other = path_of(scale, 'x', index);
            const unsigned choice = random() % 100;
            if (choice < 40) {
                fs.stat(path);
            } else if (choice < 65) {
                fs.read_file(path, buffer);
            } else if (choice < 80) {
                fs.write_file(path, data);
            } else if (choice < 90) {
                fs.create(other);
                fs.unlink(other);
            } else {
                fs.rename(path, other);
                fs.rename(other, path);
            }
        }
    });
    const size_t steps = scale.files / many_threads * many_threads;
    return {steps};
}

// --- programs -----------------------------------------------------------------------------------

/// Runs a program in the file system's directory, its standard output read and thrown away (tar
/// looks whether it writes to /dev/null, and then reads nothing). Returns the bytes of its output.
uint64_t run_program(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Failed("pipe", errno);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    pid_t child;
    const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    uint64_t bytes = 0;
    std::vector<std::byte> buffer(1u << 16);
    for (ssize_t got; error == 0 && (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
        bytes += static_cast<uint64_t>(got);
    ::close(ends[0]);
    if (error != 0) throw Failed(words[0], error);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) throw Failed(words[0] + " failed", EIO);
    return bytes;
}

constexpr size_t source_files = 10'000;
constexpr size_t repository_files = 5'000;

Amount untar(Files& fs, const Scale& scale) {
    fs.mkdir("tree");
    run_program({"tar", "-xf", scale.source_tree, "-C", "tree"});
    fs.sync();
    return {source_files};
}

Amount tar_cold(Files&, const Scale&) {
    const uint64_t bytes = run_program({"tar", "-cf", "-", "tree"});
    if (bytes == 0) throw Failed("tar wrote nothing", EIO);
    return {source_files};
}

Amount remove_tree(Files&, const Scale&) {
    run_program({"rm", "-rf", "tree"});
    return {source_files};
}

std::vector<std::string> git(std::vector<std::string> words) {
    std::vector<std::string> all = {"git", "-c", "safe.directory=*", "-C", "repo"};
    all.insert(all.end(), words.begin(), words.end());
    return all;
}

void make_repository(Files& fs, const Scale& scale) {
    fs.mkdir("repo");
    run_program({"tar", "-xf", scale.repository, "-C", "repo"});
    run_program(git({"update-index", "-q", "--refresh"}));
    fs.sync();
}

Amount git_status(Files&, const Scale&) {
    for (int pass = 0; pass < 2; ++pass)
        if (run_program(git({"status", "--porcelain"})) != 0)
            throw Failed("git status: the repository has changed", EIO);
    return {2 * repository_files};
}

} // namespace

const std::vector<Workload>& workloads() {
    static const std::vector<Workload> list = {
        // name, description, cold, programs, plain, prepare, run, finish
        {"create", "create, empty", false, false, true, make_directories, create},
        {"write-small", "write 4 KiB into each, sync", false, false, true, nullptr, write_small},
        {"stat-warm", "stat, warm", false, false, true, stat_all, stat_warm},
        {"stat-cold", "stat, cold", true, false, true, nullptr, stat_once},
        {"readdir-stat", "readdir + stat, cold", true, false, true, nullptr, list_all},
        {"read-small", "open + read 4 KiB, cold", true, false, true, nullptr, read_small},
        {"rename", "rename", false, false, true, stat_all, rename_all},
        {"unlink", "unlink", false, false, true, nullptr, unlink_all},
        {"seq-write", "sequential write + fsync", false, false, true, nullptr, write_big},
        {"seq-read-cold", "sequential read, cold", true, false, true, nullptr, read_big},
        {"seq-read-warm", "sequential read, warm", false, false, true, warm_big, read_big},
        {"rand-read", "random read 4 KiB, cold", true, false, true, nullptr, random_read},
        {"rand-write", "random write 4 KiB", false, false, true, nullptr, random_write},
        {"rand-write-fsync", "random write 4 KiB, fsync at the end", false, false, true, nullptr,
         random_write_fsync},
        {"write-1", "1 writer", false, false, true, nullptr, parallel_write<1>},
        {"write-8", "8 parallel writers", false, false, true, nullptr,
         parallel_write<many_threads>},
        {"read-1", "1 reader, cold", true, false, true, nullptr, parallel_read<1>},
        {"read-8", "8 parallel readers, cold", true, false, true, nullptr,
         parallel_read<many_threads>},
        {"create-1", "1 creator", false, false, true, nullptr, parallel_create<1, 'm'>,
         remove_all<'m'>},
        {"create-8", "8 parallel creators", false, false, true, nullptr,
         parallel_create<many_threads, 'n'>},
        {"mixed", "mixed load, 8 threads", false, false, false, nullptr, mixed, remove_all<'n'>},
        {"untar", "untar of 10,000 source files, sync", false, true, false, nullptr, untar},
        {"tar", "tar of them, cold", true, true, false, nullptr, tar_cold},
        {"rm", "rm -rf of the source files", false, true, false, nullptr, remove_tree},
        {"git-status", "git status twice, 5,000 files, cold", true, true, false, make_repository,
         git_status},
    };
    return list;
}

} // namespace bench
