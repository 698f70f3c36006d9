/* A libnvidia-ml.so.1 for machines without a GPU. What its devices are, count and suffer stands in a text file,
 * `nvml.state` beside the library, which every call reads anew: a test replaces it while a meter runs.
 *
 * Each line is a word and NAME=VALUE pairs; what is not named is 0 or "".
 *   driver version load init now_ns
 *   gpu    uuid bus error limit_mw counts tells_mw since_ns every_ns mj mw
 *          module_mj module_mw module_limit_mw gpu_field_mj mig
 *
 * load      another number is another load of the driver: sessions of the old one are over, and handles void
 * init      the error that nvmlInit answers; `error` the one of a device. A lost device (15) stays lost in a session
 * now_ns    the time, if not CLOCK_BOOTTIME's
 * counts    whether the board counts joules; tells_mw whether it tells its power
 * mj, mw    millijoules at since_ns and milliwatts from then on, updated every_ns; since_ns 0 is "now": mj stands
 * module_*  the same of the whole module; 0 where there is none. gpu_field_mj: NVML_FI_DEV_ENERGY of the GPU alone
 * mig       number of MIG instances
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, UNLOADED = 9, LOST = 15 };
enum { MAX_GPUS = 16, MIG_BIT = 64, LINE = 1024 };
enum { FIELD_AVERAGE_MW = 185, FIELD_INSTANT_MW = 186, FIELD_MAX_MW = 188, FIELD_ENERGY = 191 };
enum { TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

typedef struct {
    char line[LINE];
    int index, is_mig;
    double mj, mw, module_mj;
} Gpu;

typedef struct {
    char driver[LINE];
    long long load;
    int count;
    char gpus[MAX_GPUS][LINE];
} State;

typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, answer;
    union { uint32_t u; uint64_t ull; } value;
} Field;

static int sessions;
static long long session_load;
static unsigned lost;

static const char *word(const char *line, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strchr(line, ' '); at; at = strchr(at + 1, ' '))
        if (!strncmp(at + 1, name, length) && at[1 + length] == '=') return at + 2 + length;
    return "";
}

static long long number(const char *line, const char *name) { return atoll(word(line, name)); }

static int text(const char *line, const char *name, char *into, unsigned size) {
    const char *at = word(line, name);
    size_t length = strcspn(at, " \n");
    if (length >= size) return SMALL;
    memcpy(into, at, length);
    into[length] = 0;
    return 0;
}

static int load_state(State *state) {
    Dl_info self;
    char path[4096], line[LINE];
    memset(state, 0, sizeof *state);
    dladdr((void *)load_state, &self);
    const char *slash = strrchr(self.dli_fname, '/');
    snprintf(path, sizeof path, "%.*snvml.state", slash ? (int)(slash - self.dli_fname + 1) : 0, self.dli_fname);
    FILE *file = fopen(path, "r");
    if (!file) return UNLOADED;
    while (fgets(line, sizeof line, file)) {
        if (!strncmp(line, "driver ", 7)) strcpy(state->driver, line);
        if (!strncmp(line, "gpu ", 4) && state->count < MAX_GPUS) strcpy(state->gpus[state->count++], line);
    }
    fclose(file);
    state->load = number(state->driver, "load");
    return 0;
}

static int in_session(State *state) {
    int answer = load_state(state);
    if (answer) return answer;
    return sessions && state->load == session_load ? 0 : UNINITIALIZED;
}

static double seconds_since(const State *state, const char *gpu) {
    long long since = number(gpu, "since_ns"), every = number(gpu, "every_ns"), now = number(state->driver, "now_ns");
    struct timespec clock;
    if (!since) return 0;
    clock_gettime(CLOCK_BOOTTIME, &clock);
    long long passed = (now ? now : clock.tv_sec * 1000000000LL + clock.tv_nsec) - since;
    if (every) passed -= passed % every;
    return passed > 0 ? passed / 1e9 : 0;
}

static int fault(const State *state, int index) {
    int error = (int)number(state->gpus[index], "error");
    if (error == LOST) lost |= 1u << index;
    return lost >> index & 1 ? LOST : error;
}

/* A handle is its load and the index of its GPU, so that those of another load are known. */
static void *handle_of(const State *state, int index) { return (void *)(intptr_t)((state->load + 1) << 8 | (index + 1)); }

