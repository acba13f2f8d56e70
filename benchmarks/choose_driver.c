/* An encoder reduced to its questions: threads that ask the plugin about CTU after CTU, each in a frame of its own.
 *
 *   choose_driver PLUGIN OPTIONS THREADS CALLS CANDIDATES WIDTH HEIGHT
 *
 * Writes the seconds of the whole and then those of each choose() call, one number a line. */
#include "mrdo_plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CTU 64u
#define MAX_CANDIDATES 16

static const mrdo_plugin_table *table;
static void *state;
static unsigned calls, candidates, width, height;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void stop(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, table->last_error(state));
    exit(1);
}

static mrdo_plane cut(const uint8_t *picture, unsigned stride, unsigned x, unsigned y, unsigned w, unsigned h)
{
    const mrdo_plane plane = { sizeof(plane), w, h, 8, 1, 0, stride, picture + (size_t)y * stride + x };
    return plane;
}

static void ask(const uint8_t *noise, int64_t poc, unsigned x, unsigned y)
{
    const unsigned w = width - x < CTU ? width - x : CTU, h = height - y < CTU ? height - y : CTU;
    mrdo_trial trials[MAX_CANDIDATES];
    double distortion[MAX_CANDIDATES];
    memset(trials, 0, sizeof(trials));
    for (unsigned k = 0; k < candidates; k++)
    {
        const uint8_t *picture = noise + (size_t)k * width * height;
        trials[k].struct_size = sizeof(trials[k]);
        trials[k].candidate = k;
        trials[k].bits = 1000 - 100 * k;
        trials[k].sse = 50000 + 9000 * k;
        trials[k].plane_count = 3;
        trials[k].planes[0] = cut(picture, width, x, y, w, h);
        trials[k].planes[1] = cut(picture, width, x / 2, y / 2, w / 2, h / 2);
        trials[k].planes[2] = cut(picture, width, x / 2 + 8, y / 2, w / 2, h / 2);
        trials[k].rate_cost = 40 * trials[k].bits;
    }
    const uint32_t beside = (x ? MRDO_LEFT : 0) | (y ? MRDO_ABOVE : 0);
    const mrdo_choice choice = { sizeof(choice), x, y, w, h, candidates, poc, trials, MRDO_CHOICE_CTU, beside, 40 };
    if (table->choose(state, &choice, distortion))
        stop("choose");
}

static void *frame(void *result)
{
    double *seconds = result;
    const int64_t poc = (int64_t)seconds[0];
    const unsigned cols = (width + CTU - 1) / CTU, rows = (height + CTU - 1) / CTU;
    uint8_t *noise = malloc((size_t)candidates * width * height);
    uint32_t seed = 1 + (uint32_t)poc;
    for (size_t i = 0; i < (size_t)candidates * width * height; i++)
        noise[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 27) + (i % width) / 4;
    mrdo_frame begin = { sizeof(begin), MRDO_SLICE_I, poc, 32, 40, 1, 0, { { 0 } } };
    mrdo_side_info side = { sizeof(side), 0 };
    if (table->begin_frame(state, &begin, &side))
        stop("begin_frame");
    for (unsigned i = 0; i < calls; i++)
    {
        const double start = now();
        ask(noise, poc, i % cols * CTU, i / cols % rows * CTU);
        seconds[i] = now() - start;
    }
    mrdo_frame_result end = { sizeof(end), MRDO_SLICE_I, poc, 0, 32, 0, 0, NULL };
    if (table->end_frame(state, &end))
        stop("end_frame");
    free(noise);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    const unsigned threads = atoi(argv[3]);
    calls = atoi(argv[4]);
    candidates = atoi(argv[5]);
    width = atoi(argv[6]);
    height = atoi(argv[7]);
    void *library = dlopen(argv[1], RTLD_NOW);
    mrdo_plugin_get_fn get = library ? (mrdo_plugin_get_fn)dlsym(library, MRDO_PLUGIN_SYMBOL) : NULL;
    if (!get || !(table = get(MRDO_ABI)))
        return 3;
    const mrdo_encoder_info encoder = { sizeof(encoder), width, height, 1, 8, CTU, 8, 25, 1, 0, "driver", "1" };
    mrdo_plugin_info info = { sizeof(info), 0, 0, 0 };
    if (!(state = table->open(argv[2], &encoder, &info)))
        stop("open");
    pthread_t *ids = calloc(threads, sizeof(*ids));
    double *seconds = calloc((size_t)threads * calls, sizeof(*seconds));
    const double start = now();
    for (unsigned i = 0; i < threads; i++)
    {
        seconds[(size_t)i * calls] = i;
        pthread_create(&ids[i], NULL, frame, seconds + (size_t)i * calls);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("%.9f\n", now() - start);
    for (size_t i = 0; i < (size_t)threads * calls; i++)
        printf("%.9f\n", seconds[i]);
    table->close(state);
    return 0;
}
