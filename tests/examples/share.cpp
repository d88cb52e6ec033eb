/* SPDX-License-Identifier: MIT */
/*
 * kmem::shared<T> and kmem::handle between two processes, on a real daemon.
 *
 * Exit status: 0 if everything is as share.hpp says.
 */
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>
#include <utility>

#include <kmem/share.hpp>

#define CHECK(fact)                                                                                \
    ((fact)                                                                                        \
         ? static_cast<void>(0)                                                                    \
         : (std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), std::exit(1)))

namespace
{

struct image {
    std::uint64_t number;
    unsigned char bytes[100000];
};

template <typename T> constexpr bool is_move_only()
{
    return !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
           std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
           std::is_nothrow_destructible_v<T>;
}

static_assert(is_move_only<kmem::shared<image>>());
static_assert(is_move_only<kmem::shared<const image>>());
static_assert(is_move_only<kmem::shared<int[]>>());
static_assert(std::is_same_v<decltype(*std::declval<kmem::shared<const image>>()), const image &>);
static_assert(std::is_trivially_copyable_v<kmem::handle>);
static_assert(sizeof(kmem::handle) == sizeof(kmem_handle));

/* A pipe for plain data. */
struct line {
    int fds[2];

    line()
    {
        CHECK(pipe(fds) == 0);
    }

    template <typename T> void send(const T &what) const
    {
        CHECK(write(fds[1], &what, sizeof what) == static_cast<ssize_t>(sizeof what));
    }

    template <typename T> T receive() const
    {
        T what{};
        CHECK(read(fds[0], &what, sizeof what) == static_cast<ssize_t>(sizeof what));
        return what;
    }
};

struct pair {
    line to_child;
    line to_parent;
};

/* Runs the child's part in a process of its own, and this one's beside it. */
template <typename Child, typename Parent> void beside(Child child, Parent parent)
{
    const pair lines;
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        child(lines);
        std::exit(0);
    }
    parent(lines);
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
}

template <typename Call> int errno_of(Call call)
{
    try {
        call();
    } catch (const kmem::error &failed) {
        CHECK(std::strlen(failed.what()) > 0);
        return failed.code().value();
    }
    return 0;
}

void a_producer_and_a_consumer()
{
    beside(
        [](const pair &lines) {
            kmem::shared<const image> frame;
            std::uint64_t seen = 0;
            for (std::uint64_t i = 1; i <= 30; i++) {
                CHECK(frame.next("camera", seen, "consumer/frame"));
                CHECK(frame->number == i && frame->bytes[99999] == i);
                lines.to_parent.send(seen);
            }
            CHECK(!frame.next("camera", seen, "consumer/frame", 0));
            CHECK(!frame);
            CHECK(frame.size() == 0);
        },
        [](const pair &lines) {
            std::uint64_t last = 0;
            for (std::uint64_t i = 1; i <= 30; i++) {
                auto frame = kmem::shared<image>::allocate("producer/frame", KMEM_UNINITIALIZED);
                frame->number = i;
                std::memset(frame->bytes, static_cast<int>(i), sizeof frame->bytes);
                const std::uint64_t version = std::move(frame).give("camera");
                CHECK(!frame);
                CHECK(version > last);
                last = version;
                CHECK(lines.to_parent.receive<std::uint64_t>() == version);
            }
        });
    CHECK(kmem::unpublish("camera"));
    CHECK(!kmem::unpublish("camera"));
}

