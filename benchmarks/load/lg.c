// An HTTP/1.1 load generator over connections that stay open: one thread; prints one line of JSON.
// SPDX-License-Identifier: MIT
//
//   cc -O2 -o lg lg.c
//   lg -p PORT [-u PATH] [-c CONNECTIONS] [-t SECONDS | -n REQUESTS] [-w WARM_UP_S] [-r RATE] [-d]
//      [-b BODY_FILE | -B BODY] [-H 'Name: value']...
//
// A closed loop: every connection sends its next request when its answer is whole.  With -r RATE an open loop: latency
// counts from the moment a request should have been sent, so that a server that stalls cannot hide it.
// -d drains: when the time is up no more is sent, but what is under way is waited for (30 s at most), not cut off.
//
// Output: "ok", "rps", "ev_s" and the latencies (microseconds) are of the time after the warm-up; "all_ok",
// "all_events" and "started" of the whole run.  "ttfb": to the first byte of an answer's body, which in a stream is its
// first event.  "refused": to the end of an answer that is not a 200.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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

#define HEAD_MAX 8192
#define BODY_MAX (1 << 20)
#define SAMPLES_MAX (1 << 22)
#define RECONNECTS_MAX 200000
#define DRAIN_S 30
#define TICK_S 0.2

enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER_END };

struct conn {
  int fd;
  int busy;  // a request is under way
  double sent_at_s, first_byte_at_s;
  // The answer, as far as it is here.
  int in_body, status, chunked, closes;
  char head[HEAD_MAX];
  int head_length;
  long length_left;  // of a body that is not chunked
  enum chunk_state chunk_state;
  long chunk_left;
  char last_byte;
};

static int port = 8000, connection_count = 16;
static double rate;
static long request_limit;
static const char *path = "/v1/chat/completions";
static const char *body = "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static char extra_headers[4096];
static double duration_s = 5, warm_up_s = 0.5;
static int drains;

static int queue;
static struct sockaddr_in server;
static char *request;
static int request_length;
static struct conn *conns;
static int *idle, idle_count;
static double start_s, measured_from_s, end_s;

static unsigned *latencies_us, *first_bytes_us, *refusals_us;
static long sample_count, refusal_count;
static long ok_count, bad_count, measured_ok_count, sent_count, reconnect_count;
static long event_count, measured_event_count;
static int last_bad_status;

static double now_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

static void die(const char *what, int code) {
  perror(what);
  exit(code);
}

// --- sending ---

static void open_conn(struct conn *conn) {
  int one = 1;
  conn->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(conn->fd, (void *)&server, sizeof server))
    die("connect", 2);
  setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  events_watch(queue, conn->fd, conn);
  conn->busy = 0;
}

static void reopen_conn(struct conn *conn) {
  events_forget(queue, conn->fd);
  close(conn->fd);
  reconnect_count++;
  if (reconnect_count > RECONNECTS_MAX) {
    fprintf(stderr, "too many reconnects\n");
    exit(3);
  }
  open_conn(conn);
}

// at_s: when it should be sent; in an open loop that may be a while ago.
static void send_request(struct conn *conn, double at_s) {
  conn->sent_at_s = at_s;
  conn->first_byte_at_s = 0;
  conn->in_body = 0;
  conn->head_length = 0;
  conn->chunk_state = CHUNK_SIZE;
  conn->chunk_left = 0;
  conn->last_byte = 0;
  sent_count++;
  if (send(conn->fd, request, request_length, 0) != request_length) {
    // The server closed an idle connection.
    reopen_conn(conn);
    if (send(conn->fd, request, request_length, 0) != request_length)
      die("send", 2);
  }
  conn->busy = 1;
}

static int may_send(double at_s) {
  if (drains && at_s >= end_s)
    return 0;
  return idle_count > 0 && (request_limit == 0 || sent_count < request_limit);
}

// Send on every idle connection; in an open loop, as far as requests are due.  next_s: when the next one is.
static void send_due(double at_s, double *next_s) {
  while (may_send(at_s)) {
    if (rate && *next_s > at_s)
      return;
    struct conn *conn = &conns[idle[--idle_count]];
    send_request(conn, rate ? *next_s : now_s());
    *next_s += rate ? 1 / rate : 0;
  }
}

// --- receiving ---

// Part of an answer's body, without any framing.  An event ends with an empty line.
static void take_body(struct conn *conn, const char *bytes, int length, double at_s) {
  if (length == 0)
    return;
  if (!conn->first_byte_at_s)
    conn->first_byte_at_s = at_s;
  const char *end = bytes + length;
  for (const char *at = bytes, *line_end; (line_end = memchr(at, '\n', end - at)); at = line_end + 1) {
    char before = line_end > bytes ? line_end[-1] : conn->last_byte;
    if (before == '\n') {
      event_count++;
      measured_event_count += at_s >= measured_from_s && at_s < end_s;
    }
  }
  conn->last_byte = end[-1];
}

