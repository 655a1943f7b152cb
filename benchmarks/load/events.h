// Which sockets can be read or written: epoll on Linux, poll elsewhere (macOS) and with -DUSE_POLL.
// SPDX-License-Identifier: MIT
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>
#include <stdio.h>
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

#if defined(__linux__) && !defined(USE_POLL)
#include <sys/epoll.h>

static int events_open(void) {
  return epoll_create1(0);
}

// Tell when fd has something to read.
static void events_watch(int queue, int fd, void *owner) {
  struct epoll_event interest = {.events = EPOLLIN, .data.ptr = owner};
  epoll_ctl(queue, EPOLL_CTL_ADD, fd, &interest);
}

// Before fd is closed; the kernel does the rest.
static void events_forget(int queue, int fd) {
  (void)queue;
  (void)fd;
}

// Tell also when fd has room for output; or no longer.
__attribute__((unused)) static void events_want_room(int queue, int fd, void *owner, int wanted) {
  struct epoll_event interest = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = owner};
  epoll_ctl(queue, EPOLL_CTL_MOD, fd, &interest);
}

// Wait until a socket is ready or timeout_ns has passed; negative: without end.  How many of ``ready`` were filled.
static int events_wait(int queue, struct event ready[EVENTS_MAX], int64_t timeout_ns) {
  struct epoll_event found[EVENTS_MAX];
  struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  int count = epoll_pwait2(queue, found, EVENTS_MAX, timeout_ns < 0 ? NULL : &timeout, NULL);
  for (int i = 0; i < count; i++) {
    ready[i].owner = found[i].data.ptr;
    ready[i].readable = (found[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    ready[i].writable = (found[i].events & EPOLLOUT) != 0;
  }
  return count;
}

#else
#include <poll.h>

#define WATCHED_MAX 16384

static struct pollfd watched[WATCHED_MAX];
static void *owners[WATCHED_MAX];
static int watched_count;

static int events_open(void) {
  return 0;
}

static void events_watch(int queue, int fd, void *owner) {
  (void)queue;
  if (watched_count == WATCHED_MAX) {
    fprintf(stderr, "more than %d sockets\n", WATCHED_MAX);
    exit(3);
  }
  watched[watched_count] = (struct pollfd){.fd = fd, .events = POLLIN};
  owners[watched_count++] = owner;
}

static int events_find(int fd) {
  int at = 0;
  while (watched[at].fd != fd)
    at++;
  return at;
}

static void events_forget(int queue, int fd) {
  (void)queue;
  int at = events_find(fd);
  watched_count--;
  watched[at] = watched[watched_count];
  owners[at] = owners[watched_count];
}

__attribute__((unused)) static void events_want_room(int queue, int fd, void *owner, int wanted) {
  (void)queue;
  (void)owner;
  watched[events_find(fd)].events = POLLIN | (wanted ? POLLOUT : 0);
}

// poll knows milliseconds only: a shorter wait becomes one.
static int events_wait(int queue, struct event ready[EVENTS_MAX], int64_t timeout_ns) {
  (void)queue;
  int timeout_ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
  if (poll(watched, watched_count, timeout_ms) < 0)
    return 0;
  int count = 0;
  for (int i = 0; i < watched_count && count < EVENTS_MAX; i++) {
    if (watched[i].revents == 0)
      continue;
    ready[count].owner = owners[i];
    ready[count].readable = (watched[i].revents & ~POLLOUT) != 0;
    ready[count].writable = (watched[i].revents & POLLOUT) != 0;
    count++;
  }
  return count;
}
#endif

#endif
