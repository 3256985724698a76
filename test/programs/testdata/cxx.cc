// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Guard {
    std::string name;
    ~Guard() { std::cout << "unwound " << name << "\n"; }
};

static int deep(int n) {
    Guard g{std::to_string(n)};
    if (n == 0) throw std::out_of_range("bottom");
    return deep(n - 1) + 1;
}

thread_local int own = 0;

int main() {
    try {
        deep(3);
    } catch (const std::exception &e) {
        std::cout << "caught " << e.what() << "\n";
    }
    std::vector<std::thread> threads;
    std::atomic<long> sum{0};
    std::mutex m;
    std::condition_variable cv;
    int ready = 0;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([&, i] {
            for (int k = 0; k < 10000; k++) own += i, sum += i;
            std::exception_ptr kept;
            try { throw i; } catch (...) { kept = std::current_exception(); }
            try { std::rethrow_exception(kept); } catch (int n) { sum += n; }
            std::lock_guard lock(m);
            ready++;
            cv.notify_one();
        });
    {
        std::unique_lock lock(m);
        cv.wait(lock, [&] { return ready == 8; });
    }
    for (auto &t : threads) t.join();
    std::cout << sum << " " << own << "\n";
    auto f = std::async(std::launch::async, []() -> int { throw std::runtime_error("async"); });
    try { f.get(); } catch (const std::runtime_error &e) { std::cout << e.what() << "\n"; }
    namespace fs = std::filesystem;
    fs::path dir = fs::temp_directory_path() / "cxx-files";
    fs::create_directories(dir / "a/b");
    std::ofstream(dir / "a/f") << "text";
    for (auto &e : fs::recursive_directory_iterator(dir)) std::cout << e.path().filename().string() << " ";
    std::cout << fs::remove_all(dir) << "\n";
    std::cout << std::regex_replace(std::string("a1b22"), std::regex("[0-9]+"), "#") << "\n";
    auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::cout << (std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(20)) << "\n";
    try { std::vector<int>().at(1); } catch (...) { std::cout << "at\n"; }
    try { std::vector<char> v(1ull << 62); } catch (const std::exception &) { std::cout << "no memory\n"; }
    return 7;
}