static void read_head(struct conn *conn) {
  conn->status = atoi(conn->head + strlen("HTTP/1.1 "));
  conn->chunked = 0;
  conn->length_left = 0;
  conn->closes = 0;
  for (char *line = strstr(conn->head, "\r\n"); line; line = strstr(line, "\r\n")) {
    line += 2;
    if (!strncasecmp(line, "content-length:", 15))
      conn->length_left = atol(line + 15);
    else if (!strncasecmp(line, "transfer-encoding:", 18))
      conn->chunked = 1;
    else if (!strncasecmp(line, "connection: close", 17))
      conn->closes = 1;
  }
}

// How many of the bytes belonged to the head; 0 when it is not whole yet.
static int take_head(struct conn *conn, const char *bytes, int length) {
  int had = conn->head_length;
  int room = HEAD_MAX - 1 - had;
  int kept = length < room ? length : room;
  memcpy(conn->head + had, bytes, kept);
  conn->head_length += kept;
  conn->head[conn->head_length] = 0;
  char *end = strstr(conn->head, "\r\n\r\n");
  if (!end)
    return 0;
  *end = 0;
  conn->in_body = 1;
  read_head(conn);
  return end - conn->head + 4 - had;
}

static int hex_digit(char digit) {
  return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
}

// 1 when the chunked body is complete.
static int take_chunked(struct conn *conn, const char *bytes, int length, double at_s) {
  const char *end = bytes + length;
  while (bytes < end) {
    if (conn->chunk_state == CHUNK_DATA) {
      int taken = end - bytes < conn->chunk_left ? end - bytes : conn->chunk_left;
      take_body(conn, bytes, taken, at_s);
      bytes += taken;
      conn->chunk_left -= taken;
      if (conn->chunk_left == 0)
        conn->chunk_state = CHUNK_END;
      continue;
    }
    char byte = *bytes++;
    if (conn->chunk_state == CHUNK_SIZE && byte != '\n') {
      if (byte != '\r' && byte != ';')
        conn->chunk_left = conn->chunk_left * 16 + hex_digit(byte);
    } else if (byte == '\n') {
      if (conn->chunk_state == TRAILER_END)
        return 1;
      if (conn->chunk_state == CHUNK_END)
        conn->chunk_state = CHUNK_SIZE;
      else
        conn->chunk_state = conn->chunk_left ? CHUNK_DATA : TRAILER_END;
    }
  }
  return 0;
}

// 1 when the answer is complete.
static int take_answer(struct conn *conn, const char *bytes, int length, double at_s) {
  if (!conn->in_body) {
    int used = take_head(conn, bytes, length);
    if (used == 0)
      return 0;
    bytes += used;
    length -= used;
    if (!conn->chunked && conn->length_left == 0) {
      conn->first_byte_at_s = at_s;
      return 1;
    }
  }
  if (conn->chunked)
    return take_chunked(conn, bytes, length, at_s);
  int taken = length < conn->length_left ? length : conn->length_left;
  take_body(conn, bytes, taken, at_s);
  conn->length_left -= taken;
  return conn->length_left == 0;
}

static void count_answer(struct conn *conn, double at_s) {
  conn->busy = 0;
  idle[idle_count++] = conn - conns;
  if (conn->status != 200) {
    bad_count++;
    last_bad_status = conn->status;
    if (conn->sent_at_s >= measured_from_s && refusal_count < SAMPLES_MAX)
      refusals_us[refusal_count++] = (at_s - conn->sent_at_s) * 1e6;
  } else {
    ok_count++;
    measured_ok_count += at_s >= measured_from_s && at_s < end_s;
    if (conn->sent_at_s >= measured_from_s && sample_count < SAMPLES_MAX) {
      latencies_us[sample_count] = (at_s - conn->sent_at_s) * 1e6;
      first_bytes_us[sample_count] = (conn->first_byte_at_s - conn->sent_at_s) * 1e6;
      sample_count++;
    }
  }
  if (conn->closes)
    reopen_conn(conn);
}

