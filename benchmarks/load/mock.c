// An upstream that speaks OpenAI's protocol and costs next to nothing: one thread, no dependencies.
// SPDX-License-Identifier: MIT
//
//   cc -O2 -o mock mock.c && ./mock [PORT]      default 9000; 0 takes a free port; the first line on stderr says which
//
// What it does is chosen by path segments before /v1, so that a base URL can choose it:
//   /l60    wait 60 ms before the first byte
//   /n50    content events in a stream (default 50)
//   /d5     5 ms between the events of a stream; 0 (default): back to back, each event still in a send() of its own
//   /e429   answer with that status and an error body
//   as in http://127.0.0.1:9000/l60/d5/n50/v1/chat/completions
//
// It streams when the body says "stream": true, and ends with a usage event when the body says "include_usage": true.
// GET anything: {"requests": N, "accepts": N, "streams": N, …}, what it has served so far, this GET included.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "events.h"

#define SLOTS 16384
#define NO_SLOT -1
#define DEFAULT_PORT 9000
#define DEFAULT_EVENTS 50

enum state {
  READING,    // waiting for the rest of a request
  ANSWERING,  // streaming, or about to go back to READING
  DELAYED,    // waiting out /l before the answer begins
};

struct conn {
  int fd;
  enum state state;
  char *in;
  size_t in_length, in_room;
  size_t consumed;  // bytes of ``in`` that the request being answered takes up
  // What the request asks for.
  int streams, wants_usage, events_left, event_delay_ms, error_status;
  // Output that the kernel has not taken yet.
  char *out;
  size_t out_length, out_room;
  // Its place in the timer wheel.
  struct conn *next, *previous;
  int slot;
};

static int queue;
static struct conn *wheel[SLOTS];
static long now_ms, wheel_ms;
static int timers;
static unsigned long request_count, accept_count, stream_count;

// --- what it says ---

static const char *ANSWER =
    "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion\",\"created\":1741569952,"
    "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello! How can I "
    "assist you today? I can answer questions, write text and code.\",\"refusal\":null,\"annotations\":[]},"
    "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":17,"
    "\"total_tokens\":36,\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}},\"service_tier\":\"default\","
    "\"system_fingerprint\":\"fp_44709d6fcb\"}";
static const char *EVENT_START =
    "data: {\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,"
    "\"model\":\"gpt-4o-mini\",\"choices\":[";
static const char *ERROR_BODY =
    "{\"error\":{\"message\":\"mock error\",\"type\":\"mock_error\",\"param\":null,\"code\":null}}";
static const char *STREAM_HEAD =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    "x-request-id: req_mock\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char *STREAM_END = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

// An answer whose bytes are always the same, ready to be sent.
struct prepared {
  char bytes[2048];
  int length;
};

static struct prepared whole_answer, first_event, content_event, finish_event, usage_event;

// One event in one chunk of a chunked body.  rest: what follows EVENT_START.
static void prepare_event(struct prepared *prepared, const char *rest) {
  unsigned size = strlen(EVENT_START) + strlen(rest);
  prepared->length = snprintf(prepared->bytes, sizeof prepared->bytes, "%x\r\n%s%s\r\n", size, EVENT_START, rest);
}