void handles_lead_to_arrays()
{
    beside(
        [](const pair &lines) {
            const auto handle = lines.to_child.receive<kmem::handle>();
            auto read = kmem::shared<const int[]>::attach(handle, "child/read");
            CHECK(read.size() == 1000 && read[0] == 0 && read[999] == 1998);
            int sum = 0;
            for (const int &value : read) {
                sum += value;
            }
            CHECK(sum == 999000);
            auto written = kmem::shared<int[]>::attach(handle, "child/write");
            written[5] = -1;
            CHECK(read[5] == -1); /* the same block */
            read.reset();
            CHECK(written[6] == 12);
            written = kmem::shared<int[]>();
            CHECK(kmem::handle::from_text(handle.to_text()) != kmem::handle());
            lines.to_parent.send(1);
            const auto owned =
                kmem::shared<image>::attach(lines.to_child.receive<kmem::handle>(), "child/owned");
            CHECK(owned->number == 7);
            CHECK(owned.share() == owned.share());
        },
        [](const pair &lines) {
            auto numbers = kmem::shared<int[]>::allocate(1000, "parent/numbers", KMEM_SHAREABLE);
            for (std::size_t i = 0; i < numbers.size(); i++) {
                numbers[i] = static_cast<int>(2 * i);
            }
            lines.to_child.send(numbers.share());
            CHECK(lines.to_parent.receive<int>() == 1);
            CHECK(numbers[5] == -1);
            auto over = kmem::shared<image>::allocate("parent/over");
            over->number = 7;
            lines.to_child.send(std::move(over).transfer());
            CHECK(!over);
        });
}

void what_fails_throws_and_changes_nothing()
{
    auto block = kmem::shared<std::uint32_t[]>::allocate(2, "small");
    const kmem::handle handle = block.share(KMEM_READ_ONLY);
    CHECK(errno_of([&] { kmem::shared<const image>::attach(handle, "too small"); }) == EINVAL);
    kmem::handle wrong = handle;
    wrong.tag++;
    kmem::handle gone = handle;
    gone.generation++;
    using ints = kmem::shared<const std::uint32_t[]>;
    CHECK(errno_of([&] { ints::attach(wrong, "wrong"); }) == EACCES);
    CHECK(errno_of([&] { ints::attach(gone, "gone"); }) == ESTALE);
    CHECK(errno_of([&] { ints::find("nothing", "none"); }) == ENOENT);
    CHECK(errno_of([&] { kmem::handle::from_text("no handle"); }) == EINVAL);
    CHECK(errno_of([&] { ints().share(); }) == EINVAL);
    CHECK(errno_of([&] { kmem::shared<image>::allocate("flag", KMEM_KEEP); }) == EINVAL);
    CHECK(errno_of([&] { kmem::shared<image[]>::allocate(SIZE_MAX / 2, "much"); }) == EINVAL);
    const auto most = kmem::shared<image[]>::allocate(100, "most");
    CHECK(errno_of([&] { kmem::shared<image[]>::allocate(100, "room"); }) == ENOMEM);
    const auto second = ints::attach(handle, "second"); /* -EBUSY: held twice by this process */
    CHECK(errno_of([&] { std::move(block).transfer(); }) == EBUSY);
    CHECK(block && block.size() == 2);
    CHECK(kmem::wait("nothing", 0, 0) == 0);
}

} // namespace

int main()
{
    a_producer_and_a_consumer();
    handles_lead_to_arrays();
    what_fails_throws_and_changes_nothing();
    return 0;
}

#ifdef REFUSED_1 /* SAYS: must be trivially copyable */
kmem::shared<std::string> refused;
#endif

#ifdef REFUSED_2 /* SAYS: must be trivially copyable */
const auto refused = kmem::shared<const std::unique_ptr<int>[]>::find("name", "reason");
#endif

#ifdef REFUSED_3 /* SAYS: a pointer leads nowhere in another process */
kmem::shared<char *> refused;
#endif

#ifdef REFUSED_4 /* SAYS: what is allocated is written: T must not be const */
const auto refused = kmem::shared<const int>::allocate("reason");
#endif

#ifdef REFUSED_5 /* SAYS: deleted */
const kmem::shared<int> refused;
const kmem::shared<int> copy = refused;
#endif

#ifdef REFUSED_6
void refused(kmem::shared<const int> &block)
{
    *block = 1;
}
#endif