static int open_gpu(void *handle, Gpu *gpu) {
    State state;
    int answer = in_session(&state);
    if (answer) return answer;
    long long load = (intptr_t)handle >> 8;
    int low = (intptr_t)handle & 255;
    gpu->is_mig = low & MIG_BIT;
    gpu->index = (low & (MIG_BIT - 1)) - 1;
    if (load != state.load + 1 || gpu->index < 0 || gpu->index >= state.count) return INVALID;
    strcpy(gpu->line, state.gpus[gpu->index]);
    double seconds = seconds_since(&state, gpu->line);
    gpu->mw = number(gpu->line, "mw");
    gpu->mj = number(gpu->line, "mj") + gpu->mw * seconds;
    gpu->module_mj = number(gpu->line, "module_mj") + number(gpu->line, "module_mw") * seconds;
    return fault(&state, gpu->index);
}

static int answer_mw(void *handle, const char *name, unsigned *milliwatts) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    *milliwatts = (unsigned)number(gpu.line, name);
    return gpu.is_mig || !*milliwatts ? UNSUPPORTED : 0;
}

int nvmlInitWithFlags(unsigned flags) {
    State state;
    int answer = load_state(&state);
    (void)flags;
    if (!answer) answer = (int)number(state.driver, "init");
    if (answer) return answer;
    if (!sessions++) {
        session_load = state.load;
        lost = 0;
    }
    return 0;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!sessions) return UNINITIALIZED;
    sessions--;
    return 0;
}

const char *nvmlErrorString(int error) {
    static char told[64];
    snprintf(told, sizeof told, "stand-in error %d", error);
    return told;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    State state;
    int answer = in_session(&state);
    return answer ? answer : text(state.driver, "version", version, size);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    State state;
    int answer = in_session(&state);
    *count = state.count;
    return answer;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    State state;
    int answer = in_session(&state);
    if (answer) return answer;
    if (index >= (unsigned)state.count) return INVALID;
    *handle = handle_of(&state, (int)index);
    return fault(&state, (int)index);
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    answer = text(gpu.line, "uuid", uuid, size);
    if (gpu.is_mig) memcpy(uuid, "MIG", 3);
    return answer;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    snprintf(name, size, "NVIDIA Stand-In");
    return answer;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *total_free_used) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    total_free_used[0] = total_free_used[1] = 16ULL << 30;
    total_free_used[2] = 0;
    return answer;
}

int nvmlDeviceGetPciInfo_v3(void *handle, void *info) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    memset(info, 0, 68);
    return text(gpu.line, "bus", info, 16);
}

int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *least_mw, unsigned *most_mw) {
    *least_mw = 1000;
    return answer_mw(handle, "limit_mw", most_mw);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    *milliwatts = (unsigned)gpu.mw;
    return gpu.is_mig || !number(gpu.line, "tells_mw") ? UNSUPPORTED : 0;
}

#ifndef OLD_LIBRARY
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    *millijoules = (unsigned long long)gpu.mj;
    return gpu.is_mig || !number(gpu.line, "counts") ? UNSUPPORTED : 0;
}

static uint32_t module_field(const Gpu *gpu, Field *field) {
    long long mw = number(gpu->line, "module_mw");
    switch (field->field) {
    case FIELD_AVERAGE_MW:
    case FIELD_INSTANT_MW:
        field->value.u = (uint32_t)mw;
        return mw ? 0 : UNSUPPORTED;
    case FIELD_MAX_MW:
        field->value.u = (uint32_t)number(gpu->line, "module_limit_mw");
        return field->value.u ? 0 : UNSUPPORTED;
    case FIELD_ENERGY:
        field->type = TYPE_ULONGLONG;
        field->value.ull = (uint64_t)gpu->module_mj;
        return number(gpu->line, "module_mj") ? 0 : UNSUPPORTED;
    }
    return UNSUPPORTED;
}

int nvmlDeviceGetFieldValues(void *handle, int count, Field *fields) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    for (int i = 0; i < count; i++) {
        fields[i].type = TYPE_UINT;
        fields[i].answer = UNSUPPORTED;
        if (fields[i].scope == 1) fields[i].answer = module_field(&gpu, &fields[i]);
        if (fields[i].scope == 0 && fields[i].field == FIELD_ENERGY && number(gpu.line, "gpu_field_mj")) {
            fields[i].type = TYPE_ULONGLONG;
            fields[i].value.ull = (uint64_t)number(gpu.line, "gpu_field_mj");
            fields[i].answer = 0;
        }
    }
    return 0;
}
#endif

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    *current = *pending = number(gpu.line, "mig") > 0;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    *count = answer ? 0 : (unsigned)number(gpu.line, "mig");
    return answer;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    Gpu gpu;
    int answer = open_gpu(handle, &gpu);
    if (answer) return answer;
    *instance = (void *)((intptr_t)handle | MIG_BIT);
    return index < (unsigned)number(gpu.line, "mig") ? 0 : NOT_FOUND;
}