static void prepare_answers(void) {
  whole_answer.length = snprintf(
      whole_answer.bytes, sizeof whole_answer.bytes,
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_mock\r\nContent-Length: %zu\r\n\r\n%s",
      strlen(ANSWER), ANSWER);
  prepare_event(&first_event, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n");
  prepare_event(&content_event, "{\"index\":0,\"delta\":{\"content\":\" hello\"},\"finish_reason\":null}]}\n\n");
  prepare_event(&finish_event, "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
  prepare_event(&usage_event, "],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":50,\"total_tokens\":69}}\n\n");
}

// --- timers: a wheel of one slot a millisecond, since thousands of streams each want one every few milliseconds -----------

static void read_clock(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  now_ms = time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

static void set_timer(struct conn *conn, int delay_ms) {
  long at_ms = now_ms + (delay_ms < 1 ? 1 : delay_ms);
  if (at_ms <= wheel_ms)
    at_ms = wheel_ms + 1;
  conn->slot = at_ms % SLOTS;
  conn->previous = NULL;
  conn->next = wheel[conn->slot];
  if (conn->next)
    conn->next->previous = conn;
  wheel[conn->slot] = conn;
  timers++;
}

static void clear_timer(struct conn *conn) {
  if (conn->slot == NO_SLOT)
    return;
  if (conn->previous)
    conn->previous->next = conn->next;
  else
    wheel[conn->slot] = conn->next;
  if (conn->next)
    conn->next->previous = conn->previous;
  conn->slot = NO_SLOT;
  conn->next = conn->previous = NULL;
  timers--;
}

// --- connections: every function that returns an int returns -1 when the connection is dead, else 0 ---

static void open_conn(int fd) {
  int one = 1;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct conn *conn = calloc(1, sizeof *conn);
  conn->fd = fd;
  conn->slot = NO_SLOT;
  conn->in_room = 8192;
  conn->in = malloc(conn->in_room);
  accept_count++;
  events_watch(queue, fd, conn);
}

static void close_conn(struct conn *conn) {
  clear_timer(conn);
  events_forget(queue, conn->fd);
  close(conn->fd);
  free(conn->in);
  free(conn->out);
  free(conn);
}

static int send_bytes(struct conn *conn, const char *bytes, size_t length) {
  if (conn->out_length == 0) {
    ssize_t taken = send(conn->fd, bytes, length, 0);
    if (taken == (ssize_t)length)
      return 0;
    if (taken < 0) {
      if (errno != EAGAIN)
        return -1;
      taken = 0;
    }
    bytes += taken;
    length -= taken;
    events_want_room(queue, conn->fd, conn, 1);
  }
  if (conn->out_length + length > conn->out_room) {
    conn->out_room = (conn->out_length + length) * 2;
    conn->out = realloc(conn->out, conn->out_room);
  }
  memcpy(conn->out + conn->out_length, bytes, length);
  conn->out_length += length;
  return 0;
}

static int send_prepared(struct conn *conn, const struct prepared *prepared) {
  return send_bytes(conn, prepared->bytes, prepared->length);
}

static int send_pending(struct conn *conn) {
  while (conn->out_length > 0) {
    ssize_t taken = send(conn->fd, conn->out, conn->out_length, 0);
    if (taken < 0)
      return errno == EAGAIN ? 0 : -1;
    memmove(conn->out, conn->out + taken, conn->out_length - taken);
    conn->out_length -= taken;
  }
  events_want_room(queue, conn->fd, conn, 0);
  return 0;
}

static int take_request(struct conn *conn);

// The answer is complete: drop its request, and look for one that was pipelined behind it.
static int finish(struct conn *conn) {
  memmove(conn->in, conn->in + conn->consumed, conn->in_length - conn->consumed);
  conn->in_length -= conn->consumed;
  conn->consumed = 0;
  conn->state = READING;
  return conn->in_length ? take_request(conn) : 0;
}

static int send_stream_end(struct conn *conn) {
  if (send_prepared(conn, &finish_event))
    return -1;
  if (conn->wants_usage && send_prepared(conn, &usage_event))
    return -1;
  if (send_bytes(conn, STREAM_END, strlen(STREAM_END)))
    return -1;
  return finish(conn);
}

// The next event of a stream; all that are left, if they come back to back.
static int continue_stream(struct conn *conn) {
  while (conn->events_left > 0) {
    conn->events_left--;
    if (send_prepared(conn, &content_event))
      return -1;
    if (conn->event_delay_ms) {
      set_timer(conn, conn->event_delay_ms);
      return 0;
    }
  }
  return send_stream_end(conn);
}

static int begin_stream(struct conn *conn) {
  stream_count++;
  if (send_bytes(conn, STREAM_HEAD, strlen(STREAM_HEAD)) || send_prepared(conn, &first_event))
    return -1;
  if (conn->event_delay_ms) {
    set_timer(conn, conn->event_delay_ms);
    return 0;
  }
  return continue_stream(conn);
}

static int send_error(struct conn *conn) {
  char answer[512];
  int length = snprintf(
      answer, sizeof answer,
      "HTTP/1.1 %d Mock\r\nContent-Type: application/json\r\nretry-after: 1\r\nContent-Length: %zu\r\n\r\n%s",
      conn->error_status, strlen(ERROR_BODY), ERROR_BODY);
  return send_bytes(conn, answer, length) ? -1 : finish(conn);
}

static int send_counts(struct conn *conn) {
  char body[192], answer[320];
  int length = snprintf(body, sizeof body,
                        "{\"requests\":%lu,\"accepts\":%lu,\"streams\":%lu,\"object\":\"list\",\"data\":[]}", request_count,
                        accept_count, stream_count);
  length = snprintf(answer, sizeof answer,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body);
  return send_bytes(conn, answer, length) ? -1 : finish(conn);
}

static int answer(struct conn *conn) {
  if (conn->error_status)
    return send_error(conn);
  if (conn->streams)
    return begin_stream(conn);
  return send_prepared(conn, &whole_answer) ? -1 : finish(conn);
}

// --- requests ---

// How long the chunked body at ``at`` is, framing included; 0 if it is not all here.
static size_t chunked_length(const struct conn *conn, size_t at) {
  size_t start = at;
  for (;;) {
    char *line_end = memchr(conn->in + at, '\n', conn->in_length - at);
    if (!line_end)
      return 0;
    size_t size = strtoul(conn->in + at, NULL, 16);
    at = line_end - conn->in + 1;
    if (at + size + 2 > conn->in_length)
      return 0;
    at += size + 2;
    if (size == 0)
      return at - start;
  }
}

// Whether the body has "name": true somewhere.  A search, not a parser: its clients are known.
static int is_true(const char *body, size_t length, const char *quoted_name) {
  const char *end = body + length;
  const char *at = body;
  while ((at = memmem(at, end - at, quoted_name, strlen(quoted_name)))) {
    at += strlen(quoted_name);
    while (*at == ' ' || *at == ':')
      at++;
    if (!strncmp(at, "true", 4))
      return 1;
  }
  return 0;
}

// What the path's segments ask for; the delay before the answer is returned.  path: at its first slash.
static int read_path(struct conn *conn, const char *path) {
  int latency_ms = 0;
  while (*path == '/') {
    if (path[1] && path[2] >= '0' && path[2] <= '9') {
      int value = atoi(path + 2);
      switch (path[1]) {
        case 'l':
          latency_ms = value;
          break;
        case 'd':
          conn->event_delay_ms = value;
          break;
        case 'n':
          conn->events_left = value;
          break;
        case 'e':
          conn->error_status = value;
          break;
      }
    }
    path++;
    while (*path != '/' && *path != ' ' && *path != '\r')
      path++;
  }
  return latency_ms;
}

// How long the request's body is; -1 if it is not all here yet.
static long body_length(const struct conn *conn, size_t head_length) {
  long length = 0;
  const char *head_end = conn->in + head_length;
  for (const char *line = conn->in; line < head_end;) {
    if (!strncasecmp(line, "content-length:", 15))
      length = atol(line + 15);
    else if (!strncasecmp(line, "transfer-encoding:", 18)) {
      length = chunked_length(conn, head_length);
      return length ? length : -1;
    }
    line = (char *)memchr(line, '\n', head_end - line) + 1;
  }
  return conn->in_length < head_length + length ? -1 : length;
}

// Answer the request at the start of ``in``, if all of it is here.
static int take_request(struct conn *conn) {
  char *head_end = memmem(conn->in, conn->in_length, "\r\n\r\n", 4);
  if (!head_end)
    return 0;
  size_t head_length = head_end - conn->in + 4;
  long length = body_length(conn, head_length);
  if (length < 0)
    return 0;
  conn->consumed = head_length + length;
  conn->state = ANSWERING;
  request_count++;
  if (!strncmp(conn->in, "GET ", 4))
    return send_counts(conn);
  const char *body = conn->in + head_length;
  conn->streams = is_true(body, length, "\"stream\"");
  conn->wants_usage = conn->streams && is_true(body, length, "\"include_usage\"");
  conn->events_left = DEFAULT_EVENTS;
  conn->event_delay_ms = 0;
  conn->error_status = 0;
  char *space = memchr(conn->in, ' ', head_length);
  int latency_ms = space ? read_path(conn, space + 1) : 0;
  if (latency_ms) {
    conn->state = DELAYED;
    set_timer(conn, latency_ms);
    return 0;
  }
  return answer(conn);
}

static int receive(struct conn *conn) {
  int got = 0;
  for (;;) {
    if (conn->in_room - conn->in_length < 4097) {
      conn->in_room *= 2;
      conn->in = realloc(conn->in, conn->in_room);
    }
    size_t room = conn->in_room - conn->in_length - 1;
    ssize_t length = recv(conn->fd, conn->in + conn->in_length, room, 0);
    if (length == 0 || (length < 0 && errno != EAGAIN))
      return -1;
    if (length < 0)
      break;
    got = 1;
    conn->in_length += length;
    conn->in[conn->in_length] = 0;
    if ((size_t)length < room)
      break;
  }
  return got && conn->state == READING ? take_request(conn) : 0;
}

// --- the loop ---

static int listen_on(int port) {
  int one = 1;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 4096)) {
    perror("mock: bind");
    exit(1);
  }
  getsockname(listener, (void *)&address, &size);
  fprintf(stderr, "mock: port %d, answers of %zu bytes, events of %d\n", ntohs(address.sin_port), strlen(ANSWER),
          content_event.length);
  return listener;
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept(listener, NULL, NULL)) >= 0)
    open_conn(fd);
}

