// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// The loopback interface as libraries find it: getifaddrs, if_nameindex and the
// ioctls. Other interfaces, which a host may have, do not count.
#include "sock.h"
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>

int main(void) {
	struct ifaddrs *list;
	CHECK(getifaddrs(&list) == 0);
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (strcmp(i->ifa_name, "lo") != 0)
			continue;
		char text[64] = "", mask[64] = "";
		int family = i->ifa_addr->sa_family;
		if (family == AF_INET) {
			inet_ntop(family, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
			inet_ntop(family, &((struct sockaddr_in *)i->ifa_netmask)->sin_addr, mask, sizeof mask);
		} else if (family == AF_INET6) {
			inet_ntop(family, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, text, sizeof text);
			inet_ntop(family, &((struct sockaddr_in6 *)i->ifa_netmask)->sin6_addr, mask, sizeof mask);
		}
		printf("%s %d %#x %s/%s\n", i->ifa_name, family, i->ifa_flags, text, mask);
	}
	freeifaddrs(list);
	struct if_nameindex *names = if_nameindex();
	CHECK(names != NULL);
	for (int i = 0; names[i].if_index; i++)
		if (strcmp(names[i].if_name, "lo") == 0)
			printf("%u %s\n", names[i].if_index, names[i].if_name);
	if_freenameindex(names);
	char name[IF_NAMESIZE];
	printf("%u %s\n", if_nametoindex("lo"), if_indextoname(1, name));
	SHOW(if_nametoindex("nosuch"));
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq r = {.ifr_name = "lo"};
	CHECK(ioctl(s, SIOCGIFFLAGS, &r) == 0);
	printf("flags %#x\n", r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
	CHECK(ioctl(s, SIOCGIFMTU, &r) == 0);
	printf("mtu %d\n", r.ifr_mtu);
	CHECK(ioctl(s, SIOCGIFADDR, &r) == 0);
	printf("%s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
	CHECK(ioctl(s, SIOCGIFNETMASK, &r) == 0);
	printf("%s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_netmask)->sin_addr));
	CHECK(ioctl(s, SIOCGIFHWADDR, &r) == 0);
	printf("type %d\n", r.ifr_hwaddr.sa_family);
	strcpy(r.ifr_name, "nosuch");
	SHOW(ioctl(s, SIOCGIFFLAGS, &r));
	SHOW(ioctl(s, SIOCGIFFLAGS, BAD));
	struct ifreq some[8];
	struct ifconf conf = {.ifc_len = sizeof some, .ifc_req = some};
	CHECK(ioctl(s, SIOCGIFCONF, &conf) == 0);
	for (size_t i = 0; i < conf.ifc_len / sizeof *some; i++)
		if (strcmp(some[i].ifr_name, "lo") == 0)
			printf("listed %s\n", inet_ntoa(((struct sockaddr_in *)&some[i].ifr_addr)->sin_addr));

	// Addresses of netlink sockets, and errors.
	int n = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), m = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
	struct sockaddr_nl a = {.nl_family = AF_NETLINK};
	socklen_t len = sizeof a;
	CHECK(bind(n, (void *)&a, sizeof a) == 0 && bind(m, (void *)&a, sizeof a) == 0);
	CHECK(getsockname(n, (void *)&a, &len) == 0);
	printf("%u bytes, own number %d\n", len, a.nl_pid == (unsigned)getpid());
	CHECK(getsockname(m, (void *)&a, &len) == 0);
	printf("another %d\n", a.nl_pid != (unsigned)getpid());
	SHOW(bind(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), (void *)&a, sizeof a));
	SHOW(bind(n, (void *)&a, 4));
	SHOW(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
	SHOW(listen(n, 1));
	char buf[8192];
	SHOW(recv(n, buf, sizeof buf, MSG_DONTWAIT));
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = {{sizeof q, RTM_GETLINK, NLM_F_REQUEST, 5, 0}, {.ifi_index = 1}};
	SHOW(send(n, &q, sizeof q, 0));
	struct nlmsghdr *h = (void *)buf;
	CHECK(recv(n, buf, sizeof buf, 0) > 0);
	printf("type %d seq %u mine %d\n", h->nlmsg_type, h->nlmsg_seq, h->nlmsg_pid == (unsigned)getpid());
	q.i.ifi_index = 9999;
	SHOW(send(n, &q, sizeof q, 0));
	CHECK(recv(n, buf, sizeof buf, 0) > 0);
	printf("type %d error %d\n", h->nlmsg_type, *(int *)NLMSG_DATA(h));
	return 0;
}
