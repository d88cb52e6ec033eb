/* SPDX-License-Identifier: MIT */
/*
 * share.hpp - C++ owners of what share.h shares: kmem::shared<T> and kmem::handle
 *
 *      // the producer                                   // a consumer
 *      auto frame = kmem::shared<image>::allocate(       kmem::shared<const image> frame;
 *          "camera/frame");                              std::uint64_t seen = 0;
 *      fill(*frame);                                     while (frame.next("camera0/latest", seen,
 *      std::move(frame).give("camera0/latest");                            "detect")) {
 *                                                            look(*frame);
 *                                                        }
 *
 * Everything that share.h promises holds here, and what it does not promise does not. Read it
 * first.
 *
 * A shared<T> is this process's hold on a block with a T in it, a shared<T[]> on one with as many
 * as fit. It can be moved, and not copied: attach the handle again for a second hold. Its
 * destructor lets go. A shared<const T> attaches for reading alone; a shared<T> for writing, unless
 * it is the block's owner anyway. An owner that allocates, or is handed a block, has a shared<T>.
 *
 * WHAT MAY BE KEPT in it: trivially copyable T only, and no pointers, which lead nowhere in another
 * process. A new block is all zeros; no constructor and no destructor of T runs. What two processes
 * read and write at the same time is theirs to order, with std::atomic in the block, say. A block
 * that is smaller than a T is refused: kmem::error, EINVAL.
 *
 * FAILURE. What fails throws kmem::error, a std::system_error: code().value() is the errno that
 * share.h gives, what() the library's sentence. The object is as before, but for next(), which has
 * let go of what it had. Destructors, moves and reset() never throw; what goes wrong there is
 * treated as in heap_mem.hpp.
 *
 * THREADS: one object is one thread's at a time; different objects are independent, also those that
 * hold the same block. WAITING and FORK: see share.h. A forked child must not use, and may destroy,
 * what its parent has.
 *
 * C++17 or later, with exceptions. Header only.
 */
#ifndef KMEM_SHARE_HPP
#define KMEM_SHARE_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <kmem/heap_mem.hpp>
#include <kmem/share.h>

namespace kmem
{

/** error - a call of share.h that failed: its errno as code(), its sentence as what() */
class error : public std::system_error
{
  public:
    error(int errno_value, const std::string &sentence)
        : std::system_error(errno_value, std::generic_category(), sentence), sentence_(sentence)
    {
    }

    /** The library's sentence alone. */
    const char *what() const noexcept override
    {
        return sentence_.c_str();
    }

  private:
    std::string sentence_;
};

namespace detail
{

/* r as share.h's functions return it. */
inline void check(int r)
{
    if (r < 0) {
        throw error(-r, kmem_last_error());
    }
}

} // namespace detail

/**
 * handle - what leads to a shared block: plain data that may travel in a pipe, a file or a block
 */
struct handle : kmem_handle {
    handle() noexcept : kmem_handle{}
    {
    }

    /* What C code has. */
    handle(const kmem_handle &from) noexcept : kmem_handle(from)
    {
    }

    /** The handle that a text of to_text() stands for. Throws error: EINVAL, ESTALE. */
    static handle from_text(const std::string &text)
    {
        handle read;
        detail::check(kmem_handle_from_text(text.c_str(), &read));
        return read;
    }

