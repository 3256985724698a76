// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: C++ exceptions unwind through frames and threads, static
// constructors run, containers, iostreams and std::thread work.
#include <algorithm>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Tracer {
	std::string name;
	explicit Tracer(std::string n) : name(std::move(n)) { std::cout << "+" << name << "\n"; }
	~Tracer() { std::cout << "-" << name << "\n"; }
};
static Tracer global("global");
thread_local std::string local = "fresh";

static int deep(int n) {
	Tracer t("frame" + std::to_string(n));
	if (n == 0)
		throw std::runtime_error("from the bottom");
	return deep(n - 1) + 1;
}

int main() {
	try {
		deep(3);
	} catch (const std::exception &e) {
		std::cout << "caught: " << e.what() << "\n";
	}
	int caught = 0;
	for (int i = 0; i < 2000; i++) {
		try {
			if (i % 2)
				throw i;
			std::vector<int>().at(1);
		} catch (int) {
			caught++;
		} catch (const std::out_of_range &) {
			caught++;
		}
	}
	std::cout << caught << " caught\n";
	auto f = std::async(std::launch::async, [] { return deep(1); });
	try {
		f.get();
	} catch (const std::runtime_error &e) {
		std::cout << "from a thread: " << e.what() << "\n";
	}
	std::thread([] { local = "changed"; }).join();
	std::cout << local << "\n";
	std::map<std::string, std::shared_ptr<int>> m;
	for (int i = 0; i < 100; i++)
		m["key" + std::to_string(i)] = std::make_shared<int>(i);
	std::vector<int> v;
	for (auto &[k, p] : m)
		v.push_back(*p);
	std::sort(v.rbegin(), v.rend());
	std::cout << m.begin()->first << " " << v[0] << " " << v[99] << "\n";
	std::string line;
	int lines = 0;
	while (std::getline(std::cin, line))
		lines++;
	std::cout << lines << " lines\n";
	return 3;
}
