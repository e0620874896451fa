// Options of a type's newfs written as newfs(8) of its home does, "-O 2 -b 16k": the command line
// with these as -o lists.
#include "ukfs/tool/newfs_line.h"

#include "ukfs/ukfs.h"

#include <algorithm>
#include <map>

namespace rump::tool {

namespace {

/// Those that the command itself has.
constexpr std::string_view own[] = {"-t", "-o", "-h", "-r", "-v"};

/// Name -> does it take a value?
std::map<std::string, bool, std::less<>> options_of(const std::string& type) {
    std::map<std::string, bool, std::less<>> found;
    const auto add = [](void* arg, const char* name, const char* value, const char*) {
        (*static_cast<decltype(found)*>(arg))[name] = *value != '\0';
    };
    (void)ukfs_type_options(type.c_str(), 1, add, &found); // an unknown type is refused later
    return found;
}

} // namespace

std::vector<std::string> newfs_line(std::vector<std::string> words) {
    const auto command = std::find(words.begin(), words.end(), "newfs");
    const auto named = std::find(words.begin(), words.end(), "-t");
    if (command == words.end() || named == words.end() || named + 1 == words.end()) return words;
    const auto options = options_of(named[1]);
    std::vector<std::string> out(words.begin(), command + 1);
    for (auto word = command + 1; word != words.end(); ++word) {
        const bool short_one = word->size() == 2 && (*word)[0] == '-';
        const bool long_one = word->size() > 3 && word->starts_with("--");
        const auto known =
            short_one || long_one ? options.find(word->substr(short_one ? 1 : 2)) : options.end();
        if (known == options.end() ||
            std::find(std::begin(own), std::end(own), *word) != std::end(own)) {
            out.push_back(*word);
            // The value of an option of the command's is no option.
            if ((*word == "-t" || *word == "-o") && word + 1 != words.end()) out.push_back(*++word);
            continue;
        }
        out.emplace_back("-o");
        if (!known->second || word + 1 == words.end()) {
            out.push_back(known->first); // without its value it is refused by name
            continue;
        }
        out.push_back(known->first + "=" + *++word);
    }
    return out;
}

} // namespace rump::tool