    /** kmem://host/segment/offset+size@generation/tag */
    std::string to_text() const
    {
        char text[KMEM_HANDLE_TEXT_BYTES];
        detail::check(kmem_handle_to_text(this, text, sizeof text));
        return text;
    }
};

inline bool operator==(const handle &a, const handle &b) noexcept
{
    return a.instance == b.instance && a.generation == b.generation && a.tag == b.tag;
}

inline bool operator!=(const handle &a, const handle &b) noexcept
{
    return !(a == b);
}

/** unpublish() - the name means nothing any more. Return: false: it meant nothing. */
inline bool unpublish(const std::string &name)
{
    const int r = kmem_unpublish(name.c_str());
    if (r != -ENOENT) {
        detail::check(r);
    }
    return r == 0;
}

/**
 * wait() - until a name means something newer than `after`; negative: for ever
 * Return: its version; 0: nothing came in that time.
 */
inline std::uint64_t wait(const std::string &name, std::uint64_t after, int timeout_ms = -1)
{
    std::uint64_t version = 0;
    const int r = kmem_wait(name.c_str(), after, timeout_ms, &version);
    if (r == -EAGAIN) {
        return 0;
    }
    detail::check(r);
    return version;
}

/**
 * shared<T> - a hold on a block that other processes may hold as well; or empty
 */
template <typename T> class shared
{
  public:
    using element_type = std::remove_extent_t<T>;

    static_assert(std::is_trivially_copyable_v<element_type>,
                  "what other processes see is plain data: T of kmem::shared<T> must be trivially "
                  "copyable, without std::string, containers or pointers to memory of one process");
    static_assert(!std::is_pointer_v<element_type> && !std::is_member_pointer_v<element_type>,
                  "a pointer leads nowhere in another process: keep offsets or a kmem::handle");
    static_assert(!std::is_volatile_v<element_type> && !std::is_array_v<element_type> &&
                      std::extent_v<T> == 0,
                  "T of kmem::shared<T> is an object's type, or T[] for as many as fit");
    static_assert(alignof(element_type) <= detail::block_align,
                  "a block is aligned to 64 bytes at most; T wants more");

    static constexpr bool is_array = std::is_array_v<T>;
    static constexpr bool is_readonly = std::is_const_v<element_type>;

    /** An empty object. No call to the library. */
    shared() noexcept = default;

    shared(const shared &) = delete;
    shared &operator=(const shared &) = delete;

    /** Takes what other has, and leaves it empty. */
    shared(shared &&other) noexcept
    {
        swap(other);
    }

    /** Lets go of what it has, takes what other has, and leaves other empty. */
    shared &operator=(shared &&other) noexcept
    {
        shared taken(std::move(other));
        swap(taken);
        return *this;
    }

    /** Lets go of what it has. */
    ~shared()
    {
        reset();
    }

    /**
     * allocate() - a new block, all zeros, which this process owns
     * @reason:  why the memory is needed; copied
     * @flags:   of kmem_try_allocate_with(); with KMEM_UNINITIALIZED it need not be zeros
     */
    static shared allocate(const char *reason, int flags = 0)
    {
        static_assert(!is_array, "an array's allocate() begins with its count");
        return make(1, reason, flags);
    }

    /** allocate() - the same, of count elements; 1 or more */
    static shared allocate(std::size_t count, const char *reason, int flags = 0)
    {
        static_assert(is_array, "allocate() of a count is for kmem::shared<T[]>");
        return make(count, reason, flags);
    }

    /** attach() - hold what a handle leads to: for reading alone if T is const, else for writing */
    static shared attach(const handle &from, const char *reason)
    {
        void *block = nullptr;
        detail::check(kmem_attach(&from, access(), reason, &block));
        return shared(block);
    }

    /** find() - hold what a name means now; ret_version may be NULL */
    static shared find(const std::string &name, const char *reason,
                       std::uint64_t *ret_version = nullptr)
    {
        void *block = nullptr;
        detail::check(kmem_find(name.c_str(), access(), reason, &block, ret_version));
        return shared(block);
    }

    /**
     * next() - let go of what it has, wait for what is newer under a name, and hold that
     * @name:        may mean nothing yet: that is waited for as well
     * @reason:      why this process wants it; copied
     * @version:     what was seen last; 0: nothing was. The new one if true is returned
     * @timeout_ms:  0: not at all; negative: for ever
     *
     * Return: false: nothing newer came in that time; then the object is empty.
     */
    bool next(const std::string &name, std::uint64_t &version, const char *reason,
              int timeout_ms = -1)
    {
        void *block = mem();
        const int r = kmem_next(name.c_str(), access(), reason, &version, &block, timeout_ms);
        if (r == 0) {
            data_ = nullptr;
            shared taken(block);
            swap(taken);
        } else if (block == nullptr) {
            data_ = nullptr;
            count_ = 0;
        }
        if (r == -EAGAIN) {
            return false;
        }
        detail::check(r);
        return true;
    }

    /** share() - let processes that have the handle attach the block: see kmem_share() */
    handle share(int flags = 0) const
    {
        handle made;
        detail::check(kmem_share(data_, flags, &made));
        return made;
    }

    /** publish() - let a name mean the block; it is held on. Return: the version. */
    std::uint64_t publish(const std::string &name, int flags = 0) const
    {
        std::uint64_t version = 0;
        detail::check(kmem_publish(data_, name.c_str(), flags & ~KMEM_GIVE, &version));
        return version;
    }

    /** give() - publish(), and let go of it in the same request; then the object is empty */
    std::uint64_t give(const std::string &name, int flags = 0) &&
    {
        std::uint64_t version = 0;
        detail::check(kmem_publish(data_, name.c_str(), flags | KMEM_GIVE, &version));
        data_ = nullptr;
        count_ = 0;
        return version;
    }

    /** transfer() - hand the block over to the first that attaches it; then the object is empty */
    handle transfer(int flags = 0) &&
    {
        handle made;
        void *block = mem();
        detail::check(kmem_transfer(&block, flags, &made));
        data_ = nullptr;
        count_ = 0;
        return made;
    }

    /** reset() - let go of it, if it has something */
    void reset() noexcept
    {
        if (data_ != nullptr) {
            detail::drop("shared::reset", mem());
        }
        data_ = nullptr;
        count_ = 0;
    }

    void swap(shared &other) noexcept
    {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
    }

    /** The element, the first of an array; NULL when empty. Ownership: the object's. */
    element_type *get() const noexcept
    {
        return data_;
    }

    explicit operator bool() const noexcept
    {
        return data_ != nullptr;
    }

    /* Of an object that is not empty: */
    element_type &operator*() const noexcept
    {
        return *data_;
    }

    element_type *operator->() const noexcept
    {
        return data_;
    }

    element_type &operator[](std::size_t index) const noexcept
    {
        static_assert(is_array, "operator[] is for kmem::shared<T[]>");
        return data_[index];
    }

    /** How many elements; 0 when empty. An attached array has as many as fit its block. */
    std::size_t size() const noexcept
    {
        return count_;
    }

    element_type *begin() const noexcept
    {
        return data_;
    }

    element_type *end() const noexcept
    {
        return data_ + count_;
    }

  private:
    /* A hold that the library has just made; it is let go of if the block is too small. */
    explicit shared(void *block)
    {
        std::size_t num_bytes = 0;
        data_ = static_cast<element_type *>(block);
        try {
            detail::check(kmem_try_sizeof(block, &num_bytes));
            count_ = is_array ? num_bytes / sizeof(element_type) : 1;
            if (num_bytes < sizeof(element_type)) {
                throw error(EINVAL, "kmem::shared: the block has " + std::to_string(num_bytes) +
                                        " bytes, and a T takes " +
                                        std::to_string(sizeof(element_type)));
            }
        } catch (...) {
            reset();
            throw;
        }
    }

    static shared make(std::size_t count, const char *reason, int flags)
    {
        static_assert(!is_readonly, "what is allocated is written: T must not be const");
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(element_type)) {
            throw error(EINVAL, "kmem::shared: " + std::to_string(count) + " elements of " +
                                    std::to_string(sizeof(element_type)) +
                                    " bytes are more than can be addressed");
        }
        void *block = kmem_try_allocate_with(
            detail::bytes_for_align(count * sizeof(element_type), alignof(element_type)), flags,
            reason);
        if (block == nullptr) {
            const int error_value = errno;
            throw error(error_value, kmem_last_error());
        }
        shared made;
        made.data_ = static_cast<element_type *>(block);
        made.count_ = count;
        return made;
    }

    static constexpr int access() noexcept
    {
        return is_readonly ? KMEM_READ : KMEM_WRITE;
    }

    void *mem() const noexcept
    {
        return const_cast<std::remove_const_t<element_type> *>(data_);
    }

    element_type *data_ = nullptr;
    std::size_t count_ = 0;
};

} // namespace kmem

#endif