static void receive(struct conn *conn) {
  static char bytes[1 << 17];
  ssize_t length = recv(conn->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  double at_s = now_s();
  if (length < 0 && errno == EAGAIN)
    return;
  if (length <= 0) {
    if (conn->busy) {
      bad_count++;
      idle[idle_count++] = conn - conns;
    }
    reopen_conn(conn);
  } else if (conn->busy && take_answer(conn, bytes, length, at_s)) {
    count_answer(conn, at_s);
  }
}

// --- the run ---

static int is_over(double at_s) {
  if (request_limit)
    return ok_count + bad_count >= request_limit;
  if (!drains)
    return at_s >= end_s;
  return at_s >= end_s + DRAIN_S || (at_s >= end_s && idle_count == connection_count);
}

static void run(void) {
  static struct event ready[EVENTS_MAX];
  double next_s = start_s;
  for (double at_s = now_s(); !is_over(at_s); at_s = now_s()) {
    send_due(at_s, &next_s);
    at_s = now_s();
    double wait_s = TICK_S;
    if (rate && idle_count && next_s - at_s < wait_s)
      wait_s = next_s - at_s;
    if (at_s < end_s && end_s - at_s < wait_s)
      wait_s = end_s - at_s;
    int count = events_wait(queue, ready, wait_s > 0 ? wait_s * 1e9 : 0);
    for (int i = 0; i < count; i++)
      receive(ready[i].owner);
  }
}

static int compare(const void *left, const void *right) {
  unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
  return a < b ? -1 : a > b;
}

// share: in [0, 1].  values_us: sorted.
static double percentile_of(const unsigned *values_us, long count, double share) {
  return count ? values_us[(long)(share * (count - 1))] : 0;
}

static double percentile(const unsigned *values_us, double share) {
  return percentile_of(values_us, sample_count, share);
}

static void print_result(double finished_s) {
  // With -n the run is measured from its start to its last answer, with -t for the time that was asked for.
  double seconds = request_limit ? finished_s - start_s : (finished_s < end_s ? finished_s : end_s) - measured_from_s;
  double sum_us = 0;
  for (long i = 0; i < sample_count; i++)
    sum_us += latencies_us[i];
  qsort(latencies_us, sample_count, sizeof *latencies_us, compare);
  qsort(first_bytes_us, sample_count, sizeof *first_bytes_us, compare);
  qsort(refusals_us, refusal_count, sizeof *refusals_us, compare);
  printf("{\"c\":%d,\"rate\":%.0f,\"secs\":%.3f,\"ok\":%ld,\"bad\":%ld,\"badstatus\":%d,\"reconn\":%ld,", connection_count,
         rate, seconds, measured_ok_count, bad_count, last_bad_status, reconnect_count);
  printf("\"all_ok\":%ld,\"all_events\":%ld,\"started\":%ld,\"rps\":%.1f,\"ev_s\":%.0f,", ok_count, event_count, sent_count,
         measured_ok_count / seconds, measured_event_count / seconds);
  printf("\"mean\":%.0f,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%.0f,",
         sample_count ? sum_us / sample_count : 0, percentile(latencies_us, .5), percentile(latencies_us, .9),
         percentile(latencies_us, .99), percentile(latencies_us, .999), percentile(latencies_us, 1));
  printf("\"ttfb50\":%.0f,\"ttfb99\":%.0f,", percentile(first_bytes_us, .5), percentile(first_bytes_us, .99));
  printf("\"refused50\":%.0f,\"refused99\":%.0f}\n", percentile_of(refusals_us, refusal_count, .5),
         percentile_of(refusals_us, refusal_count, .99));
}

static const char *read_body(const char *file_name) {
  FILE *file = fopen(file_name, "r");
  if (!file)
    die(file_name, 2);
  char *bytes = malloc(BODY_MAX);
  int length = fread(bytes, 1, BODY_MAX - 1, file);
  fclose(file);
  if (length && bytes[length - 1] == '\n')
    length--;
  bytes[length] = 0;
  return bytes;
}

static void add_header(const char *line) {
  if (strlen(extra_headers) + strlen(line) + 3 > sizeof extra_headers) {
    fprintf(stderr, "the headers are too long\n");
    exit(2);
  }
  strcat(extra_headers, line);
  strcat(extra_headers, "\r\n");
}

static void read_arguments(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "p:u:c:t:n:w:r:b:B:H:d")) > 0) {
    switch (option) {
      case 'p':
        port = atoi(optarg);
        break;
      case 'u':
        path = optarg;
        break;
      case 'c':
        connection_count = atoi(optarg);
        break;
      case 't':
        duration_s = atof(optarg);
        break;
      case 'n':
        request_limit = atol(optarg);
        break;
      case 'w':
        warm_up_s = atof(optarg);
        break;
      case 'r':
        rate = atof(optarg);
        break;
      case 'b':
        body = read_body(optarg);
        break;
      case 'B':
        body = optarg;
        break;
      case 'H':
        add_header(optarg);
        break;
      case 'd':
        drains = 1;
        break;
      default:
        exit(2);
    }
  }
}

static void prepare_request(void) {
  size_t room = strlen(body) + strlen(path) + strlen(extra_headers) + 256;
  request = malloc(room);
  request_length = snprintf(request, room,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                            "%sContent-Length: %zu\r\n\r\n%s",
                            path, port, extra_headers, strlen(body), body);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  read_arguments(argc, argv);
  prepare_request();
  server.sin_family = AF_INET;
  server.sin_port = htons(port);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  queue = events_open();
  conns = calloc(connection_count, sizeof *conns);
  idle = calloc(connection_count, sizeof *idle);
  latencies_us = malloc(SAMPLES_MAX * sizeof *latencies_us);
  first_bytes_us = malloc(SAMPLES_MAX * sizeof *first_bytes_us);
  refusals_us = malloc(SAMPLES_MAX * sizeof *refusals_us);
  for (int i = 0; i < connection_count; i++) {
    open_conn(&conns[i]);
    idle[idle_count++] = i;
  }
  start_s = now_s();
  measured_from_s = start_s + (request_limit ? 0 : warm_up_s);
  end_s = request_limit ? start_s + 1e6 : measured_from_s + duration_s;
  run();
  print_result(now_s());
  return 0;
}
