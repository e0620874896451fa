// An intrusive hash table whose members also stand on a clock: found by a number, and looked at in
// turn by whoever wants to let some go. Not synchronized.
//
//     struct Member {                                    // how T carries what the table needs
//         static ClockLinks<T>& links(T& item);
//         static uint64_t key(const T& item);            // constant while it is in the table
//     };
//     ClockHash<T, Member> table;
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace rump::host {

template<typename T>
struct ClockLinks {
    T* hash_next = nullptr;
    T* next = nullptr; // the ring
    T* previous = nullptr;
};

template<typename T, typename Member>
class ClockHash {
public:
    size_t size() const { return size_; }

    T* find(uint64_t key) const {
        if (buckets_.empty()) return nullptr;
        T* item = buckets_[bucket(key)];
        while (item && Member::key(*item) != key) item = links(item).hash_next;
        return item;
    }

    /// Behind the hand: looked at last. Throws std::bad_alloc with the table as it was.
    void insert(T& item) {
        if (size_ >= buckets_.size()) grow();
        push(item);
        if (!hand_) {
            hand_ = links(&item).next = links(&item).previous = &item;
        } else {
            links(&item).next = hand_;
            links(&item).previous = links(hand_).previous;
            links(links(hand_).previous).next = &item;
            links(hand_).previous = &item;
        }
        ++size_;
    }

    void remove(T& item) {
        T** link = &buckets_[bucket(Member::key(item))];
        while (*link != &item) link = &links(*link).hash_next;
        *link = links(&item).hash_next;
        if (links(&item).next == &item) {
            hand_ = nullptr;
        } else {
            links(links(&item).previous).next = links(&item).next;
            links(links(&item).next).previous = links(&item).previous;
            if (hand_ == &item) hand_ = links(&item).next;
        }
        --size_;
    }

    /// The item under the hand, which moves on; null when there is none.
    T* tick() { return hand_ ? std::exchange(hand_, links(hand_).next) : nullptr; }

    /// Every item once, from the hand on. `visit` may remove the one that it gets.
    template<typename Visit>
    void each(Visit&& visit) const {
        T* item = hand_;
        for (size_t n = size_; n > 0; --n) {
            T* next = links(item).next;
            visit(*item);
            item = next;
        }
    }

private:
    static ClockLinks<T>& links(T* item) { return Member::links(*item); }
    size_t bucket(uint64_t key) const {
        return (key * 0x9e3779b97f4a7c15ull >> 32) & (buckets_.size() - 1);
    }
    void push(T& item) {
        T*& head = buckets_[bucket(Member::key(item))];
        links(&item).hash_next = head;
        head = &item;
    }
    /// Of two items with one key the newer one stays the one that is found.
    void grow() {
        std::vector<T*> old(std::max<size_t>(16, buckets_.size() * 2), nullptr);
        old.swap(buckets_);
        for (T* chain : old) {
            T* reversed = nullptr;
            while (chain) {
                T* next = links(chain).hash_next;
                links(chain).hash_next = reversed;
                reversed = std::exchange(chain, next);
            }
            while (reversed) push(*std::exchange(reversed, links(reversed).hash_next));
        }
    }

    std::vector<T*> buckets_; // a power of two
    size_t size_ = 0;
    T* hand_ = nullptr;
};

} // namespace rump::host
