// The `ukfs` command: its command line. ukfs(1).
#include "hostshim/standard_descriptors.h"
#include "ukfs/tool/commands.h"
#include "ukfs/tool/host_tree.h"
#include "ukfs/tool/newfs_line.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

using namespace rump::tool;

namespace {

/// Everything that command lines set; one object, for CLI11 keeps references to where values go.
struct CommandLine {
    Common common;
    Paths paths;
    std::string path; // of a command that takes one only
    std::string text; // the one argument that is no path: a mode, an owner, a type, a size
    std::string mode;
    std::optional<uint32_t> major, minor;
    ListOptions list;
    CopyOptions copy;
    CheckFlags check;
    XattrArguments xattr;
    std::string size;
    bool recursive = false, force = false, follow = false, json = false, parents = false,
         symbolic = false, no_replace = false;

    std::function<int()> run;
};

class Grammar {
public:
    Grammar(CLI::App& app, CommandLine& line) : app_(app), line_(line) {}

    void build() {
        app_.require_subcommand(1);
        app_.fallthrough();
        app_.set_version_flag("-V,--version", "ukfs " RUMP_VERSION);
        app_.add_option("-t", line_.common.type,
                        "type of the file system; found out when left out");
        app_.add_option("-o", options_, "options, separated by commas: see ukfs(1)")
            ->take_all()
            ->allow_extra_args(false);
        app_.add_option("--part", line_.common.partition,
                        "a partition: number, BSD letter, name or UUID");
        app_.add_flag("-r,--read-only", line_.common.read_only, "never write to the image");
        app_.add_flag("-v,--verbose", line_.common.verbose, "say more");
        looking();
        images();
        changing();
        copying();
    }

    /// After parsing: what CLI11 leaves in pieces.
    void conclude() {
        for (const std::string& list : options_)
            line_.common.options += (line_.common.options.empty() ? "" : ",") + list;
    }

private:
    CLI::App* command(const char* name, const char* help, std::function<int()> run) {
        CLI::App* added = app_.add_subcommand(name, help);
        added->callback([this, run] { line_.run = run; });
        return added;
    }
    CLI::App* on_image(const char* name, const char* help, std::function<int()> run) {
        CLI::App* added = command(name, help, std::move(run));
        added->add_option("image", line_.common.image, "file, block device, or DISK%PART:WHICH%")
            ->required();
        return added;
    }
    CLI::Option* paths(CLI::App* command) {
        return command->add_option("path", line_.paths, "path in the image")->required();
    }

    void looking() {
        auto* ls = on_image("ls", "list directories", [this] {
            if (line_.paths.empty()) line_.paths.emplace_back("/");
            return list(line_.common, line_.paths, line_.list);
        });
        ls->add_option("path", line_.paths, "path in the image; the root when left out");
        ls->add_flag("-a", line_.list.all, "names that begin with a dot, too");
        ls->add_flag("-l", line_.list.details, "mode, links, owner, size, time");
        ls->add_flag("-R", line_.list.recursive, "all below, too");
        ls->add_flag("-d", line_.list.directory, "directories themselves, not what they hold");
        ls->add_flag("-i", line_.list.inodes, "inode numbers");

        auto* stat = on_image("stat", "show all attributes", [this] {
            return show_attributes(line_.common, line_.paths, line_.follow);
        });
        paths(stat);
        stat->add_flag("-L", line_.follow, "of what a symbolic link points to");
        paths(on_image("cat", "write files to standard output",
                       [this] { return print_contents(line_.common, line_.paths); }));
        paths(on_image("readlink", "show where symbolic links point to",
                       [this] { return read_link(line_.common, line_.paths); }));
    }

    void images() {
        auto* info = on_image("info", "show what the file system is",
                              [this] { return rump::tool::info(line_.common, line_.json); });
        info->add_flag("--json", line_.json, "as JSON");
        auto* check = on_image("check", "check the file system; exits as fsck does",
                               [this] { return rump::tool::check(line_.common, line_.check); });
        check->add_flag("-y", line_.check.repair, "repair what is wrong");
        check->add_flag("-n", line_.check.look, "change nothing (always, without -y)");
        check->add_flag("-f", line_.check.force, "also when it is marked clean");
        check->add_flag("--json", line_.check.json, "as JSON");
        auto* newfs = on_image("newfs", "make an empty file system", [this] {
            return rump::tool::newfs(line_.common, line_.size, line_.force);
        });
        newfs->add_option("--size", line_.size, "make the file, of this many bytes (64M, 2G)");
        newfs->add_flag("--force", line_.force, "overwrite what is there");
        on_image("probe", "find out what an image is", [this] { return probe(line_.common); });
        on_image("parts", "list the partitions of a disk",
                 [this] { return partitions(line_.common); });
        command("types", "list the types of file systems", [] { return types(); });
    }

