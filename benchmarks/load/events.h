// Which sockets can be read or written: epoll on Linux, kqueue on macOS and the BSDs; as much of either as is needed here.
// SPDX-License-Identifier: MIT
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512

// One socket that is ready.  owner: what it was watched with.  An error or a hang-up counts as readable: reading tells.
struct event {
  void *owner;
  int readable;
  int writable;
};

static struct timespec timespec_of_ns(int64_t ns) {
  struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  return time;
}

#ifdef __linux__
#include <sys/epoll.h>

static int events_open(void) {
  return epoll_create1(0);
}

// Tell when fd has something to read.  Closing it ends the watch.
static void events_watch(int queue, int fd, void *owner) {
  struct epoll_event interest = {.events = EPOLLIN, .data.ptr = owner};
  epoll_ctl(queue, EPOLL_CTL_ADD, fd, &interest);
}

// Tell also when fd has room for output; or no longer.
__attribute__((unused)) static void events_want_room(int queue, int fd, void *owner, int wanted) {
  struct epoll_event interest = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = owner};
  epoll_ctl(queue, EPOLL_CTL_MOD, fd, &interest);
}

// Wait until a socket is ready or timeout_ns has passed; negative: without end.  How many of ``ready`` were filled.
static int events_wait(int queue, struct event ready[EVENTS_MAX], int64_t timeout_ns) {
  struct epoll_event found[EVENTS_MAX];
  struct timespec timeout = timespec_of_ns(timeout_ns > 0 ? timeout_ns : 0);
  int count = epoll_pwait2(queue, found, EVENTS_MAX, timeout_ns < 0 ? NULL : &timeout, NULL);
  for (int i = 0; i < count; i++) {
    ready[i].owner = found[i].data.ptr;
    ready[i].readable = (found[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    ready[i].writable = (found[i].events & EPOLLOUT) != 0;
  }
  return count;
}

#else
#include <sys/types.h>

#include <sys/event.h>

static int events_open(void) {
  return kqueue();
}

static void events_change(int queue, int fd, int filter, int flags, void *owner) {
  struct kevent change;
  EV_SET(&change, fd, filter, flags, 0, 0, owner);
  kevent(queue, &change, 1, NULL, 0, NULL);
}

static void events_watch(int queue, int fd, void *owner) {
  events_change(queue, fd, EVFILT_READ, EV_ADD, owner);
}

__attribute__((unused)) static void events_want_room(int queue, int fd, void *owner, int wanted) {
  events_change(queue, fd, EVFILT_WRITE, wanted ? EV_ADD : EV_DELETE, owner);
}

// kqueue tells of reading and writing apart.  Both for one owner would be two events, and the first may free the owner:
// room is therefore told only where nothing can be read; the next wait tells it again.
static int events_wait(int queue, struct event ready[EVENTS_MAX], int64_t timeout_ns) {
  struct kevent found[EVENTS_MAX];
  struct timespec timeout = timespec_of_ns(timeout_ns > 0 ? timeout_ns : 0);
  int count = kevent(queue, NULL, 0, found, EVENTS_MAX, timeout_ns < 0 ? NULL : &timeout);
  int kept = 0;
  for (int i = 0; i < count; i++) {
    int twice = 0;
    for (int j = 0; found[i].filter == EVFILT_WRITE && j < count; j++)
      twice |= j != i && found[j].ident == found[i].ident;
    if (twice)
      continue;
    ready[kept].owner = (void *)found[i].udata;
    ready[kept].readable = found[i].filter == EVFILT_READ;
    ready[kept].writable = found[i].filter == EVFILT_WRITE;
    kept++;
  }
  return kept;
}
#endif

#endif
