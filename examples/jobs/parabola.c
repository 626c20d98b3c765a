/* A trial in C: three steps down a parabola, with the step size x that is asked for.
 *
 *     cc -o parabola parabola.c         and, as the objective of a sweep: Job(command=["./parabola"])
 *
 * Strings and numbers are found in the trial's file by their names alone: enough for files whose parameters
 * are not called like one of the keys. A real program links a JSON library.
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 3, INTERRUPTED = 75, LONGEST = 4096 };

static char told[1 << 16];
static volatile sig_atomic_t is_signalled = 0;

static void hear(int number) {
    (void)number;
    is_signalled = 1;
}

static void give_up(const char *what) {
    perror(what);
    exit(1);
}

/* What stands behind "key": in the trial's file, or NULL where that is missing or null. */
static const char *value_of(const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    for (const char *at = strstr(told, quoted); at != NULL; at = strstr(at + 1, quoted)) {
        const char *value = at + strlen(quoted);
        value += strspn(value, " \t\r\n");
        if (*value != ':') continue; /* a value of that name */
        value += strspn(value, ": \t\r\n");
        return strncmp(value, "null", 4) == 0 ? NULL : value;
    }
    return NULL;
}

static double number_of(const char *key, double otherwise) {
    const char *at = value_of(key);
    return at == NULL ? otherwise : strtod(at, NULL);
}

/* The string behind a key; of escapes, it knows those of quotes and backslashes. */
static int string_of(const char *key, char *text) {
    const char *at = value_of(key);
    size_t n = 0;
    if (at == NULL || *at != '"') return 0;
    for (at++; *at != '"' && *at != '\0' && n < LONGEST - 1; at++) {
        if (*at == '\\' && *++at == 'u') {
            fprintf(stderr, "%s has an escape that needs a JSON library\n", key);
            exit(1);
        }
        text[n++] = *at;
    }
    text[n] = '\0';
    return 1;
}

/* Append a line to the reports: whole, by one write, and durable. */
static void append(const char *line) {
    const char *path = getenv("METTA_SWEEP_REPORTS");
    int file = open(path == NULL ? "reports.jsonl" : path, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (file < 0 || write(file, line, strlen(line)) != (ssize_t)strlen(line) || fsync(file) != 0)
        give_up("the reports");
    close(file);
}

static void save(const char *path, int step, double w) {
    FILE *file = fopen(path, "w");
    if (file == NULL || fprintf(file, "%d %.17g\n", step, w) < 0) give_up(path);
    if (fflush(file) != 0 || fsync(fileno(file)) != 0) give_up(path);
    fclose(file);
}

static void load(const char *path, int *step, double *w) {
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%d %lg", step, w) != 2) give_up(path);
    fclose(file);
}

int main(void) {
    char folder[LONGEST], checkpoints[LONGEST], path[2 * LONGEST], line[4 * LONGEST];
    const char *name = getenv("METTA_SWEEP_TRIAL");
    FILE *file = name == NULL ? NULL : fopen(name, "r");
    if (file == NULL) give_up("METTA_SWEEP_TRIAL");
    told[fread(told, 1, sizeof told - 1, file)] = '\0';
    fclose(file);
    struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);

    double x = number_of("x", -1), w = 10;
    int step = 0, until = (int)number_of("until_step", STEPS + 1);
    if (x <= 0) {
        append("{\"failure\": {\"kind\": \"infeasible\", \"message\": \"x has to be above 0\"}}\n");
        return 1;
    }
    if (string_of("resume_from", path)) load(path, &step, &w);
    if (!string_of("folder", folder) || !string_of("checkpoint_dir", checkpoints)) {
        fprintf(stderr, "%s names no folders\n", name);
        return 1;
    }
    if (mkdir(checkpoints, 0777) != 0 && errno != EEXIST) give_up(checkpoints);

    while (step < STEPS) {
        w -= x * 2 * w; /* the slope of the parabola w * w */
        step++;
        snprintf(path, sizeof path, "%s/step-%d", checkpoints, step);
        save(path, step, w); /* durable before the line that names it */
        const char *report = "{\"step\": %d, \"metrics\": {\"loss\": %.17g}, \"checkpoint\": \"%s\"}\n";
        snprintf(line, sizeof line, report, step, w * w, path);
        append(line);
        snprintf(path, sizeof path, "%s/stop", folder);
        if (step >= until || is_signalled || access(path, F_OK) == 0) return INTERRUPTED;
    }
    return 0;
}