static void run_timers(void) {
  while (wheel_ms < now_ms) {
    wheel_ms++;
    struct conn *conn;
    while ((conn = wheel[wheel_ms % SLOTS])) {
      clear_timer(conn);
      int was_delayed = conn->state == DELAYED;
      conn->state = ANSWERING;
      if (was_delayed ? answer(conn) : continue_stream(conn))
        close_conn(conn);
    }
  }
}

int main(int argc, char **argv) {
  static struct event ready[EVENTS_MAX];
  // A client that has left shows as an error of send().
  signal(SIGPIPE, SIG_IGN);
  prepare_answers();
  queue = events_open();
  int listener = listen_on(argc > 1 ? atoi(argv[1]) : DEFAULT_PORT);
  events_watch(queue, listener, NULL);
  read_clock();
  wheel_ms = now_ms;
  for (;;) {
    int count = events_wait(queue, ready, timers ? 1000000 : -1);
    read_clock();
    if (!timers)
      wheel_ms = now_ms;
    for (int i = 0; i < count; i++) {
      struct conn *conn = ready[i].owner;
      if (!conn)
        accept_all(listener);
      else if ((ready[i].writable && send_pending(conn)) || (ready[i].readable && receive(conn)))
        close_conn(conn);
    }
    run_timers();
  }
}