    void changing() {
        auto* rm = on_image("rm", "remove files", [this] {
            return remove(line_.common, line_.paths, line_.recursive, line_.force);
        });
        paths(rm);
        rm->add_flag("-r,-R", line_.recursive, "directories, and all that is in them");
        rm->add_flag("-f", line_.force, "do not mind what is not there");
        auto* mkdir = on_image("mkdir", "make directories", [this] {
            return make_directory(line_.common, line_.paths, line_.parents,
                                  line_.mode.empty() ? "755" : line_.mode);
        });
        paths(mkdir);
        mkdir->add_flag("-p", line_.parents, "missing parents, too");
        mkdir->add_option("-m", line_.mode, "mode (755)");
        paths(on_image("rmdir", "remove empty directories",
                       [this] { return remove_directory(line_.common, line_.paths); }));
        auto* mv = on_image("mv", "rename or move",
                            [this] { return move(line_.common, line_.paths, line_.no_replace); });
        paths(mv);
        mv->add_flag("-n", line_.no_replace, "replace nothing");
        auto* ln = on_image("ln", "give a file a further name", [this] {
            return make_link(line_.common, line_.paths, line_.symbolic);
        });
        paths(ln);
        ln->add_flag("-s", line_.symbolic, "a symbolic link");
        auto* touch = on_image("touch", "set times to now; make files",
                               [this] { return rump::tool::touch(line_.common, line_.paths); });
        paths(touch);
        auto* truncate = on_image("truncate", "set the size of files", [this] {
            return rump::tool::truncate(line_.common, line_.size, line_.paths);
        });
        truncate->add_option("-s", line_.size, "bytes")->required();
        paths(truncate);
        attributes();
    }

    void attributes() {
        auto* chmod = on_image("chmod", "change modes", [this] {
            return change_mode(line_.common, line_.text, line_.paths, line_.recursive);
        });
        chmod->add_option("mode", line_.text, "octal, or as u+x,go-w")->required();
        paths(chmod);
        chmod->add_flag("-R", line_.recursive, "all below, too");
        auto* chown = on_image("chown", "change owners", [this] {
            return change_owner(line_.common, line_.text, line_.paths, line_.recursive,
                                !line_.no_replace);
        });
        chown->add_option("owner", line_.text, "UID, UID:GID or :GID")->required();
        paths(chown);
        chown->add_flag("-R", line_.recursive, "all below, too");
        chown->add_flag("-P", line_.no_replace, "of a symbolic link itself");
        auto* mknod = on_image("mknod", "make a fifo, device node or socket", [this] {
            return make_node(line_.common, line_.path, line_.text, line_.major, line_.minor,
                             line_.mode.empty() ? "644" : line_.mode);
        });
        mknod->add_option("path", line_.path, "path in the image")->required();
        mknod->add_option("type", line_.text, "p, c, b or s")->required();
        mknod->add_option("major", line_.major, "of a device");
        mknod->add_option("minor", line_.minor, "of a device");
        mknod->add_option("-m", line_.mode, "mode (644)");
        auto* xattr = on_image("xattr", "list, show, set or remove extended attributes",
                               [this] { return rump::tool::xattr(line_.common, line_.xattr); });
        xattr->add_option("path", line_.xattr.path, "path in the image")->required();
        xattr->add_option("name", line_.xattr.name, "whole name, as user.mime_type");
        xattr->add_option("value", line_.xattr.value, "new value");
        xattr->add_flag("-d", line_.xattr.remove, "remove it");
    }

    void copying() {
        auto* cp = on_image("cp", "copy within the image",
                            [this] { return copy(line_.common, line_.paths, line_.copy); });
        paths(cp);
        cp->add_flag("-r,-R", line_.copy.recursive, "directories, and all that is in them");
        cp->add_flag("-p", line_.copy.preserve, "keep owners, times and extended attributes");
        on_image("put", "copy files and trees of the host into the image",
                 [this] { return put(line_.common, line_.paths); })
            ->add_option("path", line_.paths,
                         "files of the host (- for standard input), then the target");
        on_image("get", "copy files and trees of the image to the host",
                 [this] { return get(line_.common, line_.paths); })
            ->add_option("path", line_.paths,
                         "paths in the image, then the target (- for standard output)");
    }

    CLI::App& app_;
    CommandLine& line_;
    std::vector<std::string> options_;
};

/// What is wrong with a command line, in one line.
int refuse(const CLI::App& app, const CLI::ParseError& error) {
    std::string command = "ukfs", text = error.what();
    const auto chosen = app.get_subcommands();
    if (!chosen.empty()) command += " " + chosen[0]->get_name();
    const auto words = app.remaining();
    if (chosen.empty() && !words.empty() && !words[0].starts_with('-'))
        text = "unknown command \"" + words[0] + "\"";
    fmt::print(stderr, "ukfs: {}; try {} --help\n", text, command);
    return command == "ukfs check" ? exit_check_usage : exit_usage;
}

/// What could not be printed is worth an error, too.
int finish_output(const CommandLine& line, int code) {
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    complain(line.common, fmt::format("standard output: {}", host_error(errno)));
    return code == exit_ok ? exit_failed : code;
}

} // namespace

int main(int argc, char** argv) {
    rump::host::keep_standard_descriptors();
    std::signal(SIGXFSZ, SIG_IGN); // a file that grows too large is an error like others
    CommandLine line;
    CLI::App app("Files of file system images, without mounting them", "ukfs");
    Grammar grammar(app, line);
    try {
        grammar.build();
        // CLI11 takes them from the back.
        auto words = newfs_line({argv + 1, argv + argc});
        std::reverse(words.begin(), words.end());
        app.parse(std::move(words));
        grammar.conclude();
        return finish_output(line, line.run());
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0) return refuse(app, error);
        app.exit(error); // help, version
        return finish_output(line, exit_ok);
    } catch (const std::bad_alloc&) {
        complain(line.common, "out of memory");
        return exit_failed;
    }
}
