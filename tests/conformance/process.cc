// Child processes and scratch files of the test programs.
#include "tests/conformance/process.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace rump::conformance {

Exit run(const std::vector<std::string>& command) {
    // A file, not a pipe: a daemon that the command leaves behind may keep it open.
    std::FILE* output = std::tmpfile();
    if (output == nullptr) throw std::runtime_error("no temporary file");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fileno(output), 1);
    posix_spawn_file_actions_adddup2(&actions, fileno(output), 2);
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);

    Exit exit;
    pid_t child = 0;
    const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        exit.code = 127;
        exit.output = std::strerror(error);
    } else {
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        exit.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        std::rewind(output);
        char buffer[4096];
        while (const size_t n = std::fread(buffer, 1, sizeof buffer, output))
            exit.output.append(buffer, n);
    }
    std::fclose(output);
    return exit;
}

std::string joined(const std::vector<std::string>& command) {
    std::string text;
    for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
    return text;
}

TemporaryDirectory::TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/rump-test-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
    // Other users than the one who runs the test pass through it.
    std::filesystem::permissions(path_, std::filesystem::perms(0755));
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::vector<std::byte> read_host_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) throw std::runtime_error("cannot read " + path);
    std::vector<std::byte> bytes(std::filesystem::file_size(path));
    const size_t done = std::fread(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    if (done != bytes.size()) throw std::runtime_error("cannot read " + path);
    return bytes;
}

void write_host_file(const std::string& path, const std::vector<std::byte>& bytes) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr) throw std::runtime_error("cannot write " + path);
    // Runs of zeros become holes: images are mostly that.
    constexpr size_t chunk = 65536;
    static const std::vector<std::byte> zeros(chunk);
    bool good = ftruncate(fileno(file), static_cast<off_t>(bytes.size())) == 0;
    for (size_t at = 0; at < bytes.size() && good; at += chunk) {
        const size_t n = std::min(chunk, bytes.size() - at);
        if (std::memcmp(bytes.data() + at, zeros.data(), n) == 0) continue;
        good = pwrite(fileno(file), bytes.data() + at, n, static_cast<off_t>(at)) ==
               static_cast<ssize_t>(n);
    }
    std::fclose(file);
    if (!good) throw std::runtime_error("cannot write " + path);
}

} // namespace rump::conformance
